//! Statistics in Prometheus' text format, version 0.0.4.

use std::fmt::Display;
use std::io;
use std::io::Write;

use conntrack_core::Counters;
use conntrack_core::icmp::IcmpCount;
use conntrack_core::icmp::IcmpCounts;

/// A label's name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// All families of metrics.
pub(crate) fn prometheus(counters: &Counters, out: &mut impl Write) -> io::Result<()> {
    traffic(counters, out)?;
    flows(counters, out)?;
    icmp(&counters.icmp, out)?;
    table(counters, out)?;
    places(counters, out)
}

fn traffic(counters: &Counters, out: &mut impl Write) -> io::Result<()> {
    let mut family = Family::counter(out, "packets_total", "IP packets seen.")?;
    family.sample(&[], counters.packets)?;
    let mut family = Family::counter(out, "bytes_total", "IP total lengths of packets seen.")?;
    family.sample(&[], counters.bytes)?;

    let help = "Packets by class and direction.";
    let mut family = Family::counter(out, "classified_packets_total", help)?;
    let directions = [
        ("original", counters.ct_state.original),
        ("reply", counters.ct_state.reply),
    ];
    for (direction, counts) in directions {
        for (class, count) in [
            ("new", counts.new),
            ("established", counts.established),
            ("related", counts.related),
            ("invalid", counts.invalid),
            ("untracked", counts.untracked),
        ] {
            family.sample(&[("direction", direction), ("class", class)], count)?;
        }
    }

    let help = "Packets dropped at the operator's wish, by reason.";
    let mut family = Family::counter(out, "dropped_packets_total", help)?;
    for (reason, count) in &counters.drops {
        family.sample(&[("reason", reason)], count)?;
    }
    let help = "Packets dropped by bans, by whose these were.";
    let mut family = Family::counter(out, "banned_packets_total", help)?;
    for (origin, count) in &counters.banned {
        family.sample(&[("origin", origin)], count)?;
    }
    let limits = counters.limits;
    for (name, help, value) in [
        (
            "threshold_connections_total",
            "New connections beyond a limit.",
            limits.over,
        ),
        (
            "threshold_bans_total",
            "Sources that a limit has banned.",
            limits.banned,
        ),
        (
            "threshold_bans_without_room_total",
            "Bans by a limit that there was no room for.",
            limits.no_room,
        ),
    ] {
        Family::counter(out, name, help)?.sample(&[], value)?;
    }
    let help = "SYNs and SYN+ACKs whose fingerprint was new and not recorded, by what was new.";
    let mut family = Family::counter(out, "fingerprints_left_out_total", help)?;
    for (what, count) in &counters.fingerprints_left_out {
        family.sample(&[("what", what)], count)?;
    }
    let help = "Packets passed without touching a flow, by reason.";
    let mut family = Family::counter(out, "untracked_packets_total", help)?;
    for (reason, count) in &counters.passed_untracked {
        family.sample(&[("reason", reason)], count)?;
    }
    Ok(())
}

fn flows(counters: &Counters, out: &mut impl Write) -> io::Result<()> {
    let flows = &counters.flows;
    for (name, help, value) in [
        ("flows", "Flows whose time is not up.", flows.active),
        (
            "flows_assured",
            "Active flows that are assured.",
            flows.assured,
        ),
        ("flows_max", "Flows there is room for.", flows.max),
        (
            "flows_expired_pending",
            "Expired flows whose slots were not taken back yet.",
            flows.expired_pending,
        ),
    ] {
        Family::gauge(out, name, help)?.sample(&[], value)?;
    }
    let mut family = Family::gauge(out, "protocol_flows", "Active flows by protocol.")?;
    for (protocol, count) in &flows.by_protocol {
        family.sample(&[("protocol", protocol)], count)?;
    }
    let mut family = Family::gauge(out, "state_flows", "Active flows by state.")?;
    for (state, count) in &flows.by_state {
        family.sample(&[("state", state)], count)?;
    }
    Ok(())
}

fn icmp(counts: &IcmpCounts, out: &mut impl Write) -> io::Result<()> {
    let labels = |count: &IcmpCount| {
        let kind = count.kind;
        [
            kind.family.to_string(),
            kind.kind.to_string(),
            kind.code.to_string(),
        ]
    };
    for (name, help, value) in [
        (
            "icmp_packets_total",
            "ICMP and ICMPv6 packets by kind.",
            (|it| it.packets) as fn(&IcmpCount) -> u64,
        ),
        ("icmp_bytes_total", "Their IP total lengths.", |it| it.bytes),
    ] {
        let mut family = Family::counter(out, name, help)?;
        for count in &counts.kinds {
            let [ip, kind, code] = &labels(count);
            family.sample(
                &[("family", ip), ("type", kind), ("code", code)],
                value(count),
            )?;
        }
    }
    for (name, help, value) in [
        (
            "icmp_unlisted_packets_total",
            "ICMP packets of kinds that there was no room for.",
            counts.unlisted_packets,
        ),
        (
            "icmp_unreadable_errors_total",
            "ICMP errors whose inner packet could not be read.",
            counts.errors_unreadable,
        ),
        (
            "icmp_unrecorded_errors_total",
            "ICMP errors that were not recorded: too many new ones at once.",
            counts.errors_unrecorded,
        ),
    ] {
        Family::counter(out, name, help)?.sample(&[], value)?;
    }
    Ok(())
}

fn table(counters: &Counters, out: &mut impl Write) -> io::Result<()> {
    let table = &counters.table;
    Family::counter(out, "flows_created_total", "Flows created.")?.sample(&[], table.created)?;
    let help = "Flows that are no more, by reason.";
    let mut family = Family::counter(out, "flows_removed_total", help)?;
    for (reason, count) in &table.removed {
        family.sample(&[("reason", reason)], count)?;
    }
    let help = "How full a table is: 1 from 80 %, 2 from 95 % of the flows it is sized for.";
    let mut family = Family::gauge(out, "table_pressure", help)?;
    for (name, level) in ["ipv4", "ipv6"].into_iter().zip(counters.pressure) {
        family.sample(&[("family", name)], level as u8)?;
    }
    if let Some(sweep) = &counters.sweep {
        for (name, help, value) in [
            ("sweep_runs_total", "Times round both tables.", sweep.runs),
            ("sweep_scanned_total", "Slots looked at.", sweep.scanned),
        ] {
            Family::counter(out, name, help)?.sample(&[], value)?;
        }
        let help = "Expired flows taken out, by reason.";
        let mut family = Family::counter(out, "sweep_removed_total", help)?;
        let removed = sweep.removed;
        for (reason, count) in [
            ("timeout", removed.timeout),
            ("fin", removed.fin),
            ("rst", removed.rst),
        ] {
            family.sample(&[("reason", reason)], count)?;
        }
        let seconds = sweep.time_ns as f64 / 1e9;
        let help = "Time the sweep has taken.";
        Family::counter(out, "sweep_seconds_total", help)?.sample(&[], seconds)?;
    }
    let help = "Kernel memory of all maps.";
    Family::gauge(out, "memory_bytes", help)?.sample(&[], counters.memory_bytes)
}

fn places(counters: &Counters, out: &mut impl Write) -> io::Result<()> {
    let mut family = Family::counter(out, "cpu_packets_total", "IP packets by CPU.")?;
    for cpu in &counters.per_cpu {
        family.sample(&[("cpu", &cpu.cpu.to_string())], cpu.packets)?;
    }
    let mut family = Family::counter(out, "cpu_bytes_total", "IP total lengths by CPU.")?;
    for cpu in &counters.per_cpu {
        family.sample(&[("cpu", &cpu.cpu.to_string())], cpu.bytes)?;
    }
    let mut family = Family::counter(out, "interface_packets_total", "IP packets by interface.")?;
    for interface in &counters.interfaces {
        let hooks = interface.hooks.to_string();
        let labels = [("interface", interface.name.as_str()), ("hooks", &hooks)];
        family.sample(&labels, interface.packets)?;
    }
    let help = "IP total lengths by interface.";
    let mut family = Family::counter(out, "interface_bytes_total", help)?;
    for interface in &counters.interfaces {
        let hooks = interface.hooks.to_string();
        let labels = [("interface", interface.name.as_str()), ("hooks", &hooks)];
        family.sample(&labels, interface.bytes)?;
    }
    Ok(())
}

/// One metric and its samples.
pub(super) struct Family<'a, W> {
    out: &'a mut W,
    name: &'static str,
}

impl<'a, W: Write> Family<'a, W> {
    pub(super) fn counter(out: &'a mut W, name: &'static str, help: &str) -> io::Result<Self> {
        Self::new(out, name, "counter", help)
    }

    pub(super) fn gauge(out: &'a mut W, name: &'static str, help: &str) -> io::Result<Self> {
        Self::new(out, name, "gauge", help)
    }

    fn new(out: &'a mut W, name: &'static str, kind: &str, help: &str) -> io::Result<Self> {
        writeln!(out, "# HELP conntrack_{name} {help}")?;
        writeln!(out, "# TYPE conntrack_{name} {kind}")?;
        Ok(Self { out, name })
    }

    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) -> io::Result<()> {
        write!(self.out, "conntrack_{}", self.name)?;
        for (index, (name, text)) in labels.iter().enumerate() {
            let mark = if index == 0 { '{' } else { ',' };
            write!(self.out, "{mark}{name}=\"{}\"", escaped(text))?;
        }
        let mark = if labels.is_empty() { "" } else { "}" };
        writeln!(self.out, "{mark} {value}")
    }
}

/// A label's value: backslash, quote and line end have escapes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use conntrack_core::stats::CpuCounts;
    use conntrack_core::stats::DROP_REASONS;
    use conntrack_core::stats::InterfaceCounts;
    use conntrack_core::stats::PASS_REASONS;
    use conntrack_core::stats::by_reason;

    use super::*;

    fn reading() -> Counters {
        let mut counters = Counters {
            packets: 12,
            drops: by_reason(&DROP_REASONS, &[]),
            passed_untracked: by_reason(&PASS_REASONS, &[3]),
            per_cpu: vec![CpuCounts::default()],
            interfaces: vec![InterfaceCounts {
                name: "a\"b\\c".to_owned(),
                packets: 7,
                ..InterfaceCounts::default()
            }],
            ..Counters::default()
        };
        counters.flows.by_state.insert("ESTABLISHED", 2);
        counters.flows.by_protocol.insert("tcp".to_owned(), 2);
        counters
    }

    /// The rules of the format: each family has its HELP and TYPE once, before
    /// its samples, which stand together; counters end in `_total`.
    #[test]
    fn the_format_is_kept() {
        let mut out = Vec::new();
        prometheus(&reading(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with('\n'));
        let (mut family, mut seen, mut samples) = (String::new(), BTreeSet::new(), BTreeSet::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap();
                assert!(seen.insert(name.to_owned()), "{name} twice");
                let kind = lines.next().unwrap();
                let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                assert!(["counter", "gauge"].contains(&kind));
                family = name.to_owned();
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<u64>().is_ok(), "{line}");
                assert_eq!(series.split('{').next().unwrap(), family, "{line}");
                assert!(samples.insert(series.to_owned()), "{series} twice");
            }
        }
        for want in [
            "conntrack_packets_total",
            "conntrack_untracked_packets_total{reason=\"not_ip\"}",
            "conntrack_state_flows{state=\"ESTABLISHED\"}",
            r#"conntrack_interface_packets_total{interface="a\"b\\c",hooks="-+-"}"#,
        ] {
            assert!(samples.contains(want), "{want}:\n{text}");
        }
    }
}
