//! Putting the programs on an interface's hooks, and taking them off again. A
//! value owns what it attached; records, pins and the table of interfaces are
//! `instance`'s.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use conntrack_core::Hook;
use conntrack_core::Hooks;
use libbpf_rs::ProgramHandle;
use nix::errno::Errno;

use crate::clsact;
use crate::clsact::Way;
use crate::datapath::Entry;
use crate::datapath::Programs;
use crate::devices;
use crate::devices::Device;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::lock::Lock;
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::orphans;
use crate::plan;
use crate::plan::Plan;
use crate::probe::KernelSupport;
use crate::support::DeviceSupport;
use crate::sys;
use crate::sys::LinkKind;
use crate::targets::Target;

/// Puts a tcx program before those that are there: a program that ends the
/// chain must not hide packets from us.
const BEFORE: u32 = libbpf_sys::BPF_F_BEFORE;

/// The programs on one interface. Dropping it takes them off, unless the links
/// are pinned and the filters were given up with [`Attachment::release`].
#[derive(Debug)]
pub(crate) struct Attachment {
    ingress: Held,
    egress: Option<Held>,
    why: Vec<String>,
    clsact: Option<ClsactGuard>,
}

/// What keeps a program on a hook.
#[derive(Debug)]
enum Held {
    Link(Hook, OwnedFd),
    /// The [`ClsactGuard`] does.
    Filter,
}

/// An interface's clsact qdisc, made when the first filter needs it.
struct Clsact<'a> {
    netns: &'a Arc<Netns>,
    ifindex: u32,
    marked: bool,
    guard: Option<ClsactGuard>,
}

impl Clsact<'_> {
    fn guard(&mut self) -> Result<&mut ClsactGuard> {
        let guard = match self.guard.take() {
            Some(guard) => guard,
            None => ClsactGuard::make(self.netns, self.ifindex, self.marked)?,
        };
        Ok(self.guard.insert(guard))
    }
}

/// Our filters on an interface's clsact qdisc, and the qdisc if it is ours.
#[derive(Debug)]
struct ClsactGuard {
    netns: Arc<Netns>,
    ifindex: u32,
    programs: Vec<u32>,
    made: bool,
    /// Whether nothing is pinned, so that marks must tell whose they are.
    marked: bool,
    marks: Vec<Lock>,
}

/// Gives the program of an entry, loaded by now.
pub(crate) type Provide<'a> = dyn Fn(Entry) -> Result<ProgramHandle> + Sync + 'a;

impl Attachment {
    /// Attaches to a target, from a thread that is in its namespace. `marked`:
    /// no record tells of filters if this process dies, so they are marked.
    pub(crate) fn make(
        programs: &Provide<'_>,
        netns: &Arc<Netns>,
        target: &Target,
        kernel: &KernelSupport,
        marked: bool,
    ) -> Result<Self> {
        let Target { device, plan, .. } = target;
        let mut why = plan.why.clone();
        let mut clsact = Clsact {
            netns,
            ifindex: device.device.ifindex,
            marked,
            guard: None,
        };
        let ingress = attach_ingress(programs, target, kernel, &mut clsact, &mut why)?;
        let egress = plan.egress.map(|hook| {
            let name = &device.device.name;
            hold_tc(programs, Entry::TcEgress, hook, &mut clsact)
                .with_context(|| format!("attach ct_tc_egress to {name}"))
        });
        Ok(Self {
            ingress,
            egress: egress.transpose()?,
            why,
            clsact: clsact.guard,
        })
    }

    /// The hooks in use.
    pub(crate) fn hooks(&self) -> Hooks {
        Hooks {
            ingress: Some(self.ingress.hook()),
            egress: self.egress.as_ref().map(Held::hook),
        }
    }

    /// Why these, if they are not the expected ones.
    pub(crate) fn why(&self) -> String {
        self.why.join("; ")
    }

    /// The clsact qdisc was not there before.
    pub(crate) fn made_clsact(&self) -> bool {
        self.clsact.as_ref().is_some_and(|clsact| clsact.made)
    }

    /// The links, with the entries that they are for.
    pub(crate) fn links(&self) -> impl Iterator<Item = (Entry, BorrowedFd<'_>)> {
        let ingress = match &self.ingress {
            Held::Link(Hook::Tcx, link) => Some((Entry::TcIngress, link.as_fd())),
            Held::Link(_, link) => Some((Entry::Xdp, link.as_fd())),
            Held::Filter => None,
        };
        let egress = match &self.egress {
            Some(Held::Link(_, link)) => Some((Entry::TcEgress, link.as_fd())),
            _ => None,
        };
        ingress.into_iter().chain(egress)
    }

    /// Makes its filters' programs these as well: they are about to be put there.
    pub(crate) fn adopt(&mut self, programs: &Programs) {
        if let Some(clsact) = &mut self.clsact {
            let tc = [Entry::TcIngress, Entry::TcEgress];
            let ids = tc.iter().filter_map(|entry| programs.entry(*entry).ok());
            let ids: Vec<u32> = ids.map(ProgramHandle::id).collect();
            clsact.adopt(&ids);
        }
    }

    /// Leaves filters where they are; links stay by their pins.
    pub(crate) fn release(mut self) {
        if let Some(clsact) = &mut self.clsact {
            clsact.programs.clear();
            clsact.made = false;
        }
    }
}

impl Held {
    fn hook(&self) -> Hook {
        match self {
            Self::Link(hook, _) => *hook,
            Self::Filter => Hook::Clsact,
        }
    }
}

/// The entries that following the plan needs, if nothing unforeseen happens.
pub(crate) fn entries(plan: &Plan) -> impl Iterator<Item = Entry> {
    let ingress = plan.likely_ingress().map(|hook| match hook {
        Hook::Tcx | Hook::Clsact => Entry::TcIngress,
        Hook::XdpNative | Hook::XdpGeneric | Hook::XdpOffload => Entry::Xdp,
    });
    let egress = plan.egress.map(|_| Entry::TcEgress);
    ingress.into_iter().chain(egress)
}

/// Whether following the plan may need the clsact qdisc.
pub(crate) fn uses_clsact(plan: &Plan) -> bool {
    let mut hooks = plan.ingress.iter().chain(&plan.egress);
    hooks.any(|hook| *hook == Hook::Clsact)
}

/// The devices of a namespace.
pub(crate) fn devices(netns: &Netns) -> Result<Vec<Device>> {
    netns
        .run(devices::list)?
        .context("list the network devices")
}

fn attach_ingress(
    programs: &Provide<'_>,
    target: &Target,
    kernel: &KernelSupport,
    clsact: &mut Clsact<'_>,
    why: &mut Vec<String>,
) -> Result<Held> {
    let Target { device, plan, .. } = target;
    let ifindex = device.device.ifindex;
    let name = &device.device.name;
    let mut refusal = Error::new(ErrorKind::Other, "the plan has no hook");
    for (&hook, next) in plan.ingress.iter().zip(1..) {
        let flags = match hook {
            Hook::XdpNative => libbpf_sys::XDP_FLAGS_DRV_MODE,
            Hook::XdpGeneric => libbpf_sys::XDP_FLAGS_SKB_MODE,
            Hook::XdpOffload => libbpf_sys::XDP_FLAGS_HW_MODE,
            Hook::Tcx | Hook::Clsact => {
                return hold_tc(programs, Entry::TcIngress, hook, clsact)
                    .with_context(|| format!("attach ct_tc_ingress to {name}"));
            }
        };
        let program = programs(Entry::Xdp)?;
        match sys::link_create(program.as_fd(), ifindex, LinkKind::Xdp, flags) {
            Ok(link) => return Ok(Held::Link(hook, link)),
            Err(errno) => {
                refusal = refused(errno, hook, device, kernel);
                if plan.ingress.len() > next {
                    why.push(format!("TC ingress instead of native XDP: {refusal:#}"));
                }
            }
        }
    }
    let hook = plan.likely_ingress().map_or("XDP", Hook::name);
    Err(refusal.context(format!("attach ct_xdp to {name} ({hook})")))
}

/// Explains by what is on the device now: somebody may have been faster.
fn refused(errno: Errno, hook: Hook, device: &DeviceSupport, kernel: &KernelSupport) -> Error {
    let ifindex = device.device.ifindex;
    let now = devices::list().unwrap_or_default();
    let now = now.into_iter().find(|device| device.ifindex == ifindex);
    match now {
        Some(now) => plan::explain_xdp(errno, hook, &DeviceSupport::probe(now, kernel)),
        None => plan::explain_xdp(errno, hook, device),
    }
}

fn hold_tc(
    programs: &Provide<'_>,
    entry: Entry,
    hook: Hook,
    clsact: &mut Clsact<'_>,
) -> Result<Held> {
    // Before a qdisc is made that nobody knows of yet: it may take its time.
    let program = programs(entry)?;
    let ifindex = clsact.ifindex;
    let way = match entry {
        Entry::TcEgress => Way::Egress,
        Entry::Xdp | Entry::TcIngress => Way::Ingress,
    };
    if hook == Hook::Clsact {
        clsact.guard()?.adopt(&[program.id()]);
        let netlink = Netlink::open().context("open a netlink socket")?;
        let name = program.name().to_string_lossy();
        let program = program.as_fd().as_raw_fd();
        clsact::add(&netlink, ifindex, way, program, &name).context("add a filter to clsact")?;
        return Ok(Held::Filter);
    }
    let kind = match way {
        Way::Ingress => LinkKind::TcxIngress,
        Way::Egress => LinkKind::TcxEgress,
    };
    let link = sys::link_create(program.as_fd(), ifindex, kind, BEFORE).context("create a link")?;
    Ok(Held::Link(hook, link))
}

impl ClsactGuard {
    fn make(netns: &Arc<Netns>, ifindex: u32, marked: bool) -> Result<Self> {
        let netlink = Netlink::open().context("open a netlink socket")?;
        let inherited = orphans::clear(&netlink, netns.id(), ifindex);
        let inherited = inherited.context("remove filters of a dead process")?;
        let made = clsact::create(&netlink, ifindex).context("add the clsact qdisc")? || inherited;
        Ok(Self {
            netns: Arc::clone(netns),
            ifindex,
            programs: Vec::new(),
            made,
            marked,
            marks: Vec::new(),
        })
    }

    /// Programs that are about to be put there.
    fn adopt(&mut self, programs: &[u32]) {
        if self.marked {
            let marks = orphans::mark(self.netns.id(), self.ifindex, programs, self.made);
            self.marks.extend(marks);
        }
        self.programs.extend(programs);
    }
}

impl Drop for ClsactGuard {
    fn drop(&mut self) {
        if self.programs.is_empty() && !self.made {
            return;
        }
        let (ifindex, made) = (self.ifindex, self.made);
        let clean = || remove_filters(ifindex, &self.programs, made);
        if let Err(error) = self.netns.run(clean).and_then(|result| result) {
            tracing::warn!("interface {ifindex}: filters may be left: {error:#}");
        }
    }
}

/// Takes the filters with these programs off an interface of the calling
/// thread's namespace, and the clsact qdisc if it is ours and nobody uses it.
pub(crate) fn remove_filters(ifindex: u32, programs: &[u32], made_clsact: bool) -> Result<()> {
    let netlink = Netlink::open().context("open a netlink socket")?;
    clsact::remove_programs(&netlink, ifindex, programs)
        .with_context(|| format!("remove our filters from interface {ifindex}"))?;
    if made_clsact {
        clsact::remove_if_empty(&netlink, ifindex)
            .with_context(|| format!("remove the clsact qdisc from interface {ifindex}"))?;
    }
    Ok(())
}
