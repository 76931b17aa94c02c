//! The flow table, and the packet's way through it, on memory of its own.

use std::ptr;
use std::ptr::NonNull;

use crate::SECOND;
use crate::SLOTS;
use crate::ffi;
use crate::ffi::RawDone;
use crate::ffi::RawEnd;
use crate::ffi::RawSlot;
use crate::ffi::TableFns;
use crate::ffi::World;
use crate::packet::Key;
use crate::packet::Packet;

/// How the C was compiled.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Build {
    /// As in the product.
    Product,
    /// The same, but threads stop now and then, right before an atomic.
    Stopping,
    /// Atomic adds became load, add, store.
    PlainAdd,
    /// Compare-and-swap became load, compare, store.
    PlainCas,
}

/// Timeouts a test may set: `enum ct_timeout`.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[repr(u32)]
pub enum Timeout {
    /// UDP.
    Udp = 16,
    /// UDP, answered and older than two seconds.
    UdpStream = 17,
    /// GRE.
    Gre = 20,
    /// GRE, answered.
    GreStream = 21,
    /// Protocols without rules of their own.
    Generic = 22,
}

/// Counted events of a table: `enum ct_table_event`, then `enum ct_gone`.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[repr(u32)]
pub enum TableEvent {
    /// Flows created.
    Created,
    /// Creations that gave way to another thread's.
    Conflicts,
    /// Flows whose time was up.
    Timeout,
    /// The same, closed by both ends.
    Fin,
    /// The same, reset; or a packet ended them.
    Rst,
    /// Unassured flows pushed out.
    Evicted,
    /// Closed TCP flows opened anew.
    Replaced,
    /// Flows taken out by [`Table::release`].
    Deleted,
    /// Flows taken out by [`Table::flush`].
    Flushed,
}

/// What became of a packet.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Outcome {
    /// It is the first of a new flow, and counted there.
    Created,
    /// It is counted on a flow that was there.
    Counted,
    /// It is a flow's, and passed without counting.
    Ignored,
    /// INVALID.
    Refused,
    /// Everything in reach was live and assured.
    Full,
    /// Another thread was creating or freeing the flow, four times over.
    Busy,
}

/// What became of a packet, and of which flow it is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Done {
    /// What became of it.
    pub outcome: Outcome,
    /// 0 original, 1 reply.
    pub dir: usize,
    /// Bucket times [`SLOTS`] plus slot, [`SECOND`] set if it is in the second
    /// table; meaningful if the flow saw the packet.
    pub place: u32,
    /// Generation of the slot, as `place`.
    pub generation: u32,
    /// How often it was also counted in a slot that another flow had been given
    /// meanwhile: what its counts may be too high by.
    pub strays: u32,
    /// How often its flow left for the second table before it was through.
    pub late: u32,
}

/// What a DESTROY event said.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct End {
    /// The flow was IPv6's.
    pub v6: bool,
    /// Where it had been.
    pub place: u32,
    /// Generation of the slot, as `place`.
    pub generation: u32,
    /// Packets by direction.
    pub packets: [u64; 2],
    /// Bytes by direction.
    pub bytes: [u64; 2],
}

/// A slot of the table.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Slot {
    /// `enum ct_phase`: 0 free, 1 busy, 2 live, 3 closing.
    pub phase: u32,
    /// Generation of the slot.
    pub generation: u32,
    /// The flow is assured.
    pub assured: bool,
    /// Time of the last packet, or of the release, in nanoseconds.
    pub seen: u64,
    /// Timeout in force, in nanoseconds.
    pub timeout: u64,
    /// Packets by direction.
    pub packets: [u64; 2],
    /// Bytes by direction.
    pub bytes: [u64; 2],
    /// Its tag in the bucket's line of tags; 0 if it has none.
    pub tag: u32,
    /// The tag of the key in the slot.
    pub key_tag: u32,
    /// It is its key's preferred slot.
    pub at_home: bool,
    /// The key in the slot.
    pub key: Key,
    /// How far its flow is on its way to the second table: 0 it is not, 1 it left,
    /// 2 it has a slot there, 3 all its counts are there.
    pub left: u32,
    /// That slot, from 2 on: place and generation.
    pub to: (u32, u32),
}

impl Slot {
    /// It holds a flow, expired or not.
    pub fn is_live(&self) -> bool {
        self.phase == 2
    }

    /// It holds nothing, and nobody is at work on it.
    pub fn is_free(&self) -> bool {
        self.phase == 0
    }
}

/// A pair of flow tables with settings of their own.
#[derive(Debug)]
pub struct Table {
    world: NonNull<World>,
    fns: &'static TableFns,
    buckets: [u32; 2],
    pub(crate) second: [u32; 2],
}

// SAFETY: the C is written for several CPUs in one table; each thread brings
// its own number, and what the threads share is plain memory that only C touches.
unsafe impl Send for Table {}
// SAFETY: as above; settings are changed through `&mut`.
unsafe impl Sync for Table {}

impl Table {
    /// Threads that may be at work at once.
    pub const THREADS: u32 = 8;

    /// Empty tables of so many buckets, IPv4's and IPv6's (two at least), all
    /// timeouts 0. Panics if there is no memory for them.
    pub fn new(build: Build, buckets: [u32; 2], seed: &[u32; 12]) -> Self {
        assert!(buckets.iter().all(|&n| n >= 2), "a key needs two buckets");
        // SAFETY: constants of this program, never written.
        let fns = unsafe {
            match build {
                Build::Product => &ffi::ct_native,
                Build::Stopping => &ffi::ct_stopping,
                Build::PlainAdd => &ffi::ct_plain_add,
                Build::PlainCas => &ffi::ct_plain_cas,
            }
        };
        // SAFETY: the C reads twelve words and allocates.
        let world = unsafe { (fns.make)(buckets[0], buckets[1], seed.as_ptr()) };
        Self {
            world: NonNull::new(world).expect("memory for the tables"),
            fns,
            buckets,
            second: [0; 2],
        }
    }

    pub(crate) fn raw(&self) -> (*mut World, &'static TableFns) {
        (self.world.as_ptr(), self.fns)
    }

    /// Sets a timeout in nanoseconds.
    pub fn set_timeout(&mut self, timeout: Timeout, ns: u64) {
        // SAFETY: the world is ours and alive; nobody else is at work (`&mut`).
        unsafe { (self.fns.set_timeout)(self.world.as_ptr(), timeout as u32, ns) };
    }

    /// Sets the timeouts of all TCP states, in nanoseconds.
    pub fn set_tcp_timeouts(&mut self, ns: u64) {
        for index in 0..16 {
            // SAFETY: as in `set_timeout`.
            unsafe { (self.fns.set_timeout)(self.world.as_ptr(), index, ns) };
        }
    }

    /// Sets how long a freed slot rests, in nanoseconds.
    pub fn set_grace(&mut self, ns: u64) {
        // SAFETY: the world is ours and alive; nobody else is at work (`&mut`).
        unsafe { (self.fns.set_grace)(self.world.as_ptr(), ns) };
    }

    /// A packet's whole way: find, update, or claim, fill and publish. `thread`
    /// is the CPU it is on: each concurrent caller has its own, below
    /// [`Table::THREADS`].
    pub fn packet(&self, thread: u32, packet: &Packet) -> Done {
        assert!(thread < Self::THREADS, "no such thread");
        let mut raw = RawDone::default();
        // SAFETY: the world is alive, the number is checked; reads one packet,
        // writes one answer.
        unsafe {
            (self.fns.packet)(
                self.world.as_ptr(),
                thread,
                &raw const packet.0,
                &raw mut raw,
            );
        }
        Done {
            outcome: match raw.outcome {
                0 => Outcome::Created,
                1 => Outcome::Counted,
                2 => Outcome::Ignored,
                3 => Outcome::Refused,
                4 => Outcome::Full,
                _ => Outcome::Busy,
            },
            dir: raw.dir as usize & 1,
            place: raw.place,
            generation: raw.generation,
            strays: raw.strays,
            late: raw.late,
        }
    }

    /// Takes the flow a packet belongs to out, as `ct_remove` does. `false` if
    /// there is none, or if it went meanwhile.
    pub fn release(&self, thread: u32, packet: &Packet) -> bool {
        assert!(thread < Self::THREADS, "no such thread");
        // SAFETY: as in `packet`.
        unsafe { (self.fns.release)(self.world.as_ptr(), thread, &raw const packet.0) != 0 }
    }

    /// Takes out, as the background sweep does, what has expired.
    pub fn sweep(&self, thread: u32, now: u64) {
        assert!(thread < Self::THREADS, "no such thread");
        // SAFETY: the world is alive, the number is checked.
        unsafe { (self.fns.sweep)(self.world.as_ptr(), thread, now) };
    }

    /// Takes out, as `ct_remove` does, all that began by `now`.
    pub fn flush(&self, thread: u32, now: u64) {
        assert!(thread < Self::THREADS, "no such thread");
        // SAFETY: the world is alive, the number is checked.
        unsafe { (self.fns.flush)(self.world.as_ptr(), thread, now) };
    }

    /// The DESTROY events of what this thread did last: [`Table::packet`],
    /// [`Table::release`], [`Table::sweep`] or [`Table::flush`].
    pub fn ends(&self) -> Vec<End> {
        // SAFETY: there is room for none, so nothing is written.
        let ended = unsafe { (self.fns.ends)(ptr::null_mut(), 0) };
        let mut raw = vec![RawEnd::default(); ended as usize];
        // SAFETY: writes at most as many as there is room for.
        unsafe { (self.fns.ends)(raw.as_mut_ptr(), ended) };
        let ends = raw.iter().map(|raw| End {
            v6: raw.v6 != 0,
            place: raw.place,
            generation: raw.generation,
            packets: raw.packets,
            bytes: raw.bytes,
        });
        ends.collect()
    }

    /// Slots of one family's table.
    pub fn places(&self, v6: bool) -> u32 {
        self.buckets[usize::from(v6)] * SLOTS
    }

    /// A slot as it is now.
    pub fn slot(&self, v6: bool, place: u32) -> Slot {
        let places = match place & SECOND {
            0 => self.places(v6),
            _ => self.second[usize::from(v6)] * SLOTS,
        };
        assert!(place & !SECOND < places, "no such slot");
        let mut raw = RawSlot {
            seen: 0,
            timeout: 0,
            packets: [0; 2],
            bytes: [0; 2],
            phase: 0,
            generation: 0,
            assured: 0,
            tag: 0,
            want_tag: 0,
            home: 0,
            left: 0,
            to: 0,
            to_generation: 0,
            key: [0; 37],
            pad: [0; 7],
        };
        // SAFETY: the world is alive, the place is checked; writes one slot.
        unsafe { (self.fns.slot)(self.world.as_ptr(), u32::from(v6), place, &raw mut raw) };
        Slot {
            phase: raw.phase,
            generation: raw.generation,
            assured: raw.assured != 0,
            seen: raw.seen,
            timeout: raw.timeout,
            packets: raw.packets,
            bytes: raw.bytes,
            tag: raw.tag,
            key_tag: raw.want_tag,
            at_home: raw.home != 0,
            key: Key(raw.key),
            left: raw.left,
            to: (raw.to, raw.to_generation),
        }
    }

    /// Pairs of flows with one key that were alive at one moment. May be asked
    /// while others are at work.
    pub fn duplicates(&self, v6: bool) -> u32 {
        // SAFETY: the world is alive.
        unsafe { (self.fns.duplicates)(self.world.as_ptr(), u32::from(v6)) }
    }

    /// How often an event was counted.
    pub fn events(&self, event: TableEvent) -> u64 {
        // SAFETY: the world is alive; the C bounds the number.
        unsafe { (self.fns.event)(self.world.as_ptr(), event as u32) }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: made by `new` of the same compilation, freed once.
        unsafe { (self.fns.free)(self.world.as_ptr()) };
    }
}
