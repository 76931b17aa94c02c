//! The JSON contract of flows: `schemas/flow.schema.json`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error as _;
use serde::de::IgnoredAny;
use serde::ser::SerializeStruct;

use crate::fingerprint::FlowFingerprint;
use crate::flow::Flow;
use crate::flow::FlowState;
use crate::flow::Side;
use crate::flow::TcpLast;
use crate::health::Health;
use crate::protocol::Family;
use crate::protocol::Protocol;
use crate::text;
use crate::time::Timestamp;
use crate::tuple::L4;
use crate::tuple::Tuple;

/// A flow as it is read.
#[derive(Deserialize)]
struct FlowJson<'a> {
    family: Family,
    /// Has to be there; the number tells.
    #[serde(rename = "protocol")]
    _protocol: IgnoredAny,
    protonum: u8,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Vec<Cow<'a, str>>,
    timeout: u64,
    original: SideJson,
    reply: SideJson,
    start: Timestamp,
    last_seen: Timestamp,
    duration_ns: u64,
    #[serde(borrow)]
    interface: Option<Cow<'a, str>>,
    health: Option<Health>,
    fingerprint: Option<FlowFingerprint>,
}

#[derive(Serialize, Deserialize)]
struct SideJson {
    src: IpAddr,
    dst: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    sport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dport: Option<u16>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u16>,
    packets: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpLast>,
}

impl From<&Side> for SideJson {
    fn from(side: &Side) -> Self {
        let mut json = Self {
            src: side.tuple.src,
            dst: side.tuple.dst,
            sport: None,
            dport: None,
            kind: None,
            code: None,
            id: None,
            packets: side.packets,
            bytes: side.bytes,
            tcp: side.tcp,
        };
        match side.tuple.l4 {
            L4::Ports { src, dst } => (json.sport, json.dport) = (Some(src), Some(dst)),
            L4::Icmp { kind, code, id } => {
                (json.kind, json.code, json.id) = (Some(kind), Some(code), Some(id));
            }
            L4::Gre { .. } | L4::None => {}
        }
        json
    }
}

impl SideJson {
    /// `None` if the fields are not those of the protocol.
    fn into_side(self, protocol: Protocol) -> Option<Side> {
        let l4 = match protocol {
            Protocol::ICMP | Protocol::ICMPV6 => L4::Icmp {
                kind: self.kind?,
                code: self.code?,
                id: self.id?,
            },
            Protocol::GRE => L4::Gre {
                src_key: 0,
                dst_key: 0,
            },
            _ if protocol.has_ports() => L4::Ports {
                src: self.sport?,
                dst: self.dport?,
            },
            _ => L4::None,
        };
        Some(Side {
            tuple: Tuple {
                src: self.src,
                dst: self.dst,
                protocol,
                l4,
            },
            packets: self.packets,
            bytes: self.bytes,
            tcp: self.tcp,
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Serialize for Flow {
    /// The object of `list -o json`, see `schemas/flow.schema.json`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = if self.seen_reply {
            ["SEEN_REPLY", "ASSURED"]
        } else {
            ["UNREPLIED", "ASSURED"]
        };
        // The order is part of the contract.
        let mut json = serializer.serialize_struct("Flow", 14)?;
        json.serialize_field("family", self.family.name())?;
        json.serialize_field("protocol", self.protocol.name().unwrap_or("unknown"))?;
        json.serialize_field("protonum", &self.protocol.0)?;
        json.serialize_field("state", &self.state.name())?;
        json.serialize_field("status", &words[..1 + usize::from(self.assured)])?;
        json.serialize_field("timeout", &self.timeout.as_secs())?;
        json.serialize_field("original", &SideJson::from(&self.original))?;
        json.serialize_field("reply", &SideJson::from(&self.reply))?;
        json.serialize_field("start", &self.start)?;
        json.serialize_field("last_seen", &self.last_seen)?;
        json.serialize_field("duration_ns", &nanos(self.duration))?;
        json.serialize_field("interface", &self.interface.as_deref())?;
        json.serialize_field("health", &self.health)?;
        json.serialize_field("fingerprint", &self.fingerprint)?;
        json.end()
    }
}

impl<'de> Deserialize<'de> for Flow {
    /// Reads what is written. JSON does not carry the interface's index, GRE
    /// keys, the fraction of the timeout's second and the names of fingerprints: they come
    /// back as 0.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = FlowJson::deserialize(deserializer)?;
        let protocol = Protocol(json.protonum);
        let side = |side: SideJson| {
            side.into_side(protocol)
                .ok_or_else(|| D::Error::custom("a tuple lacks fields of its protocol"))
        };
        let mut flow = Self::new(side(json.original)?, side(json.reply)?);
        if flow.family != json.family {
            return Err(D::Error::custom("the addresses are of another family"));
        }
        flow.state = match json.state {
            Some(name) => FlowState::parse(protocol, &name).map_err(D::Error::custom)?,
            None => FlowState::None,
        };
        flow.seen_reply = json.status.iter().any(|word| word == "SEEN_REPLY");
        flow.assured = json.status.iter().any(|word| word == "ASSURED");
        flow.timeout = Duration::from_secs(json.timeout);
        flow.start = json.start;
        flow.last_seen = json.last_seen;
        flow.duration = Duration::from_nanos(json.duration_ns);
        flow.interface = json.interface.map(|name| Arc::from(&*name));
        flow.health = json.health;
        flow.fingerprint = json.fingerprint;
        Ok(flow)
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}
