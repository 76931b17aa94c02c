//! The programs of a data path, as owned handles. Those that see packets are loaded
//! for the entries that are in use: each is several hundred thousand steps for the
//! verifier, and most hosts need two of the three.

use libbpf_rs::ProgramHandle;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

/// Where packets come to a program.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Entry {
    /// What comes in, seen by XDP.
    Xdp,
    /// What comes in, seen by TC.
    TcIngress,
    /// What goes out.
    TcEgress,
}

impl Entry {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::TcIngress, Self::TcEgress];

    /// Its program's name in the source.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Xdp => "ct_xdp",
            Self::TcIngress => "ct_tc_ingress",
            Self::TcEgress => "ct_tc_egress",
        }
    }

    /// The side of an interface that a link of it is pinned as.
    pub(crate) const fn side(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::TcIngress => "ingress",
            Self::TcEgress => "egress",
        }
    }

    /// The entry of a side.
    pub(crate) fn of_side(side: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| entry.side() == side)
    }
}

/// Names of the programs, as their pins have them.
pub(crate) const PROGRAM_NAMES: [&str; 5] = [
    Entry::Xdp.program(),
    Entry::TcIngress.program(),
    Entry::TcEgress.program(),
    REMOVE,
    SWEEP_START,
];
pub(crate) const REMOVE: &str = "ct_remove";
pub(crate) const SWEEP_START: &str = "ct_sweep_start";

/// The programs. Each handle owns its descriptor.
#[derive(Debug)]
pub struct Programs {
    /// Of [`Entry::ALL`], those that are loaded.
    pub(crate) entries: [Option<ProgramHandle>; 3],
    /// Takes flows out by command.
    pub remove: ProgramHandle,
    /// Starts the background sweep; `None` on kernels without `bpf_loop` (5.17),
    /// where expired flows are taken out by packets that need their slot only.
    pub sweep_start: Option<ProgramHandle>,
    /// Moves flows from one table to another; `None` but where that is done. It is
    /// never pinned.
    pub(crate) evacuate: Option<ProgramHandle>,
}

impl Programs {
    /// The program of an entry.
    ///
    /// # Errors
    /// `Other` if it is not loaded.
    pub fn entry(&self, entry: Entry) -> Result<&ProgramHandle> {
        self.entries[entry as usize].as_ref().ok_or_else(|| {
            let name = entry.program();
            Error::new(
                ErrorKind::Other,
                format!("the program {name} is not loaded"),
            )
        })
    }

    /// The entries whose programs are loaded.
    pub fn loaded(&self) -> Vec<Entry> {
        let mut all = Entry::ALL.to_vec();
        all.retain(|entry| self.entry(*entry).is_ok());
        all
    }

    /// Every program that is pinned, with its name in the source.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &ProgramHandle)> {
        let entries = self.entries.iter().map(Option::as_ref);
        let others = [Some(&self.remove), self.sweep_start.as_ref()];
        let named = PROGRAM_NAMES.into_iter().zip(entries.chain(others));
        named.filter_map(|(name, program)| Some((name, program?)))
    }

    /// With the entries of others where there are none.
    pub(crate) fn with(mut self, others: Self) -> Self {
        for (own, other) in self.entries.iter_mut().zip(others.entries) {
            *own = own.take().or(other);
        }
        self
    }

    /// The same ones once more.
    pub(crate) fn again(&self) -> libbpf_rs::Result<Self> {
        let again = |program: &ProgramHandle| ProgramHandle::try_from(program);
        let [xdp, tc_ingress, tc_egress] = &self.entries;
        let entry = |program: &Option<_>| program.as_ref().map(again).transpose();
        Ok(Self {
            entries: [entry(xdp)?, entry(tc_ingress)?, entry(tc_egress)?],
            remove: again(&self.remove)?,
            sweep_start: entry(&self.sweep_start)?,
            evacuate: entry(&self.evacuate)?,
        })
    }

    /// The ids of those that see packets.
    pub(crate) fn packet_ids(&self) -> Vec<u32> {
        let entries = self.entries.iter().flatten();
        entries.map(ProgramHandle::id).collect()
    }
}
