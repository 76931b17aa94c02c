//! Functions of the C that depend on nothing but their arguments.

use crate::ffi;

/// What an ICMP type is: `enum ct_icmp_class`.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum IcmpClass {
    /// nf_conntrack calls it INVALID.
    Invalid,
    /// A request, or the answer to one.
    Query,
    /// Carries the packet it complains of.
    Error,
    /// So does ICMPv6's redirect, further behind.
    Redirect,
    /// Neighbour discovery and multicast listeners.
    Untracked,
}

/// `ct_tcp_segment()`: the kind of a segment, by its flags.
pub fn tcp_segment(flags: u8) -> u32 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_tcp_segment(flags) }
}

/// `ct_tcp_flags_valid()`.
pub fn tcp_flags_valid(flags: u8) -> bool {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_tcp_flags_valid(flags) != 0 }
}

/// `ct_tcp_next()`: a state, or 14 for ignore, or 15 for INVALID.
pub fn tcp_next(dir: u32, segment: u32, state: u32) -> u32 {
    // SAFETY: a function of its arguments, which it bounds itself.
    unsafe { ffi::ct_native_tcp_next(dir, segment, state) }
}

/// `ct_icmp_classify()`; `proto` is 1 or 58.
pub fn icmp_classify(proto: u8, kind: u8) -> IcmpClass {
    // SAFETY: a function of its arguments.
    match unsafe { ffi::ct_native_icmp_classify(proto, kind) } {
        1 => IcmpClass::Query,
        2 => IcmpClass::Error,
        3 => IcmpClass::Redirect,
        4 => IcmpClass::Untracked,
        _ => IcmpClass::Invalid,
    }
}

/// `ct_icmp_is_reply()`.
pub fn icmp_is_reply(proto: u8, kind: u8) -> bool {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_icmp_is_reply(proto, kind) != 0 }
}

/// `ct_icmp_inverse()`: the type that answers a query, and back.
pub fn icmp_inverse(proto: u8, kind: u8) -> u8 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_icmp_inverse(proto, kind) }
}

/// `ct_tagged()`: the slots with this tag, one bit each, perhaps some above.
pub fn tagged(tags: &[u16; 16], tag: u16) -> u32 {
    // SAFETY: the C copies sixteen tags before it looks.
    unsafe { ffi::ct_native_tagged(tags.as_ptr(), tag) }
}

/// `ct_untagged()`: the empty slots, one bit each.
pub fn untagged(tags: &[u16; 16]) -> u32 {
    // SAFETY: the C copies sixteen tags before it looks.
    unsafe { ffi::ct_native_untagged(tags.as_ptr()) }
}

/// `ct_lowest()`: index of the lowest of 16 bits.
pub fn lowest(bits: u32) -> u32 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_lowest(bits) }
}

/// `ct_bits()`: how many of 16 bits are set.
pub fn bits(bits: u32) -> u32 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_bits(bits) }
}

/// `ct_rate_at()`.
pub fn rate_at(rate: u64, half: u32) -> u64 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_rate_at(rate, half) }
}

/// `ct_rate_sum()`.
pub fn rate_sum(rate: u64) -> u32 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_rate_sum(rate) }
}

/// `ct_rate_more()`.
pub fn rate_more(rate: u64) -> u64 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_rate_more(rate) }
}

/// `ct_rate_less()`.
pub fn rate_less(rate: u64, half: u32) -> u64 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_rate_less(rate, half) }
}

/// `ct_bucket_of()`.
pub fn bucket_of(value: u32) -> u32 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_bucket_of(value) }
}

/// `ct_sketch_cell()`.
pub fn sketch_cell(hash: u64, row: u32, width: u32) -> u32 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_sketch_cell(hash, row, width) }
}

/// `ct_distinct_register()`.
pub fn distinct_register(hash: u64, registers: u32) -> u32 {
    // SAFETY: a function of its arguments.
    unsafe { ffi::ct_native_distinct_register(hash, registers) }
}

/// `ct_distinct_rank()`.
pub fn distinct_rank(hash: u64) -> u32 {
    // SAFETY: a function of its argument.
    unsafe { ffi::ct_native_distinct_rank(hash) }
}

/// `ct_distinct_tick()`.
pub fn distinct_tick(now: u64) -> u32 {
    // SAFETY: a function of its argument.
    unsafe { ffi::ct_native_distinct_tick(now) }
}
