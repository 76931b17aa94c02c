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

/// Our filters on an interface's clsact qdisc, and the qdisc if it is ours.
#[derive(Debug)]
struct ClsactGuard {
    netns: Arc<Netns>,
    ifindex: u32,
    programs: Vec<u32>,
    made: bool,
    /// While nothing is pinned.
    marks: Vec<Lock>,
}

/// Names the links of an interface are pinned under.
pub(crate) const LINK_SIDES: [&str; 3] = ["xdp", "ingress", "egress"];

impl Attachment {
    /// Attaches to a target, from a thread that is in its namespace. `marked`:
    /// no record tells of filters if this process dies, so they are marked.
    pub(crate) fn make(
        programs: &Programs,
        netns: &Arc<Netns>,
        target: &Target,
        kernel: &KernelSupport,
        marked: bool,
    ) -> Result<Self> {
        let Target { device, plan, .. } = target;
        let ifindex = device.device.ifindex;
        let mut why = plan.why.clone();
        let mut clsact = None;
        if uses_clsact(plan) {
            clsact = Some(ClsactGuard::make(netns, ifindex, programs, marked)?);
        }
        let ingress = attach_ingress(programs, device, plan, kernel, &mut why)?;
        let egress = plan.egress.map(|hook| {
            let name = &device.device.name;
            hold_tc(&programs.tc_egress, ifindex, Way::Egress, hook)
                .with_context(|| format!("attach ct_tc_egress to {name}"))
        });
        Ok(Self {
            ingress,
            egress: egress.transpose()?,
            why,
            clsact,
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

    /// The links, with the sides of the interface that they are on.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        let [xdp, tc_ingress, tc_egress] = LINK_SIDES;
        let ingress = match &self.ingress {
            Held::Link(Hook::Tcx, link) => Some((tc_ingress, link.as_fd())),
            Held::Link(_, link) => Some((xdp, link.as_fd())),
            Held::Filter => None,
        };
        let egress = match &self.egress {
            Some(Held::Link(_, link)) => Some((tc_egress, link.as_fd())),
            _ => None,
        };
        ingress.into_iter().chain(egress)
    }

    /// Makes its filters' programs these as well: they are about to be put there.
    pub(crate) fn adopt(&mut self, programs: &Programs) {
        if let Some(clsact) = &mut self.clsact {
            clsact.adopt(programs);
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

/// The program for a side of [`LINK_SIDES`].
pub(crate) fn program_on<'a>(programs: &'a Programs, side: &str) -> Option<&'a ProgramHandle> {
    let ours = [&programs.xdp, &programs.tc_ingress, &programs.tc_egress];
    let mut sides = LINK_SIDES.into_iter().zip(ours);
    sides.find(|(known, _)| *known == side).map(|(_, it)| it)
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
    programs: &Programs,
    device: &DeviceSupport,
    plan: &Plan,
    kernel: &KernelSupport,
    why: &mut Vec<String>,
) -> Result<Held> {
    let ifindex = device.device.ifindex;
    let name = &device.device.name;
    let mut refusal = Error::new(ErrorKind::Other, "the plan has no hook");
    for &hook in &plan.ingress {
        let flags = match hook {
            Hook::XdpNative => libbpf_sys::XDP_FLAGS_DRV_MODE,
            Hook::XdpGeneric => libbpf_sys::XDP_FLAGS_SKB_MODE,
            Hook::XdpOffload => libbpf_sys::XDP_FLAGS_HW_MODE,
            Hook::Tcx | Hook::Clsact => {
                return hold_tc(&programs.tc_ingress, ifindex, Way::Ingress, hook)
                    .with_context(|| format!("attach ct_tc_ingress to {name}"));
            }
        };
        match sys::link_create(programs.xdp.as_fd(), ifindex, LinkKind::Xdp, flags) {
            Ok(link) => return Ok(Held::Link(hook, link)),
            Err(errno) => {
                refusal = refused(errno, hook, device, kernel);
                why.push(format!("TC ingress instead of native XDP: {refusal:#}"));
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

fn hold_tc(program: &ProgramHandle, ifindex: u32, way: Way, hook: Hook) -> Result<Held> {
    if hook == Hook::Clsact {
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
    fn make(netns: &Arc<Netns>, ifindex: u32, programs: &Programs, marked: bool) -> Result<Self> {
        let netlink = Netlink::open().context("open a netlink socket")?;
        let inherited = orphans::clear(&netlink, netns.id(), ifindex);
        let inherited = inherited.context("remove filters of a dead process")?;
        let made = clsact::create(&netlink, ifindex).context("add the clsact qdisc")? || inherited;
        let programs = [programs.tc_ingress.id(), programs.tc_egress.id()];
        let marks = match marked {
            true => orphans::mark(netns.id(), ifindex, &programs, made),
            false => Vec::new(),
        };
        Ok(Self {
            netns: Arc::clone(netns),
            ifindex,
            programs: programs.to_vec(),
            made,
            marks,
        })
    }

    fn adopt(&mut self, programs: &Programs) {
        let programs = [programs.tc_ingress.id(), programs.tc_egress.id()];
        if !self.marks.is_empty() {
            let marks = orphans::mark(self.netns.id(), self.ifindex, &programs, self.made);
            self.marks.extend(marks);
        }
        self.programs.extend(programs);
    }
}

impl Drop for ClsactGuard {
    fn drop(&mut self) {
        if self.programs.is_empty() {
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
