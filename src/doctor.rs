//! What this host can do, and what attaching would choose.

use std::fmt;

use conntrack_bpf::Netns;
use conntrack_bpf::plan;
use conntrack_bpf::plan::Plan;
use conntrack_bpf::probe::KernelSupport;
use conntrack_bpf::support;
use conntrack_bpf::support::DeviceSupport;
use conntrack_core::Hook;
use conntrack_core::Hooks;
use conntrack_core::Mode;
use serde::Serialize;

use crate::NetnsRef;
use crate::Result;

/// Whether it would work.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As well as it can.
    Full,
    /// With something in place of the best.
    Fallbacks,
    /// Not at all.
    Impossible,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full => "everything works",
            Self::Fallbacks => "works, with fallbacks",
            Self::Impossible => "cannot work",
        })
    }
}

/// The answer of `conntrack doctor`.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Doctor {
    /// Whether it would work: for this process, with the interfaces named, or
    /// on this kernel if none were.
    pub verdict: Verdict,
    /// Why it is not [`Verdict::Full`], a line each.
    pub reasons: Vec<String>,
    /// The kernel and this process.
    pub kernel: KernelReport,
    /// The interfaces named; all of the namespace if none were.
    pub interfaces: Vec<InterfaceReport>,
}

/// The kernel, and what this process may do.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct KernelReport {
    /// What `uname -r` says.
    pub release: String,
    /// This process runs as root.
    pub root: bool,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u8>,
    /// Memory this process may lock, in bytes; matters before Linux 5.11.
    /// `None`: unlimited.
    pub memlock: Option<u64>,
    /// What matters, and whether it is there.
    pub facts: Vec<Fact>,
}

/// Something that is there, or not.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Fact {
    /// A word for it, such as `tcx`.
    pub name: &'static str,
    /// Whether it is there; `None` if this process must not ask.
    pub present: Option<bool>,
    /// What it is for.
    pub purpose: &'static str,
}

/// An interface.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct InterfaceReport {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Its driver, where there is one to ask.
    pub driver: Option<String>,
    /// It is set up.
    pub up: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Receive queues.
    pub rx_queues: u32,
    /// Transmit queues.
    pub tx_queues: u32,
    /// Whether the driver says that it runs XDP; `None` before Linux 6.3.
    pub native_xdp: Option<bool>,
    /// Programs and filters that are on it.
    pub present: Vec<PresentReport>,
    /// What attaching would choose; `None` if it would refuse.
    pub plan: Option<PlanReport>,
    /// Why attaching would refuse.
    pub refusal: Option<String>,
}

/// A program or filter on an interface.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct PresentReport {
    /// Where it sits.
    pub hook: Hook,
    /// It sees what goes out, not what comes in.
    pub egress: bool,
    /// The id of the program; `None` for a filter without one.
    pub id: Option<u32>,
    /// Its name, if this process may see it.
    pub name: Option<String>,
}

/// What attaching would choose.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// The hooks, if the driver does not refuse.
    pub hooks: Hooks,
    /// What is tried for ingress if it does.
    pub otherwise: Option<Hook>,
    /// Why these are not the hooks one would expect.
    pub why: Vec<String>,
}

/// Says what this host can do and what attaching to the interfaces in this mode
/// would choose, without changing anything. Needs no privileges, but sees less
/// without.
///
/// ```no_run
/// # fn main() -> Result<(), conntrack::Error> {
/// let doctor = conntrack::doctor(&["eth0".to_owned()], conntrack::Mode::Auto)?;
/// println!("{}: {}", doctor.verdict, doctor.reasons.join("; "));
/// # Ok(()) }
/// ```
///
/// # Errors
/// `NotFound` for an interface that is not there.
pub fn doctor(interfaces: &[String], mode: Mode) -> Result<Doctor> {
    doctor_in(&NetnsRef::Current, interfaces, mode)
}

/// The same for interfaces of another network namespace.
///
/// # Errors
/// As [`doctor()`]; `NotFound` or `NotPermitted` for the namespace.
pub fn doctor_in(netns: &NetnsRef, interfaces: &[String], mode: Mode) -> Result<Doctor> {
    let kernel = KernelSupport::probe();
    let netns = Netns::open(netns)?;
    let devices = support::survey(&netns, &kernel, interfaces)?;
    let reports: Vec<_> = devices
        .into_iter()
        .map(|device| interface(&kernel, device, mode))
        .collect();
    let mut findings = host_findings(&kernel);
    if !interfaces.is_empty() {
        let together = support::apart(&netns, interfaces)?;
        findings.extend(together.map(|reason| (Verdict::Impossible, reason)));
        // What a pattern matches is left out if it refuses, unless nothing is left.
        let any = reports.iter().any(|report| report.plan.is_some());
        for report in &reports {
            let must = !any || interfaces.contains(&report.name);
            findings.extend(interface_findings(report, must));
        }
    }
    let verdict = findings.iter().map(|(verdict, _)| *verdict).max();
    Ok(Doctor {
        verdict: verdict.unwrap_or(Verdict::Full),
        reasons: findings.into_iter().map(|(_, reason)| reason).collect(),
        kernel: kernel_report(&kernel),
        interfaces: reports,
    })
}

/// What is wrong with the host, and how much it matters.
fn host_findings(kernel: &KernelSupport) -> Vec<(Verdict, String)> {
    let mut findings = Vec::new();
    if let Err(error) = plan::kernel_is_new_enough(kernel) {
        findings.push((Verdict::Impossible, format!("{error:#}")));
    }
    if let Some(reason) = &kernel.no_load {
        findings.push((Verdict::Impossible, reason.clone()));
    } else if !kernel.capabilities.net_admin {
        let reason = "attaching takes CAP_NET_ADMIN".to_owned();
        findings.push((Verdict::Impossible, reason));
    }
    if !kernel.has_tcx() {
        let reason = "no tcx (Linux 6.6): TC programs are attached by clsact".to_owned();
        findings.push((Verdict::Fallbacks, reason));
    }
    if !kernel.has_xdp_frags() {
        let reason = "no multi-buffer XDP (Linux 5.18): TC instead of native XDP where the MTU \
                      is too large"
            .to_owned();
        findings.push((Verdict::Fallbacks, reason));
    }
    if !kernel.has_bpf_loop() {
        let reason = "no bpf_loop (Linux 5.17): flows that are over go when their room is needed, \
                      and not all of them are told of; nothing sweeps"
            .to_owned();
        findings.push((Verdict::Fallbacks, reason));
    }
    findings
}

fn interface_findings(report: &InterfaceReport, must: bool) -> Vec<(Verdict, String)> {
    let name = &report.name;
    if let Some(refusal) = &report.refusal {
        return vec![match must {
            true => (Verdict::Impossible, refusal.clone()),
            false => (
                Verdict::Fallbacks,
                format!("{refusal}: it would be left out"),
            ),
        }];
    }
    let why = report.plan.iter().flat_map(|plan| &plan.why);
    why.map(|why| (Verdict::Fallbacks, format!("{name}: {why}")))
        .collect()
}

fn interface(kernel: &KernelSupport, support: DeviceSupport, mode: Mode) -> InterfaceReport {
    let planned = Plan::from_support(kernel, &support, mode);
    let refusal = planned.as_ref().err().map(|error| format!("{error:#}"));
    let device = support.device;
    let present = support.present.into_iter().map(|present| PresentReport {
        hook: present.hook,
        egress: present.egress,
        id: present.id,
        name: present.name,
    });
    InterfaceReport {
        name: device.name,
        ifindex: device.ifindex,
        driver: support.driver,
        up: device.up,
        mtu: device.mtu,
        rx_queues: device.queues.0,
        tx_queues: device.queues.1,
        native_xdp: support.native_xdp,
        present: present.collect(),
        plan: planned.ok().map(|plan| PlanReport {
            hooks: Hooks {
                ingress: plan.likely_ingress(),
                egress: plan.egress,
            },
            otherwise: plan.ingress.get(1).copied(),
            why: plan.why,
        }),
        refusal,
    }
}

fn kernel_report(kernel: &KernelSupport) -> KernelReport {
    let capabilities = kernel.capabilities;
    let facts = [
        ("load", Some(kernel.no_load.is_none()), "load BPF programs"),
        ("cap_bpf", Some(capabilities.bpf), "load BPF programs"),
        (
            "cap_perfmon",
            Some(capabilities.perfmon),
            "programs that use pointers",
        ),
        (
            "cap_net_admin",
            Some(capabilities.net_admin),
            "attach to interfaces",
        ),
        (
            "cap_sys_admin",
            Some(capabilities.sys_admin),
            "other namespaces, others' programs",
        ),
        ("btf", Some(kernel.btf), "the kernel's types; not needed"),
        ("xdp_link", kernel.xdp_link, "attach XDP (Linux 5.9)"),
        (
            "timer",
            kernel.timer,
            "sweep expired flows (Linux 5.15, with bpf_loop)",
        ),
        ("bloom_filter", kernel.bloom_filter, "not used (Linux 5.16)"),
        (
            "bpf_loop",
            kernel.bpf_loop,
            "sweep at all, and tell of pressure (Linux 5.17)",
        ),
        (
            "xdp_frags",
            kernel.xdp_frags,
            "jumbo frames in native XDP (Linux 5.18)",
        ),
        ("tcx", kernel.tcx, "TC programs by links (Linux 6.6)"),
        ("arena", kernel.arena, "not used (Linux 6.9)"),
        (
            "preempt_rt",
            Some(kernel.realtime),
            "where it is, packets that interrupt others pass untracked",
        ),
    ];
    let facts = facts.into_iter().map(|(name, present, purpose)| Fact {
        name,
        present,
        purpose,
    });
    KernelReport {
        release: kernel.release.clone(),
        root: kernel.root,
        unprivileged_bpf_disabled: kernel.unprivileged_bpf_disabled,
        memlock: kernel.memlock,
        facts: facts.collect(),
    }
}
