//! Which hooks to use: a pure function of the facts and of what was asked for.

use conntrack_core::Hook;
use conntrack_core::Mode;
use nix::errno::Errno;

use crate::devices::Framing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::probe::KernelSupport;
use crate::probe::OLDEST;
use crate::support::DeviceSupport;
use crate::support::Present;

/// What to do with an interface.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// Hooks for what comes in; the first that works is used.
    pub ingress: Vec<Hook>,
    /// The hook for what goes out; none on loopback, where every packet comes
    /// in again.
    pub egress: Option<Hook>,
    /// Why these are not the hooks one would expect; empty if they are.
    pub why: Vec<String>,
}

impl Plan {
    /// Decides.
    ///
    /// # Errors
    /// `Unsupported` if the kernel is too old, the device carries no IP that we
    /// could read, or it is known not to have what was explicitly asked for;
    /// `InUse` if another XDP program has the hook that was
    /// explicitly asked for.
    pub fn from_support(
        kernel: &KernelSupport,
        device: &DeviceSupport,
        mode: Mode,
    ) -> Result<Self> {
        let name = &device.device.name;
        kernel_is_new_enough(kernel)?;
        if let Framing::Other(link_type) = device.device.framing {
            let message = format!(
                "{name} carries neither Ethernet nor bare IP (link type {link_type}): \
                 its packets cannot be read"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let tc = if kernel.has_tcx() {
            Hook::Tcx
        } else {
            Hook::Clsact
        };
        let mut why = Vec::new();
        let ingress = match mode {
            Mode::Auto => match auto_no_native(kernel, device) {
                Some(reason) => {
                    why.push(format!("TC ingress instead of native XDP: {reason}"));
                    vec![tc]
                }
                None => vec![Hook::XdpNative, tc],
            },
            Mode::Tc => vec![tc],
            Mode::Native => vec![demand(kernel, device, Hook::XdpNative)?],
            Mode::Generic => vec![demand(kernel, device, Hook::XdpGeneric)?],
            Mode::Offload => vec![demand(kernel, device, Hook::XdpOffload)?],
        };
        if mode == Mode::Generic {
            why.push(SUPER_PACKETS.to_owned());
        }
        if tc == Hook::Clsact {
            why.push("clsact instead of tcx, which this kernel lacks (Linux 6.6)".to_owned());
        }
        let egress = (!device.device.loopback).then_some(tc);
        Ok(Self {
            ingress,
            egress,
            why,
        })
    }

    /// The hook that is to be used if nothing unforeseen happens.
    pub fn likely_ingress(&self) -> Option<Hook> {
        self.ingress.first().copied()
    }
}

const SUPER_PACKETS: &str =
    "generic XDP sees merged packets and counts each super-packet as one packet";

/// Whether the kernel can run this at all.
///
/// # Errors
/// `Unsupported`, with what is missing.
pub fn kernel_is_new_enough(kernel: &KernelSupport) -> Result<()> {
    if kernel.version >= OLDEST {
        return Ok(());
    }
    let release = &kernel.release;
    let (major, minor) = OLDEST;
    let message =
        format!("Linux {release} is too old: {major}.{minor} or newer is needed, 6.1 supported");
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// Why native XDP is out of the question, if that is known beforehand.
fn auto_no_native(kernel: &KernelSupport, device: &DeviceSupport) -> Option<String> {
    if device.device.framing == Framing::RawIp {
        return Some("its packets have no Ethernet header".to_owned());
    }
    if let Some(present) = device.xdp_in_the_way(Hook::XdpNative) {
        return Some(format!("{present} is attached"));
    }
    cannot(kernel, device, Hook::XdpNative)
}

/// Why XDP would be refused at a hook, taken or not, if that is known beforehand.
fn cannot(kernel: &KernelSupport, device: &DeviceSupport, hook: Hook) -> Option<String> {
    if kernel.xdp_link == Some(false) {
        return Some("this kernel has no XDP links (Linux 5.9)".to_owned());
    }
    let offered = match hook {
        Hook::XdpNative => device.native_xdp,
        Hook::XdpOffload => device.offloaded_xdp,
        _ => return None,
    };
    if device.device.loopback {
        return Some("loopback has no driver".to_owned());
    }
    (offered == Some(false)).then(|| format!("{} offers none", driver(device)))
}

fn demand(kernel: &KernelSupport, device: &DeviceSupport, hook: Hook) -> Result<Hook> {
    if let Some(reason) = cannot(kernel, device, hook) {
        let (name, what) = (&device.device.name, words(hook));
        let message = format!("{name} cannot have {what}: {reason}");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    match device.xdp_in_the_way(hook) {
        Some(present) => Err(in_the_way(device, present)),
        None => Ok(hook),
    }
}

fn words(hook: Hook) -> &'static str {
    match hook {
        Hook::XdpNative => "native XDP",
        Hook::XdpGeneric => "generic XDP",
        Hook::XdpOffload => "offloaded XDP",
        Hook::Tcx | Hook::Clsact => "TC programs",
    }
}

fn in_the_way(device: &DeviceSupport, present: &Present) -> Error {
    let message = format!("{} already has {present}", device.device.name);
    Error::new(ErrorKind::InUse, message)
}

fn driver(device: &DeviceSupport) -> String {
    match &device.driver {
        Some(driver) => format!("driver {driver}"),
        None => "its driver".to_owned(),
    }
}

/// What it most likely means that XDP was refused; `device` as it was found
/// after the refusal.
pub(crate) fn explain_xdp(errno: Errno, hook: Hook, device: &DeviceSupport) -> Error {
    let driver = driver(device);
    let mtu = device.device.mtu;
    let (kind, reason) = match (errno, device.xdp_in_the_way(hook)) {
        (Errno::EBUSY | Errno::EEXIST, Some(present)) => {
            (ErrorKind::InUse, format!("{present} is attached"))
        }
        (Errno::EBUSY | Errno::EEXIST, None) => (ErrorKind::InUse, "the hook is taken".to_owned()),
        (Errno::EOPNOTSUPP, _) => (
            ErrorKind::Unsupported,
            match device.device.loopback {
                true => "loopback has no driver".to_owned(),
                false => format!("{driver} cannot, or not with the offloads that are on"),
            },
        ),
        (Errno::ERANGE | Errno::EINVAL | Errno::EMSGSIZE, _) => (
            ErrorKind::Unsupported,
            format!("{driver} refuses; the MTU is {mtu}"),
        ),
        (Errno::ENOMEM | Errno::ENOSPC, _) => {
            let (rx, tx) = device.device.queues;
            (
                ErrorKind::Unsupported,
                format!("{driver} lacks queues or memory for it ({rx} rx, {tx} tx queues)"),
            )
        }
        (errno, _) => (Error::from(errno).kind(), format!("{driver} refuses")),
    };
    Error::from(errno).context(reason).with_kind(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Device;
    use crate::devices::XdpPresent;

    fn kernel(version: (u32, u32)) -> KernelSupport {
        KernelSupport {
            version,
            release: format!("{}.{}", version.0, version.1),
            ..KernelSupport::default()
        }
    }

    fn device() -> DeviceSupport {
        let device = Device {
            ifindex: 2,
            name: "eth0".to_owned(),
            framing: Framing::Ethernet,
            loopback: false,
            up: true,
            mtu: 1500,
            queues: (1, 1),
            kind: None,
            xdp: XdpPresent::default(),
            master: None,
            lower: None,
        };
        DeviceSupport {
            device,
            driver: Some("virtio_net".to_owned()),
            native_xdp: None,
            offloaded_xdp: None,
            present: Vec::new(),
        }
    }

    fn with_xdp(hook: Hook) -> DeviceSupport {
        let present = Present {
            hook,
            egress: false,
            id: Some(42),
            name: Some("xdp_lb".to_owned()),
        };
        DeviceSupport {
            present: vec![present],
            ..device()
        }
    }

    fn plan(version: (u32, u32), device: &DeviceSupport, mode: Mode) -> Plan {
        Plan::from_support(&kernel(version), device, mode).unwrap()
    }

    #[test]
    fn auto_is_native_then_tc() {
        let new = plan((6, 18), &device(), Mode::Auto);
        assert_eq!(new.ingress, [Hook::XdpNative, Hook::Tcx]);
        assert_eq!(new.egress, Some(Hook::Tcx));
        assert_eq!(new.why, [""; 0]);
        let old = plan((6, 1), &device(), Mode::Auto);
        assert_eq!(old.ingress, [Hook::XdpNative, Hook::Clsact]);
        assert_eq!(old.egress, Some(Hook::Clsact));
        assert!(old.why[0].contains("6.6"), "{:?}", old.why);
    }

    #[test]
    fn auto_says_why_not_native() {
        let mut loopback = device();
        loopback.device.loopback = true;
        let mut tun = device();
        tun.device.framing = Framing::RawIp;
        let mut incapable = device();
        incapable.native_xdp = Some(false);
        let cases = [
            (loopback, "loopback"),
            (tun, "Ethernet header"),
            (incapable, "driver virtio_net"),
            (with_xdp(Hook::XdpNative), "xdp_lb (id 42"),
            (with_xdp(Hook::XdpGeneric), "xdp_lb (id 42"),
        ];
        for (device, reason) in cases {
            let plan = plan((6, 18), &device, Mode::Auto);
            assert_eq!(plan.ingress, [Hook::Tcx]);
            assert_eq!(plan.why.len(), 1);
            assert!(plan.why[0].contains(reason), "{:?}", plan.why);
            assert_eq!(plan.egress.is_none(), device.device.loopback);
        }
    }

    #[test]
    fn a_demand_is_met_or_refused() {
        for (mode, hook) in [
            (Mode::Native, Hook::XdpNative),
            (Mode::Generic, Hook::XdpGeneric),
            (Mode::Offload, Hook::XdpOffload),
        ] {
            assert_eq!(plan((6, 18), &device(), mode).ingress, [hook]);
            let error = Plan::from_support(&kernel((6, 18)), &with_xdp(hook), mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse);
            assert!(error.to_string().contains("xdp_lb (id 42"), "{error}");
        }
        let offloaded = with_xdp(Hook::XdpOffload);
        let native = plan((6, 18), &offloaded, Mode::Native);
        assert_eq!(native.ingress, [Hook::XdpNative], "another slot");
        let tc = plan((6, 18), &with_xdp(Hook::XdpNative), Mode::Tc);
        assert_eq!((tc.ingress, tc.why), (vec![Hook::Tcx], vec![]));
        let generic = plan((6, 18), &device(), Mode::Generic);
        assert!(generic.why[0].contains("super-packet"));
    }

    #[test]
    fn a_demand_that_is_known_to_fail_is_refused() {
        let mut loopback = device();
        loopback.device.loopback = true;
        let mut incapable = device();
        (incapable.native_xdp, incapable.offloaded_xdp) = (Some(false), Some(false));
        let mut capable = device();
        (capable.native_xdp, capable.offloaded_xdp) = (Some(true), Some(true));
        for (device, mode, says) in [
            (
                &loopback,
                Mode::Native,
                Some("native XDP: loopback has no driver"),
            ),
            (
                &loopback,
                Mode::Offload,
                Some("offloaded XDP: loopback has no driver"),
            ),
            (&loopback, Mode::Generic, None),
            (
                &incapable,
                Mode::Native,
                Some("native XDP: driver virtio_net offers none"),
            ),
            (
                &incapable,
                Mode::Offload,
                Some("offloaded XDP: driver virtio_net offers none"),
            ),
            (&incapable, Mode::Generic, None),
            (&incapable, Mode::Tc, None),
            (&capable, Mode::Native, None),
            (&capable, Mode::Offload, None),
        ] {
            let plan = Plan::from_support(&kernel((6, 18)), device, mode);
            match (plan, says) {
                (Ok(_), None) => {}
                (Err(error), Some(says)) => {
                    assert_eq!(error.kind(), ErrorKind::Unsupported);
                    assert!(error.to_string().contains(says), "{error}");
                }
                (plan, says) => panic!("{mode:?}: {plan:?}, not {says:?}"),
            }
        }
        let none = KernelSupport {
            xdp_link: Some(false),
            ..kernel((5, 15))
        };
        let error = Plan::from_support(&none, &device(), Mode::Generic).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }

    #[test]
    fn what_cannot_work() {
        let refused = |kernel: KernelSupport, device: DeviceSupport| {
            Plan::from_support(&kernel, &device, Mode::Auto).unwrap_err()
        };
        let old = refused(kernel((5, 10)), device());
        assert_eq!(old.kind(), ErrorKind::Unsupported);
        assert!(old.to_string().contains("5.10"));
        let mut infiniband = device();
        infiniband.device.framing = Framing::Other(32);
        let error = refused(kernel((6, 18)), infiniband);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("eth0"), "{error}");
    }

    #[test]
    fn refusals_are_explained() {
        let explain = |errno, device: &DeviceSupport| {
            let error = explain_xdp(errno, Hook::XdpNative, device);
            assert_eq!(error.os_error(), Some(errno as i32));
            (error.kind(), error.to_string())
        };
        let (kind, text) = explain(Errno::EBUSY, &with_xdp(Hook::XdpNative));
        assert_eq!(kind, ErrorKind::InUse);
        assert!(text.contains("xdp_lb (id 42"), "{text}");
        let mut loopback = device();
        loopback.device.loopback = true;
        let (_, text) = explain(Errno::EOPNOTSUPP, &loopback);
        assert!(text.contains("loopback has no driver"), "{text}");
        let (kind, text) = explain(Errno::ERANGE, &device());
        assert_eq!(kind, ErrorKind::Unsupported);
        assert!(
            text.contains("virtio_net") && text.contains("1500"),
            "{text}"
        );
    }
}
