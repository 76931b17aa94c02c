//! How many flows fit into an amount of memory.

use std::fs;
use std::mem::size_of;

use conntrack_core::ByteSize;
use conntrack_core::FingerprintsConfig;
use conntrack_core::HealthConfig;
use conntrack_core::PortsConfig;
use conntrack_core::SketchConfig;
use conntrack_core::TableConfig;

use crate::datapath::FLOWS_PER_BUCKET;
use crate::datapath::MIN_BUCKETS;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::records::Meta;
use crate::shape;
use crate::side;
use crate::skel::types::ct_bucket4;
use crate::skel::types::ct_bucket6;
use crate::skel::types::ct_side;

/// Of each table: the header of its map, and the last page.
const ROUNDING: u64 = 2 * 4096;

/// IPv4 and IPv6 flows that the tables of this configuration have room for on this
/// host.
///
/// # Errors
/// `Invalid` if `max_memory` is less than the other maps and the smallest tables
/// take; the error says how much that is.
pub fn table_flows(
    table: &TableConfig,
    sketch: SketchConfig,
    health: HealthConfig,
    fingerprints: FingerprintsConfig,
    ports: PortsConfig,
) -> Result<[u32; 2]> {
    let Some(memory) = table.max_memory else {
        return Ok([table.max_flows, table.flows_v6()]);
    };
    let shared = health.enabled && health.max_flows.is_none();
    let rows = if shared { 1 } else { side_rows([0; 2], health) };
    fit(
        memory,
        shape::other_maps_bytes(sketch, rows, fingerprints, ports),
        shared,
    )
}

/// Flows of the tables for each that there is room for beside them, unless said.
const SIDE_SHARE: u64 = 4;

/// Rows of the table of what is known beside so many IPv4 and IPv6 flows.
pub(crate) fn side_rows(flows: [u64; 2], health: HealthConfig) -> u32 {
    if !health.enabled {
        return 1;
    }
    let share = flows.iter().sum::<u64>() / SIDE_SHARE;
    side::rows(health.max_flows.map_or(share, u64::from))
}

/// Twice as many IPv4 buckets as IPv6 ones, so that they are as in the default. `shared`:
/// what is known beside their flows takes its share.
fn fit(memory: ByteSize, others: u64, shared: bool) -> Result<[u32; 2]> {
    let [v4, v6] = [size_of::<ct_bucket4>(), size_of::<ct_bucket6>()].map(|size| size as u64);
    let flows = 3 * u64::from(FLOWS_PER_BUCKET);
    let beside = if shared {
        flows.div_ceil(SIDE_SHARE) * size_of::<ct_side>() as u64
    } else {
        0
    };
    let pair = 2 * v4 + v6 + beside;
    let fixed = others + 2 * ROUNDING;
    let pairs = memory.0.saturating_sub(fixed) / pair;
    if pairs < u64::from(MIN_BUCKETS) {
        let least = ByteSize((fixed + u64::from(MIN_BUCKETS) * pair).next_multiple_of(1024));
        let message =
            format!("{memory} of memory is too little: maps and the smallest tables take {least}");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let flows = |buckets: u64| {
        let flows = buckets * u64::from(FLOWS_PER_BUCKET);
        u32::try_from(flows).map_or(TableConfig::MAX_FLOWS, |it| it.min(TableConfig::MAX_FLOWS))
    };
    Ok([flows(2 * pairs), flows(pairs)])
}

/// Whether this host has the memory for these tables, with a sixteenth of what is
/// free left over. The kernel takes all of it at once, and kills other processes
/// for it rather than refuse. Where it does not tell what is free, it is tried.
///
/// # Errors
/// `Invalid`; it says what the maps take, and what is free.
pub(crate) fn check_room(
    meta: &Meta,
    sketch: SketchConfig,
    side_rows: u32,
    fingerprints: FingerprintsConfig,
    ports: PortsConfig,
) -> Result<()> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available(&meminfo) {
        Some(free) => fits(
            meta,
            shape::other_maps_bytes(sketch, side_rows, fingerprints, ports),
            free,
        ),
        None => Ok(()),
    }
}

/// The same for the tables that are to take the place of those there are, which stay
/// until they have.
///
/// # Errors
/// As [`check_room`].
pub(crate) fn check_room_for_next(meta: &Meta) -> Result<()> {
    let next = Meta {
        buckets4: meta.next_buckets4,
        buckets6: meta.next_buckets6,
        max_flows4: meta.next_flows4,
        max_flows6: meta.next_flows6,
        ..Meta::default()
    };
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available(&meminfo) {
        Some(free) => fits(&next, 0, free)
            .context("the tables there are stay until their flows have moved to new ones"),
        None => Ok(()),
    }
}

fn fits(meta: &Meta, others: u64, free: u64) -> Result<()> {
    let tables = u64::from(meta.buckets4) * size_of::<ct_bucket4>() as u64
        + u64::from(meta.buckets6) * size_of::<ct_bucket6>() as u64;
    let taken = tables + others + 2 * ROUNDING;
    if taken <= free - free / 16 {
        return Ok(());
    }
    let [taken, free] = [taken, free].map(|bytes| bytes.div_ceil(1 << 20));
    let (v4, v6) = (meta.max_flows4, meta.max_flows6);
    let message = format!(
        "tables for {v4} IPv4 and {v6} IPv6 flows take {taken} MiB of memory, and this host has \
         {free} MiB available"
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

/// Bytes that can be had without swapping, by proc_meminfo(5).
fn available(meminfo: &str) -> Option<u64> {
    let mut lines = meminfo.lines();
    let amount = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = amount.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::buckets;

    /// What the tables take for so many flows, at the most.
    fn taken(flows: [u32; 2]) -> u64 {
        let [v4, v6] = flows.map(|flows| u64::from(buckets(flows)));
        v4 * size_of::<ct_bucket4>() as u64 + v6 * size_of::<ct_bucket6>() as u64 + 2 * ROUNDING
    }

    #[test]
    fn all_of_it_and_no_more() {
        const MIB: u64 = 1 << 20;
        for (others, shared) in [(0, false), (MIB, true), (5 * MIB + 17, true)] {
            for memory in [16 * MIB, 64 * MIB + 1, 1 << 30, 5 << 30] {
                let flows = fit(ByteSize(memory), others, shared).unwrap();
                let mut whole = taken(flows) + others;
                if shared {
                    // One row is among the others.
                    let rows = side_rows(flows.map(u64::from), HealthConfig::default()) - 1;
                    whole += u64::from(rows) * 4 * size_of::<ct_side>() as u64;
                }
                assert!(whole <= memory, "{flows:?}: {whole} of {memory}");
                assert!(whole + 9700 > memory, "{flows:?}: {whole} of {memory}");
                assert_eq!(flows[0], 2 * flows[1]);
            }
        }
    }

    #[test]
    fn the_least_is_told_and_is_enough() {
        let others = 2_000_000;
        let error = fit(ByteSize(1 << 20), others, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.starts_with("1M of memory is too little"), "{text}");
        let least: ByteSize = text.rsplit(' ').next().unwrap().parse().unwrap();
        let flows = fit(least, others, true).unwrap();
        assert!(taken(flows) + others <= least.0);
        assert!(fit(ByteSize(least.0 - 1024), others, true).is_err());
        assert!(fit(ByteSize(0), 0, false).is_err());
    }

    #[test]
    fn tables_have_an_end() {
        let flows = fit(ByteSize(u64::MAX), 0, true).unwrap();
        assert_eq!(flows, [TableConfig::MAX_FLOWS; 2]);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let of = |flows: u32| Meta {
            buckets4: buckets(flows),
            buckets6: buckets(1),
            max_flows4: flows.into(),
            max_flows6: 1,
            ..Meta::default()
        };
        fits(&of(1_000_000), 2 << 20, 200 << 20).unwrap();
        let error = fits(&of(1_200_000), 2 << 20, 200 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains("take 198 MiB"), "{text}");
        assert!(text.contains("has 200 MiB"), "{text}");
        fits(&of(1_200_000), 2 << 20, 220 << 20).unwrap();
    }

    #[test]
    fn what_is_free_is_read() {
        let text = "MemTotal:  24 kB\nMemAvailable:     16 kB\nBuffers: 3 kB\n";
        assert_eq!(available(text), Some(16 << 10));
        for bad in [
            "",
            "MemAvailable:",
            "MemAvailable: -1 kB",
            "MemAvailable: 16",
        ] {
            assert_eq!(available(bad), None, "{bad}");
        }
    }

    #[test]
    fn flows_are_taken_as_they_are() {
        let (mut table, sketch) = (TableConfig::default(), SketchConfig::default());
        let health = HealthConfig::default();
        let flows = table_flows(
            &table,
            sketch,
            health,
            FingerprintsConfig::default(),
            PortsConfig::default(),
        )
        .unwrap();
        assert_eq!(flows, [262_144, 131_072]);
        assert_eq!(side_rows(flows.map(u64::from), health), 98_304 / 4);
        table.max_flows_v6 = Some(3);
        assert_eq!(
            table_flows(
                &table,
                sketch,
                health,
                FingerprintsConfig::default(),
                PortsConfig::default()
            )
            .unwrap(),
            [262_144, 3]
        );
    }

    #[test]
    fn what_is_beside_has_the_room_asked_for() {
        let mut health = HealthConfig {
            max_flows: Some(9),
            ..HealthConfig::default()
        };
        assert_eq!(side_rows([1000, 1000], health), 3);
        let within = TableConfig::within(ByteSize(64 << 20));
        let flows = |health| {
            table_flows(
                &within,
                SketchConfig::default(),
                health,
                FingerprintsConfig::default(),
                PortsConfig::default(),
            )
            .unwrap()[0]
        };
        let few = flows(health);
        health.enabled = false;
        assert_eq!(side_rows([1000, 1000], health), 1);
        let none = flows(health);
        let shared = flows(HealthConfig::default());
        assert!(
            none >= few && few > shared + shared / 5,
            "{none} {few} {shared}"
        );
    }
}
