//! Floor, product and empty program loaded side by side, and the driver that
//! feeds them.

use std::fmt;
use std::fs;
use std::mem::MaybeUninit;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::time::Duration;

use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::OpenObject;
use libbpf_rs::Program;
use libbpf_rs::ProgramInput;
use libbpf_rs::ProgramMut;
use libbpf_rs::num_possible_cpus;
use libbpf_rs::query::ProgInfoIter;
use libbpf_rs::query::ProgInfoQueryOptions;
use libbpf_rs::skel::OpenSkel;
use libbpf_rs::skel::SkelBuilder;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::machine::thread_cpu;
use crate::skel::drive::DriveSkel;
use crate::skel::drive::DriveSkelBuilder;
use crate::skel::drive::types as drive_types;
use crate::skel::floor::FloorSkel;
use crate::skel::floor::FloorSkelBuilder;
use crate::skel::product::ConntrackSkel;
use crate::skel::product::ConntrackSkelBuilder;
use crate::skel::product::OpenConntrackSkel;
use crate::skel::product::types;
use crate::traffic::Family;
use crate::traffic::Flows;
use crate::traffic::Step;
use crate::traffic::Traffic;

/// The programs of a rig; the values are `enum drive_target`'s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// Does nothing: its cost is taken off the others'.
    Empty = 0,
    /// The least a flow counter can do.
    Floor = 1,
    /// Ours.
    Product = 2,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Empty, Self::Floor, Self::Product];
}

/// Where packets are handed to a program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hook {
    /// XDP
    Xdp,
    /// TC ingress
    Tc,
}

/// How many flows the tables are made for. The product's has the slots that
/// its own sizing gives that many flows: five for every four.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Flows of the product's table of the row's family.
    pub product: u32,
    /// Entries of the floor's map of the row's family.
    pub floor: u32,
}

/// Slots a bucket, and flows it is meant for.
const SLOTS: u32 = 15;
const FLOWS_A_BUCKET: u32 = 12;

/// Buckets, or entries, of the family that a row does not use.
const UNUSED: u32 = 16;

/// Nothing times out while it is measured: five days, as an established TCP
/// connection has them by default.
const TIMEOUT_NS: u64 = 432_000_000_000_000;
const GRACE_NS: u64 = 10_000_000;

/// The loopback interface, which test runs pretend to come from.
const LOOPBACK: u32 = 1;

/// Slots that a table made for so many flows has.
#[must_use]
pub fn slots(flows: u32) -> u32 {
    flows.div_ceil(FLOWS_A_BUCKET) * SLOTS
}

/// The places where libbpf keeps what a [`Rig`] borrows.
#[derive(Debug)]
pub struct Place {
    product: MaybeUninit<OpenObject>,
    floor: MaybeUninit<OpenObject>,
    drive: MaybeUninit<OpenObject>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            product: MaybeUninit::uninit(),
            floor: MaybeUninit::uninit(),
            drive: MaybeUninit::uninit(),
        }
    }
}

/// What the product counted since it was loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Packets of established flows, of either direction.
    pub established: u64,
    /// Packets that passed without a flow, for whatever reason.
    pub passed: u64,
    /// Flows created.
    pub created: u64,
    /// Unassured flows pushed out by new ones.
    pub evicted: u64,
}

/// How large a program is.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramSize {
    /// Its name.
    pub name: String,
    /// Instructions after the verifier, subprograms included.
    pub instructions: usize,
    /// Machine code, bytes.
    pub machine_bytes: u32,
    /// Instructions the verifier walked through.
    pub verified: u32,
}

/// The three programs and their driver. Dropping it unloads them.
pub struct Rig<'obj> {
    product: ConntrackSkel<'obj>,
    floor: FloorSkel<'obj>,
    drive: DriveSkel<'obj>,
    hook: Hook,
}

impl fmt::Debug for Rig<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rig")
            .field("hook", &self.hook)
            .finish_non_exhaustive()
    }
}

impl<'obj> Rig<'obj> {
    /// Loads everything for rows of one hook and family.
    ///
    /// # Errors
    /// If the kernel refuses a program or a map.
    pub fn load(place: &'obj mut Place, hook: Hook, family: Family, sizes: Sizes) -> Result<Self> {
        let product = load_product(&mut place.product, hook, family, sizes.product)?;
        let floor = load_floor(&mut place.floor, family, sizes.floor)?;
        let drive = DriveSkelBuilder::default()
            .open(&mut place.drive)
            .context("open the driver")?
            .load()
            .context("load the driver")?;
        let rig = Self {
            product,
            floor,
            drive,
            hook,
        };
        rig.connect()?;
        Ok(rig)
    }

    /// Puts the programs of the hook where the driver jumps to.
    fn connect(&self) -> Result<()> {
        let map: &dyn MapCore = match self.hook {
            Hook::Xdp => &self.drive.maps.targets_xdp,
            Hook::Tc => &self.drive.maps.targets_tc,
        };
        for target in Target::ALL {
            let fd = self.program(target).as_fd().as_raw_fd();
            map.update(
                &(target as u32).to_ne_bytes(),
                &fd.to_ne_bytes(),
                MapFlags::ANY,
            )
            .context("point the driver at a program")?;
        }
        Ok(())
    }

    fn program(&self, target: Target) -> &ProgramMut<'obj> {
        match (self.hook, target) {
            (Hook::Xdp, Target::Empty) => &self.floor.progs.empty_xdp,
            (Hook::Xdp, Target::Floor) => &self.floor.progs.floor_xdp,
            (Hook::Xdp, Target::Product) => &self.product.progs.ct_xdp,
            (Hook::Tc, Target::Empty) => &self.floor.progs.empty_tc,
            (Hook::Tc, Target::Floor) => &self.floor.progs.floor_tc,
            (Hook::Tc, Target::Product) => &self.product.progs.ct_tc_ingress,
        }
    }

    fn driver(&self, target: Target) -> &ProgramMut<'obj> {
        match (self.hook, target) {
            (Hook::Xdp, Target::Empty) => &self.drive.progs.drive_xdp_empty,
            (Hook::Xdp, Target::Floor) => &self.drive.progs.drive_xdp_floor,
            (Hook::Xdp, Target::Product) => &self.drive.progs.drive_xdp_product,
            (Hook::Tc, Target::Empty) => &self.drive.progs.drive_tc_empty,
            (Hook::Tc, Target::Floor) => &self.drive.progs.drive_tc_floor,
            (Hook::Tc, Target::Product) => &self.drive.progs.drive_tc_product,
        }
    }

    /// Has every target begin anew, with these packets.
    pub fn script(&mut self, traffic: Traffic, step: Step, flows: Flows) {
        if let Some(data) = self.drive.maps.data_script_data.as_deref_mut() {
            data.script = traffic.script(step, flows);
        }
        if let Some(data) = self.drive.maps.data_cursors_data.as_deref_mut() {
            data.cursors = [drive_types::drive_cursor::default(); 3];
        }
    }

    /// Sends the next `packets` packets of the script to a program. Returns the
    /// CPU time it took.
    ///
    /// # Errors
    /// If the run fails, or if the program does not pass what it is given.
    pub fn run(&self, target: Target, frame: &[u8], packets: u32) -> Result<Duration> {
        let (pass, what) = match self.hook {
            Hook::Xdp => (2, "run XDP programs"),
            Hook::Tc => (u32::MAX, "run TC programs"),
        };
        let driver = self.driver(target);
        let input = ProgramInput {
            data_in: Some(frame),
            repeat: packets,
            ..ProgramInput::default()
        };
        let before = thread_cpu()?;
        let output = driver.test_run(input).context(what)?;
        let spent = thread_cpu()? - before;
        if output.return_value != pass {
            return Err(Error::Wrong {
                row: format!("{target:?}"),
                what: format!("the verdict is {}, not {pass}", output.return_value),
            });
        }
        Ok(spent)
    }

    /// What the product has counted, on all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn counters(&self) -> Result<Counters> {
        let mut sum = Counters::default();
        for cpu in 0..possible_cpus()? {
            let entry = self
                .product
                .maps
                .ct_cpu
                .lookup(&cpu.to_ne_bytes(), MapFlags::ANY)
                .context("read the product's counters")?
                .unwrap_or_default();
            let words = |offset: usize| {
                entry
                    .get(offset..)
                    .unwrap_or_default()
                    .chunks_exact(8)
                    .map(word_of)
            };
            let classes: Vec<u64> = words(offset_of!(types::ct_cpu, classes)).take(10).collect();
            let table: Vec<u64> = words(offset_of!(types::ct_cpu, table)).take(6).collect();
            let established = types::ct_class::CT_CLASS_ESTABLISHED.0 as usize;
            sum.established += classes[established] + classes[classes.len() / 2 + established];
            sum.passed += words(offset_of!(types::ct_cpu, passed))
                .take(types::ct_pass::CT_PASS_REASONS.0 as usize)
                .sum::<u64>();
            sum.created += table[types::ct_table_event::CT_TABLE_CREATED.0 as usize];
            sum.evicted += table[types::ct_table_event::CT_TABLE_EVICTED.0 as usize];
        }
        Ok(sum)
    }

    /// Flows the floor program knows.
    #[must_use]
    pub fn floor_flows(&self, family: Family) -> usize {
        match family {
            Family::V4 => self.floor.maps.floor4.keys().count(),
            Family::V6 => self.floor.maps.floor6.keys().count(),
        }
    }

    /// Sizes of the programs that were compared.
    ///
    /// # Errors
    /// If the kernel does not tell which programs they are.
    pub fn sizes(&self) -> Result<Vec<ProgramSize>> {
        [Target::Floor, Target::Product]
            .map(|target| size_of_program(self.program(target)))
            .into_iter()
            .collect()
    }
}

fn word_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_ne_bytes)
}

fn possible_cpus() -> Result<u32> {
    Ok(num_possible_cpus().context("ask for the number of CPUs")? as u32)
}

fn load_product<'obj>(
    place: &'obj mut MaybeUninit<OpenObject>,
    hook: Hook,
    family: Family,
    flows: u32,
) -> Result<ConntrackSkel<'obj>> {
    let cpus = possible_cpus()?;
    let buckets = flows.div_ceil(FLOWS_A_BUCKET).max(2);
    let (buckets4, buckets6) = match family {
        Family::V4 => (buckets, UNUSED),
        Family::V6 => (UNUSED, buckets),
    };
    let mut open = ConntrackSkelBuilder::default()
        .open(place)
        .context("open the product's program")?;
    let what = "size the product's maps";
    open.maps
        .ct_table4
        .set_max_entries(buckets4)
        .context(what)?;
    open.maps
        .ct_table6
        .set_max_entries(buckets6)
        .context(what)?;
    open.maps.ct_cpu.set_max_entries(cpus).context(what)?;
    open.maps.ct_scratch.set_max_entries(cpus).context(what)?;
    let interfaces = open.maps.ct_ifstats.max_entries() * cpus;
    open.maps
        .ct_ifstats
        .set_max_entries(interfaces)
        .context(what)?;
    open.progs.ct_xdp.set_autoload(hook == Hook::Xdp);
    open.progs.ct_tc_ingress.set_autoload(hook == Hook::Tc);
    open.progs.ct_tc_egress.set_autoload(false);
    configure(&mut open, [buckets4, buckets6], cpus);
    open.load().context("load the product's program")
}

/// Settings of a tracker with one interface, which is the loopback's.
fn configure(open: &mut OpenConntrackSkel<'_>, buckets: [u32; 2], cpus: u32) {
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        [rodata.cfg_buckets4, rodata.cfg_buckets6] = buckets;
        rodata.cfg_cpus = cpus;
        // Any will do, but for runs to be comparable, the same.
        rodata.cfg_hash_seed = std::array::from_fn(|i| 0x9e37_79b9_u32.wrapping_mul(i as u32 + 1));
    }
    if let Some(data) = open.maps.data_settings_data.as_deref_mut() {
        data.ct_settings.timeout_ns.fill(TIMEOUT_NS);
        data.ct_settings.grace_ns = GRACE_NS;
        data.ct_settings.tcp_loose = 1;
        data.ct_settings.tcp_max_retrans = 3;
    }
    if let Some(data) = open.maps.data_ifaces_data.as_deref_mut() {
        data.ct_ifaces[LOOPBACK as usize] = types::ct_iface {
            ifindex: LOOPBACK,
            stat: 1,
            flags: 1,
        };
    }
}

fn load_floor<'obj>(
    place: &'obj mut MaybeUninit<OpenObject>,
    family: Family,
    flows: u32,
) -> Result<FloorSkel<'obj>> {
    let mut open = FloorSkelBuilder::default()
        .open(place)
        .context("open the floor program")?;
    let (entries4, entries6) = match family {
        Family::V4 => (flows, UNUSED),
        Family::V6 => (UNUSED, flows),
    };
    open.maps
        .floor4
        .set_max_entries(entries4)
        .context("size the floor's map")?;
    open.maps
        .floor6
        .set_max_entries(entries6)
        .context("size the floor's map")?;
    open.load().context("load the floor program")
}

fn size_of_program(program: &Program<'_>) -> Result<ProgramSize> {
    let name = program.name().to_string_lossy().into_owned();
    let what = format!("ask for the size of {name}");
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).context(&what)?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("prog_id:"))
        .and_then(|id| id.trim().parse::<u32>().ok());
    let options = ProgInfoQueryOptions::default()
        .include_xlated_prog_insns(true)
        .include_jited_func_lens(true);
    let info = ProgInfoIter::with_query_opts(options)
        .find(|info| Some(info.id) == id)
        .ok_or_else(|| Error::Wrong {
            row: name.clone(),
            what: "it is not loaded".to_owned(),
        })?;
    Ok(ProgramSize {
        name,
        instructions: info.xlated_prog_insns.len() / 8,
        machine_bytes: info.jited_func_lens.iter().sum(),
        verified: info.verified_insns,
    })
}
