//! Who reaches which port.

#[cfg(feature = "serde")]
mod json;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::protocol::Family;
use crate::protocol::Protocol;
use crate::reference::distinct;
use crate::select::PortRange;
use crate::time::Timestamp;

/// What is kept of who reaches which port. It is fixed when a tracker is created.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PortsConfig {
    /// Whether anything is; if not, it costs nothing.
    pub enabled: bool,
    /// Sources that are known one by one, of all ports together: 1 to 16,777,216. Room for
    /// one takes some 150 bytes of kernel memory.
    pub max_sources: u32,
    /// Sources of one port up to which they are known one by one: 1 to 65,535. Beyond it
    /// new ones are counted by HyperLogLog.
    pub per_port: u32,
    /// Ports that may be counted so at once: 1 to 64.
    pub estimated_ports: u32,
    /// Registers of each of them: a power of two from 256 to 65,536. A register takes 96
    /// bytes; the standard error of a count is 1.04 / sqrt(registers).
    pub registers: u32,
    /// Ports that one source is entered for within a minute, 1 to 65,535: more is a scan, and
    /// is not.
    pub per_source: u32,
}

impl PortsConfig {
    /// The most `max_sources`.
    pub const MAX_SOURCES: u32 = 1 << 24;
    /// The most `per_port` and `per_source`.
    pub const MAX_PER: u32 = 65_535;
    /// The most `estimated_ports`.
    pub const MAX_ESTIMATED: u32 = 64;
    /// `registers` that can be.
    pub const REGISTERS: [u32; 2] = [1 << 8, 1 << 16];

    /// Why it cannot be: the setting, and what is wrong with it.
    pub(crate) fn fault(&self) -> Option<(&'static str, String)> {
        for (key, value, most) in [
            ("max_sources", self.max_sources, Self::MAX_SOURCES),
            ("per_port", self.per_port, Self::MAX_PER),
            ("estimated_ports", self.estimated_ports, Self::MAX_ESTIMATED),
            ("per_source", self.per_source, Self::MAX_PER),
        ] {
            if !(1..=most).contains(&value) {
                let message = format!("expected a number from 1 to {most}, found {value}");
                return Some((key, message));
            }
        }
        let (registers, [low, high]) = (self.registers, Self::REGISTERS);
        if !(low..=high).contains(&registers) || !registers.is_power_of_two() {
            let message =
                format!("expected a power of two from {low} to {high}, found {registers}");
            return Some(("registers", message));
        }
        None
    }

    /// Relative standard error of what is estimated.
    pub fn standard_error(&self) -> f64 {
        distinct::standard_error(self.registers)
    }
}

impl Default for PortsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_sources: 32_768,
            per_port: 4096,
            estimated_ports: 16,
            registers: 2048,
            per_source: 64,
        }
    }
}

/// Whose ports.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum PortDst {
    /// Anybody's: on a router also of those behind it.
    #[default]
    Any,
    /// This host's: the addresses it has at the time of asking.
    Local,
    /// Of an address or a network.
    Net(IpNet),
}

/// What to look for.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct PortQuery {
    /// Sources that came within it, up to now. Any length.
    pub window: Duration,
    /// These ports; all if there are none.
    pub ports: Vec<PortRange>,
    /// TCP or UDP; others are not kept.
    pub protocol: Option<Protocol>,
    /// IPv4 or IPv6.
    pub family: Option<Family>,
    /// Whose ports. Registers do not tell one address from another: of a port that is
    /// estimated what is known one by one is counted, and there may be more.
    pub dst: PortDst,
    /// Count sources that are addresses of this host, too. Those in registers are counted
    /// whether or not they are.
    pub with_local: bool,
}

impl PortQuery {
    /// All that came within a window, from elsewhere.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            ports: Vec::new(),
            protocol: None,
            family: None,
            dst: PortDst::Any,
            with_local: false,
        }
    }

    /// Whether a port is asked for.
    pub fn wants(&self, name: PortName) -> bool {
        let within = |range: &PortRange| range.contains(name.port);
        self.family.is_none_or(|family| family == name.family)
            && self
                .protocol
                .is_none_or(|protocol| protocol == name.protocol)
            && (self.ports.is_empty() || self.ports.iter().any(within))
    }
}

/// A port of a family and a protocol.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct PortName {
    /// IPv4 or IPv6.
    pub family: Family,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// How good a count is.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Precision {
    /// It is exact.
    Exact,
    /// It is estimated, with this relative standard error: two thirds of such counts are
    /// off by less, 95 of 100 by less than twice as much.
    Estimated(f64),
    /// There may be more, which are not known one by one.
    AtLeast,
}

impl Precision {
    /// `exact`, `estimated` or `at_least`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated(_) => "estimated",
            Self::AtLeast => "at_least",
        }
    }
}

/// How many have reached a port.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct PortRow {
    /// Which.
    pub name: PortName,
    /// Source addresses of connections that came in within the window, each once.
    pub sources: u64,
    /// How good that is.
    pub precision: Precision,
    /// When the last of them came, to a tenth of a second if it is estimated.
    pub last: Timestamp,
}

impl PortRow {
    /// A row.
    pub fn new(name: PortName, sources: u64, precision: Precision, last: Timestamp) -> Self {
        Self {
            name,
            sources,
            precision,
            last,
        }
    }
}

/// Who has reached a port.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct PortSource {
    /// Which port.
    pub name: PortName,
    /// Whence.
    pub addr: IpAddr,
    /// When it came first, as long as that is known.
    pub first: Timestamp,
    /// When it came last.
    pub last: Timestamp,
    /// Connections since it came first, also before the window.
    pub connections: u64,
    /// Index of the interface that the last one came in by.
    pub ifindex: u32,
    /// Its name.
    pub interface: Option<Arc<str>>,
}

impl PortSource {
    /// A source whose interface has no name yet.
    pub fn new(name: PortName, addr: IpAddr, [first, last]: [Timestamp; 2]) -> Self {
        Self {
            name,
            addr,
            first,
            last,
            connections: 0,
            ifindex: 0,
            interface: None,
        }
    }
}

/// Ports and how many have reached them: an iterator over the rows, sorted by port.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Ports {
    /// The rows.
    pub rows: Vec<PortRow>,
    /// Connections since the tracker was set up whose source was not entered, for it was
    /// scanning.
    pub scans: u64,
    /// The same, because more ports had too many sources than registers are kept for.
    pub without_registers: u64,
    /// Sources that were entered and had to give way to others.
    pub evicted: u64,
}

impl IntoIterator for Ports {
    type Item = PortRow;
    type IntoIter = std::vec::IntoIter<PortRow>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_configured() {
        assert_eq!(PortsConfig::default().fault(), None);
        let error = PortsConfig::default().standard_error();
        assert!((0.0229..0.0231).contains(&error), "{error}");
        type Edit = fn(&mut PortsConfig);
        let broken: [(&str, Edit); 7] = [
            ("max_sources", |c| c.max_sources = 0),
            ("max_sources", |c| c.max_sources = (1 << 24) + 1),
            ("per_port", |c| c.per_port = 65_536),
            ("estimated_ports", |c| c.estimated_ports = 65),
            ("registers", |c| c.registers = 3000),
            ("registers", |c| c.registers = 128),
            ("per_source", |c| c.per_source = 0),
        ];
        for (key, change) in broken {
            let mut config = PortsConfig::default();
            change(&mut config);
            assert_eq!(config.fault().map(|(key, _)| key), Some(key));
        }
    }

    #[test]
    fn conditions_are_on_names() {
        let name = PortName {
            family: Family::Ipv4,
            protocol: Protocol::TCP,
            port: 443,
        };
        let mut query = PortQuery::new(Duration::from_secs(60));
        assert!(query.wants(name));
        query.ports = vec![80.into(), PortRange::new(400, 500)];
        assert!(query.wants(name));
        query.ports.pop();
        assert!(!query.wants(name));
        query.ports.clear();
        query.protocol = Some(Protocol::UDP);
        assert!(!query.wants(name));
    }
}
