//! The JSON contract of bans: `schemas/ban.schema.json`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

use crate::ban::Ban;
use crate::ban::BanDirection;
use crate::ban::BanOrigin;
use crate::ban::BanScope;
use crate::ban::BanTarget;
use crate::text;
use crate::time::Timestamp;

/// A ban as JSON has it; the order of fields is part of the contract.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct BanJson {
    addr: IpAddr,
    prefix: u8,
    scope: BanScope,
    reason: String,
    origin: BanOrigin,
    since: Timestamp,
    until: Option<Timestamp>,
    ttl_s: Option<u64>,
    hits: u64,
    bytes: u64,
    last_hit: Option<Timestamp>,
    dry_run: bool,
    direction: BanDirection,
    unconfirmed: bool,
    #[serde(default)]
    lists: Vec<String>,
}

impl From<Ban> for BanJson {
    fn from(ban: Ban) -> Self {
        let net = ban.target.net();
        Self {
            addr: net.addr(),
            prefix: net.prefix_len(),
            scope: ban.target.scope,
            reason: ban.reason,
            origin: ban.origin,
            since: ban.since,
            until: ban.until,
            ttl_s: ban.ttl.map(|ttl| ttl.as_secs()),
            hits: ban.hits,
            bytes: ban.bytes,
            last_hit: ban.last_hit,
            dry_run: ban.dry_run,
            direction: ban.direction,
            unconfirmed: ban.unconfirmed,
            lists: ban.lists,
        }
    }
}

impl TryFrom<BanJson> for Ban {
    type Error = ipnet::PrefixLenError;

    /// What is left of the second that `ttl_s` ends in is not carried.
    fn try_from(json: BanJson) -> Result<Self, Self::Error> {
        let target = BanTarget::new(IpNet::new(json.addr, json.prefix)?);
        Ok(Self {
            reason: json.reason,
            origin: json.origin,
            until: json.until,
            ttl: json.ttl_s.map(Duration::from_secs),
            hits: json.hits,
            bytes: json.bytes,
            last_hit: json.last_hit,
            dry_run: json.dry_run,
            direction: json.direction,
            unconfirmed: json.unconfirmed,
            lists: json.lists,
            ..Self::new(target.with_scope(json.scope), json.since)
        })
    }
}

impl Serialize for BanScope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for BanScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl Serialize for BanOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for BanOrigin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}
