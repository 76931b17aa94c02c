//! Flows as comma-separated values (RFC 4180, but for the plain line ends).

use std::fmt::Display;
use std::io;
use std::io::Write;
use std::time::Duration;

use conntrack_core::Flow;
use conntrack_core::Health;
use conntrack_core::HealthSide;
use conntrack_core::L4;
use conntrack_core::Side;

const COLUMNS: &str = "family,protocol,protonum,state,status,timeout,\
    src,dst,sport,dport,type,code,id,packets,bytes,\
    tcp_flags,tcp_seq,tcp_ack,tcp_window,\
    reply_src,reply_dst,reply_sport,reply_dport,reply_type,reply_code,reply_id,\
    reply_packets,reply_bytes,\
    reply_tcp_flags,reply_tcp_seq,reply_tcp_ack,reply_tcp_window,\
    start,last_seen,duration_ns,interface";

/// Those of `--wide`: what the table has of how connections do, exactly.
const WIDE: &str = ",rtt_ns,first_byte_ns,\
    retransmits,loss_ppm,out_of_order,zero_window_ns,\
    reply_retransmits,reply_loss_ppm,reply_out_of_order,reply_zero_window_ns";

/// The names of the columns.
pub(super) fn header(wide: bool, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{COLUMNS}{}", if wide { WIDE } else { "" })
}

/// One flow. What the JSON has null or leaves out is empty here.
pub(super) fn row(flow: &Flow, wide: bool, out: &mut impl Write) -> io::Result<()> {
    let protocol = flow.protocol.name().unwrap_or("unknown");
    write!(out, "{},{protocol},{},", flow.family, flow.protocol.0)?;
    write!(out, "{},", flow.state)?;
    for (index, word) in flow.status().enumerate() {
        let mark = if index == 0 { "" } else { "|" };
        write!(out, "{mark}{word}")?;
    }
    write!(out, ",{},", flow.timeout.as_secs())?;
    side(&flow.original, out)?;
    side(&flow.reply, out)?;
    let (start, last) = (flow.start, flow.last_seen);
    write!(out, "{start},{last},{},", flow.duration.as_nanos())?;
    write!(out, "{}", quoted(flow.interface.as_deref().unwrap_or("")))?;
    if wide {
        health(flow.health.as_ref(), out)?;
    }
    writeln!(out)
}

fn health(health: Option<&Health>, out: &mut impl Write) -> io::Result<()> {
    let nanos = |time: Duration| time.as_nanos();
    let end = |end: &HealthSide| {
        [
            end.retransmits.map(u128::from),
            end.loss_ppm.map(u128::from),
            end.out_of_order.map(u128::from),
            end.zero_window_time.map(nanos),
        ]
    };
    let ways = health.map(|it| [it.rtt(), it.first_byte].map(|time| time.map(nanos)));
    let ends = health.map(|it| [end(&it.original), end(&it.reply)]);
    let cells = ways.unwrap_or_default().into_iter();
    let mut cells = cells.chain(ends.unwrap_or_default().into_iter().flatten());
    cells.try_for_each(|value| match value {
        Some(value) => write!(out, ",{value}"),
        None => write!(out, ","),
    })
}

fn side(side: &Side, out: &mut impl Write) -> io::Result<()> {
    let (mut ports, mut icmp) = ([None; 2], [None; 3]);
    match side.tuple.l4 {
        L4::Ports { src, dst } => ports = [Some(src), Some(dst)],
        L4::Icmp { kind, code, id } => {
            icmp = [Some(u16::from(kind)), Some(u16::from(code)), Some(id)];
        }
        L4::Gre { .. } | L4::None => {}
    }
    write!(out, "{},{},", side.tuple.src, side.tuple.dst)?;
    for value in ports.into_iter().chain(icmp) {
        cell(value, out)?;
    }
    write!(out, "{},{},", side.packets, side.bytes)?;
    cell(side.tcp.map(|tcp| tcp.flags), out)?;
    cell(side.tcp.map(|tcp| tcp.seq), out)?;
    cell(side.tcp.map(|tcp| tcp.ack), out)?;
    cell(side.tcp.map(|tcp| tcp.window), out)
}

fn cell(value: Option<impl Display>, out: &mut impl Write) -> io::Result<()> {
    match value {
        Some(value) => write!(out, "{value},"),
        None => write!(out, ","),
    }
}

/// A text in quotes where it needs them.
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_and_quotes() {
        assert_eq!(quoted("eth0"), "eth0");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
