//! What is running: the answer of `conntrack status`.

use std::collections::BTreeMap;
use std::fmt;

use crate::event::PressureLevel;
use crate::hook::Hooks;
use crate::hook::Mode;
use crate::protocol::Family;
use crate::time::Timestamp;

/// A running instance. Serializes as `status -o json`, see
/// `schemas/status.schema.json`.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Status {
    /// The name it is pinned under.
    pub instance: String,
    /// Version of the crate that its programs are of: of the one that set it up,
    /// or that upgraded it last.
    pub version: String,
    /// Version of the layout of its maps.
    pub abi_version: u32,
    /// When it was set up.
    pub since: Timestamp,
    /// How long ago that is, in nanoseconds.
    pub uptime_ns: u64,
    /// The network namespace it belongs to.
    pub namespace: Namespace,
    /// Where it sees packets.
    pub interfaces: Vec<InterfaceStatus>,
    /// Its programs.
    pub programs: Vec<ObjectStatus>,
    /// An upgrade is under way, or was cut short: some hooks may have the programs
    /// of another version. It works all the same; upgrading again ends it.
    pub upgrade_unfinished: bool,
    /// A resize is under way, or was cut short: flows may be in the old tables and in
    /// the new ones. It works all the same; resizing or upgrading again ends it.
    pub resize_unfinished: bool,
    /// Its maps.
    pub maps: Vec<ObjectStatus>,
    /// The kernel, as far as it mattered.
    pub kernel: KernelStatus,
    /// Its flow tables.
    pub tables: Vec<TableStatus>,
    /// Kernel memory of all its maps, in bytes; the buffers of those who listen to
    /// events apart.
    pub memory_bytes: u64,
}

/// A network namespace.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Namespace {
    /// What `ip netns` calls it, else how it was named on attaching: by a path or a
    /// process's number; null for one without a name that was the attaching
    /// process's own.
    pub name: Option<String>,
    /// Its inode number, which `readlink /proc/PID/ns/net` shows.
    pub inode: u64,
    /// The device of that inode.
    pub device: u64,
}

impl fmt::Display for Namespace {
    /// For the end of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => write!(f, "the network namespace net:[{}]", self.inode),
            Some(pid) if pid.parse::<u32>().is_ok() => {
                write!(f, "the network namespace of process {pid}")
            }
            Some(name) => write!(f, "network namespace {name}"),
        }
    }
}

/// One attached interface.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// The mode in use; null if nothing is attached any more.
    pub mode: Option<Mode>,
    /// The hooks in use.
    pub hooks: Hooks,
    /// Why not the hooks one would expect; null if they are the expected ones.
    pub why: Option<String>,
    /// When it was attached.
    pub since: Timestamp,
}

/// A BPF program or map.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ObjectStatus {
    /// Its name in our source.
    pub name: String,
    /// The kernel's id for it, which `bpftool` takes.
    pub id: u32,
}

/// The kernel, as far as it mattered.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct KernelStatus {
    /// What `uname -r` says.
    pub release: String,
    /// Facts that decided something, such as `tcx` or `xdp_frags`, and whether
    /// they hold.
    pub facts: BTreeMap<String, bool>,
}

/// One flow table.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TableStatus {
    /// Which flows it holds: `ipv4` or `ipv6`.
    pub family: Family,
    /// Flows it is sized for.
    pub max_flows: u64,
    /// Flows in it, those whose time is up and that are not cleared away included.
    pub flows: u64,
    /// How full the sweep found it at its last tick; null where there is no sweep.
    pub pressure: Option<PressureLevel>,
    /// Slots it has.
    pub slots: u64,
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// Memory per flow it is sized for, rounded up.
    pub bytes_per_flow: u64,
}

impl TableStatus {
    /// An empty table of this size; `bytes_per_flow` follows from it.
    pub fn new(family: Family, max_flows: u64, slots: u64, memory_bytes: u64) -> Self {
        Self {
            family,
            max_flows,
            flows: 0,
            pressure: None,
            slots,
            memory_bytes,
            bytes_per_flow: memory_bytes.div_ceil(max_flows.max(1)),
        }
    }
}
