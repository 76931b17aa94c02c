//! Statistics to read, and the line of `attach --foreground`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::io::Write;

use conntrack_core::Counters;
use conntrack_core::LimitCounts;
use conntrack_core::Stats;
use conntrack_core::Timestamp;
use conntrack_core::format::human_bytes;
use conntrack_core::icmp::IcmpCounts;
use conntrack_core::stats::ClassCounts;
use conntrack_core::stats::SweepStats;

use super::counted;
use crate::terminal::clean;

/// Width of the words at the left.
const LABEL: usize = 18;

/// The whole, to read.
pub(crate) fn table(stats: &Stats, out: &mut impl Write) -> io::Result<()> {
    let counters = &stats.counters;
    let (packets, rate) = (counters.packets, stats.packets_per_sec);
    let packets = format!("{packets}, {rate:.1} a second");
    let (bytes, rate) = (counters.bytes, stats.bytes_per_sec as u64);
    let bytes = format!("{}, {} a second", human_bytes(bytes), human_bytes(rate));
    line(out, "packets", packets)?;
    line(out, "bytes", bytes)?;
    flows(counters, out)?;
    classes(counters, out)?;
    passed(&counters.passed_untracked, out)?;
    line(out, "dropped", words(nonzero(&counters.drops)))?;
    if counters.drops.get("ban").is_some_and(|count| *count > 0) {
        line(out, "  by bans of", words(nonzero(&counters.banned)))?;
    }
    let limits = &counters.limits;
    if *limits != LimitCounts::default() {
        let (over, banned, no_room) = (limits.over, limits.banned, limits.no_room);
        let text = format!("{over} connections too much, {banned} bans, {no_room} without room");
        line(out, "threshold", text)?;
    }
    if counters.icmp != IcmpCounts::default() {
        line(out, "ICMP", super::icmp::summary(&counters.icmp))?;
    }
    let left_out = nonzero(&counters.fingerprints_left_out);
    if !left_out.is_empty() {
        line(out, "fingerprints left out", words(left_out))?;
    }
    line(out, "created", counters.table.created)?;
    line(out, "removed", words(nonzero(&counters.table.removed)))?;
    if let Some(sweep) = &counters.sweep {
        line(out, "sweep", sweep_line(sweep))?;
    }
    let [v4, v6] = counters.pressure;
    line(out, "pressure", format!("IPv4 {v4}, IPv6 {v6}"))?;
    line(out, "memory", human_bytes(counters.memory_bytes))?;
    for interface in &counters.interfaces {
        let (hooks, packets) = (interface.hooks, interface.packets);
        let bytes = human_bytes(interface.bytes);
        let text = format!("{}, {bytes}, {hooks}", counted(packets, "packet"));
        line(out, &format!("on {}", clean(&interface.name)), text)?;
    }
    for cpu in counters.per_cpu.iter().filter(|cpu| cpu.packets > 0) {
        let packets = counted(cpu.packets, "packet");
        let text = format!("{packets}, {}", human_bytes(cpu.bytes));
        line(out, &format!("by CPU {}", cpu.cpu), text)?;
    }
    Ok(())
}

fn sweep_line(sweep: &SweepStats) -> String {
    let micros = |ns: u64| ns / 1000;
    format!(
        "{} times round, {} slots looked at, {} flows removed ({} timeout, {} fin, {} rst), {} µs in all, {} µs the longest slice",
        sweep.runs,
        sweep.scanned,
        sweep.removed.total(),
        sweep.removed.timeout,
        sweep.removed.fin,
        sweep.removed.rst,
        micros(sweep.time_ns),
        micros(sweep.worst_slice_ns)
    )
}

fn flows(counters: &Counters, out: &mut impl Write) -> io::Result<()> {
    let flows = &counters.flows;
    line(
        out,
        "flows",
        format!(
            "{} active, {} assured, {} expired and not yet cleared, sized for {}",
            flows.active, flows.assured, flows.expired_pending, flows.max
        ),
    )?;
    line(out, "  by protocol", words(&flows.by_protocol))?;
    line(out, "  by state", words(&flows.by_state))
}

fn classes(counters: &Counters, out: &mut impl Write) -> io::Result<()> {
    let state = &counters.ct_state;
    let heading = ["new", "established", "related", "invalid", "untracked"];
    line(out, "packets by class", heading.map(right).concat())?;
    for (name, counts) in [
        ("  original", state.original),
        ("  reply", state.reply),
        ("  total", state.total()),
    ] {
        let ClassCounts {
            new,
            established,
            related,
            invalid,
            untracked,
        } = counts;
        let counts = [new, established, related, invalid, untracked];
        line(out, name, counts.map(right).concat())?;
    }
    Ok(())
}

fn right(value: impl Display) -> String {
    format!("{:>13}", value.to_string())
}

fn line(out: &mut impl Write, label: &str, text: impl Display) -> io::Result<()> {
    writeln!(out, "{label:<LABEL$}{text}")
}

fn nonzero(counts: &BTreeMap<&'static str, u64>) -> Vec<(&'static str, u64)> {
    let counts = counts.iter().map(|(name, count)| (*name, *count));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// What passed without touching a flow. What is no IP comes last and apart: the
/// classes and totals above are of IP packets.
fn passed(counts: &BTreeMap<&'static str, u64>, out: &mut impl Write) -> io::Result<()> {
    let mut reasons = nonzero(counts);
    let not_ip = reasons.extract_if(.., |(reason, _)| *reason == "not_ip");
    let not_ip: u64 = not_ip.map(|(_, count)| count).sum();
    let reasons = reasons.into_iter().map(|(reason, count)| match reason {
        // nf_conntrack's word for what it leaves alone on purpose.
        "untracked" => ("untracked by rule (neighbour discovery, MLD, ...)", count),
        _ => (reason, count),
    });
    line(out, "passed untracked", words(reasons))?;
    match not_ip {
        0 => Ok(()),
        count => line(
            out,
            "not IP",
            format!("{count}, not among the packets above"),
        ),
    }
}

/// `tcp 3, udp 2`, or `none`.
fn words<N: Display, C: Display>(counts: impl IntoIterator<Item = (N, C)>) -> String {
    let words = counts
        .into_iter()
        .map(|(name, count)| format!("{name} {count}"));
    let words: Vec<String> = words.collect();
    match words.is_empty() {
        true => "none".to_owned(),
        false => words.join(", "),
    }
}

/// One line of a running tracker.
pub(crate) fn one_line(now: Timestamp, stats: &Stats) -> String {
    let Stats {
        counters,
        packets_per_sec,
        bytes_per_sec,
    } = stats;
    let class = counters.ct_state.total();
    let untracked: u64 = counters.passed_untracked.values().sum();
    let dropped: u64 = counters.drops.values().sum();
    let now = now.to_string();
    format!(
        "{}Z flows {} ({} assured), packets {} ({packets_per_sec:.1}/s), bytes {} ({}/s), \
         new {}, invalid {}, untracked {untracked}, dropped {dropped}, evicted {}",
        now.split('.').next().unwrap_or(&now),
        counters.flows.active,
        counters.flows.assured,
        counters.packets,
        human_bytes(counters.bytes),
        human_bytes(*bytes_per_sec as u64),
        class.new,
        class.invalid,
        counters.table.evicted(),
    )
}
