//! `status`, to read.

use std::fmt::Display;
use std::io;
use std::io::Write;
use std::time::Duration;

use conntrack_core::Hooks;
use conntrack_core::PressureLevel;
use conntrack_core::Status;
use conntrack_core::format::human_bytes;
use conntrack_core::format::human_duration;
use conntrack_core::status::InterfaceStatus;
use conntrack_core::status::ObjectStatus;
use conntrack_core::status::TableStatus;

use super::counted;
use crate::terminal::clean;

/// Width of the words at the left.
const LABEL: usize = 12;

/// The whole, to read; `verbose` with what only those need who look at the maps.
pub(crate) fn text(status: &Status, verbose: bool, out: &mut impl Write) -> io::Result<()> {
    let uptime = human_duration(Duration::from_nanos(status.uptime_ns));
    line(out, "instance", &status.instance)?;
    line(out, "running", format!("{uptime}, since {}", status.since))?;
    let name = match &status.namespace.name {
        Some(pid) if pid.parse::<u32>().is_ok() => format!("of process {pid}, "),
        Some(name) => format!("{}, ", clean(name)),
        None => String::new(),
    };
    line(
        out,
        "namespace",
        format!("{name}net:[{}]", status.namespace.inode),
    )?;
    for interface in &status.interfaces {
        line(out, "interface", on_interface(interface))?;
    }
    if status.interfaces.is_empty() {
        line(out, "interface", "none")?;
    }
    for table in &status.tables {
        line(out, "table", on_table(table))?;
    }
    let memory = human_bytes(status.memory_bytes);
    let text = format!("{memory} of the kernel, for all maps");
    line(out, "memory", text)?;
    let (version, abi) = (clean(&status.version), status.abi_version);
    let programs = objects(&status.programs);
    let maps = match verbose {
        true => objects(&status.maps),
        false => format!("{}, -v names them", status.maps.len()),
    };
    line(out, "programs", format!("of version {version}: {programs}"))?;
    if status.upgrade_unfinished {
        let text = "an upgrade is under way or was cut short, some hooks may have another \
                    version's programs: `upgrade` ends it";
        line(out, "", text)?;
    }
    if status.resize_unfinished {
        let text = "a resize is under way or was cut short, flows may be in the old tables and in \
                    the new ones: `resize` ends it";
        line(out, "", text)?;
    }
    line(out, "maps", format!("of layout {abi}: {maps}"))?;
    let facts = status.kernel.facts.iter().map(|(name, holds)| {
        let no = if *holds { "" } else { "no " };
        format!("{no}{name}")
    });
    let facts: Vec<String> = facts.collect();
    let release = clean(&status.kernel.release);
    line(out, "kernel", format!("{release}: {}", facts.join(", ")))
}

/// How full a table is and what it takes.
fn on_table(table: &TableStatus) -> String {
    let (family, max, flows) = (table.family, table.max_flows, table.flows);
    let (memory, each) = (human_bytes(table.memory_bytes), table.bytes_per_flow);
    let pressure = match table.pressure {
        Some(level) => format!(", pressure {level}"),
        None => String::new(),
    };
    let (flows, slots) = (counted(flows, "flow"), table.slots);
    format!(
        "{family}: {flows}, sized for {max}, {slots} places{pressure}, {memory}, {each} bytes each"
    )
}

/// What is to be said of a table that fills up.
pub(crate) fn warning(table: &TableStatus) -> Option<String> {
    let level = table
        .pressure
        .filter(|level| *level != PressureLevel::None)?;
    let (family, max, flows) = (table.family, table.max_flows, table.flows);
    let slots = table.slots;
    Some(format!(
        "the pressure on the {family} table is {level}, {flows} flows where it is sized for {max} \
         and has {slots} places: when it is full, new connections push out the oldest unassured \
         ones, or pass untracked"
    ))
}

/// `eth0: native, xdp-native+tcx`, and why if that is not what one expects.
pub(crate) fn on_interface(interface: &InterfaceStatus) -> String {
    attached(&interface.name, interface.hooks, interface.why.as_deref())
}

/// The same of its parts.
pub(crate) fn attached(name: &str, hooks: Hooks, why: Option<&str>) -> String {
    let name = clean(name);
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    match hooks.mode() {
        Some(mode) => format!("{name}: {mode}, {hooks}{why}"),
        None => format!("{name}: not attached any more{why}"),
    }
}

fn objects(objects: &[ObjectStatus]) -> String {
    let words = objects.iter().map(|o| format!("{} {}", o.name, o.id));
    words.collect::<Vec<_>>().join(", ")
}

fn line(out: &mut impl Write, label: &str, text: impl Display) -> io::Result<()> {
    writeln!(out, "{label:<LABEL$}{text}")
}
