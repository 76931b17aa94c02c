//! What crosses to the C and back: mirrors of `native.h`, and the functions.

/// `struct ct_native_packet`.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[repr(C)]
pub(crate) struct RawPacket {
    pub(crate) now: u64,
    pub(crate) src: [u8; 16],
    pub(crate) dst: [u8; 16],
    pub(crate) bytes: u32,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) window: u16,
    pub(crate) family: u8,
    pub(crate) proto: u8,
    pub(crate) tcp_flags: u8,
    pub(crate) icmp_type: u8,
    pub(crate) icmp_code: u8,
    pub(crate) pad: [u8; 5],
}
const _: () = assert!(size_of::<RawPacket>() == 72);

/// `struct ct_native_hash`.
#[derive(Copy, Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct RawHash {
    pub(crate) bucket: [u32; 2],
    pub(crate) home: u32,
    pub(crate) tag: u32,
}

/// `struct ct_native_done`.
#[derive(Copy, Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct RawDone {
    pub(crate) outcome: u32,
    pub(crate) dir: u32,
    pub(crate) place: u32,
    pub(crate) generation: u32,
    pub(crate) strays: u32,
    pub(crate) late: u32,
}

/// `struct ct_native_end`.
#[derive(Copy, Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct RawEnd {
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
    pub(crate) place: u32,
    pub(crate) generation: u32,
    pub(crate) v6: u32,
    pub(crate) reason: u32,
}
const _: () = assert!(size_of::<RawEnd>() == 48);

/// `struct ct_native_slot`.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub(crate) struct RawSlot {
    pub(crate) seen: u64,
    pub(crate) timeout: u64,
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
    pub(crate) phase: u32,
    pub(crate) generation: u32,
    pub(crate) assured: u32,
    pub(crate) tag: u32,
    pub(crate) want_tag: u32,
    pub(crate) home: u32,
    pub(crate) left: u32,
    pub(crate) to: u32,
    pub(crate) to_generation: u32,
    pub(crate) key: [u8; 37],
    pub(crate) pad: [u8; 7],
}
const _: () = assert!(size_of::<RawSlot>() == 128);

/// `struct ct_world`: only the C looks inside.
#[repr(C)]
pub(crate) struct World {
    opaque: [u8; 0],
}

unsafe extern "C" {
    pub(crate) fn ct_native_rate_at(rate: u64, half: u32) -> u64;
    pub(crate) fn ct_native_rate_sum(rate: u64) -> u32;
    pub(crate) fn ct_native_rate_more(rate: u64) -> u64;
    pub(crate) fn ct_native_rate_less(rate: u64, half: u32) -> u64;
    pub(crate) fn ct_native_sketch_cell(hash: u64, row: u32, width: u32) -> u32;
    pub(crate) fn ct_native_bucket_of(value: u32) -> u32;
    pub(crate) fn ct_native_distinct_register(hash: u64, registers: u32) -> u32;
    pub(crate) fn ct_native_distinct_rank(hash: u64) -> u32;
    pub(crate) fn ct_native_distinct_tick(now: u64) -> u32;
    pub(crate) fn ct_native_tcp_segment(flags: u8) -> u32;
    pub(crate) fn ct_native_tcp_flags_valid(flags: u8) -> u32;
    pub(crate) fn ct_native_tcp_next(dir: u32, segment: u32, state: u32) -> u32;
    pub(crate) fn ct_native_icmp_classify(proto: u8, kind: u8) -> u32;
    pub(crate) fn ct_native_icmp_is_reply(proto: u8, kind: u8) -> u32;
    pub(crate) fn ct_native_icmp_inverse(proto: u8, kind: u8) -> u8;
    pub(crate) fn ct_native_key(packet: *const RawPacket, out: *mut u8) -> u32;
    pub(crate) fn ct_native_hash(
        packet: *const RawPacket,
        seed: *const u32,
        buckets: u32,
        out: *mut RawHash,
    );
    pub(crate) fn ct_native_tagged(tags: *const u16, tag: u16) -> u32;
    pub(crate) fn ct_native_untagged(tags: *const u16) -> u32;
    pub(crate) fn ct_native_lowest(bits: u32) -> u32;
    pub(crate) fn ct_native_bits(bits: u32) -> u32;
}

/// `struct ct_native_table`: the functions of one compilation of `table.c`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TableFns {
    pub(crate) make: unsafe extern "C" fn(u32, u32, *const u32) -> *mut World,
    pub(crate) free: unsafe extern "C" fn(*mut World),
    pub(crate) set_timeout: unsafe extern "C" fn(*mut World, u32, u64),
    pub(crate) set_grace: unsafe extern "C" fn(*mut World, u64),
    pub(crate) packet: unsafe extern "C" fn(*mut World, u32, *const RawPacket, *mut RawDone),
    pub(crate) release: unsafe extern "C" fn(*mut World, u32, *const RawPacket) -> u32,
    pub(crate) slot: unsafe extern "C" fn(*mut World, u32, u32, *mut RawSlot),
    pub(crate) duplicates: unsafe extern "C" fn(*mut World, u32) -> u32,
    pub(crate) event: unsafe extern "C" fn(*mut World, u32) -> u64,
    pub(crate) sweep: unsafe extern "C" fn(*mut World, u32, u64),
    pub(crate) flush: unsafe extern "C" fn(*mut World, u32, u64),
    pub(crate) ends: unsafe extern "C" fn(*mut RawEnd, u32) -> u32,
    pub(crate) second: unsafe extern "C" fn(*mut World, u32, u32) -> u32,
    pub(crate) set_program: unsafe extern "C" fn(*mut World, u32, u32),
    pub(crate) set_moving: unsafe extern "C" fn(*mut World, u32),
    pub(crate) wait: unsafe extern "C" fn(*mut World, u32) -> u64,
    pub(crate) evacuate: unsafe extern "C" fn(*mut World, u32, u32, u32, u32, u64, *mut u32),
}

unsafe extern "C" {
    pub(crate) static ct_native: TableFns;
    pub(crate) static ct_stopping: TableFns;
    pub(crate) static ct_plain_add: TableFns;
    pub(crate) static ct_plain_cas: TableFns;
}
