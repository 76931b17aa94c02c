//! Who reaches which port, as packets have kept it: `bpf/ports.h`.

mod read;

use conntrack_core::PortsConfig;
use libbpf_rs::MapCore;

pub use self::read::Own;
pub use self::read::Reading;
use crate::datapath::Maps;
use crate::defines::PORT_BUDGETS;
use crate::defines::PORT_INDICES;
use crate::error::Context;
use crate::error::Result;
use crate::load;
use crate::shared::SharedWords;
use crate::skel::OpenConntrackSkel;
use crate::wire::ct_port_rules;
use crate::wire::from_bytes;

/// Entries of the maps whose size depends on what is kept.
pub(crate) fn sizes(config: PortsConfig) -> [(&'static str, u32); 5] {
    let PortsConfig {
        max_sources,
        estimated_ports,
        registers,
        ..
    } = config;
    let sizes = [
        ("ports", PORT_INDICES),
        ("port_sources", max_sources),
        ("port_budgets", PORT_BUDGETS),
        ("port_slots", estimated_ports),
        ("port_registers", estimated_ports * registers),
    ];
    match config.enabled {
        true => sizes,
        false => sizes.map(|(name, _)| (name, 1)),
    }
}

/// Sets sizes, rules and the switch, before the first load.
pub(crate) fn prepare(open: &mut OpenConntrackSkel<'_>, config: PortsConfig) -> Result<()> {
    let maps = &mut open.maps;
    for (name, entries) in sizes(config) {
        let map = match name {
            "ports" => &mut maps.ct_ports,
            "port_sources" => &mut maps.ct_port_sources,
            "port_budgets" => &mut maps.ct_port_budgets,
            "port_slots" => &mut maps.ct_port_slots,
            _ => &mut maps.ct_port_registers,
        };
        map.set_max_entries(entries).context("set a map's size")?;
    }
    let data = maps.data_ports_data.as_deref_mut();
    data.ok_or_else(load::no_section)?.ct_port_rules = ct_port_rules {
        per_port: config.per_port,
        slots: config.estimated_ports,
        registers: config.registers,
        per_source: config.per_source,
    };
    load::rodata(open)?.cfg_ports = u32::from(config.enabled);
    Ok(())
}

/// Whether ports are kept in these maps.
pub(crate) fn are_kept(maps: &Maps) -> bool {
    maps.ports.max_entries() > 1
}

/// What is kept in these maps.
///
/// # Errors
/// The kernel refuses to map one.
pub fn config(maps: &Maps) -> Result<PortsConfig> {
    let rules: ct_port_rules = from_bytes(&SharedWords::map(&maps.port_rules)?.load());
    Ok(PortsConfig {
        enabled: are_kept(maps),
        max_sources: maps.port_sources.max_entries(),
        per_port: rules.per_port,
        estimated_ports: rules.slots,
        registers: rules.registers,
        per_source: rules.per_source,
    })
}
