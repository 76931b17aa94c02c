//! Facts about the kernel and this process, found out by trying. What follows
//! from them is `plan`'s.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;

use libbpf_rs::ProgramType;
use nix::errno::Errno;
use nix::sys::utsname::uname;
use nix::unistd::geteuid;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::log;
use crate::sys;
use crate::sys::LinkKind;

/// The oldest kernel on which the programs are expected to load: its
/// `bpf_timer` is the newest thing that has no substitute.
pub const OLDEST: (u32, u32) = (5, 15);

/// What the kernel offers. `None` means that this process must not ask.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct KernelSupport {
    /// What `uname -r` says.
    pub release: String,
    /// Its first two numbers.
    pub version: (u32, u32),
    /// The kernel describes its own types (`/sys/kernel/btf/vmlinux`).
    pub btf: bool,
    /// Why this process cannot load BPF programs; `None` if it can.
    pub no_load: Option<String>,
    /// It runs as root.
    pub root: bool,
    /// Which of the capabilities that matter it has.
    pub capabilities: Capabilities,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u8>,
    /// Memory it may lock, in bytes; matters before Linux 5.11. `None`:
    /// unlimited.
    pub memlock: Option<u64>,
    /// Links for XDP (5.9).
    pub xdp_link: Option<bool>,
    /// tcx (6.6); clsact is used before it.
    pub tcx: Option<bool>,
    /// Multi-buffer XDP (5.18).
    pub xdp_frags: Option<bool>,
    /// Timers in maps (5.15).
    pub timer: Option<bool>,
    /// Bloom filter maps (5.16).
    pub bloom_filter: Option<bool>,
    /// `bpf_loop` (5.17).
    pub bpf_loop: Option<bool>,
    /// Arenas (6.9).
    pub arena: Option<bool>,
    /// It is preemptible even where soft interrupts are off (`PREEMPT_RT`).
    pub realtime: bool,
}

/// Capabilities in force.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Capabilities {
    /// `CAP_BPF`: load programs.
    pub bpf: bool,
    /// `CAP_PERFMON`: programs that use pointers freely.
    pub perfmon: bool,
    /// `CAP_NET_ADMIN`: attach to interfaces.
    pub net_admin: bool,
    /// `CAP_SYS_ADMIN`: enter namespaces, look at others' programs.
    pub sys_admin: bool,
}

impl KernelSupport {
    /// Asks the kernel this process runs on.
    pub fn probe() -> Self {
        log::redirect_libbpf();
        let release = release();
        let no_load = may_load().err();
        let ask = |question: fn() -> Option<bool>| match no_load {
            None => question(),
            Some(_) => None,
        };
        Self {
            version: version(&release),
            release,
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            root: geteuid().is_root(),
            capabilities: Capabilities::of_this_process(),
            unprivileged_bpf_disabled: unprivileged_bpf_disabled(),
            memlock: memlock(),
            xdp_link: ask(xdp_link),
            tcx: ask(tcx),
            xdp_frags: ask(|| Some(xdp_frags())),
            timer: ask(|| helper(libbpf_sys::BPF_FUNC_timer_init)),
            bpf_loop: ask(|| helper(libbpf_sys::BPF_FUNC_loop)),
            bloom_filter: ask(|| sys::knows_map(libbpf_sys::BPF_MAP_TYPE_BLOOM_FILTER)),
            arena: ask(|| sys::knows_map(libbpf_sys::BPF_MAP_TYPE_ARENA)),
            realtime: realtime(),
            no_load: no_load.map(|error| format!("{error:#}")),
        }
    }

    /// Whether it has tcx: as found, or by its version.
    pub fn has_tcx(&self) -> bool {
        self.tcx.unwrap_or(self.version >= (6, 6))
    }

    /// Whether it has multi-buffer XDP: as found, or by its version.
    pub fn has_xdp_frags(&self) -> bool {
        self.xdp_frags.unwrap_or(self.version >= (5, 18))
    }

    /// Whether expired flows are swept.
    pub fn has_bpf_loop(&self) -> bool {
        self.bpf_loop.unwrap_or(self.version >= (5, 17))
    }

    /// The facts that decide something about a running instance, by name.
    pub fn deciding(&self) -> [(&'static str, bool); 4] {
        [
            ("btf", self.btf),
            ("tcx", self.has_tcx()),
            ("xdp_frags", self.has_xdp_frags()),
            ("bpf_loop", self.has_bpf_loop()),
        ]
    }
}

impl Capabilities {
    pub(crate) fn of_this_process() -> Self {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let set = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        Self::from_set(set.unwrap_or(0))
    }

    /// From the kernel's bit set; `CAP_SYS_ADMIN` includes the younger ones.
    fn from_set(set: u64) -> Self {
        let has = |bit: u32| set & (1 << bit) != 0;
        let sys_admin = has(21);
        Self {
            bpf: sys_admin || has(39),
            perfmon: sys_admin || has(38),
            net_admin: has(12),
            sys_admin,
        }
    }
}

/// Whether this process may load programs of our kinds at all, so that a later
/// refusal can only be the verifier's.
pub(crate) fn may_load() -> Result<()> {
    match sys::load_trivial(libbpf_sys::BPF_PROG_TYPE_XDP, 0) {
        Ok(_) => Ok(()),
        Err(errno @ (Errno::EPERM | Errno::EACCES)) => Err(Error::from(errno)
            .context("loading BPF programs takes root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")),
        Err(errno @ (Errno::ENOSYS | Errno::EINVAL)) => Err(Error::from(errno)
            .context("this kernel has no BPF, or no XDP programs")
            .with_kind(ErrorKind::Unsupported)),
        Err(errno) => Err(Error::from(errno).context("load a BPF program")),
    }
}

/// Whether the kernel knows multi-buffer XDP (5.18).
pub(crate) fn xdp_frags() -> bool {
    let flags = libbpf_sys::BPF_F_XDP_HAS_FRAGS;
    sys::load_trivial(libbpf_sys::BPF_PROG_TYPE_XDP, flags).is_ok()
}

/// Whether it is a kernel with `PREEMPT_RT`: `uname -v` says so.
pub(crate) fn realtime() -> bool {
    let name = uname();
    name.is_ok_and(|name| name.version().to_string_lossy().contains("PREEMPT_RT"))
}

/// Whether the kernel knows `bpf_loop` (5.17), which the background sweep needs.
pub(crate) fn bpf_loop() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| helper(libbpf_sys::BPF_FUNC_loop) == Some(true))
}

/// No interface has the index tried here; a kernel without tcx does not come
/// so far as to look for it.
fn tcx() -> Option<bool> {
    let program = sys::load_trivial(libbpf_sys::BPF_PROG_TYPE_SCHED_CLS, 0).ok()?;
    let nowhere = i32::MAX.cast_unsigned();
    let tried = sys::link_create(program.as_fd(), nowhere, LinkKind::TcxIngress, 0);
    Some(matches!(tried, Err(Errno::ENODEV)))
}

/// Loopback has no driver to run XDP in, which a kernel without XDP links does
/// not come so far as to notice.
fn xdp_link() -> Option<bool> {
    const LOOPBACK: u32 = 1; // in every namespace
    let program = sys::load_trivial(libbpf_sys::BPF_PROG_TYPE_XDP, 0).ok()?;
    let flags = libbpf_sys::XDP_FLAGS_DRV_MODE;
    let tried = sys::link_create(program.as_fd(), LOOPBACK, LinkKind::Xdp, flags);
    Some(!matches!(tried, Err(Errno::EINVAL)))
}

fn helper(id: libbpf_sys::bpf_func_id) -> Option<bool> {
    ProgramType::Xdp.is_helper_supported(id).ok()
}

/// What `uname -r` says.
pub(crate) fn release() -> String {
    let name = uname();
    name.map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The first two numbers of a release; zeros where there are none.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn unprivileged_bpf_disabled() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
    text.ok()?.trim().parse().ok()
}

fn memlock() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("6.18.44-fc-v657"), (6, 18));
        assert_eq!(version("6.1.0-28-amd64"), (6, 1));
        assert_eq!(version("7.2-rc1"), (7, 2));
        assert_eq!(version(""), (0, 0));
        assert!(version(&release()) >= OLDEST);
    }

    #[test]
    fn capability_bits() {
        let none = Capabilities::default();
        assert_eq!(Capabilities::from_set(0), none);
        let two = Capabilities::from_set(1 << 39 | 1 << 12);
        assert_eq!((two.bpf, two.net_admin), (true, true));
        assert_eq!((two.perfmon, two.sys_admin), (false, false));
        let admin = Capabilities::from_set(1 << 21);
        assert!(admin.bpf && admin.perfmon && !admin.net_admin);
    }

    #[test]
    fn unknown_facts_are_guessed_by_version() {
        let kernel = |version| KernelSupport {
            version,
            ..KernelSupport::default()
        };
        assert!(!kernel((6, 5)).has_tcx());
        assert!(kernel((6, 6)).has_tcx());
        assert!(!kernel((5, 17)).has_xdp_frags());
        let known = KernelSupport {
            tcx: Some(false),
            ..kernel((7, 0))
        };
        assert!(!known.has_tcx());
    }

    #[test]
    #[ignore = "root"]
    fn what_this_kernel_must_have() {
        let kernel = KernelSupport::probe();
        let at_least = |major, minor| Some(kernel.version >= (major, minor));
        assert_eq!(kernel.no_load, None);
        assert_eq!(kernel.xdp_link, at_least(5, 9));
        assert_eq!(kernel.timer, at_least(5, 15));
        assert_eq!(kernel.bloom_filter, at_least(5, 16));
        assert_eq!(kernel.bpf_loop, at_least(5, 17));
        assert_eq!(kernel.xdp_frags, at_least(5, 18));
        assert_eq!(kernel.tcx, at_least(6, 6));
        assert_eq!(kernel.arena, at_least(6, 9));
    }
}
