//! What packets have kept of ICMP: `bpf/icmp_count.h`.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use conntrack_core::Family;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::Tuple;
use conntrack_core::icmp::IcmpCount;
use conntrack_core::icmp::IcmpCounts;
use conntrack_core::icmp::IcmpError;
use conntrack_core::icmp::IcmpKind;
use libbpf_rs::MapCore;

use crate::clock::Clock;
use crate::datapath::Maps;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::hash;
use crate::hash::Hash;
use crate::mapped::Mapped;
use crate::row::addr;
use crate::wire::ct_icmp_count;
use crate::wire::ct_icmp_cpu;
use crate::wire::ct_icmp_error;
use crate::wire::ct_icmp_error_key;
use crate::wire::ct_icmp_kind;

/// How often each kind of message came, by kind.
///
/// # Errors
/// What the kernel says to reading the maps.
pub fn counts(maps: &Maps) -> Result<IcmpCounts> {
    let mut kinds = BTreeMap::<IcmpKind, IcmpCount>::new();
    let hash = Hash::<ct_icmp_kind, ct_icmp_count>::per_cpu(maps.icmp_counts.as_fd());
    hash::for_each(&hash, |key, count| {
        let kind = IcmpKind {
            family: family_of(key.family),
            kind: key.r#type,
            code: key.code,
        };
        let sum = kinds.entry(kind).or_insert(IcmpCount {
            kind,
            packets: 0,
            bytes: 0,
        });
        sum.packets += count.packets;
        sum.bytes += count.bytes;
        Ok::<_, Error>(())
    })
    .context("read the counts of ICMP")?;
    let mut counts = IcmpCounts {
        kinds: kinds.into_values().filter(|it| it.packets > 0).collect(),
        ..IcmpCounts::default()
    };
    let len = maps.icmp_cpus.max_entries() as usize;
    let cpus = Mapped::<ct_icmp_cpu>::read_only(&maps.icmp_cpus, len);
    let cpus = cpus.context("map the counters of ICMP")?;
    for cpu in (0..len).filter_map(|cpu| cpus.get(cpu)) {
        let [packets, bytes] = cpu.unlisted;
        counts.unlisted_packets += packets;
        counts.unlisted_bytes += bytes;
        counts.errors_unreadable += cpu.unreadable;
        counts.errors_unrecorded += cpu.unrecorded;
    }
    Ok(counts)
}

/// The errors that are recorded, in no order, and without names of interfaces.
///
/// # Errors
/// What the kernel says to reading the map.
pub fn errors(maps: &Maps, clock: &Clock) -> Result<Vec<IcmpError>> {
    let mut errors = Vec::new();
    let hash = Hash::<ct_icmp_error_key, ct_icmp_error>::new(maps.icmp_errors.as_fd());
    hash::for_each(&hash, |key, value| {
        // 0: another CPU has just put it in.
        if value.packets > 0 {
            errors.push(error(&key, &value, clock));
        }
        Ok::<_, Error>(())
    })
    .context("read the ICMP errors")?;
    Ok(errors)
}

fn family_of(family: u8) -> Family {
    match family {
        6 => Family::Ipv6,
        _ => Family::Ipv4,
    }
}

fn error(key: &ct_icmp_error_key, value: &ct_icmp_error, clock: &Clock) -> IcmpError {
    let family = family_of(key.family);
    let addr = |words| addr(family, words);
    let kind = IcmpKind {
        family,
        kind: key.r#type,
        code: key.code,
    };
    IcmpError {
        kind,
        from: addr(key.from),
        to: addr(key.to),
        about: Tuple {
            src: addr(key.src),
            dst: addr(key.dst),
            protocol: Protocol(key.proto),
            l4: layer4(key, kind.protocol()),
        },
        packets: value.packets,
        bytes: value.bytes,
        related: value.related,
        first: clock.civil(value.first),
        last: clock.civil(value.last),
        mtu: (value.mtu != 0).then_some(value.mtu),
        ifindex: value.ifindex,
        interface: None,
    }
}

fn layer4(key: &ct_icmp_error_key, icmp: Protocol) -> L4 {
    let [src, dst] = [key.src_port_be, key.dst_port_be].map(u16::from_be);
    let protocol = Protocol(key.proto);
    match protocol {
        _ if protocol.has_ports() => L4::Ports { src, dst },
        Protocol::GRE => L4::Gre {
            src_key: src,
            dst_key: dst,
        },
        _ if protocol == icmp => {
            let [kind, code] = dst.to_be_bytes();
            L4::Icmp {
                kind,
                code,
                id: src,
            }
        }
        _ => L4::None,
    }
}
