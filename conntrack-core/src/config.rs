//! What an operator may decide: interfaces, table sizes, nf_conntrack's
//! settings. Reading it from text is the module `read`'s.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
#[cfg(feature = "serde")]
use serde::ser::SerializeMap;

use crate::bytes::ByteSize;
use crate::fingerprint::FingerprintsConfig;
use crate::health::HealthConfig;
use crate::hook::Mode;
use crate::parse::ParseError;
use crate::parse::shorten;
use crate::pattern::InterfacePattern;
use crate::ports::PortsConfig;
use crate::sysctl::Sysctls;
use crate::threshold::SketchConfig;
use crate::threshold::Threshold;

/// The whole configuration. `Config::default()` is complete but for the
/// interfaces.
///
/// With feature `serde` it reads and writes the shape of
/// `conntrack.example.yaml`; with `yaml` use [`Config::from_yaml`], whose errors
/// say where in the file they are.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Config {
    /// Where packets are seen: `interfaces` and `mode`.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub attach: AttachConfig,
    /// The name under which the tracker is pinned; `default` unless said.
    pub instance: String,
    /// Sizes of the flow tables.
    pub table: TableConfig,
    /// The background sweep.
    pub sweep: SweepConfig,
    /// nf_conntrack's settings.
    pub conntrack: Sysctls,
    /// Room for bans.
    pub bans: BansConfig,
    /// Folder in which pinned trackers, and those in the foreground, keep their bans
    /// over a restart, in one of their name each; `None`: they don't.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub state_dir: Option<PathBuf>,
    /// Networks whose packets are never dropped, whatever bans them.
    pub allow: Vec<IpNet>,
    /// The older ConnTracker's list of forwarding targets.
    pub ips: Vec<LegacyIp>,
    /// Limits on the connections that sources begin; `None`: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub threshold: Option<Threshold>,
    /// Where those are counted.
    pub sketch: SketchConfig,
    /// What is measured of TCP connections.
    pub health: HealthConfig,
    /// What is kept of SYNs and SYN+ACKs.
    pub fingerprints: FingerprintsConfig,
    /// Who reaches which port.
    pub ports: PortsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            attach: AttachConfig::default(),
            instance: "default".to_owned(),
            table: TableConfig::default(),
            sweep: SweepConfig::default(),
            conntrack: Sysctls::default(),
            bans: BansConfig::default(),
            state_dir: Some(PathBuf::from("/var/lib/conntrack")),
            allow: Vec::new(),
            ips: Vec::new(),
            threshold: None,
            sketch: SketchConfig::default(),
            health: HealthConfig::default(),
            fingerprints: FingerprintsConfig::default(),
            ports: PortsConfig::default(),
        }
    }
}

/// Which interfaces, and how.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AttachConfig {
    /// Interface names, and patterns of them such as `eth*`: see
    /// [`InterfacePattern`].
    pub interfaces: Vec<String>,
    /// The hook to use on all of them.
    pub mode: Mode,
}

/// Sizes of the flow tables, by flows or by memory. A tracker keeps those it was
/// created with until it is resized.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct TableConfig {
    /// IPv4 flows the table is sized for; not looked at with `max_memory`.
    pub max_flows: u32,
    /// IPv6 flows the table is sized for; half of `max_flows` unless said.
    pub max_flows_v6: Option<u32>,
    /// Instead of both: what the kernel's memory for all maps of the tracker stays
    /// within, the buffers of those who listen to events apart. There is room for
    /// twice as many IPv4 flows as IPv6 flows then, which is 58 % of the tables.
    pub max_memory: Option<ByteSize>,
}

impl TableConfig {
    /// The largest table: 2^26 flows, 8 GiB and more.
    pub const MAX_FLOWS: u32 = 1 << 26;

    /// IPv4 flows that are made room for unless said.
    const DEFAULT_FLOWS: u32 = 262_144;

    /// IPv6 flows the table is sized for, at least one; without `max_memory`.
    pub fn flows_v6(&self) -> u32 {
        self.max_flows_v6.unwrap_or((self.max_flows / 2).max(1))
    }

    /// Sizes by memory instead of what was there.
    pub fn within(max_memory: ByteSize) -> Self {
        Self {
            max_memory: Some(max_memory),
            ..Self::default()
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("table.max_flows", Some(self.max_flows)),
            ("table.max_flows_v6", self.max_flows_v6),
        ];
        for (key, size) in sizes {
            if let Some(size) = size {
                check_range(u64::from(size), 1, u64::from(Self::MAX_FLOWS))
                    .map_err(|message| ConfigError::new(key, message))?;
            }
        }
        let by_flows = self.max_flows != Self::DEFAULT_FLOWS || self.max_flows_v6.is_some();
        match self.max_memory {
            Some(_) if by_flows => Err(ConfigError::new("table.max_memory", SIZED_TWICE)),
            _ => Ok(()),
        }
    }
}

/// What to say of memory and flows together.
pub(crate) const SIZED_TWICE: &str = "there is max_flows or max_flows_v6 too: one of both only";

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            max_flows: Self::DEFAULT_FLOWS,
            max_flows_v6: None,
            max_memory: None,
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for TableConfig {
    /// What the sizes follow from, and nothing else.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match (self.max_memory, self.max_flows_v6) {
            (Some(max_memory), _) => map.serialize_entry("max_memory", &max_memory)?,
            (None, None) => map.serialize_entry("max_flows", &self.max_flows)?,
            (None, Some(max_flows_v6)) => {
                map.serialize_entry("max_flows", &self.max_flows)?;
                map.serialize_entry("max_flows_v6", &max_flows_v6)?;
            }
        }
        map.end()
    }
}

/// The background sweep, which takes out flows whose time is up. They are gone
/// for packets and readers at that instant anyway; it frees their slots and sends
/// their DESTROY events.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SweepConfig {
    /// Seconds in which it goes round the tables: the longest delay of a DESTROY
    /// event. 0: no sweep. At most 3600.
    pub interval: u32,
}

impl SweepConfig {
    /// The longest interval, in seconds.
    pub const MAX: u32 = 3600;

    /// The same as a duration.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval.into())
    }
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self { interval: 10 }
    }
}

/// Room for bans. It is fixed when a tracker is created.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BansConfig {
    /// How many there may be at once. Room for one takes 16 bytes of kernel memory,
    /// the ban itself some 150 more.
    pub max: u32,
}

impl BansConfig {
    /// The most that can be asked for: 2^24.
    pub const MAX: u32 = 1 << 24;
}

impl Default for BansConfig {
    fn default() -> Self {
        Self { max: 131_072 }
    }
}

/// An entry of the older ConnTracker's `ips:` list.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LegacyIp {
    /// The destination address.
    pub ip: IpAddr,
    /// The destination TCP port; any if not said.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub port: Option<u16>,
    /// The Ethernet address to forward to.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub mac: Option<MacAddr>,
}

/// An Ethernet address: `aa:bb:cc:dd:ee:ff`.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = ParseError;

    /// Takes six pairs of hexadecimal digits between colons.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new("MAC address", text, "six pairs such as aa:bb:cc:dd:ee:ff");
        let mut parts = text.split(':');
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(wrong)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(wrong()),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for MacAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::text::serialize(self, serializer)
    }
}

/// A configuration that cannot be used. `Display` gives all that is known:
/// `line 12, column 27: conntrack.nf_conntrack_tcp_loose: expected 0 or 1, found "maybe"`.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct ConfigError {
    pub(crate) position: Option<(usize, usize)>,
    pub(crate) key: String,
    pub(crate) message: String,
}

impl ConfigError {
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            position: None,
            key: key.into(),
            message: message.into(),
        }
    }

    /// The line, from 1, if the configuration came from a text.
    pub fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }

    /// The column, from 1, if the configuration came from a text.
    pub fn column(&self) -> Option<usize> {
        self.position.map(|(_, column)| column)
    }

    /// The full path of the key, such as `ips[0].mac`; empty if the text as a
    /// whole is wrong.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong with it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.position {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Checks what the types cannot: names, ranges, duplicates. Configurations
    /// from [`Config::from_yaml`] have passed it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for (index, name) in self.attach.interfaces.iter().enumerate() {
            let key = || format!("interfaces[{index}]");
            check_interface(name).map_err(|message| ConfigError::new(key(), message))?;
            if !seen.insert(name) {
                return Err(ConfigError::new(key(), listed_twice(name)));
            }
        }
        check_instance(&self.instance).map_err(|message| ConfigError::new("instance", message))?;
        self.table.validate()?;
        check_range(
            u64::from(self.sweep.interval),
            0,
            u64::from(SweepConfig::MAX),
        )
        .map_err(|message| ConfigError::new("sweep.interval", message))?;
        for (name, value) in self.conntrack.iter() {
            let key = || format!("conntrack.{name}");
            let max = Sysctls::max(name).unwrap_or(u32::MAX);
            check_range(u64::from(value), 0, u64::from(max))
                .map_err(|message| ConfigError::new(key(), message))?;
        }
        check_range(u64::from(self.bans.max), 1, u64::from(BansConfig::MAX))
            .map_err(|message| ConfigError::new("bans.max", message))?;
        if let Some(threshold) = &self.threshold {
            let valid = threshold.validate();
            valid.map_err(|error| {
                ConfigError::new(format!("threshold.{}", error.key()), error.message())
            })?;
        }
        if let Some(flows) = self.health.max_flows {
            check_range(u64::from(flows), 1, u64::from(HealthConfig::MAX_FLOWS))
                .map_err(|message| ConfigError::new("health.max_flows", message))?;
        }
        let faults = [
            ("sketch", self.sketch.fault()),
            ("fingerprints", self.fingerprints.fault()),
            ("ports", self.ports.fault()),
        ];
        for (section, fault) in faults {
            if let Some((key, message)) = fault {
                return Err(ConfigError::new(format!("{section}.{key}"), message));
            }
        }
        Ok(())
    }
}

/// A number within a range, both ends included.
pub(crate) fn check_range(value: u64, low: u64, high: u64) -> Result<(), String> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(format!(
            "expected a number from {low} to {high}, found {value}"
        ))
    }
}

/// What can be an interface's name, or a pattern of names.
pub(crate) fn check_interface(name: &str) -> Result<(), String> {
    let parsed = name.parse::<InterfacePattern>();
    parsed.map(drop).map_err(|error| error.to_string())
}

/// What to say of an interface that came before.
pub(crate) fn listed_twice(name: &str) -> String {
    format!("{name:?} is listed twice")
}

/// A name that is safe as a directory.
pub(crate) fn check_instance(name: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (1..=64).contains(&name.len());
    if fits && !name.starts_with('.') && name.bytes().all(good) {
        return Ok(());
    }
    let shown = shorten(name);
    Err(format!(
        "{shown:?} is no instance name: expected 1 to 64 letters, digits, `-`, `_` and `.`, \
         not beginning with `.`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
        assert_eq!(TableConfig::default().flows_v6(), 131_072);
    }

    #[test]
    fn what_code_can_get_wrong() {
        type Edit = fn(&mut Config);
        let broken: [(&str, Edit); 15] = [
            ("bans.max", |c| c.bans.max = 0),
            ("interfaces[0]", |c| {
                c.attach.interfaces = vec![String::new()]
            }),
            ("interfaces[1]", |c| {
                c.attach.interfaces = vec!["a".into(), "a".into()]
            }),
            ("instance", |c| c.instance = "../x".into()),
            ("instance", |c| c.instance = ".".into()),
            ("table.max_flows", |c| c.table.max_flows = 0),
            ("table.max_flows", |c| c.table.max_flows = u32::MAX),
            ("table.max_flows_v6", |c| c.table.max_flows_v6 = Some(0)),
            ("table.max_memory", |c| {
                c.table.max_memory = Some(ByteSize(1 << 30));
                c.table.max_flows = 5;
            }),
            ("table.max_memory", |c| {
                c.table.max_memory = Some(ByteSize(1 << 30));
                c.table.max_flows_v6 = Some(5);
            }),
            ("conntrack.nf_conntrack_udp_timeout", |c| {
                c.conntrack.udp_timeout = u32::MAX;
            }),
            ("threshold.new", |c| c.threshold = Some(Threshold::new(0))),
            ("sketch.rows", |c| c.sketch.rows = 0),
            ("health.max_flows", |c| c.health.max_flows = Some(0)),
            ("ports.registers", |c| c.ports.registers = 1000),
        ];
        for (key, edit) in broken {
            let mut config = Config::default();
            edit(&mut config);
            let error = config.validate().unwrap_err();
            assert_eq!(error.key(), key, "{error}");
            assert_eq!(error.line(), None);
        }
    }

    #[test]
    fn mac_addresses() {
        let mac: MacAddr = "AA:bb:0c:dd:ee:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "aa:bb:0c:dd:ee:ff");
        for bad in [
            "",
            "aa:bb:cc:dd:ee",
            "aa:bb:cc:dd:ee:ff:00",
            "aa:bb:cc:dd:ee:fg",
            "aa-bb-cc-dd-ee-ff",
            "+a:bb:cc:dd:ee:ff",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad:?}");
        }
    }
}
