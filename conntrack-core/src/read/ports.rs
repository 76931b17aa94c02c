//! `ports:`.

use serde::de::MapAccess;

use super::At;
use super::keys::one_of;
use super::keys::optional_u32;
use super::scalar::Fault;
use super::scalar::Scalar;
use super::scalar::Value;
use super::section::Section;
use crate::ports::PortsConfig;

/// The section, with what is in it already.
pub(super) struct PortsSection(pub(super) PortsConfig);

impl Section for PortsSection {
    type Output = PortsConfig;

    fn key(name: &str) -> Option<&'static str> {
        const KEYS: [&str; 6] = [
            "enabled",
            "max_sources",
            "per_port",
            "estimated_ports",
            "registers",
            "per_source",
        ];
        one_of(&KEYS, name)
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
                "max_sources" => self.0.max_sources = number,
                "per_port" => self.0.per_port = number,
                "estimated_ports" => self.0.estimated_ports = number,
                "registers" => self.0.registers = number,
                _ => self.0.per_source = number,
            }
            match self.0.fault() {
                Some((_, message)) => Err(message.into()),
                None => Ok(()),
            }
        };
        map.next_value_seed(Value { at, check })
    }

    fn finish(self) -> Result<PortsConfig, Fault> {
        Ok(self.0)
    }
}
