//! A loaded data path: its maps and programs as owned handles, whether this
//! process loaded them or found them pinned. Attaching is `attach`'s matter.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conntrack_core::Config;
use conntrack_core::FingerprintsConfig;
use conntrack_core::HealthConfig;
use conntrack_core::PortsConfig;
use conntrack_core::SketchConfig;
use conntrack_core::Sysctls;
use conntrack_core::TableConfig;
use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;
use libbpf_rs::ProgramHandle;
use libbpf_rs::ProgramType;

use crate::defines::ABI;
use crate::defines::SLOTS;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::load;
use crate::log;
use crate::probe;
use crate::programs;
pub use crate::programs::Entry;
pub use crate::programs::Programs;
use crate::records::Meta;
use crate::shape;
use crate::side;
use crate::sizing;
use crate::sys;
use crate::sys::BpfObject;

/// Version of the programs that this crate loads.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is fixed when a data path is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    table: TableConfig,
    pub(crate) sysctls: Sysctls,
    pub(crate) sweep: Duration,
    pub(crate) max_bans: u32,
    pub(crate) sketch: SketchConfig,
    pub(crate) health: HealthConfig,
    pub(crate) fingerprints: FingerprintsConfig,
    pub(crate) ports: PortsConfig,
    pub(crate) replay: bool,
    pub(crate) every_print: bool,
    pub(crate) single_buffer: bool,
    pub(crate) windows: bool,
    pub(crate) entries: Vec<Entry>,
}

impl LoadOptions {
    /// Tables and settings as configured.
    pub fn new(config: &Config) -> Self {
        Self {
            table: config.table,
            sysctls: config.conntrack,
            sweep: config.sweep.interval(),
            max_bans: config.bans.max,
            sketch: config.sketch,
            health: config.health,
            fingerprints: config.fingerprints,
            ports: config.ports,
            replay: false,
            every_print: false,
            single_buffer: false,
            windows: true,
            entries: Entry::ALL.to_vec(),
        }
    }

    /// Programs for these entries only; for all, unless said.
    #[must_use]
    pub fn entries(mut self, entries: &[Entry]) -> Self {
        self.entries = entries.to_vec();
        self
    }

    /// Time and frame length come from the replay map instead of the clock and
    /// the frame.
    #[must_use]
    pub fn replay(mut self) -> Self {
        self.replay = true;
        self
    }

    /// All fingerprints and sources are recorded, however many of them are new at once:
    /// for packets that are not to be kept up with.
    #[must_use]
    pub fn every_print(mut self) -> Self {
        self.every_print = true;
        self
    }

    /// XDP without frames of several buffers, as it is where the kernel has none
    /// (before Linux 5.18).
    #[must_use]
    pub fn single_buffer(mut self) -> Self {
        self.single_buffer = true;
        self
    }

    /// TCP segments are not held against their windows, as nf_conntrack does: to measure
    /// what that costs.
    #[must_use]
    pub fn without_windows(mut self) -> Self {
        self.windows = false;
        self
    }

    fn meta(&self) -> Result<Meta> {
        let mut seed = [0; 48];
        sys::random(&mut seed).context("draw the seed of the flow hash")?;
        let (words, _) = seed.as_chunks::<4>();
        let mut hash_seed = [0; 12];
        for (word, bytes) in hash_seed.iter_mut().zip(words) {
            *word = u32::from_ne_bytes(*bytes);
        }
        let [max_flows4, max_flows6] = sizing::table_flows(
            &self.table,
            self.sketch,
            self.health,
            self.fingerprints,
            self.ports,
        )?;
        Ok(Meta {
            abi: ABI,
            buckets4: buckets(max_flows4),
            buckets6: buckets(max_flows6),
            hash_seed,
            created: sys::boottime_ns(),
            max_flows4: max_flows4.into(),
            max_flows6: max_flows6.into(),
            health: side::groups(self.health),
            version: VERSION.to_owned(),
            ..Meta::default()
        })
    }
}

/// Flows that a bucket is sized for, 80 % of its slots: beyond it two choices begin
/// to leave flows without a slot.
pub(crate) const FLOWS_PER_BUCKET: u32 = SLOTS * 4 / 5;

/// Buckets of the smallest table.
pub(crate) const MIN_BUCKETS: u32 = 16;

/// Buckets for this many flows.
pub(crate) fn buckets(max_flows: u32) -> u32 {
    max_flows.div_ceil(FLOWS_PER_BUCKET).max(MIN_BUCKETS)
}

/// Names of the maps, as their pins have them.
pub(crate) const MAP_NAMES: [&str; 37] = [
    "table4",
    "table6",
    "cpu",
    "ifstats",
    "frag",
    "listeners",
    "rings",
    "bans",
    "allow",
    "notes",
    "lists",
    "sweep",
    "meta",
    "attach",
    "settings",
    "ifaces",
    "replay",
    "policy",
    "limits",
    "sketch",
    "suspects",
    "strikes",
    "side",
    "services",
    "icmp_counts",
    "icmp_errors",
    "icmp_cpus",
    "prints",
    "print_of",
    "print_bans",
    "ports",
    "port_sources",
    "port_budgets",
    "port_slots",
    "port_registers",
    "port_cpus",
    "port_rules",
];
/// Names of the tables that are to take the place of those there are.
pub(crate) const NEXT_NAMES: [&str; 2] = ["next4", "next6"];

/// The maps. Each handle owns its descriptor; `bpf/maps.h` says what is in them.
#[derive(Debug)]
#[expect(missing_docs, reason = "named as in bpf/maps.h and bpf/config.h")]
pub struct Maps {
    pub table4: MapHandle,
    pub table6: MapHandle,
    pub next4: Option<MapHandle>,
    pub next6: Option<MapHandle>,
    pub cpu: MapHandle,
    pub ifstats: MapHandle,
    pub frag: MapHandle,
    pub listeners: MapHandle,
    pub rings: MapHandle,
    pub bans: MapHandle,
    pub allow: MapHandle,
    pub notes: MapHandle,
    pub lists: MapHandle,
    pub sweep: MapHandle,
    pub meta: MapHandle,
    pub attach: MapHandle,
    pub settings: MapHandle,
    pub ifaces: MapHandle,
    pub replay: MapHandle,
    pub policy: MapHandle,
    pub limits: MapHandle,
    pub sketch: MapHandle,
    pub suspects: MapHandle,
    pub strikes: MapHandle,
    pub side: MapHandle,
    pub services: MapHandle,
    pub icmp_counts: MapHandle,
    pub icmp_errors: MapHandle,
    pub icmp_cpus: MapHandle,
    pub prints: MapHandle,
    pub print_of: MapHandle,
    pub print_bans: MapHandle,
    pub ports: MapHandle,
    pub port_sources: MapHandle,
    pub port_budgets: MapHandle,
    pub port_slots: MapHandle,
    pub port_registers: MapHandle,
    pub port_cpus: MapHandle,
    pub port_rules: MapHandle,
}

impl Maps {
    /// Every map with the name it is pinned under.
    pub fn named(&self) -> Vec<(&'static str, &MapHandle)> {
        let [
            table4,
            table6,
            cpu,
            ifstats,
            frag,
            listeners,
            rings,
            bans,
            allow,
            notes,
            lists,
            sweep,
            meta,
            attach,
            settings,
            ifaces,
            replay,
            policy,
            limits,
            sketch,
            suspects,
            strikes,
            side,
            services,
            icmp_counts,
            icmp_errors,
            icmp_cpus,
            prints,
            print_of,
            print_bans,
            ports,
            port_sources,
            port_budgets,
            port_slots,
            port_registers,
            port_cpus,
            port_rules,
        ] = MAP_NAMES;
        let mut named = vec![
            (table4, &self.table4),
            (table6, &self.table6),
            (cpu, &self.cpu),
            (ifstats, &self.ifstats),
            (frag, &self.frag),
            (listeners, &self.listeners),
            (rings, &self.rings),
            (bans, &self.bans),
            (allow, &self.allow),
            (notes, &self.notes),
            (lists, &self.lists),
            (sweep, &self.sweep),
            (meta, &self.meta),
            (attach, &self.attach),
            (settings, &self.settings),
            (ifaces, &self.ifaces),
            (replay, &self.replay),
            (policy, &self.policy),
            (limits, &self.limits),
            (sketch, &self.sketch),
            (suspects, &self.suspects),
            (strikes, &self.strikes),
            (side, &self.side),
            (services, &self.services),
            (icmp_counts, &self.icmp_counts),
            (icmp_errors, &self.icmp_errors),
            (icmp_cpus, &self.icmp_cpus),
            (prints, &self.prints),
            (print_of, &self.print_of),
            (print_bans, &self.print_bans),
            (ports, &self.ports),
            (port_sources, &self.port_sources),
            (port_budgets, &self.port_budgets),
            (port_slots, &self.port_slots),
            (port_registers, &self.port_registers),
            (port_cpus, &self.port_cpus),
            (port_rules, &self.port_rules),
        ];
        let next = [self.next4.as_ref(), self.next6.as_ref()];
        let next = NEXT_NAMES.into_iter().zip(next);
        named.extend(next.filter_map(|(name, map)| Some((name, map?))));
        named
    }

    /// The same maps, with other tables: those in use, and those to take their place.
    pub(crate) fn with_tables(
        &self,
        tables: [&MapHandle; 2],
        next: [Option<&MapHandle>; 2],
    ) -> libbpf_rs::Result<Self> {
        let own = |map: &MapHandle| MapHandle::try_from(map);
        let [table4, table6] = tables;
        let [next4, next6] = next.map(|map| map.map(own).transpose());
        Ok(Self {
            table4: own(table4)?,
            table6: own(table6)?,
            next4: next4?,
            next6: next6?,
            cpu: own(&self.cpu)?,
            ifstats: own(&self.ifstats)?,
            frag: own(&self.frag)?,
            listeners: own(&self.listeners)?,
            rings: own(&self.rings)?,
            bans: own(&self.bans)?,
            allow: own(&self.allow)?,
            notes: own(&self.notes)?,
            lists: own(&self.lists)?,
            policy: own(&self.policy)?,
            limits: own(&self.limits)?,
            sketch: own(&self.sketch)?,
            suspects: own(&self.suspects)?,
            strikes: own(&self.strikes)?,
            side: own(&self.side)?,
            services: own(&self.services)?,
            icmp_counts: own(&self.icmp_counts)?,
            icmp_errors: own(&self.icmp_errors)?,
            icmp_cpus: own(&self.icmp_cpus)?,
            prints: own(&self.prints)?,
            print_of: own(&self.print_of)?,
            print_bans: own(&self.print_bans)?,
            ports: own(&self.ports)?,
            port_sources: own(&self.port_sources)?,
            port_budgets: own(&self.port_budgets)?,
            port_slots: own(&self.port_slots)?,
            port_registers: own(&self.port_registers)?,
            port_cpus: own(&self.port_cpus)?,
            port_rules: own(&self.port_rules)?,
            sweep: own(&self.sweep)?,
            meta: own(&self.meta)?,
            attach: own(&self.attach)?,
            settings: own(&self.settings)?,
            ifaces: own(&self.ifaces)?,
            replay: own(&self.replay)?,
        })
    }

    /// The tables to come, where there are any, or those that stay.
    pub(crate) fn next_tables(&self) -> [&MapHandle; 2] {
        let [next4, next6] = [&self.next4, &self.next6].map(Option::as_ref);
        [next4.unwrap_or(&self.table4), next6.unwrap_or(&self.table6)]
    }
}

/// A data path in the kernel. Dropping it frees what is neither attached nor
/// pinned.
#[derive(Debug)]
pub struct Datapath {
    /// Its maps; other programs may come to use them.
    pub maps: Arc<Maps>,
    /// Its programs.
    pub programs: Programs,
    /// What it is, as of loading or opening.
    pub meta: Meta,
}

impl Datapath {
    /// Loads the programs and creates the maps.
    ///
    /// # Errors
    /// `NotPermitted` without the privileges for it (`CAP_BPF` and
    /// `CAP_NET_ADMIN`, or root), `Unsupported` if the verifier of this kernel
    /// refuses the programs, `Invalid` if this host has not the memory that the
    /// tables take.
    pub fn load(options: &LoadOptions) -> Result<Self> {
        let loaded = load::anew(options.meta()?, options)?;
        let (v4, v6) = (loaded.meta.max_flows4, loaded.meta.max_flows6);
        tracing::info!("the programs are loaded, with tables for {v4} IPv4 and {v6} IPv6 flows");
        for (name, program) in loaded.programs.named() {
            tracing::debug!("program {name} has id {}", program.id());
        }
        Ok(loaded)
    }

    /// Opens what is pinned in a directory of bpffs.
    ///
    /// # Errors
    /// `NotFound` if a pin is missing, `AbiMismatch` if one is not what this
    /// version would have put there, `NotPermitted`.
    pub fn open(dir: &Path) -> Result<Self> {
        /// The record changes a few times while tables are replaced.
        const TRIES: usize = 20;
        log::redirect_libbpf();
        let mut tries = 0;
        loop {
            let record = open_map(dir, "meta")?;
            let meta = shape::check_meta(dir, &record)?;
            let opened = Self::open_as(dir, &meta);
            // It is of one moment.
            let now = Meta::read(&record)?;
            tries += 1;
            if now == meta || tries == TRIES {
                return opened;
            }
        }
    }

    fn open_as(dir: &Path, meta: &Meta) -> Result<Self> {
        let open = |name| {
            let map = open_map(dir, name)?;
            shape::check_map(dir, name, &map, meta)?;
            Ok::<_, Error>(map)
        };
        let next = |name, buckets| match buckets {
            0 => Ok(None),
            _ => open(name).map(Some),
        };
        let maps = Maps {
            table4: open_table(dir, ["next4", "table4"], meta.buckets4, meta)?,
            table6: open_table(dir, ["next6", "table6"], meta.buckets6, meta)?,
            next4: next("next4", meta.next_buckets4)?,
            next6: next("next6", meta.next_buckets6)?,
            cpu: open("cpu")?,
            ifstats: open("ifstats")?,
            frag: open("frag")?,
            listeners: open("listeners")?,
            rings: open("rings")?,
            bans: open("bans")?,
            allow: open("allow")?,
            notes: open("notes")?,
            lists: open("lists")?,
            sweep: open("sweep")?,
            attach: open("attach")?,
            settings: open("settings")?,
            ifaces: open("ifaces")?,
            replay: open("replay")?,
            policy: open("policy")?,
            limits: open("limits")?,
            sketch: open("sketch")?,
            suspects: open("suspects")?,
            strikes: open("strikes")?,
            side: open("side")?,
            services: open("services")?,
            icmp_counts: open("icmp_counts")?,
            icmp_errors: open("icmp_errors")?,
            icmp_cpus: open("icmp_cpus")?,
            prints: open("prints")?,
            print_of: open("print_of")?,
            print_bans: open("print_bans")?,
            ports: open("ports")?,
            port_sources: open("port_sources")?,
            port_budgets: open("port_budgets")?,
            port_slots: open("port_slots")?,
            port_registers: open("port_registers")?,
            port_cpus: open("port_cpus")?,
            port_rules: open("port_rules")?,
            meta: open_map(dir, "meta")?,
        };
        let programs = Programs {
            entries: [
                open_entry(dir, Entry::Xdp, ProgramType::Xdp)?,
                open_entry(dir, Entry::TcIngress, ProgramType::SchedCls)?,
                open_entry(dir, Entry::TcEgress, ProgramType::SchedCls)?,
            ],
            remove: open_program(dir, programs::REMOVE, ProgramType::Syscall)?,
            sweep_start: match probe::bpf_loop() {
                true => Some(open_program(
                    dir,
                    programs::SWEEP_START,
                    ProgramType::SchedCls,
                )?),
                false => None,
            },
            evacuate: None,
        };
        Ok(Self {
            maps: Arc::new(maps),
            programs,
            meta: meta.clone(),
        })
    }
}

/// A table with this many buckets: one that has just taken another's place may not
/// have its name yet. It gets it by one renaming, so it is under one of them.
fn open_table(dir: &Path, names: [&str; 2], buckets: u32, meta: &Meta) -> Result<MapHandle> {
    let [next, name] = names;
    let path = dir.join(format!("map_{next}"));
    if path.exists()
        && let Ok(map) = open_map(dir, next)
        && map.max_entries() == buckets
    {
        shape::check_table(dir, names, &map, meta)?;
        return Ok(map);
    }
    let map = open_map(dir, name)?;
    shape::check_map(dir, name, &map, meta)?;
    Ok(map)
}

fn open_map(dir: &Path, name: &str) -> Result<MapHandle> {
    let path = dir.join(format!("map_{name}"));
    expect(&path, BpfObject::Map)?;
    MapHandle::from_pinned_path(&path).with_context(|| format!("open {}", path.display()))
}

/// `None` if nothing needs it so far.
fn open_entry(dir: &Path, entry: Entry, kind: ProgramType) -> Result<Option<ProgramHandle>> {
    match open_program(dir, entry.program(), kind) {
        Ok(program) => Ok(Some(program)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_program(dir: &Path, name: &str, kind: ProgramType) -> Result<ProgramHandle> {
    let path = dir.join(format!("prog_{name}"));
    expect(&path, BpfObject::Program)?;
    let program = ProgramHandle::from_pinned_path(&path)
        .with_context(|| format!("open {}", path.display()))?;
    shape::check_program(&path, name, &program, kind)?;
    Ok(program)
}

/// Is the pin there, and of the kind that its name says? libbpf-rs would take
/// a program for a map.
fn expect(path: &Path, kind: BpfObject) -> Result<()> {
    let (_, found) = sys::open_pin(path).with_context(|| format!("open {}", path.display()))?;
    match found {
        Some(found) if found != kind => {
            let path = path.display();
            let message = format!("{path} is a BPF {found:?}, not the {kind:?} it should be");
            Err(shape::mismatch(message))
        }
        _ => Ok(()),
    }
}
