//! The JSON contract of ICMP: `schemas/icmp.schema.json` and
//! `schemas/icmp_error.schema.json`.

use std::net::IpAddr;

use serde::Serialize;
use serde::Serializer;

use super::IcmpCount;
use super::IcmpError;
use super::IcmpKind;
use crate::protocol::Family;
use crate::protocol::Protocol;
use crate::time::Timestamp;
use crate::tuple::L4;
use crate::tuple::Tuple;

/// The order of fields is part of the contract, here and below.
#[derive(Serialize)]
struct KindJson {
    family: Family,
    #[serde(rename = "type")]
    kind: u8,
    type_name: Option<&'static str>,
    code: u8,
    code_name: Option<&'static str>,
}

impl From<IcmpKind> for KindJson {
    fn from(kind: IcmpKind) -> Self {
        Self {
            family: kind.family,
            kind: kind.kind,
            type_name: kind.type_name(),
            code: kind.code,
            code_name: kind.code_name(),
        }
    }
}

#[derive(Serialize)]
struct CountJson {
    #[serde(flatten)]
    kind: KindJson,
    packets: u64,
    bytes: u64,
}

impl Serialize for IcmpCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = CountJson {
            kind: self.kind.into(),
            packets: self.packets,
            bytes: self.bytes,
        };
        count.serialize(serializer)
    }
}

/// The packet inside an error.
#[derive(Serialize)]
struct AboutJson {
    protocol: Option<&'static str>,
    protonum: u8,
    src: IpAddr,
    dst: IpAddr,
    #[serde(flatten)]
    l4: Layer4Json,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Layer4Json {
    Ports {
        sport: u16,
        dport: u16,
    },
    Icmp {
        #[serde(rename = "type")]
        kind: u8,
        code: u8,
        id: u16,
    },
    Gre {
        srckey: u16,
        dstkey: u16,
    },
    None {},
}

impl From<&Tuple> for AboutJson {
    fn from(tuple: &Tuple) -> Self {
        let Protocol(protonum) = tuple.protocol;
        Self {
            protocol: tuple.protocol.name(),
            protonum,
            src: tuple.src,
            dst: tuple.dst,
            l4: match tuple.l4 {
                L4::Ports { src, dst } => Layer4Json::Ports {
                    sport: src,
                    dport: dst,
                },
                L4::Icmp { kind, code, id } => Layer4Json::Icmp { kind, code, id },
                L4::Gre { src_key, dst_key } => Layer4Json::Gre {
                    srckey: src_key,
                    dstkey: dst_key,
                },
                L4::None => Layer4Json::None {},
            },
        }
    }
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    #[serde(flatten)]
    kind: KindJson,
    from: IpAddr,
    to: IpAddr,
    about: AboutJson,
    mtu: Option<u32>,
    packets: u64,
    bytes: u64,
    related: u64,
    invalid: u64,
    first: Timestamp,
    last: Timestamp,
    interface: Option<&'a str>,
}

impl Serialize for IcmpError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let error = ErrorJson {
            kind: self.kind.into(),
            from: self.from,
            to: self.to,
            about: (&self.about).into(),
            mtu: self.mtu,
            packets: self.packets,
            bytes: self.bytes,
            related: self.related,
            invalid: self.invalid(),
            first: self.first,
            last: self.last,
            interface: self.interface.as_deref(),
        };
        error.serialize(serializer)
    }
}
