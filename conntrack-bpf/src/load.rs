//! Loading the BPF object: with maps of its own, or upon the maps of an instance
//! that runs.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;

use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;
use libbpf_rs::OpenObject;
use libbpf_rs::ProgramHandle;
use libbpf_rs::ProgramType;
use libbpf_rs::skel::OpenSkel;
use libbpf_rs::skel::SkelBuilder;

use crate::datapath::Datapath;
use crate::datapath::Entry;
use crate::datapath::LoadOptions;
use crate::datapath::Maps;
use crate::datapath::Programs;
use crate::defines::HINTS;
use crate::defines::IFACES;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::limits;
use crate::log;
use crate::ports;
use crate::prints;
use crate::probe;
use crate::records::Meta;
use crate::services;
use crate::settings;
use crate::sizing;
use crate::skel::ConntrackSkel;
use crate::skel::ConntrackSkelBuilder;
use crate::skel::OpenConntrackSkel;
use crate::skel::types;
use crate::skel::types::ct_limits;
use crate::sys;

/// The tables that programs know, IPv4 and IPv6: those that they create flows in, and
/// the others, while one takes the place of the other.
struct Known<'a> {
    own: [Side<'a>; 2],
    other: [Side<'a>; 2],
    /// Flows that `own` is sized for.
    flows: [u64; 2],
}

/// A table: its buckets, 0 if there is none, and itself, if it is there already.
type Side<'a> = (u32, Option<&'a MapHandle>);

impl<'a> Known<'a> {
    /// Those of `meta`, to be made.
    fn none(meta: &Meta) -> Self {
        Self {
            own: [(meta.buckets4, None), (meta.buckets6, None)],
            other: [(0, None); 2],
            flows: [meta.max_flows4, meta.max_flows6],
        }
    }

    /// Those in use.
    fn current(maps: &'a Maps, meta: &Meta) -> Self {
        let own = [
            (meta.buckets4, Some(&maps.table4)),
            (meta.buckets6, Some(&maps.table6)),
        ];
        let none = Self::none(meta);
        Self { own, ..none }
    }

    /// Those to come; what is not there yet is made.
    fn next(maps: &'a Maps, meta: &Meta) -> Self {
        let [current4, current6] = Self::current(maps, meta).own;
        let or = |buckets, next: &'a Option<MapHandle>, current| match buckets {
            0 => current,
            _ => (buckets, next.as_ref()),
        };
        Self {
            own: [
                or(meta.next_buckets4, &maps.next4, current4),
                or(meta.next_buckets6, &maps.next6, current6),
            ],
            other: [(0, None); 2],
            flows: [meta.next_flows4, meta.next_flows6],
        }
    }

    /// Both; flows are created in these.
    fn both(maps: &'a Maps, meta: &Meta, creates: Creates) -> Self {
        let (old, new) = (Self::current(maps, meta), Self::next(maps, meta));
        let (first, second) = match creates {
            Creates::InOld => (old, new),
            Creates::InNew => (new, old),
        };
        let replaced = [meta.next_buckets4, meta.next_buckets6].map(|buckets| buckets != 0);
        let [v4, v6] = second.own;
        let only = |replaced, table| if replaced { table } else { (0, None) };
        Self {
            other: [only(replaced[0], v4), only(replaced[1], v6)],
            ..first
        }
    }
}

/// Where programs that know two tables create flows.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Creates {
    /// In the one that is replaced.
    InOld,
    /// In the one that takes its place. Flows may move there.
    InNew,
}

/// Loads the programs and creates the maps.
///
/// # Errors
/// As [`Datapath::load`].
pub(crate) fn anew(meta: Meta, options: &LoadOptions) -> Result<Datapath> {
    let rows = sizing::side_rows([meta.max_flows4, meta.max_flows6], options.health);
    sizing::check_room(
        &meta,
        options.sketch,
        rows,
        options.fingerprints,
        options.ports,
    )?;
    let mut slot = MaybeUninit::uninit();
    let frags = !options.single_buffer && probe::xdp_frags();
    let known = Known::none(&meta);
    let mut open = open(&mut slot, &known, &meta, rows, options.replay, frags)?;
    choose(&mut open, &options.entries);
    let bans = open.maps.ct_bans.set_max_entries(options.max_bans);
    bans.context("set a map's size")?;
    let sketch = open.maps.ct_sketch.set_max_entries(options.sketch.cells());
    sketch.context("set a map's size")?;
    let [signatures, sources] = options.fingerprints.entries();
    let prints = open.maps.ct_prints.set_max_entries(signatures);
    prints.context("set a map's size")?;
    let print_of = open.maps.ct_print_of.set_max_entries(sources);
    print_of.context("set a map's size")?;
    keep_prints(&mut open, options.fingerprints.enabled)?;
    let constants = rodata(&mut open)?;
    constants.cfg_print_all = u32::from(options.every_print);
    constants.cfg_windows = u32::from(options.windows);
    let data = open.maps.data_limits_data.as_deref_mut();
    data.ok_or_else(no_section)?.ct_limits = ct_limits {
        width: options.sketch.width,
        rows: options.sketch.rows,
        room: limits::room(options.max_bans),
        ..ct_limits::default()
    };
    let data = open.maps.data_settings_data.as_deref_mut();
    data.ok_or_else(no_section)?.ct_settings = settings::encode(&options.sysctls, options.sweep);
    ports::prepare(&mut open, options.ports)?;
    let skel = load(open)?;
    let maps = own_maps(&skel).context("take over the maps")?;
    let programs = own_programs(&skel, &options.entries, false);
    let programs = programs.context("take over the programs")?;
    services::begin(&maps)?;
    meta.write(&maps.meta)?;
    Ok(Datapath {
        maps: Arc::new(maps),
        programs,
        meta,
    })
}

/// Loads the programs, for these entries, upon maps that are in use, which `meta`
/// describes. Nothing in the maps changes, and the programs see no packet yet.
///
/// # Errors
/// As [`Datapath::load`].
pub(crate) fn upon(maps: &Maps, meta: &Meta, entries: &[Entry]) -> Result<Programs> {
    upon_tables(maps, meta, &Known::current(maps, meta), entries, false)
}

/// The same with programs that know the tables in use and those to come.
///
/// # Errors
/// As [`Datapath::load`].
pub(crate) fn upon_both(
    maps: &Maps,
    meta: &Meta,
    entries: &[Entry],
    creates: Creates,
) -> Result<Programs> {
    let known = Known::both(maps, meta, creates);
    upon_tables(maps, meta, &known, entries, creates == Creates::InNew)
}

/// The same with programs that know the tables to come only.
///
/// # Errors
/// As [`Datapath::load`].
pub(crate) fn upon_next(maps: &Maps, meta: &Meta, entries: &[Entry]) -> Result<Programs> {
    upon_tables(maps, meta, &Known::next(maps, meta), entries, false)
}

/// As [`upon_next`], making the tables to come.
///
/// # Errors
/// As [`Datapath::load`].
pub(crate) fn next_anew(maps: &Maps, meta: &Meta, entries: &[Entry]) -> Result<(Programs, Maps)> {
    let mut slot = MaybeUninit::uninit();
    let known = Known::next(maps, meta);
    let skel = load(open_upon(&mut slot, maps, meta, &known, entries)?)?;
    let programs = own_programs(&skel, entries, false).context("take over the programs")?;
    let (new4, new6) = (&skel.maps.ct_flow_table_4, &skel.maps.ct_flow_table_6);
    let own = |map| MapHandle::try_from(map).context("take over a table");
    let next4 = (meta.next_buckets4 != 0)
        .then(|| own(&**new4))
        .transpose()?;
    let next6 = (meta.next_buckets6 != 0)
        .then(|| own(&**new6))
        .transpose()?;
    let next = [next4.as_ref(), next6.as_ref()];
    let maps = maps.with_tables([&maps.table4, &maps.table6], next);
    Ok((programs, maps.context("take over the maps")?))
}

fn upon_tables(
    maps: &Maps,
    meta: &Meta,
    known: &Known<'_>,
    entries: &[Entry],
    moves: bool,
) -> Result<Programs> {
    let mut slot = MaybeUninit::uninit();
    let mut open = open_upon(&mut slot, maps, meta, known, entries)?;
    open.progs.ct_evacuate_some.set_autoload(moves);
    let skel = load(open)?;
    own_programs(&skel, entries, moves).context("take over the programs")
}

fn open_upon<'a>(
    slot: &'a mut MaybeUninit<OpenObject>,
    maps: &Maps,
    meta: &Meta,
    known: &Known<'_>,
    entries: &[Entry],
) -> Result<OpenConntrackSkel<'a>> {
    let rows = maps.side.max_entries();
    let mut open = open(slot, known, meta, rows, false, probe::xdp_frags())?;
    choose(&mut open, entries);
    keep_prints(&mut open, prints::are_kept(maps))?;
    rodata(&mut open)?.cfg_ports = u32::from(ports::are_kept(maps));
    reuse(&mut open, maps, known).context("load upon the maps of a running instance")?;
    Ok(open)
}

/// The object, with sizes and constants set: the verifier sees them.
fn open<'a>(
    slot: &'a mut MaybeUninit<OpenObject>,
    known: &Known<'_>,
    meta: &Meta,
    side_rows: u32,
    replay: bool,
    frags: bool,
) -> Result<OpenConntrackSkel<'a>> {
    log::redirect_libbpf();
    probe::may_load()?;
    let mut open = ConntrackSkelBuilder::default()
        .open(slot)
        .context("open the BPF object")?;
    let cpus = sys::possible_cpus();
    let [(buckets4, _), (buckets6, _)] = known.own;
    let [(other4, _), (other6, _)] = known.other;
    let sizes = [
        (&mut open.maps.ct_flow_table_4, buckets4),
        (&mut open.maps.ct_flow_table_6, buckets6),
        (&mut open.maps.ct_flow_table_4_other, other4.max(1)),
        (&mut open.maps.ct_flow_table_6_other, other6.max(1)),
        (&mut open.maps.ct_side, side_rows),
        (&mut open.maps.ct_cpu, cpus),
        (&mut open.maps.ct_icmp_cpus, cpus),
        (&mut open.maps.ct_port_cpus, cpus),
        // And that of the program that moves flows.
        (&mut open.maps.ct_scratch, cpus + 1),
        (&mut open.maps.ct_csums, cpus),
        (&mut open.maps.ct_hints, cpus * HINTS),
        (&mut open.maps.ct_ifstats, cpus * IFACES),
    ];
    for (map, entries) in sizes {
        map.set_max_entries(entries).context("set a map's size")?;
    }
    let rodata = rodata(&mut open)?;
    rodata.cfg_buckets4 = buckets4;
    rodata.cfg_buckets6 = buckets6;
    rodata.cfg_other_buckets4 = other4;
    rodata.cfg_other_buckets6 = other6;
    rodata.cfg_max_flows4 = flows(known.flows[0]);
    rodata.cfg_max_flows6 = flows(known.flows[1]);
    rodata.cfg_side_rows = if meta.health == 0 { 0 } else { side_rows };
    rodata.cfg_health = meta.health;
    rodata.cfg_cpus = cpus;
    rodata.cfg_xdp_frags = u32::from(frags);
    rodata.cfg_hash_seed = meta.hash_seed;
    rodata.cfg_crc32c = crc32c_tables();
    rodata.cfg_replay = u32::from(replay);
    rodata.cfg_realtime = u32::from(probe::realtime());
    open.progs.ct_sweep_start.set_autoload(probe::bpf_loop());
    open.progs.ct_evacuate_some.set_autoload(false);
    if !frags {
        // The section name asks for multi-buffer XDP; libbpf forgets the
        // section when the type changes.
        open.progs.ct_xdp.set_prog_type(ProgramType::SchedCls);
        open.progs.ct_xdp.set_prog_type(ProgramType::Xdp);
    }
    Ok(open)
}

/// Whether SYNs are counted by what they tell of their sender. What is not wanted costs
/// nothing: the verifier takes it away.
fn keep_prints(open: &mut OpenConntrackSkel<'_>, wanted: bool) -> Result<()> {
    let rodata = open.maps.rodata_data.as_deref_mut();
    rodata.ok_or_else(no_section)?.cfg_prints = u32::from(wanted);
    Ok(())
}

/// The constants.
pub(crate) fn rodata<'a>(open: &'a mut OpenConntrackSkel<'_>) -> Result<&'a mut types::rodata> {
    let rodata = open.maps.rodata_data.as_deref_mut();
    rodata.ok_or_else(no_section)
}

/// Leaves the programs of other entries out.
fn choose(open: &mut OpenConntrackSkel<'_>, entries: &[Entry]) {
    let progs = &mut open.progs;
    progs.ct_xdp.set_autoload(entries.contains(&Entry::Xdp));
    let ingress = entries.contains(&Entry::TcIngress);
    progs.ct_tc_ingress.set_autoload(ingress);
    let egress = entries.contains(&Entry::TcEgress);
    progs.ct_tc_egress.set_autoload(egress);
}

/// `cfg_crc32c`: the CRC-32C of each byte, followed by 0 to 3 zeros.
fn crc32c_tables() -> [[u32; 256]; 4] {
    const REVERSED: u32 = 0x82f6_3b78;
    let step = |crc: u32| (0..8).fold(crc, |crc, _| (crc >> 1) ^ (REVERSED * (crc & 1)));
    let mut tables = [[0; 256]; 4];
    for (byte, entry) in (0..).zip(&mut tables[0]) {
        *entry = step(byte);
    }
    for zeros in 1..tables.len() {
        tables[zeros] = tables[zeros - 1].map(step);
    }
    tables
}

/// What a table is sized for; it was set from 32 bits.
fn flows(max_flows: u64) -> u32 {
    u32::try_from(max_flows).unwrap_or(u32::MAX)
}

/// Every map but tables that are not there yet, the scratches of a CPU, in which nothing outlives a packet, and
/// the constants. libbpf leaves alone what is in a map that it is handed.
fn reuse(
    open: &mut OpenConntrackSkel<'_>,
    maps: &Maps,
    known: &Known<'_>,
) -> libbpf_rs::Result<()> {
    let all = &mut open.maps;
    let ([(_, own4), (_, own6)], [(_, other4), (_, other6)]) = (known.own, known.other);
    let tables = [
        (&mut all.ct_flow_table_4, own4),
        (&mut all.ct_flow_table_6, own6),
        (&mut all.ct_flow_table_4_other, other4),
        (&mut all.ct_flow_table_6_other, other6),
    ];
    for (map, known) in tables {
        if let Some(known) = known {
            map.reuse_fd(known.as_fd())?;
        }
    }
    let pairs = [
        (&mut all.ct_cpu, &maps.cpu),
        (&mut all.ct_ifstats, &maps.ifstats),
        (&mut all.ct_frag, &maps.frag),
        (&mut all.ct_listeners, &maps.listeners),
        (&mut all.ct_rings, &maps.rings),
        (&mut all.ct_bans, &maps.bans),
        (&mut all.ct_allow, &maps.allow),
        (&mut all.ct_notes, &maps.notes),
        (&mut all.ct_lists, &maps.lists),
        (&mut all.ct_sweep, &maps.sweep),
        (&mut all.ct_meta, &maps.meta),
        (&mut all.ct_attach, &maps.attach),
        (&mut all.data_settings, &maps.settings),
        (&mut all.data_ifaces, &maps.ifaces),
        (&mut all.data_replay, &maps.replay),
        (&mut all.data_policy, &maps.policy),
        (&mut all.data_limits, &maps.limits),
        (&mut all.ct_sketch, &maps.sketch),
        (&mut all.ct_suspects, &maps.suspects),
        (&mut all.ct_strikes, &maps.strikes),
        (&mut all.ct_side, &maps.side),
        (&mut all.ct_services, &maps.services),
        (&mut all.ct_icmp_counts, &maps.icmp_counts),
        (&mut all.ct_icmp_errors, &maps.icmp_errors),
        (&mut all.ct_icmp_cpus, &maps.icmp_cpus),
        (&mut all.ct_prints, &maps.prints),
        (&mut all.ct_print_of, &maps.print_of),
        (&mut all.ct_print_bans, &maps.print_bans),
        (&mut all.ct_ports, &maps.ports),
        (&mut all.ct_port_sources, &maps.port_sources),
        (&mut all.ct_port_budgets, &maps.port_budgets),
        (&mut all.ct_port_slots, &maps.port_slots),
        (&mut all.ct_port_registers, &maps.port_registers),
        (&mut all.ct_port_cpus, &maps.port_cpus),
        (&mut all.data_ports, &maps.port_rules),
    ];
    let mut pairs = pairs.into_iter();
    pairs.try_for_each(|(map, known)| map.reuse_fd(known.as_fd()))
}

fn load<'a>(open: OpenConntrackSkel<'a>) -> Result<ConntrackSkel<'a>> {
    let (loaded, log) = log::listen(|| open.load());
    loaded.map_err(|error| refused(error, &log))
}

fn own_maps(skel: &ConntrackSkel<'_>) -> libbpf_rs::Result<Maps> {
    let own = |map: &libbpf_rs::MapMut<'_>| MapHandle::try_from(&**map);
    Ok(Maps {
        table4: own(&skel.maps.ct_flow_table_4)?,
        table6: own(&skel.maps.ct_flow_table_6)?,
        next4: None,
        next6: None,
        cpu: own(&skel.maps.ct_cpu)?,
        ifstats: own(&skel.maps.ct_ifstats)?,
        frag: own(&skel.maps.ct_frag)?,
        listeners: own(&skel.maps.ct_listeners)?,
        rings: own(&skel.maps.ct_rings)?,
        bans: own(&skel.maps.ct_bans)?,
        allow: own(&skel.maps.ct_allow)?,
        notes: own(&skel.maps.ct_notes)?,
        lists: own(&skel.maps.ct_lists)?,
        sweep: own(&skel.maps.ct_sweep)?,
        meta: own(&skel.maps.ct_meta)?,
        attach: own(&skel.maps.ct_attach)?,
        settings: own(&skel.maps.data_settings)?,
        ifaces: own(&skel.maps.data_ifaces)?,
        replay: own(&skel.maps.data_replay)?,
        policy: own(&skel.maps.data_policy)?,
        limits: own(&skel.maps.data_limits)?,
        sketch: own(&skel.maps.ct_sketch)?,
        suspects: own(&skel.maps.ct_suspects)?,
        strikes: own(&skel.maps.ct_strikes)?,
        side: own(&skel.maps.ct_side)?,
        services: own(&skel.maps.ct_services)?,
        icmp_counts: own(&skel.maps.ct_icmp_counts)?,
        icmp_errors: own(&skel.maps.ct_icmp_errors)?,
        icmp_cpus: own(&skel.maps.ct_icmp_cpus)?,
        prints: own(&skel.maps.ct_prints)?,
        print_of: own(&skel.maps.ct_print_of)?,
        print_bans: own(&skel.maps.ct_print_bans)?,
        ports: own(&skel.maps.ct_ports)?,
        port_sources: own(&skel.maps.ct_port_sources)?,
        port_budgets: own(&skel.maps.ct_port_budgets)?,
        port_slots: own(&skel.maps.ct_port_slots)?,
        port_registers: own(&skel.maps.ct_port_registers)?,
        port_cpus: own(&skel.maps.ct_port_cpus)?,
        port_rules: own(&skel.maps.data_ports)?,
    })
}

fn own_programs(
    skel: &ConntrackSkel<'_>,
    entries: &[Entry],
    moves: bool,
) -> libbpf_rs::Result<Programs> {
    let progs = &skel.progs;
    let own = |wanted: bool, program: &libbpf_rs::ProgramMut<'_>| {
        wanted.then(|| ProgramHandle::try_from(program)).transpose()
    };
    Ok(Programs {
        entries: [
            own(entries.contains(&Entry::Xdp), &progs.ct_xdp)?,
            own(entries.contains(&Entry::TcIngress), &progs.ct_tc_ingress)?,
            own(entries.contains(&Entry::TcEgress), &progs.ct_tc_egress)?,
        ],
        remove: ProgramHandle::try_from(&progs.ct_remove)?,
        sweep_start: own(probe::bpf_loop(), &progs.ct_sweep_start)?,
        evacuate: own(moves, &progs.ct_evacuate_some)?,
    })
}

pub(crate) fn no_section() -> Error {
    Error::new(ErrorKind::Other, "the BPF object lacks a data section")
}

/// Loading was permitted, so what refuses is the verifier, or memory.
fn refused(error: libbpf_rs::Error, log: &str) -> Error {
    let error = Error::from(error);
    let release = probe::release();
    match log::verifier_reason(log) {
        Some(reason) => error
            .context(format!(
                "Linux {release} refuses the BPF programs ({reason})"
            ))
            .with_kind(ErrorKind::Unsupported),
        None => error.context("load the BPF programs"),
    }
}

#[cfg(test)]
mod tests;
