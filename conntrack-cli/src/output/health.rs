//! How connections are doing, by service and by interface.

use std::fmt::Write as _;
use std::io;
use std::io::Write;
use std::time::Duration;

use conntrack_core::HealthCounts;
use conntrack_core::HealthStats;
use conntrack_core::Histogram;

use super::columns::columns;
use super::columns::or_dash;
use super::prometheus::Family;
use super::table::millis;
use crate::terminal::clean;

/// Services that histograms are drawn of.
const DRAWN: usize = 3;
/// Characters of the longest bar.
const BAR: u64 = 40;
/// The parts of connections that quantiles tell of, as Prometheus has them.
const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)];

/// Whose connections, and how they are doing; all others last.
fn all(stats: &HealthStats) -> Vec<(String, &HealthCounts)> {
    let services = stats.services.iter();
    let services = services.map(|it| (format!("{}/{}", it.protocol, it.port), &it.counts));
    let interfaces = stats.interfaces.iter();
    let interfaces = interfaces.map(|it| (format!("on {}", clean(&it.interface)), &it.counts));
    let others = (stats.others != HealthCounts::default() && stats.others.flows > 0)
        .then(|| ("others".to_owned(), &stats.others));
    services.chain(interfaces).chain(others).collect()
}

/// To read: a line each, and histograms of the services with most connections.
pub(crate) fn table(stats: &HealthStats, out: &mut impl Write) -> io::Result<()> {
    let headings = [
        ("SERVICE", false),
        ("FLOWS", true),
        ("RETRANS", true),
        ("RESETS", true),
        ("ZERO WIN", true),
        ("RTT P50", true),
        ("P95", true),
        ("P99", true),
        ("LASTED P50", true),
        ("P95", true),
        ("P99", true),
    ];
    let rows: Vec<[String; 11]> = all(stats)
        .into_iter()
        .map(|(name, counts)| row(name, counts))
        .collect();
    columns(headings, &rows, true, out)?;
    for service in stats.services.iter().take(DRAWN) {
        let name = format!("{}/{}", service.protocol, service.port);
        draw(&format!("{name} round-trip time"), &service.counts.rtt, out)?;
        draw(&format!("{name} lasted"), &service.counts.duration, out)?;
    }
    if stats.evicted + stats.no_room > 0 {
        writeln!(
            out,
            "\n# {} connections lost what was known of them to others, {} times there was no room",
            stats.evicted, stats.no_room
        )?;
    }
    Ok(())
}

fn row(name: String, counts: &HealthCounts) -> [String; 11] {
    let quantile = |histogram: &Histogram, part| or_dash(histogram.quantile(part).map(millis));
    let [rtt, lasted] = [&counts.rtt, &counts.duration]
        .map(|histogram| QUANTILES.map(|(_, part)| quantile(histogram, part)));
    let [rtt50, rtt95, rtt99] = rtt;
    let [lasted50, lasted95, lasted99] = lasted;
    [
        name,
        counts.flows.to_string(),
        counts.retransmits.to_string(),
        counts.resets.to_string(),
        counts.zero_windows.to_string(),
        rtt50,
        rtt95,
        rtt99,
        lasted50,
        lasted95,
        lasted99,
    ]
}

/// A bar for each power of two of the unit: four buckets together.
fn draw(title: &str, histogram: &Histogram, out: &mut impl Write) -> io::Result<()> {
    let mut octaves: Vec<(Duration, u64)> = Vec::new();
    for bucket in histogram.buckets() {
        match octaves.last_mut() {
            Some((from, count)) if bucket.from < *from * 2 => *count += bucket.count,
            _ => octaves.push((octave(bucket.from, histogram.unit()), bucket.count)),
        }
    }
    let Some(most) = octaves.iter().map(|(_, count)| *count).max() else {
        return Ok(());
    };
    writeln!(out, "\n{title}")?;
    for (from, count) in octaves {
        let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
        let mut line = String::new();
        // Writing to a text cannot fail.
        let _ = write!(line, "{:>9}  {bar:<40}  {count}", millis(from));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The power of two of the unit that is not above.
fn octave(time: Duration, unit: Duration) -> Duration {
    let units = time.as_nanos() / unit.as_nanos().max(1);
    let units = units.checked_ilog2().map_or(0, |log| 1 << log);
    unit.saturating_mul(units)
}

/// In Prometheus' text format. The labels are as many as services are kept apart.
pub(crate) fn prometheus(stats: &HealthStats, out: &mut impl Write) -> io::Result<()> {
    let services: Vec<_> = stats
        .services
        .iter()
        .map(|it| (format!("{}/{}", it.protocol, it.port), &it.counts))
        .chain(std::iter::once(("other".to_owned(), &stats.others)))
        .collect();
    type Count = fn(&HealthCounts) -> u64;
    let counts: [(&'static str, &str, Count); 4] = [
        (
            "tcp_connections_total",
            "Connections whose handshake came through, by service.",
            |it| it.flows,
        ),
        (
            "tcp_retransmits_total",
            "Segments sent again, by service.",
            |it| it.retransmits,
        ),
        ("tcp_resets_total", "Connections' RSTs, by service.", |it| {
            it.resets
        }),
        (
            "tcp_zero_windows_total",
            "Windows closed, by service.",
            |it| it.zero_windows,
        ),
    ];
    for (name, help, count) in counts {
        let mut family = Family::counter(out, name, help)?;
        for (service, counts) in &services {
            family.sample(&[("service", service)], count(counts))?;
        }
    }
    type Times = fn(&HealthCounts) -> &Histogram;
    let times: [(&'static str, &str, Times); 2] = [
        (
            "tcp_rtt_seconds",
            "Round-trip times by handshake, by service.",
            |it| &it.rtt,
        ),
        (
            "tcp_duration_seconds",
            "How long connections lasted, by service.",
            |it| &it.duration,
        ),
    ];
    for (name, help, of) in times {
        let mut family = Family::gauge(out, name, help)?;
        for (service, counts) in &services {
            for (quantile, part) in QUANTILES {
                let labels = [("service", service.as_str()), ("quantile", quantile)];
                if let Some(time) = of(counts).quantile(part) {
                    family.sample(&labels, time.as_secs_f64())?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use conntrack_core::Protocol;
    use conntrack_core::ServiceHealth;

    use super::*;

    fn stats() -> HealthStats {
        let mut rtt = vec![0; 96];
        (rtt[40], rtt[41], rtt[44]) = (6, 2, 4);
        let counts = HealthCounts {
            flows: 12,
            retransmits: 3,
            rtt: Histogram::new(Duration::from_nanos(1024), rtt),
            ..HealthCounts::default()
        };
        let mut stats = HealthStats::default();
        let service = ServiceHealth::new(Protocol::TCP, 443, counts);
        stats.services.push(service);
        stats
    }

    #[test]
    fn a_line_a_service_and_bars() {
        let mut out = Vec::new();
        table(&stats(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("tcp/443     12        3       0         0"),
            "{text}"
        );
        assert!(lines[1].contains("2.36ms"), "{text}");
        assert_eq!(lines[3], "tcp/443 round-trip time");
        assert!(
            lines[4].starts_with("   2.10ms  ########################################  8"),
            "{text}"
        );
        assert!(lines[5].contains("4.19ms  ####################"), "{text}");
        assert_eq!(lines.len(), 6, "nothing is drawn of nothing:\n{text}");
    }

    #[test]
    fn labels_are_services_and_quantiles() {
        let mut out = Vec::new();
        prometheus(&stats(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for want in [
            "conntrack_tcp_connections_total{service=\"tcp/443\"} 12\n",
            "conntrack_tcp_retransmits_total{service=\"tcp/443\"} 3\n",
            "conntrack_tcp_retransmits_total{service=\"other\"} 0\n",
            "conntrack_tcp_rtt_seconds{service=\"tcp/443\",quantile=\"0.5\"} 0.00235",
        ] {
            assert!(text.contains(want), "{want}:\n{text}");
        }
        assert!(!text.contains("duration_seconds{"), "{text}");
    }
}
