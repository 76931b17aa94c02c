//! The `#define`s of `bpf/types.h` and its parts that user space needs. BTF does not carry
//! them, so they are read from the headers when this crate is compiled.

/// What the kernel side and user space share.
pub(crate) const HEADERS: &str = concat!(
    include_str!("bpf/types.h"),
    include_str!("bpf/types_count.h"),
    include_str!("bpf/types_event.h"),
    include_str!("bpf/types_icmp.h"),
    include_str!("bpf/types_limit.h"),
    include_str!("bpf/types_policy.h"),
    include_str!("bpf/types_ports.h"),
    include_str!("bpf/types_side.h"),
    include_str!("bpf/types_service.h"),
    include_str!("bpf/types_print.h"),
    include_str!("bpf/types_setup.h")
);

const HEADER: &[u8] = HEADERS.as_bytes();

/// Version of the layout of maps and pins: `CT_ABI`.
pub const ABI: u32 = define(b"#define CT_ABI ");

/// Slots of a bucket.
pub(crate) const SLOTS: u32 = define(b"#define CT_SLOTS ");
/// Dropped sources that a CPU remembers.
pub(crate) const HINTS: u32 = define(b"#define CT_HINTS ");
/// Pairs of ICMP type and code that are counted apart.
pub(crate) const ICMP_PAIRS: u32 = define(b"#define CT_ICMP_PAIRS");
/// ICMP errors that are known one by one.
pub(crate) const ICMP_ERRORS: u32 = define(b"#define CT_ICMP_ERRORS");
/// Ports of both families and protocols.
pub(crate) const PORT_INDICES: u32 = define(b"#define CT_PORT_INDICES");
/// Sources that are watched for scans.
pub(crate) const PORT_BUDGETS: u32 = define(b"#define CT_PORT_BUDGETS");
/// A tick of registers is two to this power of nanoseconds.
pub(crate) const PORT_TICK_SHIFT: u32 = define(b"#define CT_PORT_TICK_SHIFT");
/// Who can listen to events at once.
pub(crate) const LISTENERS: u32 = define(b"#define CT_LISTENERS ");
/// Named lists of bans.
pub(crate) const LISTS: u32 = define(b"#define CT_LISTS ");
/// Sources that are counted exactly at once.
pub(crate) const SUSPECTS: u32 = define(b"#define CT_LIMIT_SUSPECTS ");
/// Sources whose earlier bans are known.
pub(crate) const STRIKES: u32 = define(b"#define CT_LIMIT_STRIKES ");
/// Services and interfaces whose connections are summed up.
pub(crate) const SERVICES: u32 = define(b"#define CT_SERVICES");
/// Entries of a row of what is known beside the flows.
pub(crate) const SIDE_WAYS: u32 = define(b"#define CT_SIDE_WAYS");
/// Of their flags: the handshake has come through, and has been seen.
pub(crate) const SIDE_THROUGH: u32 = define(b"#define CT_SIDE_THROUGH");
pub(crate) const SIDE_SHAKEN: u32 = define(b"#define CT_SIDE_SHAKEN");
/// Where in their flags what one end did begins.
pub(crate) const SIDE_RST: u32 = define(b"#define CT_SIDE_RST_SHIFT");
pub(crate) const SIDE_ZERO: u32 = define(b"#define CT_SIDE_ZERO_SHIFT");
/// Groups of measures.
pub(crate) const HEALTH_RTT: u32 = define(b"#define CT_HEALTH_RTT");
pub(crate) const HEALTH_LOSS: u32 = define(b"#define CT_HEALTH_LOSS");
pub(crate) const HEALTH_ON: u32 = define(b"#define CT_HEALTH_ON");
pub(crate) const HEALTH_WINDOW: u32 = define(b"#define CT_HEALTH_WINDOW");
/// Fingerprints that can be banned at once.
pub(crate) const PRINT_BANS: u32 = define(b"#define CT_PRINT_BANS");
/// Bytes of a pattern's text.
pub(crate) const PRINT_TEXT: usize = define(b"#define CT_PRINT_TEXT") as usize;
/// Buckets that one run of `ct_remove` takes.
pub(crate) const REMOVE_BUCKETS: u32 = define(b"#define CT_REMOVE_BUCKETS ");
/// Buckets that one run of `ct_evacuate_some` takes.
pub(crate) const EVAC_BUCKETS: u32 = define(b"#define CT_EVAC_BUCKETS ");
/// Slots of the interface table.
pub(crate) const IF_SLOTS: usize = define(b"#define CT_IF_SLOTS ") as usize;
/// Steps from an interface's first slot within which it is found.
pub(crate) const IF_PROBE: usize = define(b"#define CT_IF_PROBE ") as usize;
/// Interfaces that have counters of their own, and the one for all others.
pub(crate) const IFACES: u32 = define(b"#define CT_IFACES ");
pub(crate) const IF_ATTACHED: u16 = define(b"#define CT_IF_ATTACHED ") as u16;
pub(crate) const IF_UPPER: u16 = define(b"#define CT_IF_UPPER ") as u16;
/// Shards of the policy generation.
pub(crate) const SHARDS: usize = define(b"#define CT_SHARDS ") as usize;
pub(crate) const BAN_DRY_RUN: u16 = define(b"#define CT_BAN_DRY_RUN") as u16;
pub(crate) const BAN_BOTH: u16 = define(b"#define CT_BAN_BOTH") as u16;
pub(crate) const BAN_UNCONFIRMED: u16 = define(b"#define CT_BAN_UNCONFIRMED") as u16;
pub(crate) const BAN_OWN_DRY_RUN: u16 = define(b"#define CT_BAN_OWN_DRY_RUN") as u16;
pub(crate) const BAN_OWN_BOTH: u16 = define(b"#define CT_BAN_OWN_BOTH") as u16;
pub(crate) const ALLOW_GUARD: u32 = define(b"#define CT_ALLOW_GUARD");
pub(crate) const ALLOW_LIST: u32 = define(b"#define CT_ALLOW_LIST");
pub(crate) const ALLOW_EXCEPT: u32 = define(b"#define CT_ALLOW_EXCEPT");
pub(crate) const ALLOW_SESSION: u32 = define(b"#define CT_ALLOW_SESSION");
pub(crate) const IF_RAW_IP: u16 = define(b"#define CT_IF_RAW_IP ") as u16;

/// The decimal number behind `prefix`; compilation fails if there is none.
const fn define(prefix: &[u8]) -> u32 {
    let mut at = 0;
    while at + prefix.len() < HEADER.len() {
        if starts_with(at, prefix) {
            return number(at + prefix.len());
        }
        at += 1;
    }
    panic!("types.h lacks a #define");
}

const fn starts_with(at: usize, prefix: &[u8]) -> bool {
    let mut index = 0;
    while index < prefix.len() {
        if HEADER[at + index] != prefix[index] {
            return false;
        }
        index += 1;
    }
    true
}

const fn number(mut at: usize) -> u32 {
    while HEADER[at] == b' ' || HEADER[at] == b'\t' {
        at += 1;
    }
    assert!(HEADER[at].is_ascii_digit(), "the #define is no number");
    let mut value = 0;
    while HEADER[at].is_ascii_digit() {
        value = value * 10 + (HEADER[at] - b'0') as u32;
        at += 1;
    }
    value
}
