//! The one place where bytes become structs: the layouts that the packet path
//! and user space share (`bpf/types.h`, by way of BTF), and how to copy them out
//! of memory that the packet path is writing to.

use std::mem::MaybeUninit;
use std::mem::offset_of;
use std::slice;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::defines::IF_SLOTS;
use crate::defines::SLOTS;
pub(crate) use crate::skel::types::ct_allowed;
use crate::skel::types::ct_attach;
pub(crate) use crate::skel::types::ct_ban;
pub(crate) use crate::skel::types::ct_ban_key;
pub(crate) use crate::skel::types::ct_ban_origin;
pub(crate) use crate::skel::types::ct_bucket_head;
pub(crate) use crate::skel::types::ct_bucket4;
pub(crate) use crate::skel::types::ct_bucket6;
pub(crate) use crate::skel::types::ct_cpu;
pub(crate) use crate::skel::types::ct_evacuation;
pub(crate) use crate::skel::types::ct_event;
pub(crate) use crate::skel::types::ct_event_type;
pub(crate) use crate::skel::types::ct_flow;
pub(crate) use crate::skel::types::ct_flow6;
use crate::skel::types::ct_frag;
use crate::skel::types::ct_frag_key;
use crate::skel::types::ct_health;
use crate::skel::types::ct_health_end;
pub(crate) use crate::skel::types::ct_icmp_count;
pub(crate) use crate::skel::types::ct_icmp_cpu;
pub(crate) use crate::skel::types::ct_icmp_error;
pub(crate) use crate::skel::types::ct_icmp_error_key;
pub(crate) use crate::skel::types::ct_icmp_kind;
use crate::skel::types::ct_iface;
pub(crate) use crate::skel::types::ct_ifstat;
pub(crate) use crate::skel::types::ct_limit_key;
pub(crate) use crate::skel::types::ct_limit_kind;
pub(crate) use crate::skel::types::ct_limits;
pub(crate) use crate::skel::types::ct_list;
pub(crate) use crate::skel::types::ct_list_state;
pub(crate) use crate::skel::types::ct_listener;
pub(crate) use crate::skel::types::ct_measure;
use crate::skel::types::ct_meta;
pub(crate) use crate::skel::types::ct_note;
pub(crate) use crate::skel::types::ct_phase;
pub(crate) use crate::skel::types::ct_policy;
pub(crate) use crate::skel::types::ct_port;
pub(crate) use crate::skel::types::ct_port_cpu;
pub(crate) use crate::skel::types::ct_port_key;
pub(crate) use crate::skel::types::ct_port_register;
pub(crate) use crate::skel::types::ct_port_rules;
pub(crate) use crate::skel::types::ct_port_slot;
pub(crate) use crate::skel::types::ct_port_source;
pub(crate) use crate::skel::types::ct_print;
pub(crate) use crate::skel::types::ct_print_ban;
pub(crate) use crate::skel::types::ct_print_key;
pub(crate) use crate::skel::types::ct_print_of;
pub(crate) use crate::skel::types::ct_print_window;
pub(crate) use crate::skel::types::ct_printed;
pub(crate) use crate::skel::types::ct_removal;
pub(crate) use crate::skel::types::ct_remove_what;
pub(crate) use crate::skel::types::ct_replay;
pub(crate) use crate::skel::types::ct_service;
pub(crate) use crate::skel::types::ct_service_key;
pub(crate) use crate::skel::types::ct_service_kind;
use crate::skel::types::ct_settings;
pub(crate) use crate::skel::types::ct_side;
pub(crate) use crate::skel::types::ct_side_row;
pub(crate) use crate::skel::types::ct_strike;
pub(crate) use crate::skel::types::ct_suspect;
pub(crate) use crate::skel::types::ct_sweep_stats;
pub(crate) use crate::skel::types::ct_tcp_end;
use crate::skel::types::data_ifaces;
pub(crate) use crate::skel::types::data_limits;
use crate::skel::types::data_policy;
pub(crate) use crate::skel::types::data_ports;
use crate::skel::types::data_replay;
pub(crate) use crate::skel::types::data_settings;

/// A struct that may be made of any bytes, and taken apart into them.
///
/// # Safety
/// All fields are integers or arrays and structs of them, there are no padding
/// bytes, the size is a multiple of 8 and the alignment at most 8.
pub(crate) unsafe trait Wire: Copy {}

/// Asserts size and field offsets as they stand in `bpf/types.h`.
macro_rules! wire {
    ($($name:ident: $size:literal { $($field:ident @ $offset:expr),* $(,)? })*) => {$(
        const _: () = {
            assert!(size_of::<$name>() == $size && $size % 8 == 0);
            assert!(align_of::<$name>() <= 8);
            $(assert!(offset_of!($name, $field) == $offset);)*
        };
        // SAFETY: integers only; the size is the sum of the fields' sizes, which
        // types.h asserts, so there is no padding; see the assertions above.
        unsafe impl Wire for $name {}
    )*};
}

wire! {
    ct_tcp_end: 32 { end @ 0, seq @ 16, ack @ 20, win @ 24, shared @ 26, flags @ 28, aux @ 31 }
    ct_flow: 128 {
        word @ 0, seen @ 8, start @ 16, bytes @ 24, packets @ 40, lo @ 48, hi @ 52,
        lo_port_be @ 56, hi_port_be @ 58, proto_if @ 60, tcp @ 64,
    }
    ct_flow6: 192 { flow @ 0, lo @ 128, hi @ 144, reserved @ 160 }
    ct_bucket_head: 128 { tags @ 0, queue @ 32, due @ 40, reserved @ 48, carry @ 64, pad @ 124 }
    ct_bucket4: 2048 { head @ 0, slot @ 128 }
    ct_bucket6: 3008 { head @ 0, slot @ 128 }
    ct_frag_key: 40 { src @ 0, dst @ 16, id_be @ 32, proto @ 36, family @ 37 }
    ct_frag: 40 {
        seen @ 0, src_port_be @ 8, dst_port_be @ 10, proto @ 12, reply @ 13, state @ 14, base @ 16,
        from @ 20, to @ 24, have @ 28, total @ 32, first @ 36
    }
    ct_cpu: 448 {
        packets @ 0, bytes @ 8, classes @ 16, passed @ 96, drops @ 200, table @ 232, gone @ 248,
        live @ 304, limit @ 320, banned @ 344, side @ 376, unprinted @ 392, reserved @ 408,
    }
    ct_print: 40 {
        bits @ 0, mss @ 4, window @ 6, peer_mss @ 8, ttl @ 10, ip_options @ 11, tcp_header @ 12,
        scale @ 13, options @ 14, padding @ 15, layout @ 16,
    }
    ct_printed: 72 {
        turn @ 0, count @ 8, first @ 16, last @ 24, id @ 32, addr @ 40, port_be @ 56, turns @ 64,
    }
    ct_print_ban: 360 {
        until @ 0, since @ 8, hits @ 16, bytes @ 24, last @ 32, live @ 40, dry_run @ 44, bits @ 48,
        mask @ 52, mss @ 60, window @ 62, window_kind @ 64, any_mss @ 65, any_scale @ 66,
        families @ 67, ttl_min @ 68, ttl_max @ 69, ip_options @ 70, scale @ 71, options @ 72,
        padding @ 73, layout @ 80, text @ 104,
    }
    ct_print_key: 24 { addr @ 0, family @ 16, synack @ 17 }
    ct_print_of: 64 { print @ 0, count @ 40, first @ 48, last @ 56 }
    ct_ifstat: 16 { packets @ 0, bytes @ 8 }
    ct_event: 232 {
        seq @ 0, time @ 8, packets @ 16, r#type @ 32, reason @ 33, family @ 34, place @ 36,
        flow @ 40,
    }
    ct_listener: 200 {
        types @ 0, family @ 4, proto_set @ 5, proto @ 6, port_lo @ 8, port_hi @ 14, ifindex @ 20,
        seq @ 24, lost @ 32, owner @ 96, addr @ 104, mask @ 152,
    }
    ct_removal: 136 {
        word @ 0, start @ 8, what @ 16, v6 @ 20, bucket @ 24, slot @ 28, buckets @ 32, table @ 36,
        removed @ 40, pad @ 44, key @ 48, ban @ 72,
    }
    ct_evacuation: 40 {
        now @ 0, v6 @ 8, bucket @ 12, buckets @ 16, moved @ 20, ended @ 24, stay @ 28, again @ 32,
        pad @ 36,
    }
    ct_sweep_stats: 80 { runs @ 0, slices @ 8, scanned @ 16, removed @ 24, time_ns @ 48 }
    ct_ban_key: 24 { family @ 0, prefix @ 1, proto @ 2, port_be @ 4, addr @ 8 }
    ct_ban: 64 {
        until @ 0, then @ 8, since @ 16, hits @ 24, bytes @ 32, last @ 40, note @ 48, lists @ 52,
        flags @ 56, origin @ 58, cleared @ 60,
    }
    ct_allowed: 16 { hits @ 0, why @ 8, pad @ 12 }
    ct_note: 128 { text @ 0 }
    ct_list: 224 {
        name @ 0, source @ 64, updated @ 192, entries @ 200, state @ 208, flags @ 212,
        replaces @ 216, pad @ 220,
    }
    ct_policy: 5368 {
        active @ 0, scopes @ 8, bans @ 16, allow @ 64, allowed @ 112, all @ 120, r#gen @ 128,
        kept @ 1152, kept_scopes @ 1200, ban_count @ 1208, allow_count @ 3272,
        scope_count @ 5336, made @ 5360,
    }
    data_policy: 5368 { ct_policy @ 0 }
    ct_limits: 120 {
        action @ 0, on_syn @ 4, half_ns @ 8, most @ 16, half_open @ 28, prefix @ 40, width @ 48,
        rows @ 52, ttl @ 56, forget_ns @ 88, civil @ 96, ttls @ 104, note @ 108,
        epoch @ 112, room @ 116,
    }
    data_limits: 120 { ct_limits @ 0 }
    ct_limit_key: 24 {
        family @ 0, prefix @ 1, kind @ 2, measure @ 3, port_be @ 4, proto @ 6, epoch @ 7,
        addr @ 8,
    }
    ct_suspect: 24 { rate @ 0, over @ 8, last @ 16 }
    ct_strike: 16 { until @ 0, count @ 8, pad @ 12 }
    ct_icmp_kind: 8 { family @ 0, r#type @ 1, code @ 2, pad @ 3 }
    ct_icmp_count: 16 { packets @ 0, bytes @ 8 }
    ct_icmp_error_key: 72 {
        from @ 0, to @ 16, src @ 32, dst @ 48, src_port_be @ 64, dst_port_be @ 66, proto @ 68,
        family @ 69, r#type @ 70, code @ 71,
    }
    ct_icmp_error: 48 {
        packets @ 0, bytes @ 8, related @ 16, first @ 24, last @ 32, ifindex @ 40, mtu @ 44,
    }
    ct_icmp_cpu: 64 {
        slice @ 0, begun @ 8, strange @ 12, unlisted @ 16, unreadable @ 32, unrecorded @ 40,
        reserved @ 48,
    }
    ct_port: 8 { entered @ 0, slot @ 2, missed @ 4 }
    ct_port_key: 40 { src @ 0, dst @ 16, port_be @ 32, proto @ 34, family @ 35, pad @ 36 }
    ct_port_source: 32 { first @ 0, last @ 8, count @ 16, ifindex @ 24, pad @ 28 }
    ct_port_slot: 16 { port @ 0, since @ 4, last @ 8, pad @ 12 }
    ct_port_register: 96 { last @ 0 }
    ct_port_cpu: 64 { entered @ 0, scans @ 8, full @ 16, failed @ 24, reserved @ 32 }
    ct_port_rules: 16 { per_port @ 0, slots @ 4, registers @ 8, per_source @ 12 }
    data_ports: 16 { ct_port_rules @ 0 }
    ct_iface: 8 { ifindex @ 0, stat @ 4, flags @ 6 }
    data_ifaces: 32768 { ct_ifaces @ 0 }
    ct_settings: 592 {
        timeout_ns @ 0, grace_ns @ 512, tcp_loose @ 520, tcp_be_liberal @ 524,
        tcp_ignore_invalid_rst @ 528, tcp_max_retrans @ 532, checksum @ 536,
        frag6_timeout @ 540, event_types @ 544, sweep_ns @ 552, tables @ 560, moving @ 564,
        print_bans @ 568, reserved @ 576,
    }
    data_settings: 592 { ct_settings @ 0 }
    ct_replay: 16 { now @ 0, wire_len @ 8, pad @ 12 }
    data_replay: 16 { ct_replay @ 0 }
    ct_meta: 560 {
        abi @ 0, ready @ 4, buckets4 @ 8, buckets6 @ 12, hash_seed @ 16, netns_ino @ 64,
        netns_dev @ 72, created @ 80, max_flows4 @ 88, max_flows6 @ 96, phase @ 104,
        next_buckets4 @ 108, next_buckets6 @ 112, foreground @ 116, next_flows4 @ 120,
        next_flows6 @ 128, health @ 136, pad @ 140, version @ 144, netns @ 176, state @ 304,
    }
    ct_health_end: 48 {
        srtt @ 0, ts_val @ 4, ts_time @ 8, retrans @ 12, retrans_bytes @ 16, reordered @ 24,
        dup_acks @ 28, zeros @ 32, zero_ms @ 36, win_min @ 40, ts_last @ 44,
    }
    ct_health: 160 {
        end @ 0, ended @ 96, rtt @ 104, first_byte @ 112, hole_next @ 116, holes @ 120,
        reserved @ 156,
    }
    ct_side: 192 { tag @ 0, used @ 8, flags @ 12, print @ 16, health @ 32 }
    ct_side_row: 768 { way @ 0 }
    ct_service_key: 8 { ifindex @ 0, port_be @ 4, proto @ 6, kind @ 7 }
    ct_service: 800 {
        flows @ 0, retrans @ 8, resets @ 16, zeros @ 24, rtt @ 32, duration @ 416,
    }
    ct_attach: 256 {
        name @ 0, ingress @ 16, egress @ 20, made_clsact @ 24, tc_handle @ 28,
        tc_priority @ 36, pad @ 44, since @ 48, why @ 56,
    }
}

const _: () = {
    let slots = SLOTS as usize;
    assert!(size_of::<ct_bucket4>() == size_of::<ct_bucket_head>() + slots * size_of::<ct_flow>());
    assert!(size_of::<ct_bucket6>() == size_of::<ct_bucket_head>() + slots * size_of::<ct_flow6>());
    assert!(size_of::<data_ifaces>() == IF_SLOTS * size_of::<ct_iface>());
};

/// Words of 8 bytes in a struct.
pub(crate) const fn words_of<T: Wire>() -> usize {
    size_of::<T>() / 8
}

/// Copies a struct out of memory that others write to. Each word is read once
/// and whole; that the words belong together is the caller's matter.
///
/// # Panics
/// `from` is shorter than the struct.
#[inline]
pub(crate) fn copy<T: Wire>(from: &[AtomicU64]) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let to = value.as_mut_ptr().cast::<u64>();
    let from = &from[..words_of::<T>()];
    for (index, word) in from.iter().enumerate() {
        // SAFETY: `index` is below `words_of::<T>()`, so the word is inside the
        // value, which is writable; unaligned, because T may be aligned to 4.
        unsafe { to.add(index).write_unaligned(word.load(Ordering::Relaxed)) };
    }
    // SAFETY: the size is a multiple of 8, so the loop wrote every byte; any
    // bytes are a valid T, by the contract of Wire.
    unsafe { value.assume_init() }
}

/// A struct of these bytes; what is missing at the end is zero.
pub(crate) fn from_bytes<T: Wire>(bytes: &[u8]) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    let length = bytes.len().min(size_of::<T>());
    // SAFETY: the value is at least `length` long, as `bytes` is, and they are
    // two things; all its bytes are set, and any bytes are a valid T.
    unsafe {
        value
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from_nonoverlapping(bytes.as_ptr(), length);
        value.assume_init()
    }
}

// SAFETY: an integer.
unsafe impl Wire for u64 {}

/// The bytes of a struct.
pub(crate) fn bytes_of<T: Wire>(value: &T) -> &[u8] {
    // SAFETY: a T has no padding, so each of its bytes is initialised; the
    // slice borrows the value.
    unsafe { slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }
}

/// `ct_flow.word`: all of a flow that changes in one step.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    const PHASE: u64 = 0x3;
    const SEEN_REPLY: u64 = 1 << 2;
    const ASSURED: u64 = 1 << 3;
    const ORIG_HI: u64 = 1 << 4;
    const STATE_SHIFT: u32 = 8;
    const STATE: u64 = 0xf << Self::STATE_SHIFT;
    const TMO_SHIFT: u32 = 12;
    const TMO: u64 = 0x3f << Self::TMO_SHIFT;
    const LEFT: u64 = 1 << 7;
    const LIBERAL: u64 = 3 << 24;
    const MOVED: u64 = 1 << 30;
    const ARRIVED: u64 = 1 << 31;
    const GEN: u64 = 0xffff << 48;

    /// Its flow is on its way to the other table and not yet live there:
    /// `ct_is_leaving()`.
    pub(crate) fn is_leaving(self) -> bool {
        let there = Self::MOVED | Self::ARRIVED;
        self.has_left() && self.0 & there != there
    }

    /// Its flow is on its way to the other table, or there.
    pub(crate) fn has_left(self) -> bool {
        let left = u64::from(ct_phase::CT_CLOSING.0) | Self::LEFT;
        self.0 & (Self::PHASE | Self::LEFT) == left
    }

    /// A flow is here, unless its time is up.
    pub(crate) fn is_live(self) -> bool {
        self.0 & Self::PHASE == u64::from(ct_phase::CT_LIVE.0)
    }

    /// Both words are of one flow in one phase of its life.
    pub(crate) fn same_life(self, other: Self) -> bool {
        (self.0 ^ other.0) & (Self::GEN | Self::PHASE) == 0
    }

    pub(crate) fn seen_reply(self) -> bool {
        self.0 & Self::SEEN_REPLY != 0
    }

    pub(crate) fn assured(self) -> bool {
        self.0 & Self::ASSURED != 0
    }

    /// Of a direction the history is lost, so its numbers are not followed closely.
    pub(crate) fn is_lost(self) -> bool {
        self.0 & Self::LIBERAL != 0
    }

    /// The opener is the key's higher end.
    pub(crate) fn opened_by_hi(self) -> bool {
        self.0 & Self::ORIG_HI != 0
    }

    /// The number of the protocol's state, below 16.
    pub(crate) fn state(self) -> u8 {
        ((self.0 & Self::STATE) >> Self::STATE_SHIFT) as u8
    }

    /// Index of the timeout in force, below 64.
    pub(crate) fn timeout(self) -> usize {
        ((self.0 & Self::TMO) >> Self::TMO_SHIFT) as usize
    }
}

#[cfg(test)]
mod tests;
