//! What pinned maps and programs must look like before this version touches
//! them. libbpf would say EINVAL at best; here the pin and the sizes are named.

use std::fmt;
use std::mem::size_of;
use std::path::Path;

use conntrack_core::FingerprintsConfig;
use conntrack_core::PortsConfig;
use conntrack_core::SketchConfig;
use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;
use libbpf_rs::MapType;
use libbpf_rs::ProgramHandle;
use libbpf_rs::ProgramType;

use crate::datapath::MAP_NAMES;
use crate::defines::ABI;
use crate::defines::HINTS;
use crate::defines::ICMP_ERRORS;
use crate::defines::ICMP_PAIRS;
use crate::defines::IFACES;
use crate::defines::LISTENERS;
use crate::defines::LISTS;
use crate::defines::PRINT_BANS;
use crate::defines::SERVICES;
use crate::defines::STRIKES;
use crate::defines::SUSPECTS;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::ports;
use crate::records::Meta;
use crate::skel::types;
use crate::sys;

/// Entries of the map of bans unless asked for otherwise, and of the two beside it.
const MAX_BANS: u32 = 131_072;
const MAX_ALLOWED: u32 = 16_384;
const MAX_NOTES: u32 = 16_384;

/// Maps that take memory as entries come.
const GROWING: [&str; 3] = ["bans", "allow", "notes"];

/// Type, sizes and capacity of a map.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
struct Shape {
    kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            key,
            value,
            entries,
        } = self;
        write!(f, "{kind:?} of {entries}, key {key}, value {value} bytes")
    }
}

fn round(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(8)
}

impl Shape {
    fn array(value: usize, entries: u32) -> Self {
        Self {
            kind: MapType::Array,
            key: size_of::<u32>(),
            value,
            entries,
        }
    }

    /// Of networks.
    fn hash(value: usize, entries: u32) -> Self {
        Self {
            kind: MapType::Hash,
            key: size_of::<types::ct_ban_key>(),
            value,
            entries,
        }
    }

    fn of(map: &MapHandle) -> Self {
        Self {
            kind: map.map_type(),
            key: map.key_size() as usize,
            value: map.value_size() as usize,
            entries: map.max_entries(),
        }
    }

    /// Of an entry of a hash map.
    fn element(self) -> u64 {
        /// `struct htab_elem`, and its place in the lists of an LRU map.
        const ELEMENT: u64 = 64;
        round(self.key) + round(self.value) + ELEMENT
    }

    /// Kernel memory at the most, in whole pages.
    fn bytes(self) -> u64 {
        const PAGE: u64 = 4096;
        let entries = u64::from(self.entries);
        let bytes = match self.kind {
            MapType::Hash | MapType::LruHash => {
                // A spare element for each CPU; buckets are 16 bytes.
                let spare = u64::from(sys::possible_cpus());
                (entries + spare) * self.element() + entries.next_power_of_two() * 16
            }
            MapType::PercpuHash => {
                // As above; each CPU has a value, the element a pointer to them.
                let cpus = u64::from(sys::possible_cpus());
                let pointer = Self { value: 8, ..self };
                (entries + cpus) * (pointer.element() + cpus * round(self.value))
                    + entries.next_power_of_two() * 16
            }
            _ => entries * round(self.value),
        };
        bytes.next_multiple_of(PAGE) + PAGE
    }

    /// Of a map that takes memory as entries come, while it is empty.
    fn empty(self) -> Self {
        Self::array(16, self.entries.next_power_of_two())
    }

    /// As `bpf/maps.h` and `bpf/config.h` have it.
    fn expected(name: &str, meta: &Meta) -> Option<Self> {
        let cpus = sys::possible_cpus();
        Some(match name {
            "table4" => Self::array(size_of::<types::ct_bucket4>(), meta.buckets4),
            "table6" => Self::array(size_of::<types::ct_bucket6>(), meta.buckets6),
            "next4" => Self::array(size_of::<types::ct_bucket4>(), meta.next_buckets4),
            "next6" => Self::array(size_of::<types::ct_bucket6>(), meta.next_buckets6),
            "cpu" => Self::array(size_of::<types::ct_cpu>(), cpus),
            "ifstats" => Self::array(size_of::<types::ct_ifstat>(), cpus * IFACES),
            "frag" => Self {
                kind: MapType::LruHash,
                key: size_of::<types::ct_frag_key>(),
                value: size_of::<types::ct_frag>(),
                entries: 16_384,
            },
            "attach" => Self {
                kind: MapType::Hash,
                key: size_of::<u32>(),
                value: size_of::<types::ct_attach>(),
                entries: IFACES,
            },
            "listeners" => Self::array(size_of::<types::ct_listener>(), LISTENERS),
            "rings" => Self {
                kind: MapType::ArrayOfMaps,
                ..Self::array(size_of::<u32>(), LISTENERS)
            },
            "bans" => Self::hash(size_of::<types::ct_ban>(), MAX_BANS),
            "allow" => Self::hash(size_of::<types::ct_allowed>(), MAX_ALLOWED),
            "notes" => Self {
                key: size_of::<u64>(),
                ..Self::hash(size_of::<types::ct_note>(), MAX_NOTES)
            },
            "sketch" => Self::array(size_of::<types::ct_rate>(), SketchConfig::default().cells()),
            "suspects" => Self {
                kind: MapType::LruHash,
                key: size_of::<types::ct_limit_key>(),
                value: size_of::<types::ct_suspect>(),
                entries: SUSPECTS,
            },
            "strikes" => Self {
                kind: MapType::LruHash,
                entries: STRIKES,
                ..Self::hash(size_of::<types::ct_strike>(), STRIKES)
            },
            "services" => Self {
                kind: MapType::Hash,
                key: size_of::<types::ct_service_key>(),
                value: size_of::<types::ct_service>(),
                entries: SERVICES,
            },
            "side" => Self::array(size_of::<types::ct_side_row>(), 1),
            "icmp_counts" => Self {
                kind: MapType::PercpuHash,
                key: size_of::<types::ct_icmp_kind>(),
                value: size_of::<types::ct_icmp_count>(),
                entries: ICMP_PAIRS,
            },
            "icmp_errors" => Self {
                kind: MapType::LruHash,
                key: size_of::<types::ct_icmp_error_key>(),
                value: size_of::<types::ct_icmp_error>(),
                entries: ICMP_ERRORS,
            },
            "icmp_cpus" => Self::array(size_of::<types::ct_icmp_cpu>(), cpus),
            "prints" => Self {
                kind: MapType::LruHash,
                key: size_of::<types::ct_print>(),
                value: size_of::<types::ct_printed>(),
                entries: FingerprintsConfig::default().max_signatures,
            },
            "print_of" => Self {
                kind: MapType::LruHash,
                key: size_of::<types::ct_print_key>(),
                value: size_of::<types::ct_print_of>(),
                entries: FingerprintsConfig::default().max_sources,
            },
            "print_bans" => Self::array(size_of::<types::ct_print_ban>(), PRINT_BANS),
            "ports" => Self::array(size_of::<types::ct_port>(), 1),
            "port_sources" => Self {
                kind: MapType::LruHash,
                key: size_of::<types::ct_port_key>(),
                value: size_of::<types::ct_port_source>(),
                entries: 1,
            },
            "port_budgets" => Self {
                kind: MapType::LruHash,
                key: size_of::<types::ct_port_budget_key>(),
                value: size_of::<types::ct_port_budget>(),
                entries: 1,
            },
            "port_slots" => Self::array(size_of::<types::ct_port_slot>(), 1),
            "port_registers" => Self::array(size_of::<types::ct_port_register>(), 1),
            "port_cpus" => Self::array(size_of::<types::ct_port_cpu>(), cpus),
            "port_rules" => Self::array(size_of::<types::data_ports>(), 1),
            "lists" => Self::array(size_of::<types::ct_list>(), LISTS),
            "sweep" => Self::array(size_of::<types::ct_sweeper>(), 1),
            "settings" => Self::array(size_of::<types::data_settings>(), 1),
            "ifaces" => Self::array(size_of::<types::data_ifaces>(), 1),
            "replay" => Self::array(size_of::<types::data_replay>(), 1),
            "policy" => Self::array(size_of::<types::data_policy>(), 1),
            "limits" => Self::array(size_of::<types::data_limits>(), 1),
            _ => return None,
        })
    }
}

/// Kernel memory of all maps but the two tables on this host, rather too much than
/// too little. What is banned and allowed comes on top.
pub(crate) fn other_maps_bytes(
    sketch: SketchConfig,
    side_rows: u32,
    fingerprints: FingerprintsConfig,
    ports: PortsConfig,
) -> u64 {
    let [signatures, sources] = fingerprints.entries();
    let prints = [("prints", signatures), ("print_of", sources)];
    let ports = ports::sizes(ports);
    let sized: Vec<_> = prints.into_iter().chain(ports).collect();
    let others = MAP_NAMES.iter().filter(|name| !name.starts_with("table"));
    let shapes = others.filter_map(|name| {
        let mut shape = Shape::expected(name, &Meta::default())?;
        if let Some((_, entries)) = sized.iter().find(|(sized, _)| sized == name) {
            shape.entries = *entries;
        }
        Some(match GROWING.contains(name) {
            true => shape.empty(),
            false => shape,
        })
    });
    let private = [
        Shape::array(size_of::<types::ct_meta>(), 1),
        Shape::array(size_of::<types::ct_work>(), sys::possible_cpus() + 1),
        Shape::array(size_of::<types::ct_csum>(), sys::possible_cpus()),
        Shape::array(size_of::<types::ct_hint>(), sys::possible_cpus() * HINTS),
        Shape::array(size_of::<types::rodata>(), 1),
    ];
    let sum: u64 = shapes.chain(private).map(Shape::bytes).sum();
    let row = size_of::<types::ct_side_row>() as u64;
    sum - SketchConfig::default().bytes() + sketch.bytes() + u64::from(side_rows - 1) * row
}

/// What a map that grows takes with so many entries, rather too much than too little;
/// `None` for other maps. Before Linux 6.4 the kernel accounts for it as if it were full.
pub(crate) fn grown_bytes(name: &str, map: &MapHandle, entries: u64) -> Option<u64> {
    let shape = Shape::of(map);
    let entries = entries.min(shape.entries.into());
    let grows = GROWING.contains(&name);
    grows.then(|| shape.empty().bytes() + entries * shape.element())
}

/// Reads the record of a pinned instance, if it is of this layout.
pub(crate) fn check_meta(dir: &Path, map: &MapHandle) -> Result<Meta> {
    let expected = Shape::array(size_of::<types::ct_meta>(), 1);
    compare(&dir.join("map_meta"), Shape::of(map), expected)?;
    let meta = Meta::read(map)?;
    // 0: the process that pinned it died before it wrote the record.
    if meta.abi != ABI {
        let path = dir.display();
        let abi = meta.abi;
        return Err(mismatch(format!(
            "{path} has layout {abi}, this program knows layout {ABI}"
        )));
    }
    Ok(meta)
}

/// Checks that a pinned map is what this version would have made of `meta`.
pub(crate) fn check_map(dir: &Path, name: &str, map: &MapHandle, meta: &Meta) -> Result<()> {
    let path = dir.join(format!("map_{name}"));
    let expected = Shape::expected(name, meta).map(|expected| match name {
        // As many as was asked for when it was made.
        "bans" | "sketch" | "side" | "prints" | "print_of" | "ports" | "port_sources"
        | "port_budgets" | "port_slots" | "port_registers" => Shape {
            entries: map.max_entries(),
            ..expected
        },
        _ => expected,
    });
    match expected {
        Some(expected) => compare(&path, Shape::of(map), expected),
        None => Err(mismatch(format!("{} is no map of ours", path.display()))),
    }
}

/// Checks that a table that is pinned by the first of these names is what this version
/// would have made under the second.
pub(crate) fn check_table(
    dir: &Path,
    [pin, name]: [&str; 2],
    map: &MapHandle,
    meta: &Meta,
) -> Result<()> {
    let expected = Shape::expected(name, meta);
    let found = Shape::of(map);
    compare(
        &dir.join(format!("map_{pin}")),
        found,
        expected.unwrap_or(found),
    )
}

/// Whether a map can be read as `ct_attach`.
pub(crate) fn is_attach(map: &MapHandle) -> bool {
    let expected = Shape::expected("attach", &Meta::default());
    expected == Some(Shape::of(map))
}

/// Checks that a pinned program bears the name and the type it should.
pub(crate) fn check_program(
    path: &Path,
    name: &str,
    program: &ProgramHandle,
    kind: ProgramType,
) -> Result<()> {
    if program.name() == name && program.prog_type() == kind {
        return Ok(());
    }
    let (path, found) = (path.display(), program.name().display());
    let found_kind = program.prog_type();
    Err(mismatch(format!(
        "{path} is the {found_kind:?} program {found}, not the {kind:?} program {name}"
    )))
}

fn compare(path: &Path, found: Shape, expected: Shape) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let path = path.display();
    Err(mismatch(format!(
        "{path} is not what this version made: {found}; expected {expected}"
    )))
}

pub(crate) fn mismatch(message: String) -> Error {
    Error::new(ErrorKind::AbiMismatch, message)
}
