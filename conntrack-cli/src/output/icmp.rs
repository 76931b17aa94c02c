//! What was seen of ICMP.

use std::io;
use std::io::Write;

use conntrack_core::L4;
use conntrack_core::Tuple;
use conntrack_core::icmp::IcmpCount;
use conntrack_core::icmp::IcmpCounts;
use conntrack_core::icmp::IcmpError;
use conntrack_core::icmp::IcmpKind;

use super::columns::columns;
use super::columns::or_dash;
use super::counted;
use super::csv::quoted;
use super::json;
use crate::args::ListFormat;
use crate::terminal::clean;

/// How often each kind came.
pub(crate) fn counts(
    counts: &IcmpCounts,
    format: ListFormat,
    header: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        ListFormat::Json => json(out, counts),
        ListFormat::Jsonl => lines(&counts.kinds, out),
        ListFormat::Csv => {
            if header {
                writeln!(out, "family,type,type_name,code,code_name,packets,bytes")?;
            }
            counts.kinds.iter().try_for_each(|count| {
                let (kind, packets, bytes) = (kind_csv(count.kind), count.packets, count.bytes);
                writeln!(out, "{kind},{packets},{bytes}")
            })
        }
        ListFormat::Table => {
            let heads = [
                ("PROTO", false),
                ("TYPE", true),
                ("CODE", true),
                ("NAME", false),
                ("PACKETS", true),
                ("BYTES", true),
            ];
            let rows: Vec<_> = counts.kinds.iter().map(count_row).collect();
            columns(heads, &rows, header, out)?;
            notes(counts, out)
        }
    }
}

fn count_row(count: &IcmpCount) -> [String; 6] {
    let kind = count.kind;
    [
        kind.protocol().to_string(),
        kind.kind.to_string(),
        kind.code.to_string(),
        name(kind),
        count.packets.to_string(),
        count.bytes.to_string(),
    ]
}

/// What is in no row.
fn notes(counts: &IcmpCounts, out: &mut impl Write) -> io::Result<()> {
    for (count, what) in [
        (counts.unlisted_packets, "packets of further kinds"),
        (
            counts.errors_unreadable,
            "errors whose inner packet could not be read",
        ),
        (
            counts.errors_unrecorded,
            "errors not recorded one by one: too many new ones at once",
        ),
    ] {
        if count > 0 {
            writeln!(out, "# {count} {what}")?;
        }
    }
    Ok(())
}

fn name(kind: IcmpKind) -> String {
    match (kind.type_name(), kind.code_name()) {
        (Some(name), Some(code)) => format!("{name}: {code}"),
        (Some(name), None) => name.to_owned(),
        _ => "-".to_owned(),
    }
}

fn kind_csv(kind: IcmpKind) -> String {
    let [name, code] = [kind.type_name(), kind.code_name()].map(Option::unwrap_or_default);
    format!("{},{},{name},{},{code}", kind.family, kind.kind, kind.code)
}

/// Errors, one a row.
pub(crate) fn errors(
    errors: &[IcmpError],
    format: ListFormat,
    header: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        ListFormat::Json => json(out, &errors),
        ListFormat::Jsonl => lines(errors, out),
        ListFormat::Csv => {
            if header {
                writeln!(out, "{CSV}")?;
            }
            errors.iter().try_for_each(|error| error_csv(error, out))
        }
        ListFormat::Table => {
            let heads = [
                ("ERROR", false),
                ("FROM", false),
                ("TO", false),
                ("ABOUT", false),
                ("MTU", true),
                ("PACKETS", true),
                ("RELATED", true),
                ("LAST", false),
                ("IFACE", false),
            ];
            let rows: Vec<_> = errors.iter().map(error_row).collect();
            columns(heads, &rows, header, out)
        }
    }
}

const CSV: &str = "family,type,type_name,code,code_name,from,to,protonum,src,dst,sport,dport,\
    inner_type,inner_code,inner_id,mtu,packets,bytes,related,invalid,first,last,interface";

fn error_row(error: &IcmpError) -> [String; 9] {
    [
        error.kind.to_string(),
        error.from.to_string(),
        error.to.to_string(),
        about(&error.about),
        or_dash(error.mtu),
        error.packets.to_string(),
        error.related.to_string(),
        error.last.to_string(),
        or_dash(error.interface.as_deref().map(clean)),
    ]
}

/// `udp 10.0.0.1:5000 -> 192.0.2.1:53`.
fn about(tuple: &Tuple) -> String {
    let (protocol, src, dst) = (tuple.protocol, tuple.src, tuple.dst);
    match tuple.l4 {
        L4::Ports {
            src: sport,
            dst: dport,
        } => {
            let [src, dst] = [(src, sport), (dst, dport)].map(std::net::SocketAddr::from);
            format!("{protocol} {src} -> {dst}")
        }
        L4::Icmp { kind, code, id } => {
            format!("{protocol} {src} -> {dst} type {kind} code {code} id {id}")
        }
        L4::Gre { .. } | L4::None => format!("{protocol} {src} -> {dst}"),
    }
}

fn error_csv(error: &IcmpError, out: &mut impl Write) -> io::Result<()> {
    let (about, kind) = (&error.about, kind_csv(error.kind));
    let (from, to, protonum) = (error.from, error.to, about.protocol.0);
    write!(
        out,
        "{kind},{from},{to},{protonum},{},{}",
        about.src, about.dst
    )?;
    match about.l4 {
        L4::Ports { src, dst } => write!(out, ",{src},{dst},,,")?,
        L4::Icmp { kind, code, id } => write!(out, ",,,{kind},{code},{id}")?,
        L4::Gre { .. } | L4::None => write!(out, ",,,,,")?,
    }
    let mtu = error.mtu.map_or_else(String::new, |mtu| mtu.to_string());
    let (packets, bytes) = (error.packets, error.bytes);
    write!(
        out,
        ",{mtu},{packets},{bytes},{},{}",
        error.related,
        error.invalid()
    )?;
    let interface = quoted(error.interface.as_deref().unwrap_or(""));
    writeln!(out, ",{},{},{interface}", error.first, error.last)
}

/// An object a line.
pub(crate) fn lines(values: &[impl serde::Serialize], out: &mut impl Write) -> io::Result<()> {
    values.iter().try_for_each(|value| {
        serde_json::to_writer(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// For the table of statistics.
pub(crate) fn summary(counts: &IcmpCounts) -> String {
    let of = |kinds: &[&str]| -> u64 {
        let named = counts.kinds.iter().filter(|it| {
            let name = it.kind.type_name();
            name.is_some_and(|name| kinds.contains(&name))
        });
        named.map(|it| it.packets).sum()
    };
    let all: u64 = counts.kinds.iter().map(|it| it.packets).sum();
    let echo = of(&["echo-request", "echo-reply"]);
    let errors = of(&[
        "destination-unreachable",
        "source-quench",
        "redirect",
        "packet-too-big",
        "time-exceeded",
        "parameter-problem",
    ]);
    let packets = counted(all + counts.unlisted_packets, "packet");
    format!("{packets}, {echo} echo, {errors} errors")
}
