//! Loading the BPF object: with maps of its own, or upon the maps of an instance
//! that runs.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;

use libbpf_rs::MapHandle;
use libbpf_rs::OpenObject;
use libbpf_rs::ProgramHandle;
use libbpf_rs::ProgramType;
use libbpf_rs::skel::OpenSkel;
use libbpf_rs::skel::SkelBuilder;

use crate::datapath::Datapath;
use crate::datapath::LoadOptions;
use crate::datapath::Maps;
use crate::datapath::Programs;
use crate::defines::IFACES;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::log;
use crate::probe;
use crate::records::Meta;
use crate::settings;
use crate::sizing;
use crate::skel::ConntrackSkel;
use crate::skel::ConntrackSkelBuilder;
use crate::skel::OpenConntrackSkel;
use crate::sys;

/// Loads the programs and creates the maps.
///
/// # Errors
/// As [`Datapath::load`].
pub(crate) fn anew(meta: Meta, options: &LoadOptions) -> Result<Datapath> {
    sizing::check_room(&meta)?;
    let mut slot = MaybeUninit::uninit();
    let frags = !options.single_buffer && probe::xdp_frags();
    let mut open = open(&mut slot, &meta, options.replay, frags)?;
    let data = open.maps.data_settings_data.as_deref_mut();
    data.ok_or_else(no_section)?.ct_settings = settings::encode(&options.sysctls, options.sweep);
    let skel = load(open)?;
    let maps = own_maps(&skel).context("take over the maps")?;
    let programs = own_programs(&skel).context("take over the programs")?;
    meta.write(&maps.meta)?;
    Ok(Datapath {
        maps: Arc::new(maps),
        programs,
        meta,
    })
}

/// Loads the programs upon maps that are in use, which `meta` describes. Nothing
/// in the maps changes, and the programs see no packet yet.
///
/// # Errors
/// As [`Datapath::load`].
pub(crate) fn upon(maps: &Maps, meta: &Meta) -> Result<Programs> {
    let mut slot = MaybeUninit::uninit();
    let mut open = open(&mut slot, meta, false, probe::xdp_frags())?;
    reuse(&mut open, maps).context("load upon the maps of a running instance")?;
    let skel = load(open)?;
    own_programs(&skel).context("take over the programs")
}

/// The object, with sizes and constants set: the verifier sees them.
fn open<'a>(
    slot: &'a mut MaybeUninit<OpenObject>,
    meta: &Meta,
    replay: bool,
    frags: bool,
) -> Result<OpenConntrackSkel<'a>> {
    log::redirect_libbpf();
    probe::may_load()?;
    let mut open = ConntrackSkelBuilder::default()
        .open(slot)
        .context("open the BPF object")?;
    let cpus = sys::possible_cpus();
    let sizes = [
        (&mut open.maps.ct_table4, meta.buckets4),
        (&mut open.maps.ct_table6, meta.buckets6),
        (&mut open.maps.ct_cpu, cpus),
        (&mut open.maps.ct_scratch, cpus),
        (&mut open.maps.ct_csums, cpus),
        (&mut open.maps.ct_ifstats, cpus * IFACES),
    ];
    for (map, entries) in sizes {
        map.set_max_entries(entries).context("set a map's size")?;
    }
    let rodata = open.maps.rodata_data.as_deref_mut();
    let rodata = rodata.ok_or_else(no_section)?;
    rodata.cfg_buckets4 = meta.buckets4;
    rodata.cfg_buckets6 = meta.buckets6;
    rodata.cfg_max_flows4 = flows(meta.max_flows4);
    rodata.cfg_max_flows6 = flows(meta.max_flows6);
    rodata.cfg_cpus = cpus;
    rodata.cfg_xdp_frags = u32::from(frags);
    rodata.cfg_hash_seed = meta.hash_seed;
    rodata.cfg_crc32c = crc32c_tables();
    rodata.cfg_replay = u32::from(replay);
    open.progs.ct_sweep_start.set_autoload(probe::bpf_loop());
    if !frags {
        // The section name asks for multi-buffer XDP; libbpf forgets the
        // section when the type changes.
        open.progs.ct_xdp.set_prog_type(ProgramType::SchedCls);
        open.progs.ct_xdp.set_prog_type(ProgramType::Xdp);
    }
    Ok(open)
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

/// Every map but the scratches of a CPU, in which nothing outlives a packet, and
/// the constants. libbpf leaves alone what is in a map that it is handed.
fn reuse(open: &mut OpenConntrackSkel<'_>, maps: &Maps) -> libbpf_rs::Result<()> {
    let all = &mut open.maps;
    let pairs = [
        (&mut all.ct_table4, &maps.table4),
        (&mut all.ct_table6, &maps.table6),
        (&mut all.ct_cpu, &maps.cpu),
        (&mut all.ct_ifstats, &maps.ifstats),
        (&mut all.ct_frag, &maps.frag),
        (&mut all.ct_listeners, &maps.listeners),
        (&mut all.ct_rings, &maps.rings),
        (&mut all.ct_sweep, &maps.sweep),
        (&mut all.ct_meta, &maps.meta),
        (&mut all.ct_attach, &maps.attach),
        (&mut all.data_settings, &maps.settings),
        (&mut all.data_ifaces, &maps.ifaces),
        (&mut all.data_replay, &maps.replay),
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
        table4: own(&skel.maps.ct_table4)?,
        table6: own(&skel.maps.ct_table6)?,
        cpu: own(&skel.maps.ct_cpu)?,
        ifstats: own(&skel.maps.ct_ifstats)?,
        frag: own(&skel.maps.ct_frag)?,
        listeners: own(&skel.maps.ct_listeners)?,
        rings: own(&skel.maps.ct_rings)?,
        sweep: own(&skel.maps.ct_sweep)?,
        meta: own(&skel.maps.ct_meta)?,
        attach: own(&skel.maps.ct_attach)?,
        settings: own(&skel.maps.data_settings)?,
        ifaces: own(&skel.maps.data_ifaces)?,
        replay: own(&skel.maps.data_replay)?,
    })
}

fn own_programs(skel: &ConntrackSkel<'_>) -> libbpf_rs::Result<Programs> {
    Ok(Programs {
        xdp: ProgramHandle::try_from(&skel.progs.ct_xdp)?,
        tc_ingress: ProgramHandle::try_from(&skel.progs.ct_tc_ingress)?,
        tc_egress: ProgramHandle::try_from(&skel.progs.ct_tc_egress)?,
        remove: ProgramHandle::try_from(&skel.progs.ct_remove)?,
        sweep_start: match probe::bpf_loop() {
            true => Some(ProgramHandle::try_from(&skel.progs.ct_sweep_start)?),
            false => None,
        },
    })
}

fn no_section() -> Error {
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
