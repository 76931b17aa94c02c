//! A running tracker: where it sits, how it lives, what it says of itself.

use std::sync::Arc;
use std::sync::Weak;

use conntrack_bpf::instance::Instance;
use conntrack_core::InterfacePattern;
use conntrack_core::Mode;
use conntrack_core::Status;
use conntrack_core::Sysctls;
use conntrack_core::status::Namespace;

use crate::AttachReport;
use crate::Attached;
use crate::Error;
use crate::ErrorKind;
use crate::KernelSysctls;
use crate::NetnsRef;
use crate::ResizeReport;
use crate::Result;
use crate::TableConfig;
use crate::TrackerBuilder;
use crate::UpgradeReport;
use crate::reader::Reader;

/// A connection tracker in the kernel.
///
/// It sees the packets of its interfaces until it is detached. One that this
/// process attached detaches when dropped, unless [`Tracker::persist`] was
/// called or the builder said [`Keep::Pinned`](crate::Keep::Pinned); one that
/// was opened never does.
///
/// ```no_run
/// use conntrack::Tracker;
///
/// # fn main() -> Result<(), conntrack::Error> {
/// let tracker = Tracker::attach("eth0")?;
/// for interface in tracker.status()?.interfaces {
///     println!("{} sees packets by {}", interface.name, interface.hooks);
/// }
/// # Ok(()) }
/// ```
#[must_use = "dropping a tracker that is not pinned detaches it"]
#[derive(Debug)]
pub struct Tracker {
    instance: Arc<Instance>,
    reader: Reader,
}

impl Tracker {
    /// Attaches to one interface with all defaults.
    ///
    /// # Errors
    /// As [`TrackerBuilder::attach`].
    pub fn attach(interface: &str) -> Result<Self> {
        Self::builder().interface(interface).attach()
    }

    /// Describes a tracker. The kernel is not touched before
    /// [`TrackerBuilder::attach`].
    pub fn builder() -> TrackerBuilder {
        TrackerBuilder::default()
    }

    /// Opens the instance of this name, which another process or an earlier one
    /// attached. It loads no program.
    ///
    /// # Errors
    /// `NotFound` if there is none, or only what is left of one whose process
    /// died while it set it up (see [`detach`](crate::detach)); `AbiMismatch`
    /// if another version made it; `NotPermitted`; `Invalid` for a name that
    /// cannot be one.
    pub fn open(instance: &str) -> Result<Self> {
        Instance::open(instance, None).map(Self::from_instance)
    }

    /// The same, for an instance that must belong to a network namespace. The
    /// current namespace is no demand on reading, only on adding interfaces.
    ///
    /// # Errors
    /// As [`Tracker::open`]; `OtherNamespace` if it belongs to another,
    /// `NotFound` if there is no such namespace.
    pub fn open_in(instance: &str, netns: &NetnsRef) -> Result<Self> {
        Instance::open(instance, Some(netns)).map(Self::from_instance)
    }

    pub(crate) fn from_instance(instance: Instance) -> Self {
        Self {
            instance: Arc::new(instance),
            reader: Reader::default(),
        }
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    pub(crate) fn weak_instance(&self) -> Weak<Instance> {
        Arc::downgrade(&self.instance)
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The name it is, or would be, pinned under.
    pub fn name(&self) -> &str {
        self.instance.name()
    }

    /// The network namespace it belongs to.
    pub fn namespace(&self) -> Namespace {
        self.instance.namespace()
    }

    /// Whether that is the calling thread's; `true` where this cannot be told.
    pub fn is_here(&self) -> bool {
        self.instance.is_here()
    }

    /// What became of the interfaces that the builder was given; nothing for a
    /// tracker that was opened.
    pub fn attached(&self) -> &Attached {
        self.instance.attached()
    }

    /// Attaches to one more interface of the same network namespace, by its name.
    ///
    /// # Errors
    /// `InUse` if it is attached to it already, or the hook that `mode` demands
    /// is another program's; `Invalid` for a pattern, which may mean several; else
    /// as [`TrackerBuilder::attach`].
    pub fn add_interface(&self, name: &str, mode: Mode) -> Result<AttachReport> {
        if name.parse().is_ok_and(|it: InterfacePattern| it.is_glob()) {
            let message = format!("{name} is a pattern, not the name of one interface");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut attached = self.add_interfaces([name], mode)?;
        // One name, one report.
        Ok(attached.interfaces.swap_remove(0))
    }

    /// Attaches to more interfaces of the same network namespace: to all that are
    /// named, or to none; of those that a pattern matches, to as many as can be.
    /// What matches and is attached already is no error.
    ///
    /// # Errors
    /// As [`Tracker::add_interface`]; `NotFound` for a pattern that matches
    /// nothing, or nothing that can be attached to.
    pub fn add_interfaces(
        &self,
        names: impl IntoIterator<Item = impl Into<String>>,
        mode: Mode,
    ) -> Result<Attached> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.instance.add(&names, mode)
    }

    /// Detaches from one interface. Its flows stay, and end by their timeouts.
    ///
    /// # Errors
    /// `NotFound` if the tracker is not attached to it.
    pub fn remove_interface(&self, name: &str) -> Result<()> {
        self.instance.remove(name)
    }

    /// Leaves it running after this process, pinned under its name, until
    /// somebody detaches it.
    ///
    /// # Errors
    /// `InUse` if an instance of that name is running; nothing changes then.
    /// `NotPermitted`, or what the kernel says.
    pub fn persist(&self) -> Result<()> {
        self.instance.persist()
    }

    /// Puts the programs of this version of the crate in the place of those that
    /// run, on all interfaces or on none. No packet passes unseen, none is counted
    /// twice. Flows, counters, settings, interfaces and listeners stay: the maps
    /// are the same. It takes as long as [`TrackerBuilder::attach`], while
    /// packets are seen by the programs of before.
    ///
    /// A process that dies on the way leaves a tracker that runs on, some hooks
    /// with the programs of the one version and some with those of the other;
    /// another upgrade ends that. A [resize](Tracker::resize) that was cut short is
    /// ended first.
    ///
    /// # Errors
    /// `InUse` if another process keeps it in the foreground, or does not come to
    /// an end; `NotFound` if it was detached or is dead; `AbiMismatch` if one of its
    /// links holds a program of somebody else; `NotPermitted`, `Unsupported`, or what
    /// the kernel refuses: then the programs are those of before.
    pub fn upgrade(&self) -> Result<UpgradeReport> {
        self.instance.upgrade()
    }

    /// Gives it flow tables of another size, while packets run: none passes unseen, no
    /// flow is lost, counters and events go on. Flows move to the new tables when a
    /// packet of theirs comes, and the rest is moved by this call, which waits for it.
    /// Both tables take memory until then. Whoever has the tracker open finds the new
    /// tables by itself. Its programs are those of this version of the crate then, as
    /// after [`Tracker::upgrade`].
    ///
    /// A process that dies on the way leaves a tracker that runs on, with both tables in
    /// use; another resize, or an upgrade, ends that.
    ///
    /// ```no_run
    /// use conntrack::{ByteSize, TableConfig, Tracker};
    ///
    /// # fn main() -> Result<(), conntrack::Error> {
    /// let tracker = Tracker::open("default")?;
    /// let report = tracker.resize(&TableConfig::within(ByteSize(1 << 30)))?;
    /// println!("{} flows have moved", report.moved);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a size that cannot be, of which the flows there are would take more
    /// than 80 %, or that this host has not the memory for; else as [`Tracker::upgrade`].
    /// Nothing is changed then. `Other` if there are flows that find no place in the new
    /// tables, because others have taken the slots that they could have: all tables stay
    /// in use, and the next resize goes on.
    pub fn resize(&self, table: &TableConfig) -> Result<ResizeReport> {
        self.instance.resize(table)
    }

    /// Takes its programs off all interfaces and removes its pins.
    ///
    /// # Errors
    /// `InUse` if another process keeps it in the foreground; what the kernel
    /// refuses. [`detach`](crate::detach) can be called for what is left.
    pub fn detach(self) -> Result<()> {
        self.instance.detach()
    }

    /// What it is and does right now: hooks and why, objects, sizes, uptime.
    /// Brings the set of stacked devices up to date on the way, as
    /// [`Tracker::refresh`] does.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn status(&self) -> Result<Status> {
        self.instance.status()
    }

    /// Whether none of its programs sits on an interface any more: its process
    /// died, or the interfaces went. Attaching under its name starts anew then.
    /// One from which every interface was removed by name is not dead. Asking takes
    /// `CAP_NET_ADMIN`, and `CAP_SYS_ADMIN` for another network namespace: `false`
    /// without.
    pub fn is_dead(&self) -> bool {
        self.instance.is_dead()
    }

    /// Whether it ends with the process that keeps it, though others see it, as it was when
    /// it was opened: what takes over from it is that process's to do.
    pub fn is_in_foreground(&self) -> bool {
        self.instance.is_in_foreground()
    }

    /// Whether it has been detached, by this process or by another. It can still
    /// be read, but nothing changes any more.
    pub fn is_detached(&self) -> bool {
        self.instance.is_detached()
    }

    /// Looks anew which bridges, bonds, VLANs and the like are stacked on the
    /// attached interfaces, so that packets forwarded through new ones are not
    /// counted twice. A program that runs for long calls it now and then, or has
    /// [`Tracker::follow`] do it at every change.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn refresh(&self) -> Result<()> {
        self.instance.refresh_uppers()
    }

    /// nf_conntrack's settings in force.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sysctls(&self) -> Result<Sysctls> {
        self.instance.sysctls()
    }

    /// Changes all of nf_conntrack's settings, from the next packet on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_sysctls(&self, sysctls: &Sysctls) -> Result<()> {
        self.instance.set_sysctls(sysctls)
    }

    /// Changes some of nf_conntrack's settings, from the next packet on, and
    /// returns those in force afterwards. What `change` leaves alone stays as it
    /// is, also if another process changes it at this moment.
    ///
    /// Flows that are there already live by the new timeouts at once: a flow's
    /// time is up when it was idle for the timeout in force, not for the one of
    /// its last packet, which is what nf_conntrack goes by.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), conntrack::Error> {
    /// let tracker = conntrack::Tracker::open("default")?;
    /// tracker.update_sysctls(|sysctls| sysctls.tcp_timeout_established = 86_400)?;
    /// // As this host's own nf_conntrack has them:
    /// let kernel = tracker.kernel_sysctls()?;
    /// tracker.update_sysctls(|sysctls| kernel.apply(sysctls))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the kernel says.
    pub fn update_sysctls(&self, change: impl FnOnce(&mut Sysctls)) -> Result<Sysctls> {
        self.instance.update_sysctls(change)
    }

    /// The kernel's own settings of nf_conntrack in the network namespace that
    /// the tracker belongs to; [`KernelSysctls::of`] reads those of another.
    ///
    /// # Errors
    /// As [`KernelSysctls::of`]; `NotFound` if the namespace is gone.
    pub fn kernel_sysctls(&self) -> Result<KernelSysctls> {
        self.instance.kernel_sysctls()
    }
}
