//! How the connections of services and interfaces are doing: `bpf/health_sum.h`.

use std::os::fd::AsFd;
use std::time::Duration;

use conntrack_core::HealthCounts;
use conntrack_core::HealthStats;
use conntrack_core::Histogram;
use conntrack_core::InterfaceHealth;
use conntrack_core::Protocol;
use conntrack_core::ServiceHealth;

use crate::counters::Meter;
use crate::datapath::Datapath;
use crate::datapath::Maps;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::hash;
use crate::hash::Hash;
use crate::wire::ct_service;
use crate::wire::ct_service_key;
use crate::wire::ct_service_kind;

fn map(maps: &Maps) -> Hash<'_, ct_service_key, ct_service> {
    Hash::new(maps.services.as_fd())
}

/// Makes the entry of all that there is no room for.
///
/// # Errors
/// What the kernel says.
pub(crate) fn begin(maps: &Maps) -> Result<()> {
    let put = map(maps).put(&ct_service_key::default(), &EMPTY);
    put.context("begin to sum up how connections are doing")
}

/// The sums; `name` says what the interface of an index is called.
///
/// # Errors
/// What the kernel says to reading the maps.
pub fn read(datapath: &Datapath, mut name: impl FnMut(u32) -> String) -> Result<HealthStats> {
    let mut stats = HealthStats::default();
    hash::for_each(&map(&datapath.maps), |key, value| {
        let counts = counts(&value);
        match ct_service_kind(key.kind.into()) {
            ct_service_kind::CT_SERVICE_PORT => {
                let port = u16::from_be(key.port_be);
                let service = ServiceHealth::new(Protocol(key.proto), port, counts);
                stats.services.push(service);
            }
            ct_service_kind::CT_SERVICE_IFACE => {
                let interface = InterfaceHealth::new(name(key.ifindex), counts);
                stats.interfaces.push(interface);
            }
            _ => stats.others = counts,
        }
        Ok::<_, Error>(())
    })
    .context("read how connections are doing")?;
    stats
        .services
        .sort_by_key(|it| (std::cmp::Reverse(it.counts.flows), it.port));
    stats
        .interfaces
        .sort_by(|a, b| (b.counts.flows, &a.interface).cmp(&(a.counts.flows, &b.interface)));
    [stats.evicted, stats.no_room] = Meter::map(datapath)?.sides();
    Ok(stats)
}

const EMPTY: ct_service = ct_service {
    flows: 0,
    retrans: 0,
    resets: 0,
    zeros: 0,
    rtt: [0; 96],
    duration: [0; 96],
};

fn counts(raw: &ct_service) -> HealthCounts {
    HealthCounts {
        flows: raw.flows,
        retransmits: raw.retrans,
        resets: raw.resets,
        zero_windows: raw.zeros,
        rtt: Histogram::new(Duration::from_nanos(1 << 10), raw.rtt.to_vec()),
        duration: Histogram::new(Duration::from_nanos(1 << 20), raw.duration.to_vec()),
    }
}
