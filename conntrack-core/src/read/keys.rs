//! The keys of the configuration.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::de::MapAccess;
use serde::de::SeqAccess;

use super::At;
use super::list::Item;
use super::list::List;
use super::ports::PortsSection;
use super::scalar::Fault;
use super::scalar::Scalar;
use super::scalar::Value;
use super::section::Fields;
use super::section::Section;
use crate::ban::parse_net;
use crate::bytes::ByteSize;
use crate::config::BansConfig;
use crate::config::Config;
use crate::config::LegacyIp;
use crate::config::MacAddr;
use crate::config::SIZED_TWICE;
use crate::config::SweepConfig;
use crate::config::TableConfig;
use crate::config::check_instance;
use crate::config::check_interface;
use crate::config::check_range;
use crate::config::listed_twice;
use crate::fingerprint::FingerprintsConfig;
use crate::health::HealthConfig;
use crate::sysctl::Sysctls;
use crate::threshold::SketchConfig;
use crate::threshold::Threshold;

/// The key among those known.
pub(super) fn one_of(keys: &[&'static str], name: &str) -> Option<&'static str> {
    keys.iter().find(|key| **key == name).copied()
}

/// A number of 32 bits, or nothing.
pub(super) fn optional_u32(scalar: Scalar, low: u32, high: u32) -> Result<Option<u32>, Fault> {
    match scalar {
        Scalar::Null => Ok(None),
        other => {
            let number = other.number(u64::from(low), u64::from(high))?;
            Ok(u32::try_from(number).ok())
        }
    }
}

/// The whole file.
#[derive(Default)]
pub(super) struct Root {
    config: Config,
}

impl Section for Root {
    type Output = Config;

    fn key(name: &str) -> Option<&'static str> {
        const KEYS: [&str; 15] = [
            "interfaces",
            "mode",
            "instance",
            "table",
            "sweep",
            "conntrack",
            "bans",
            "state_dir",
            "allow",
            "ips",
            "threshold",
            "sketch",
            "health",
            "fingerprints",
            "ports",
        ];
        one_of(&KEYS, name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let config = &mut self.config;
        match key {
            "interfaces" => {
                let item = InterfaceItem::default();
                config.attach.interfaces = map.next_value_seed(List { at, item })?;
            }
            "mode" => {
                let check = |scalar: Scalar| scalar.parse("a mode");
                config.attach.mode = map.next_value_seed(Value { at, check })?;
            }
            "instance" => {
                let check = |scalar: Scalar| {
                    let name = scalar.text("an instance name")?;
                    check_instance(&name)?;
                    Ok(name)
                };
                config.instance = map.next_value_seed(Value { at, check })?;
            }
            "table" => {
                let section = Table {
                    table: config.table,
                    by_flows: false,
                };
                config.table = map.next_value_seed(Fields { at, section })?;
            }
            "sweep" => {
                let section = Sweep(config.sweep);
                config.sweep = map.next_value_seed(Fields { at, section })?;
            }
            "conntrack" => {
                let section = Conntrack(config.conntrack);
                config.conntrack = map.next_value_seed(Fields { at, section })?;
            }
            "bans" => {
                let section = Bans(config.bans);
                config.bans = map.next_value_seed(Fields { at, section })?;
            }
            "state_dir" => {
                let check = |scalar: Scalar| {
                    let text = scalar.text("a folder, or \"\"")?;
                    match text.as_str() {
                        "" => Ok(None),
                        text if text.starts_with('/') => Ok(Some(PathBuf::from(text))),
                        text => Err(format!("expected a path from /, found {text:?}").into()),
                    }
                };
                config.state_dir = map.next_value_seed(Value { at, check })?;
            }
            "allow" => {
                let item = NetworkItem;
                config.allow = map.next_value_seed(List { at, item })?;
            }
            "ips" => {
                let item = LegacyItem;
                config.ips = map.next_value_seed(List { at, item })?;
            }
            "threshold" => {
                let section = Limits::default();
                config.threshold = map.next_value_seed(Fields { at, section })?;
            }
            "ports" => {
                let section = PortsSection(config.ports);
                config.ports = map.next_value_seed(Fields { at, section })?;
            }
            "health" => {
                let section = Measured(config.health);
                config.health = map.next_value_seed(Fields { at, section })?;
            }
            "fingerprints" => {
                let section = Fingerprints(config.fingerprints);
                config.fingerprints = map.next_value_seed(Fields { at, section })?;
            }
            _ => {
                let section = Sketch(config.sketch);
                config.sketch = map.next_value_seed(Fields { at, section })?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Config, Fault> {
        Ok(self.config)
    }
}

/// An entry of `interfaces:`, and those before it.
#[derive(Default)]
struct InterfaceItem {
    seen: RefCell<BTreeSet<String>>,
}

impl Item for InterfaceItem {
    type Output = String;

    fn next<'de, A: SeqAccess<'de>>(
        &self,
        at: At<'_>,
        items: &mut A,
    ) -> Result<Option<String>, A::Error> {
        let check = |scalar: Scalar| {
            let name = scalar.text("an interface name")?;
            check_interface(&name)?;
            if self.seen.borrow_mut().insert(name.clone()) {
                Ok(name)
            } else {
                Err(listed_twice(&name).into())
            }
        };
        items.next_element_seed(Value { at, check })
    }
}

/// `table:`.
struct Table {
    table: TableConfig,
    /// Flows were given, be it the default.
    by_flows: bool,
}

impl Section for Table {
    type Output = TableConfig;

    fn key(name: &str) -> Option<&'static str> {
        one_of(&["max_flows", "max_flows_v6", "max_memory"], name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let table = &mut self.table;
        if key == "max_memory" {
            let check = |scalar: Scalar| match scalar {
                Scalar::Null => Ok(None),
                Scalar::Unsigned(bytes) => Ok(Some(ByteSize(bytes))),
                other => other.parse("a size").map(Some),
            };
            table.max_memory = map.next_value_seed(Value { at, check })?;
            return Ok(());
        }
        let check = |scalar: Scalar| optional_u32(scalar, 1, TableConfig::MAX_FLOWS);
        let value = map.next_value_seed(Value { at, check })?;
        self.by_flows |= value.is_some();
        match key {
            "max_flows" => table.max_flows = value.unwrap_or(table.max_flows),
            _ => table.max_flows_v6 = value,
        }
        Ok(())
    }

    fn finish(self) -> Result<TableConfig, Fault> {
        match self.table.max_memory {
            Some(_) if self.by_flows => Err(Fault {
                key: Some("max_memory".to_owned()),
                message: SIZED_TWICE.to_owned(),
            }),
            _ => Ok(self.table),
        }
    }
}

/// `sweep:`.
struct Sweep(SweepConfig);

impl Section for Sweep {
    type Output = SweepConfig;

    fn key(name: &str) -> Option<&'static str> {
        one_of(&["interval"], name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        _key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let check = |scalar: Scalar| optional_u32(scalar, 0, SweepConfig::MAX);
        let value = map.next_value_seed(Value { at, check })?;
        self.0.interval = value.unwrap_or(self.0.interval);
        Ok(())
    }

    fn finish(self) -> Result<SweepConfig, Fault> {
        Ok(self.0)
    }
}

/// `bans:`.
struct Bans(BansConfig);

impl Section for Bans {
    type Output = BansConfig;

    fn key(name: &str) -> Option<&'static str> {
        one_of(&["max"], name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        _key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let check = |scalar: Scalar| optional_u32(scalar, 1, BansConfig::MAX);
        let value = map.next_value_seed(Value { at, check })?;
        self.0.max = value.unwrap_or(self.0.max);
        Ok(())
    }

    fn finish(self) -> Result<BansConfig, Fault> {
        Ok(self.0)
    }
}

/// `threshold:`.
#[derive(Default)]
struct Limits(Option<Threshold>);

impl Section for Limits {
    type Output = Option<Threshold>;

    fn key(name: &str) -> Option<&'static str> {
        one_of(&Threshold::KEYS, name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let check = |scalar: Scalar| {
            let threshold = self.0.get_or_insert_default();
            let set = threshold.set(key, &scalar.into_text());
            set.map_err(|error| error.message().to_owned().into())
        };
        map.next_value_seed(Value { at, check })
    }

    fn finish(self) -> Result<Self::Output, Fault> {
        if let Some(threshold) = &self.0 {
            threshold.validate().map_err(|error| Fault {
                key: Some(error.key().to_owned()),
                message: error.message().to_owned(),
            })?;
        }
        Ok(self.0)
    }

    /// The limit of an address.
    fn number(number: u64) -> Option<Result<Self::Output, Fault>> {
        let limit = check_range(number, 1, u64::from(Threshold::MAX));
        Some(match (limit, u32::try_from(number)) {
            (Err(message), _) => Err(message.into()),
            (Ok(()), Ok(number)) => Ok(Some(Threshold::new(number))),
            (Ok(()), Err(error)) => Err(error.to_string().into()),
        })
    }
}

/// `fingerprints:`.
struct Fingerprints(FingerprintsConfig);

impl Section for Fingerprints {
    type Output = FingerprintsConfig;

    fn key(name: &str) -> Option<&'static str> {
        one_of(&["enabled", "max_signatures", "max_sources"], name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let check = |scalar: Scalar| {
            if key == "enabled" {
                self.0.enabled = scalar.switch()? != 0;
                return Ok(());
            }
            let Some(number) = optional_u32(scalar, 0, u32::MAX)? else {
                return Ok(());
            };
            match key {
                "max_signatures" => self.0.max_signatures = number,
                _ => self.0.max_sources = number,
            }
            match self.0.fault() {
                Some((_, message)) => Err(message.into()),
                None => Ok(()),
            }
        };
        map.next_value_seed(Value { at, check })
    }

    fn finish(self) -> Result<FingerprintsConfig, Fault> {
        Ok(self.0)
    }
}

/// `sketch:`.
struct Sketch(SketchConfig);

impl Section for Sketch {
    type Output = SketchConfig;

    fn key(name: &str) -> Option<&'static str> {
        one_of(&["width", "rows"], name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let check = |scalar: Scalar| {
            let Some(number) = optional_u32(scalar, 0, u32::MAX)? else {
                return Ok(());
            };
            match key {
                "width" => self.0.width = number,
                _ => self.0.rows = number,
            }
            match self.0.fault() {
                Some((_, message)) => Err(message.into()),
                None => Ok(()),
            }
        };
        map.next_value_seed(Value { at, check })
    }

    fn finish(self) -> Result<SketchConfig, Fault> {
        Ok(self.0)
    }
}

/// `health:`.
struct Measured(HealthConfig);

impl Section for Measured {
    type Output = HealthConfig;

    fn key(name: &str) -> Option<&'static str> {
        one_of(&["enabled", "max_flows", "rtt", "loss", "window"], name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let check = |scalar: Scalar| {
            if key == "max_flows" {
                self.0.max_flows = optional_u32(scalar, 1, HealthConfig::MAX_FLOWS)?;
                return Ok(());
            }
            let on = scalar.switch()? != 0;
            match key {
                "enabled" => self.0.enabled = on,
                "rtt" => self.0.rtt = on,
                "loss" => self.0.loss = on,
                _ => self.0.window = on,
            }
            Ok(())
        };
        map.next_value_seed(Value { at, check })
    }

    fn finish(self) -> Result<HealthConfig, Fault> {
        Ok(self.0)
    }
}

/// An entry of `allow:`.
struct NetworkItem;

impl Item for NetworkItem {
    type Output = IpNet;

    fn next<'de, A: SeqAccess<'de>>(
        &self,
        at: At<'_>,
        items: &mut A,
    ) -> Result<Option<IpNet>, A::Error> {
        let check = |scalar: Scalar| {
            let text = scalar.text("an address or a network")?;
            let net = parse_net(&text).map_err(|error| error.to_string())?;
            Ok(net.0)
        };
        items.next_element_seed(Value { at, check })
    }
}

/// `conntrack:`.
struct Conntrack(Sysctls);

impl Section for Conntrack {
    type Output = Sysctls;

    fn key(name: &str) -> Option<&'static str> {
        Sysctls::full_name(name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let check = |scalar: Scalar| {
            let max = Sysctls::max(key).map_err(|error| error.to_string())?;
            let value = match max {
                1 => scalar.switch()?,
                _ => scalar.number(0, u64::from(max))?,
            };
            let set = self.0.set(key, value);
            set.map_err(|error| error.to_string().into())
        };
        map.next_value_seed(Value { at, check })
    }

    fn finish(self) -> Result<Sysctls, Fault> {
        Ok(self.0)
    }
}

/// An entry of `ips:`.
struct LegacyItem;

impl Item for LegacyItem {
    type Output = LegacyIp;

    fn next<'de, A: SeqAccess<'de>>(
        &self,
        at: At<'_>,
        items: &mut A,
    ) -> Result<Option<LegacyIp>, A::Error> {
        let section = LegacyEntry::default();
        items.next_element_seed(Fields { at, section })
    }
}

/// What is known of an entry of `ips:` so far.
#[derive(Default)]
struct LegacyEntry {
    ip: Option<IpAddr>,
    port: Option<u16>,
    mac: Option<MacAddr>,
}

impl Section for LegacyEntry {
    type Output = LegacyIp;

    fn key(name: &str) -> Option<&'static str> {
        one_of(&["ip", "port", "mac"], name)
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            "ip" => {
                let check = |scalar: Scalar| scalar.parse("an IP address");
                self.ip = Some(map.next_value_seed(Value { at, check })?);
            }
            "port" => {
                let check = |scalar: Scalar| Ok(u16::try_from(scalar.number(1, 65_535)?).ok());
                self.port = map.next_value_seed(Value { at, check })?;
            }
            _ => {
                let check = |scalar: Scalar| scalar.parse("a MAC address");
                self.mac = Some(map.next_value_seed(Value { at, check })?);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<LegacyIp, Fault> {
        let Self { ip, port, mac } = self;
        let ip = ip.ok_or_else(|| Fault {
            key: Some("ip".to_owned()),
            message: "the key is missing".to_owned(),
        })?;
        Ok(LegacyIp { ip, port, mac })
    }
}
