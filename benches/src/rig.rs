//! Floor, product and empty program loaded side by side, and the driver that
//! feeds them.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use conntrack_bpf::counters::Meter;
use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::Entry;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_core::Config;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use libbpf_rs::OpenObject;
use libbpf_rs::ProgramInput;
use libbpf_rs::ProgramMut;
use libbpf_rs::skel::OpenSkel;
use libbpf_rs::skel::SkelBuilder;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::machine::thread_cpu;
use crate::program::ProgramSize;
use crate::skel::drive::DriveSkel;
use crate::skel::drive::DriveSkelBuilder;
use crate::skel::drive::types::drive_cursor;
use crate::skel::floor::FloorSkel;
use crate::skel::floor::FloorSkelBuilder;
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

impl Hook {
    /// What a program returns that lets a packet pass: `XDP_PASS`,
    /// `TC_ACT_UNSPEC`.
    fn pass(self) -> u32 {
        match self {
            Self::Xdp => 2,
            Self::Tc => u32::MAX,
        }
    }
}

/// Slots of a bucket of the product's tables.
const SLOTS: u32 = 15;

/// Entries of the floor's map of the family that a row does not use.
const UNUSED: u32 = 16;

/// The interface that test runs pretend to come from, the loopback, as one of
/// the product's: `struct ct_iface` with its ifindex, counter slot and flags.
const LOOPBACK: u32 = 1;
const IFACE_SIZE: usize = 8;
const IFACE_STAT: u16 = 1;
const IFACE_ATTACHED: u16 = 1;

/// What the product counted since it was loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Packets of established flows, of either direction.
    pub established: u64,
    /// Flows created.
    pub created: u64,
    /// Unassured flows pushed out by new ones.
    pub evicted: u64,
}

/// The three programs and their driver. Dropping it unloads them.
pub struct Rig {
    product: Datapath,
    meter: Meter,
    floor: FloorSkel<'static>,
    drive: DriveSkel<'static>,
    hook: Hook,
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rig")
            .field("hook", &self.hook)
            .finish_non_exhaustive()
    }
}

impl Rig {
    /// Loads everything; the product with its default settings and tables made
    /// for `flows` flows of either family.
    ///
    /// # Errors
    /// If the kernel refuses a program or a map.
    pub fn load(flows: u32) -> Result<Self> {
        Self::with(flows, Config::default())
    }

    /// The same, the product with other settings.
    ///
    /// # Errors
    /// As [`Rig::load`].
    pub fn with(flows: u32, config: Config) -> Result<Self> {
        Self::of(Self::options(flows, config))
    }

    /// How [`Rig::with`] loads the product.
    #[must_use]
    pub fn options(flows: u32, mut config: Config) -> LoadOptions {
        config.table.max_flows = flows;
        config.table.max_flows_v6 = Some(flows);
        LoadOptions::new(&config).entries(&[Entry::Xdp, Entry::TcIngress])
    }

    /// The same, the product loaded with these.
    ///
    /// # Errors
    /// As [`Rig::load`].
    pub fn of(options: LoadOptions) -> Result<Self> {
        let product = Datapath::load(&options)?;
        know_loopback(&product.maps.ifaces)?;
        let meter = Meter::map(&product)?;
        let drive = DriveSkelBuilder::default()
            .open(place())
            .context("open the driver")?
            .load()
            .context("load the driver")?;
        let floor = load_floor(UNUSED, UNUSED)?;
        Ok(Self {
            product,
            meter,
            floor,
            drive,
            hook: Hook::Xdp,
        })
    }

    /// Empties the tables and points the driver at the programs of a hook. The
    /// floor gets maps of its own again, with room for `entries` flows of
    /// `family`.
    ///
    /// # Errors
    /// If the kernel refuses a map.
    pub fn reset(&mut self, hook: Hook, family: Family, entries: u32) -> Result<()> {
        wipe(&self.product.maps.table4, self.product.meta.buckets4)?;
        wipe(&self.product.maps.table6, self.product.meta.buckets6)?;
        self.floor = match family {
            Family::V4 => load_floor(entries, UNUSED)?,
            Family::V6 => load_floor(UNUSED, entries)?,
        };
        self.hook = hook;
        let map: &dyn MapCore = match hook {
            Hook::Xdp => &self.drive.maps.targets_xdp,
            Hook::Tc => &self.drive.maps.targets_tc,
        };
        for target in Target::ALL {
            let fd = self.program(target).as_raw_fd();
            let key = (target as u32).to_ne_bytes();
            map.update(&key, &fd.to_ne_bytes(), MapFlags::ANY)
                .context("point the driver at a program")?;
        }
        Ok(())
    }

    /// A program, at the hook that the rig was reset to.
    #[must_use]
    pub fn program(&self, target: Target) -> BorrowedFd<'_> {
        match (self.hook, target) {
            (Hook::Xdp, Target::Empty) => self.floor.progs.empty_xdp.as_fd(),
            (Hook::Xdp, Target::Floor) => self.floor.progs.floor_xdp.as_fd(),
            (Hook::Xdp, Target::Product) => self.entry(Entry::Xdp),
            (Hook::Tc, Target::Empty) => self.floor.progs.empty_tc.as_fd(),
            (Hook::Tc, Target::Floor) => self.floor.progs.floor_tc.as_fd(),
            (Hook::Tc, Target::Product) => self.entry(Entry::TcIngress),
        }
    }

    fn entry(&self, entry: Entry) -> BorrowedFd<'_> {
        let program = self.product.programs.entry(entry);
        program.expect("it was loaded").as_fd()
    }

    fn driver(&self, target: Target) -> &ProgramMut<'static> {
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
            data.cursors = [drive_cursor::default(); 3];
        }
    }

    /// Sends the next `packets` packets of the script to a program. Returns the
    /// CPU time it took.
    ///
    /// # Errors
    /// If the run fails, or if the program does not pass what it is given.
    pub fn run(&self, target: Target, frame: &[u8], packets: u32) -> Result<Duration> {
        let driver = self.driver(target);
        let input = ProgramInput {
            data_in: Some(frame),
            repeat: packets,
            ..ProgramInput::default()
        };
        let before = thread_cpu()?;
        let output = driver.test_run(input).context("run a program")?;
        let spent = thread_cpu()? - before;
        if output.return_value != self.hook.pass() {
            return Err(Error::Wrong {
                row: format!("{target:?}"),
                what: format!("it returned {}, which does not pass", output.return_value),
            });
        }
        Ok(spent)
    }

    /// The product that was loaded.
    #[must_use]
    pub fn product(&self) -> &Datapath {
        &self.product
    }

    /// Slots of either of the product's tables.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.product.meta.buckets4 * SLOTS
    }

    /// What the product has counted, on all CPUs.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counters = self.meter.read();
        let state = &counters.ct_state;
        Counts {
            established: state.original.established + state.reply.established,
            created: counters.table.created,
            evicted: counters.table.evicted(),
        }
    }

    /// Flows the floor program knows.
    #[must_use]
    pub fn floor_flows(&self, family: Family) -> usize {
        match family {
            Family::V4 => self.floor.maps.floor4.keys().count(),
            Family::V6 => self.floor.maps.floor6.keys().count(),
        }
    }

    /// Sizes of the programs that are compared.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn sizes(&self) -> Result<[ProgramSize; 2]> {
        Ok([
            ProgramSize::read(self.program(Target::Floor))?,
            ProgramSize::read(self.program(Target::Product))?,
        ])
    }
}

/// Where libbpf keeps what a skeleton borrows: eight bytes, for ever.
fn place() -> &'static mut MaybeUninit<OpenObject> {
    Box::leak(Box::new(MaybeUninit::uninit()))
}

/// The floor and the empty programs, the floor's maps of so many entries.
///
/// # Errors
/// If the kernel refuses one.
pub(crate) fn load_floor(entries4: u32, entries6: u32) -> Result<FloorSkel<'static>> {
    let mut open = FloorSkelBuilder::default()
        .open(place())
        .context("open the floor program")?;
    for (map, entries) in [
        (&mut open.maps.floor4, entries4),
        (&mut open.maps.floor6, entries6),
    ] {
        map.set_max_entries(entries)
            .context("size the floor's map")?;
    }
    open.load().context("load the floor program")
}

/// Enters the loopback interface among the product's, which is all attaching
/// to it would change for a packet.
fn know_loopback(ifaces: &MapHandle) -> Result<()> {
    let what = "enter the loopback interface";
    let key = 0_u32.to_ne_bytes();
    let mut table = ifaces
        .lookup(&key, MapFlags::ANY)
        .context(what)?
        .unwrap_or_default();
    let entry = [
        LOOPBACK.to_ne_bytes().as_slice(),
        &IFACE_STAT.to_ne_bytes(),
        &IFACE_ATTACHED.to_ne_bytes(),
    ]
    .concat();
    let start = LOOPBACK as usize * IFACE_SIZE;
    if let Some(place) = table.get_mut(start..start + IFACE_SIZE) {
        place.copy_from_slice(&entry);
    }
    ifaces.update(&key, &table, MapFlags::ANY).context(what)
}

/// Zeroes a table: all slots free, and rested for ever.
fn wipe(table: &MapHandle, buckets: u32) -> Result<()> {
    let empty = vec![0; table.value_size() as usize];
    (0..buckets).try_for_each(|bucket| {
        table
            .update(&bucket.to_ne_bytes(), &empty, MapFlags::ANY)
            .context("empty a flow table")
    })
}
