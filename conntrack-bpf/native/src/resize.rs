//! One table replaces another while threads are at work: what user space does.

use std::thread;

use crate::SLOTS;
use crate::table::Table;

/// What a thread runs: `enum ct_native_program`.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[repr(u32)]
pub enum Program {
    /// It knows the first table.
    Old,
    /// It knows both, and creates flows in the first.
    Prepare,
    /// It knows both, and creates flows in the second.
    Move,
    /// It knows the second table.
    New,
}

/// What became of the slots of the first table: `enum ct_evacuated`.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[repr(C)]
pub struct Evacuated {
    /// Nothing to do.
    pub empty: u32,
    /// Their flows moved.
    pub moved: u32,
    /// Their flows' time was up.
    pub ended: u32,
    /// There is no room for their flows.
    pub stay: u32,
    /// Somebody was at them.
    pub again: u32,
}

impl Table {
    /// Makes the second tables. Panics if there is no memory for them.
    pub fn second(&mut self, buckets: [u32; 2]) {
        assert!(buckets.iter().all(|&n| n >= 2), "a key needs two buckets");
        let (world, fns) = self.raw();
        // SAFETY: the world is alive; nobody else is at work (`&mut`).
        let made = unsafe { (fns.second)(world, buckets[0], buckets[1]) };
        assert!(made != 0, "memory for the tables");
        self.second = buckets;
    }

    /// Slots of one family's second table.
    pub fn second_places(&self, v6: bool) -> u32 {
        self.second[usize::from(v6)] * SLOTS
    }

    /// What a thread runs from its next operation on.
    pub fn set_program(&self, thread: u32, program: Program) {
        assert!(thread < Self::THREADS, "no such thread");
        let (world, fns) = self.raw();
        // SAFETY: the world is alive, the number is checked; an atomic store.
        unsafe { (fns.set_program)(world, thread, program as u32) };
    }

    /// Lets flows move to the second table.
    pub fn set_moving(&self, moving: bool) {
        let (world, fns) = self.raw();
        // SAFETY: the world is alive; an atomic store.
        unsafe { (fns.set_moving)(world, u32::from(moving)) };
    }

    /// Waits until every operation that is under way has ended.
    pub fn wait(&self) {
        let (world, fns) = self.raw();
        for thread in 0..Self::THREADS {
            // SAFETY: the world is alive, the number is below the limit.
            let turn = || unsafe { (fns.wait)(world, thread) };
            let before = turn();
            while before % 2 == 1 && turn() == before {
                thread::yield_now();
            }
        }
    }

    /// Moves the flows of some buckets of the first table. One at a time may.
    pub fn evacuate(
        &self,
        thread: u32,
        v6: bool,
        bucket: u32,
        buckets: u32,
        now: u64,
    ) -> Evacuated {
        assert!(thread < Self::THREADS, "no such thread");
        let (world, fns) = self.raw();
        let mut done = [0_u32; 5];
        // SAFETY: the world is alive, the number is checked; buckets that are not
        // there are left out; adds to five counts.
        unsafe {
            (fns.evacuate)(
                world,
                thread,
                u32::from(v6),
                bucket,
                buckets,
                now,
                done.as_mut_ptr(),
            );
        }
        let [empty, moved, ended, stay, again] = done;
        Evacuated {
            empty,
            moved,
            ended,
            stay,
            again,
        }
    }
}
