//! Facts about an interface: what it is, what its driver can do, and whose
//! programs sit on it.

use std::fmt;

use conntrack_core::Hook;
use libbpf_rs::ProgramHandle;
use nix::errno::Errno;

use crate::attach;
use crate::choose::Wanted;
use crate::clsact;
use crate::clsact::Way;
use crate::devices::Device;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::probe::KernelSupport;
use crate::sys;
use crate::sys::LinkKind;
use crate::targets;

/// Bit of `NETDEV_XDP_ACT_*` that says that programs run in the driver.
const XDP_BASIC: u64 = 1;
/// The one that says that they run on the card.
const XDP_HW_OFFLOAD: u64 = 1 << 4;

/// What a device offers.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct DeviceSupport {
    /// The device.
    pub device: Device,
    /// Its driver, where there is one to ask.
    pub driver: Option<String>,
    /// Whether the driver says that it runs XDP; `None` before Linux 6.3.
    pub native_xdp: Option<bool>,
    /// Whether the driver says that the card runs XDP; `None` before Linux 6.3.
    pub offloaded_xdp: Option<bool>,
    /// Programs and filters on it, ours or others'.
    pub present: Vec<Present>,
}

/// A program on a device, or a filter of another kind.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Present {
    /// Where it sits.
    pub hook: Hook,
    /// It sees what goes out.
    pub egress: bool,
    /// The id of the program; `None` for a filter without one.
    pub id: Option<u32>,
    /// Its name; that of its kind for a filter without program; `None` where
    /// this process must not ask.
    pub name: Option<String>,
}

impl DeviceSupport {
    /// Looks at a device of the calling thread's namespace.
    pub(crate) fn probe(device: Device, kernel: &KernelSupport) -> Self {
        let ifindex = device.ifindex;
        let features = sys::xdp_features(ifindex).ok();
        let features = features.filter(|_| kernel.version >= (6, 3));
        let offers = |bit: u64| features.map(|flags| flags & bit != 0);
        Self {
            driver: sys::driver_name(&device.name).or_else(|| device.kind.clone()),
            native_xdp: offers(XDP_BASIC),
            offloaded_xdp: offers(XDP_HW_OFFLOAD),
            present: present(&device),
            device,
        }
    }

    /// The XDP program that keeps another one from this hook.
    pub(crate) fn xdp_in_the_way(&self, hook: Hook) -> Option<&Present> {
        let mut present = self.present.iter();
        present.find(|present| match (hook, present.hook) {
            // The card's own slot is apart; the two others exclude each other.
            (Hook::XdpOffload, there) => there == Hook::XdpOffload,
            (_, there) => matches!(there, Hook::XdpNative | Hook::XdpGeneric),
        })
    }
}

/// Looks at devices of a namespace: those named, in this order, or all.
///
/// # Errors
/// `NotFound` for a name that is not there; `NotPermitted` if the namespace must
/// not be entered.
pub fn survey(
    netns: &Netns,
    kernel: &KernelSupport,
    names: &[String],
) -> Result<Vec<DeviceSupport>> {
    let devices = targets::named(netns, names)?;
    netns.run(|| {
        let devices = devices.into_iter();
        devices
            .map(|device| DeviceSupport::probe(device, kernel))
            .collect()
    })
}

/// Why interfaces of these names cannot be attached to together, if they cannot:
/// one of them is stacked on another.
///
/// # Errors
/// As [`survey`].
pub fn apart(netns: &Netns, names: &[String]) -> Result<Option<String>> {
    if names.is_empty() {
        return Ok(None);
    }
    let (all, wanted) = (attach::devices(netns)?, Wanted::new(names)?);
    match targets::check(netns, &all, &wanted, &[].into()) {
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(Some(format!("{error:#}"))),
        checked => checked.map(|()| None),
    }
}

/// Everything on a device, as far as this process may see it.
fn present(device: &Device) -> Vec<Present> {
    let xdp = [
        (Hook::XdpNative, device.xdp.native),
        (Hook::XdpGeneric, device.xdp.generic),
        (Hook::XdpOffload, device.xdp.offload),
    ];
    let xdp = xdp.into_iter().filter_map(|(hook, id)| Some((hook, id?)));
    let mut all: Vec<Present> = xdp.map(|(hook, id)| program(hook, false, id)).collect();
    for (kind, egress) in [(LinkKind::TcxIngress, false), (LinkKind::TcxEgress, true)] {
        let ids = sys::tcx_programs(device.ifindex, kind).unwrap_or_default();
        all.extend(ids.into_iter().map(|id| program(Hook::Tcx, egress, id)));
    }
    all.extend(filters(device.ifindex).unwrap_or_default());
    all
}

/// Filters of other kinds are told once for each priority: some list their
/// inner tables as well.
fn filters(ifindex: u32) -> Result<Vec<Present>, Errno> {
    let netlink = Netlink::open()?;
    let mut all = Vec::new();
    for way in Way::BOTH {
        let egress = way == Way::Egress;
        let mut filters = clsact::filters(&netlink, ifindex, way)?;
        filters.retain(|filter| filter.handle != 0);
        filters.dedup_by_key(|filter| match filter.program {
            Some(id) => (id, 0),
            None => (0, filter.priority()),
        });
        all.extend(filters.into_iter().map(|filter| match filter.program {
            Some(id) => program(Hook::Clsact, egress, id),
            None => Present {
                hook: Hook::Clsact,
                egress,
                id: None,
                name: Some(filter.kind),
            },
        }));
    }
    Ok(all)
}

fn program(hook: Hook, egress: bool, id: u32) -> Present {
    let handle = ProgramHandle::from_prog_id(id).ok();
    let name = handle.map(|handle| handle.name().to_string_lossy().into_owned());
    Present {
        hook,
        egress,
        id: Some(id),
        name: name.filter(|name| !name.is_empty()),
    }
}

impl fmt::Display for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.egress { "egress" } else { "ingress" };
        let what = match self.hook {
            Hook::XdpNative => "the native XDP program",
            Hook::XdpGeneric => "the generic XDP program",
            Hook::XdpOffload => "the offloaded XDP program",
            Hook::Tcx => "the tcx program",
            Hook::Clsact => "the clsact filter",
        };
        let name = self.name.as_deref().unwrap_or("without a name");
        write!(f, "{what} {name}")?;
        match (self.id, self.hook) {
            (Some(id), Hook::Tcx | Hook::Clsact) => write!(f, " (id {id}, {way})"),
            (None, Hook::Tcx | Hook::Clsact) => write!(f, " ({way})"),
            (Some(id), _) => write!(f, " (id {id})"),
            (None, _) => Ok(()),
        }
    }
}
