//! Bans as the kernel has them, and as they are spoken of.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::time::Duration;

use conntrack_core::Ban;
use conntrack_core::BanDirection;
use conntrack_core::BanOrigin;
use conntrack_core::BanScope;
use conntrack_core::BanTarget;
use conntrack_core::Protocol;
use conntrack_core::Timestamp;
use ipnet::IpNet;

use super::claims;
use super::lists::Names;
use crate::clock::Civil;
use crate::datapath::Maps;
use crate::defines::BAN_BOTH;
use crate::defines::BAN_DRY_RUN;
use crate::defines::BAN_UNCONFIRMED;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::hash::Hash;
use crate::wire::ct_ban;
use crate::wire::ct_ban_key;
use crate::wire::ct_ban_origin;

/// Of an entry that lists alone have.
pub(super) const ORIGIN_LIST: u16 = ct_ban_origin::CT_ORIGIN_LIST.0 as u16;

pub(super) const ORIGIN_THRESHOLD: u16 = ct_ban_origin::CT_ORIGIN_THRESHOLD.0 as u16;

/// As `ct_ban_over()` of `bpf/ban.h`.
pub(super) fn is_over(ban: &ct_ban, civil: &Civil) -> bool {
    ban.until != 0 && civil.boot >= ban.until
}

/// `enum ct_scope`.
pub(super) fn kind_of(scope: BanScope) -> u8 {
    match scope {
        BanScope::Any => 0,
        BanScope::Protocol(_) => 1,
        BanScope::Port(..) => 2,
    }
}

pub(super) fn number_of(origin: &BanOrigin) -> u16 {
    let number = match origin {
        BanOrigin::Manual => ct_ban_origin::CT_ORIGIN_MANUAL.0,
        BanOrigin::Api => ct_ban_origin::CT_ORIGIN_API.0,
        BanOrigin::Threshold => ct_ban_origin::CT_ORIGIN_THRESHOLD.0,
        BanOrigin::List(_) => ct_ban_origin::CT_ORIGIN_LIST.0,
    };
    number as u16
}

/// The key of a network, of any scope.
pub(crate) fn net_key(net: &IpNet) -> ct_ban_key {
    let net = net.trunc();
    let mut bytes = [0; 16];
    let family = match net.addr() {
        IpAddr::V4(addr) => {
            bytes[..4].copy_from_slice(&addr.octets());
            4
        }
        IpAddr::V6(addr) => {
            bytes = addr.octets();
            6
        }
    };
    let mut key = ct_ban_key {
        family,
        prefix: net.prefix_len(),
        ..ct_ban_key::default()
    };
    let (words, _) = bytes.as_chunks::<4>();
    for (to, from) in key.addr.iter_mut().zip(words) {
        *to = u32::from_ne_bytes(*from);
    }
    key
}

pub(super) fn key_of(target: &BanTarget) -> ct_ban_key {
    ct_ban_key {
        proto: target.scope.protocol().map_or(0, |it| it.0),
        port_be: target.scope.port().unwrap_or(0).to_be(),
        ..net_key(&target.net())
    }
}

/// The network of a key.
///
/// # Errors
/// `Other` if it is none.
pub(crate) fn net_of(key: &ct_ban_key) -> Result<IpNet> {
    let bytes = key.addr.map(u32::to_ne_bytes);
    let [a, b, c, d] = bytes;
    let addr: IpAddr = match key.family {
        4 => Ipv4Addr::from(a).into(),
        6 => {
            let mut all = [0; 16];
            let (to, _) = all.as_chunks_mut::<4>();
            to.copy_from_slice(&[a, b, c, d]);
            Ipv6Addr::from(all).into()
        }
        _ => return Err(senseless()),
    };
    IpNet::new(addr, key.prefix).map_err(|_| senseless())
}

pub(super) fn target_of(key: &ct_ban_key) -> Result<BanTarget> {
    let protocol = Protocol(key.proto);
    let scope = match (key.proto, u16::from_be(key.port_be)) {
        (0, _) => BanScope::Any,
        (_, 0) => BanScope::Protocol(protocol),
        (_, port) => BanScope::Port(protocol, port),
    };
    Ok(BanTarget::new(net_of(key)?).with_scope(scope))
}

/// A ban as it is spoken of, with the names of the lists that have it.
pub(super) fn decode(
    key: &ct_ban_key,
    value: &ct_ban,
    reason: String,
    names: &Names,
    civil: &Civil,
) -> Result<Ban> {
    let mut ban = Ban::new(target_of(key)?, Timestamp(value.since.cast_signed()));
    ban.reason = reason;
    ban.lists = names.of(value.lists);
    ban.origin = match ct_ban_origin(value.origin.into()) {
        _ if !claims::is_own(value, civil.boot) => {
            BanOrigin::List(ban.lists.first().cloned().unwrap_or_default())
        }
        ct_ban_origin::CT_ORIGIN_MANUAL => BanOrigin::Manual,
        ct_ban_origin::CT_ORIGIN_API => BanOrigin::Api,
        ct_ban_origin::CT_ORIGIN_THRESHOLD => BanOrigin::Threshold,
        _ => return Err(senseless()),
    };
    if value.flags & BAN_BOTH != 0 {
        ban.direction = BanDirection::Both;
    }
    ban.dry_run = value.flags & BAN_DRY_RUN != 0;
    ban.unconfirmed = value.flags & BAN_UNCONFIRMED != 0;
    if value.until != 0 {
        ban.until = Some(civil.of_boot(value.until));
        let left = value.until.saturating_sub(civil.boot);
        ban.ttl = Some(Duration::from_nanos(left));
    }
    (ban.hits, ban.bytes) = (value.hits, value.bytes);
    ban.last_hit = (value.last != 0).then(|| civil.of_mono(value.last));
    Ok(ban)
}

pub(super) fn senseless() -> Error {
    Error::new(ErrorKind::Other, "a ban makes no sense")
}

pub(super) fn hash_of(maps: &Maps) -> Hash<'_, ct_ban_key, ct_ban> {
    Hash::new(maps.bans.as_fd())
}
