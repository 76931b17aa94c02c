//! What a tracker is to be, before it is one.

use conntrack_bpf::instance::Instance;
use conntrack_bpf::instance::Request;
use conntrack_core::ByteSize;
use conntrack_core::Config;
use conntrack_core::Mode;
use conntrack_core::TableConfig;

use crate::Keep;
use crate::NetnsRef;
use crate::Result;
use crate::Tracker;

/// Describes a tracker; [`attach`](TrackerBuilder::attach) makes it.
///
/// ```no_run
/// use conntrack::{Keep, Mode, Tracker};
///
/// # fn main() -> Result<(), conntrack::Error> {
/// let tracker = Tracker::builder()
///     .interfaces(["eth0", "eth1"])
///     .mode(Mode::Native)
///     .max_flows(1_000_000)
///     .instance("edge")
///     .keep(Keep::Pinned)
///     .attach()?;
/// # Ok(()) }
/// ```
#[must_use = "a builder does nothing until `attach`"]
#[derive(Clone, Debug, Default)]
pub struct TrackerBuilder {
    config: Config,
    netns: NetnsRef,
    keep: Keep,
    allow_absent: bool,
}

impl TrackerBuilder {
    /// Takes everything from a configuration: interfaces, mode, instance, sizes
    /// and settings. What was set before is forgotten, what is set afterwards
    /// changes it.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds an interface, or a pattern of names: see
    /// [`interfaces`](TrackerBuilder::interfaces).
    pub fn interface(self, name: impl Into<String>) -> Self {
        self.interfaces([name])
    }

    /// Adds interfaces. There are none by default.
    ///
    /// A name may be a pattern such as `eth*`, see
    /// [`InterfacePattern`](crate::InterfacePattern); `*` is every interface. Of
    /// what a pattern matches, the lowest layer of each stack is taken: the ports
    /// rather than their bridge or bond, the interface rather than the VLANs on it.
    /// Loopback is not, nor what cannot be attached to.
    /// [`Tracker::attached`] says what was left out and why.
    pub fn interfaces(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into);
        self.config.attach.interfaces.extend(names);
        self
    }

    /// The hook to use on all interfaces; [`Mode::Auto`] by default.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.attach.mode = mode;
        self
    }

    /// IPv4 flows to have room for; 262,144 by default. The memory is taken at
    /// once: some 171 bytes a flow.
    pub fn max_flows(mut self, flows: u32) -> Self {
        self.config.table.max_flows = flows;
        self
    }

    /// IPv6 flows to have room for; half of `max_flows` by default. Some 251
    /// bytes a flow.
    pub fn max_flows_v6(mut self, flows: u32) -> Self {
        self.config.table.max_flows_v6 = Some(flows);
        self
    }

    /// Sizes both tables so that the kernel's memory for all maps stays within
    /// this, instead of by flows: `max_flows` and `max_flows_v6` that were set before
    /// are forgotten, and must not be set afterwards. There is room for twice as many
    /// IPv4 flows as IPv6 flows then. Buffers of listeners to events come on top.
    pub fn max_memory(mut self, memory: ByteSize) -> Self {
        self.config.table = TableConfig::within(memory);
        self
    }

    /// The name that other processes open it by; `default` by default. It has
    /// no meaning for a tracker that is neither visible nor pinned.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.config.instance = name.into();
        self
    }

    /// The network namespace that the interfaces are in; the calling thread's
    /// by default.
    pub fn netns(mut self, netns: NetnsRef) -> Self {
        self.netns = netns;
        self
    }

    /// How long it lives and who sees it; [`Keep::Process`] by default.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Leaves out what is not there yet or cannot be attached to, be it all of it,
    /// named or not. Not so by default.
    pub fn allow_absent(mut self, allow: bool) -> Self {
        self.allow_absent = allow;
        self
    }

    /// Loads the programs and attaches them to all interfaces that are named, or
    /// to none; of those that a pattern matches, to as many as can be.
    ///
    /// # Errors
    /// `NotFound` for an interface or namespace that is not there, a pattern that
    /// matches nothing, or if nothing is left to attach to; `InUse` if
    /// an instance of that name is running, or a demanded hook is another
    /// program's; `NotPermitted` without root or the capabilities;
    /// `Unsupported` if kernel, driver or device cannot do it; `Invalid` for a
    /// configuration that makes no sense, or interfaces stacked on each other.
    pub fn attach(self) -> Result<Tracker> {
        let request = Request {
            config: self.config,
            netns: self.netns,
            keep: self.keep,
            lenient: self.allow_absent,
        };
        Instance::attach(&request).map(Tracker::from_instance)
    }
}
