//! A program behind ours that counts the super-packets it is handed: those with
//! more than one segment.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use libbpf_rs::MapType;
use libbpf_rs::TC_EGRESS;
use libbpf_rs::TC_INGRESS;
use libbpf_rs::TcHookBuilder;
use libbpf_rs::libbpf_sys;
use libbpf_rs::libbpf_sys::bpf_insn;
use nix::net::if_::if_nametoindex;

use crate::support::netns::Netns;

/// Where `struct __sk_buff` has `gso_segs` (include/uapi/linux/bpf.h).
const GSO_SEGS: i16 = 164;

/// Behind any filter of ours.
const LAST: u32 = 50_000;

/// The counts of one interface. The filters go with its namespace.
#[derive(Debug)]
pub(crate) struct Supers([MapHandle; 2]);

impl Supers {
    /// Counts what the filters of both sides of an interface are handed.
    pub(crate) fn count(ns: &Netns, interface: &str) -> Self {
        Self([TC_INGRESS, TC_EGRESS].map(|side| {
            let map = counter();
            let program = program(&map);
            ns.run(|| {
                let ifindex = if_nametoindex(interface).expect("find the interface") as i32;
                let mut builder = TcHookBuilder::new(program.as_fd());
                builder.ifindex(ifindex).handle(1).priority(LAST);
                let mut hook = builder.hook(side);
                hook.create().expect("make room for filters");
                hook.attach().expect("attach a filter");
            });
            map
        }))
    }

    /// Super-packets so far: received, sent.
    pub(crate) fn seen(&self) -> [u64; 2] {
        self.0.each_ref().map(|map| {
            let value = map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY);
            let value = value.expect("read the count").expect("an array has it");
            u64::from_ne_bytes(value.try_into().expect("eight bytes"))
        })
    }
}

fn counter() -> MapHandle {
    let opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    MapHandle::create(MapType::Array, Some("supers"), 4, 8, 1, &opts).expect("make a map")
}

fn insn(code: u8, [dst, src]: [u8; 2], off: i16, imm: i32) -> bpf_insn {
    let mut insn = bpf_insn {
        code,
        off,
        imm,
        ..Default::default()
    };
    insn.set_dst_reg(dst);
    insn.set_src_reg(src);
    insn
}

/// Adds one to the map for a packet with several segments, and lets all pass on.
fn program(map: &MapHandle) -> OwnedFd {
    let fd = map.as_fd().as_raw_fd();
    let insns = [
        insn(0x61, [2, 1], GSO_SEGS, 0), // r2 = skb->gso_segs
        insn(0xa5, [2, 0], 9, 2),        // if r2 < 2 goto pass
        insn(0x62, [10, 0], -4, 0),      // key = 0
        insn(0xbf, [2, 10], 0, 0),       // r2 = &key
        insn(0x07, [2, 0], 0, -4),
        insn(0x18, [1, 1], 0, fd), // r1 = map
        insn(0, [0, 0], 0, 0),
        insn(0x85, [0, 0], 0, 1),  // r0 = bpf_map_lookup_elem(r1, r2)
        insn(0x15, [0, 0], 2, 0),  // if !r0 goto pass
        insn(0xb7, [1, 0], 0, 1),  // r1 = 1
        insn(0xdb, [0, 1], 0, 0),  // lock *r0 += r1
        insn(0xb7, [0, 0], 0, -1), // pass: r0 = TC_ACT_UNSPEC
        insn(0x95, [0, 0], 0, 0),  // exit
    ];
    // SAFETY: the strings end in NUL, the instructions are as many as said, and
    // no options are given.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_SCHED_CLS,
            c"supers".as_ptr(),
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
