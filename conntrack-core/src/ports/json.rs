//! The JSON contract of ports: `schemas/port.schema.json` and
//! `schemas/port_source.schema.json`.

use std::net::IpAddr;

use serde::Serialize;
use serde::Serializer;

use super::PortName;
use super::PortRow;
use super::PortSource;
use super::Precision;
use crate::protocol::Family;
use crate::time::Timestamp;

/// The order of fields is part of the contract, here and below.
#[derive(Serialize)]
struct NameJson {
    family: Family,
    protocol: &'static str,
    port: u16,
}

impl From<PortName> for NameJson {
    fn from(name: PortName) -> Self {
        Self {
            family: name.family,
            protocol: name.protocol.name().unwrap_or("unknown"),
            port: name.port,
        }
    }
}

#[derive(Serialize)]
struct RowJson {
    #[serde(flatten)]
    name: NameJson,
    sources: u64,
    precision: &'static str,
    standard_error: Option<f64>,
    last: Timestamp,
}

impl Serialize for PortRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = RowJson {
            name: self.name.into(),
            sources: self.sources,
            precision: self.precision.name(),
            standard_error: match self.precision {
                Precision::Exact => Some(0.0),
                Precision::Estimated(error) => Some(error),
                Precision::AtLeast => None,
            },
            last: self.last,
        };
        row.serialize(serializer)
    }
}

#[derive(Serialize)]
struct SourceJson<'a> {
    #[serde(flatten)]
    name: NameJson,
    addr: IpAddr,
    first: Timestamp,
    last: Timestamp,
    connections: u64,
    interface: Option<&'a str>,
}

impl Serialize for PortSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let source = SourceJson {
            name: self.name.into(),
            addr: self.addr,
            first: self.first,
            last: self.last,
            connections: self.connections,
            interface: self.interface.as_deref(),
        };
        source.serialize(serializer)
    }
}
