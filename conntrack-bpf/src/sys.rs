//! System calls that neither the standard library nor libbpf-rs offers in a
//! form we can use. Every function is safe to call with any arguments.

use std::ffi::CStr;
use std::ffi::CString;
use std::ffi::c_void;
use std::fs;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::socket;
use nix::time::ClockId;
use nix::time::clock_gettime;
use nix::unistd::SysconfVar;
use nix::unistd::sysconf;

/// Attach types of `bpf_link_create` that we use.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum LinkKind {
    Xdp,
    TcxIngress,
    TcxEgress,
}

impl LinkKind {
    fn attach_type(self) -> libbpf_sys::bpf_attach_type {
        match self {
            Self::Xdp => libbpf_sys::BPF_XDP,
            Self::TcxIngress => libbpf_sys::BPF_TCX_INGRESS,
            Self::TcxEgress => libbpf_sys::BPF_TCX_EGRESS,
        }
    }
}

/// `BPF_LINK_CREATE` on an interface of the calling thread's namespace. Closing
/// the descriptor detaches.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    kind: LinkKind,
    flags: u32,
) -> Result<OwnedFd, Errno> {
    let target = i32::try_from(ifindex).map_err(|_| Errno::ENODEV)?;
    let opts = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
        flags,
        ..Default::default()
    };
    // SAFETY: the descriptor is open for the call, `opts` outlives it.
    let fd = unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), target, kind.attach_type(), &opts)
    };
    owned(fd)
}

/// What a link of ours says of itself.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct LinkInfo {
    /// The program it holds.
    pub(crate) program: u32,
    /// Where; 0 once that interface is gone.
    pub(crate) ifindex: u32,
}

/// Looks at an XDP or tcx link.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> Result<LinkInfo, Errno> {
    let info = raw_link_info(link)?;
    if ![libbpf_sys::BPF_LINK_TYPE_XDP, libbpf_sys::BPF_LINK_TYPE_TCX].contains(&info.type_) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: of both types the index is the first member, and any bits are one.
    let ifindex = unsafe { info.__bindgen_anon_1.xdp.ifindex };
    Ok(LinkInfo {
        program: info.prog_id,
        ifindex,
    })
}

/// The id of the program that a link of any type holds.
pub(crate) fn link_program(link: BorrowedFd<'_>) -> Result<u32, Errno> {
    raw_link_info(link).map(|info| info.prog_id)
}

fn raw_link_info(link: BorrowedFd<'_>) -> Result<libbpf_sys::bpf_link_info, Errno> {
    // SAFETY: nothing but numbers, for which zero is a value.
    let mut info: libbpf_sys::bpf_link_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libbpf_sys::bpf_link_info>() as u32;
    // SAFETY: `len` is the size of `info`, and both outlive the call.
    let code =
        unsafe { libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &mut info, &mut len) };
    match code {
        0 => Ok(info),
        code => Err(Errno::from_raw(-code)),
    }
}

/// `BPF_LINK_UPDATE`: puts a program in the place of the link's. Each packet
/// meets the one or the other. `ENOLINK` if the interface is gone.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: both descriptors are open for the call; there are no options.
    let code = unsafe {
        libbpf_sys::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), std::ptr::null())
    };
    match code {
        0 => Ok(()),
        code => Err(Errno::from_raw(-code)),
    }
}

/// Ids of the tcx programs on one side of an interface, in the order they run.
pub(crate) fn tcx_programs(ifindex: u32, kind: LinkKind) -> Result<Vec<u32>, Errno> {
    const MOST: u32 = 64; // the kernel's own limit on such a chain
    let target = i32::try_from(ifindex).map_err(|_| Errno::ENODEV)?;
    let mut ids = vec![0; MOST as usize];
    let mut opts = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
        prog_ids: ids.as_mut_ptr(),
        __bindgen_anon_1: libbpf_sys::bpf_prog_query_opts__bindgen_ty_1 { count: MOST },
        ..Default::default()
    };
    // SAFETY: `prog_ids` has room for as many as `count` says, and outlives the
    // call as `opts` does.
    let code = unsafe { libbpf_sys::bpf_prog_query_opts(target, kind.attach_type(), &mut opts) };
    if code < 0 {
        return Err(Errno::from_raw(-code));
    }
    // SAFETY: both members of the union are this one number.
    let count = unsafe { opts.__bindgen_anon_1.count };
    ids.truncate(count as usize);
    Ok(ids)
}

/// What a driver says of its XDP (`NETDEV_XDP_ACT_*`); kernels before 6.3
/// answer 0, or nothing at all.
pub(crate) fn xdp_features(ifindex: u32) -> Result<u64, Errno> {
    let target = i32::try_from(ifindex).map_err(|_| Errno::ENODEV)?;
    let mut opts = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    // SAFETY: `opts` outlives the call.
    let code = unsafe { libbpf_sys::bpf_xdp_query(target, 0, &mut opts) };
    if code < 0 {
        return Err(Errno::from_raw(-code));
    }
    Ok(opts.feature_flags)
}

/// Whether the kernel knows a type of map; `None` if it must not be asked.
pub(crate) fn knows_map(kind: libbpf_sys::bpf_map_type) -> Option<bool> {
    // SAFETY: without options there is nothing to keep valid.
    let code = unsafe { libbpf_sys::libbpf_probe_bpf_map_type(kind, std::ptr::null()) };
    (code >= 0).then_some(code == 1)
}

/// The name of an interface's driver, as `ethtool -i` shows it.
pub(crate) fn driver_name(interface: &str) -> Option<String> {
    const ETHTOOL_GDRVINFO: u32 = 3;
    /// `struct ethtool_drvinfo`.
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; 32],
        _rest: [u8; 160],
    }
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.ok()?;
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        _rest: [0; 160],
    };
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return None;
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: (&raw mut info).cast(),
        },
    };
    // SAFETY: the request names an `ethtool_drvinfo` of full size (196 bytes),
    // and both outlive the call.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    let end = info.driver.iter().position(|&byte| byte == 0)?;
    (code == 0 && end > 0).then(|| String::from_utf8_lossy(&info.driver[..end]).into_owned())
}

/// Loads a program of two instructions; what a kernel takes is found out with
/// it.
pub(crate) fn load_trivial(kind: libbpf_sys::bpf_prog_type, flags: u32) -> Result<OwnedFd, Errno> {
    let move_imm = libbpf_sys::bpf_insn {
        code: 0xb7, // BPF_ALU64 | BPF_MOV | BPF_K into r0
        imm: 2,     // XDP_PASS
        ..Default::default()
    };
    let exit = libbpf_sys::bpf_insn {
        code: 0x95, // BPF_JMP | BPF_EXIT
        ..Default::default()
    };
    let insns = [move_imm, exit];
    let mut opts = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as libbpf_sys::size_t,
        prog_flags: flags,
        ..Default::default()
    };
    // SAFETY: the strings end in NUL, `insns` and `opts` outlive the call.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            kind,
            c"ct_probe".as_ptr(),
            c"GPL".as_ptr(),
            insns.as_ptr(),
            insns.len() as libbpf_sys::size_t,
            &mut opts,
        )
    };
    owned(fd)
}

/// What a descriptor of the BPF system stands for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum BpfObject {
    Map,
    Program,
    Link,
}

/// Opens a pin and says what it is; `None` without /proc.
pub(crate) fn open_pin(path: &Path) -> Result<(OwnedFd, Option<BpfObject>), Errno> {
    let c_path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path ends in NUL and outlives the call.
    let fd = owned(unsafe { libbpf_sys::bpf_obj_get(c_path.as_ptr()) })?;
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let kind = match link.as_deref().unwrap_or(Path::new("")).to_str() {
        Some("anon_inode:bpf-map") => Some(BpfObject::Map),
        Some("anon_inode:bpf-prog") => Some(BpfObject::Program),
        // As it is made, and as it is opened from its pin.
        Some("anon_inode:bpf_link" | "anon_inode:bpf-link") => Some(BpfObject::Link),
        _ => None,
    };
    Ok((fd, kind))
}

/// Pins a map, program or link under a path in bpffs.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path ends in NUL, both outlive the call.
    let code = unsafe { libbpf_sys::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) };
    if code < 0 {
        return Err(Errno::from_raw(-code));
    }
    Ok(())
}

/// Takes a pinned link's program off its interface at once. Removing the pin
/// does that too, but only when the kernel has time.
pub(crate) fn detach_link(path: &Path) -> Result<(), Errno> {
    let (link, kind) = open_pin(path)?;
    if kind.is_some_and(|kind| kind != BpfObject::Link) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the descriptor is open for the call.
    let code = unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) };
    match code {
        0 => Ok(()),
        code => Err(Errno::from_raw(-code)),
    }
}

/// The interface of a pinned XDP or tcx link, by its index in its own namespace; 0
/// if it is gone.
pub(crate) fn link_interface(path: &Path) -> Result<u32, Errno> {
    let (link, kind) = open_pin(path)?;
    if kind.is_some_and(|kind| kind != BpfObject::Link) {
        return Err(Errno::EINVAL);
    }
    let mut info = libbpf_sys::bpf_link_info::default();
    let mut len = size_of::<libbpf_sys::bpf_link_info>() as u32;
    // SAFETY: the descriptor is open for the call; `len` bytes may be written.
    let code = unsafe {
        libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &raw mut info, &raw mut len)
    };
    if code < 0 {
        return Err(Errno::from_raw(-code));
    }
    // SAFETY: both are plain numbers, which any bytes are.
    let (xdp, tcx) = unsafe {
        let kinds = &info.__bindgen_anon_1;
        (kinds.xdp.ifindex, kinds.tcx.ifindex)
    };
    match info.type_ {
        libbpf_sys::BPF_LINK_TYPE_XDP => Ok(xdp),
        libbpf_sys::BPF_LINK_TYPE_TCX => Ok(tcx),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether there is a program of this id.
pub(crate) fn is_loaded(id: u32) -> bool {
    // SAFETY: a call without pointers.
    owned(unsafe { libbpf_sys::bpf_prog_get_fd_by_id(id) }).is_ok()
}

/// A descriptor that lives as long as its owner does, and is open as long.
pub(crate) fn borrow<T>(fd: RawFd, _owner: &T) -> BorrowedFd<'_> {
    // SAFETY: callers hand over a descriptor that the owner closes when dropped,
    // and no sooner; the borrow ends before.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Waits until there is something to read, or the time is up. A signal ends the
/// wait, too.
pub(crate) fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let millis = timeout.as_millis().min(i32::MAX as u128) as i32;
    // What is left of a millisecond is waited for, not spun for.
    let millis = if timeout.is_zero() { 0 } else { millis.max(1) };
    match poll(
        &mut fds,
        PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX),
    ) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Highest number of a CPU that this machine can ever have, plus one. Not their
/// count: numbers may have gaps.
pub(crate) fn possible_cpus() -> u32 {
    let listed = fs::read_to_string("/sys/devices/system/cpu/possible");
    let last = listed.ok().and_then(|list| {
        let last = list.trim().rsplit([',', '-']).next()?;
        last.parse::<u32>().ok()
    });
    let configured = || {
        let count = sysconf(SysconfVar::_NPROCESSORS_CONF).ok().flatten();
        count.and_then(|count| u32::try_from(count).ok())
    };
    last.map(|last| last + 1)
        .or_else(configured)
        .unwrap_or(1)
        .max(1)
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
pub(crate) fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    let nanos = now.unwrap_or_default().as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// Fills the buffer with random bytes.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), Errno> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: pointer and length describe `rest`.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast::<c_void>(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => filled += count,
            Err(_) if Errno::last() == Errno::EINTR => {}
            Err(_) => return Err(Errno::last()),
        }
    }
    Ok(())
}

fn owned(fd: i32) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::from_raw(-fd));
    }
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
