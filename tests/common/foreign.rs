//! Other people's programs, and how they attach them.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libbpf_rs::libbpf_sys;

use super::netns::Netns;

/// A program that does nothing but return `answer`.
pub(crate) fn program(
    kind: libbpf_sys::bpf_prog_type,
    name: &std::ffi::CStr,
    answer: i32,
) -> OwnedFd {
    let insns = [
        libbpf_sys::bpf_insn {
            code: 0xb7, // r0 = imm
            imm: answer,
            ..Default::default()
        },
        libbpf_sys::bpf_insn {
            code: 0x95, // exit
            ..Default::default()
        },
    ];
    // SAFETY: the strings end in NUL, the instructions are as many as said, and
    // no options are given.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            kind,
            name.as_ptr(),
            c"GPL".as_ptr(),
            insns.as_ptr(),
            insns.len() as libbpf_sys::size_t,
            std::ptr::null_mut(),
        )
    };
    assert!(fd >= 0, "load a program: error {fd}");
    // SAFETY: the kernel has just given it to us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Puts an XDP program on an interface as `ip link set … xdp` does, without a
/// link: it stays until it is taken off.
pub(crate) fn attach_xdp(ns: &Netns, interface: &str, program: &OwnedFd, flags: u32) {
    let ifindex = ifindex(ns, interface);
    let program = program.as_raw_fd();
    // SAFETY: the descriptor is open, and no options are given.
    let code =
        ns.run(|| unsafe { libbpf_sys::bpf_xdp_attach(ifindex, program, flags, std::ptr::null()) });
    assert_eq!(code, 0, "attach XDP to {interface}");
}

/// Links a program to one side of an interface by tcx; it goes with the
/// descriptor.
pub(crate) fn attach_tcx(
    ns: &Netns,
    interface: &str,
    program: &OwnedFd,
    side: libbpf_sys::bpf_attach_type,
) -> OwnedFd {
    let ifindex = ifindex(ns, interface);
    let program = program.as_raw_fd();
    // SAFETY: the descriptor is open, and no options are given.
    let fd =
        ns.run(|| unsafe { libbpf_sys::bpf_link_create(program, ifindex, side, std::ptr::null()) });
    assert!(fd >= 0, "attach tcx to {interface}: error {fd}");
    // SAFETY: the kernel has just given it to us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The index of an interface.
pub(crate) fn ifindex(ns: &Netns, interface: &str) -> i32 {
    let shown = ns.sh(&format!("ip -o link show dev {interface}"));
    let number = shown.split(':').next().expect("a line");
    number.trim().parse().expect("a number")
}

/// Pins a link.
pub(crate) fn pin(link: &OwnedFd, path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    // SAFETY: the path ends in NUL, the descriptor is open.
    let code = unsafe { libbpf_sys::bpf_obj_pin(link.as_raw_fd(), path.as_ptr()) };
    assert_eq!(code, 0, "pin {path:?}");
}

/// Opens a pin.
pub(crate) fn open(path: &Path) -> OwnedFd {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    // SAFETY: the path ends in NUL.
    let fd = unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) };
    assert!(fd >= 0, "open {path:?}: error {fd}");
    // SAFETY: the kernel has just given it to us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
