//! nf_conntrack's settings as the packet path reads them.

use conntrack_core::Sysctls;
use conntrack_core::Timeout;

use crate::skel::types::ct_settings;

/// How long a slot rests between two flows, in nanoseconds: longer than any
/// packet is under way between finding a slot and writing to it.
const GRACE_NS: u64 = 100_000_000;

/// The settings in the packet path's form.
pub(crate) fn encode(sysctls: &Sysctls) -> ct_settings {
    let mut settings = ct_settings {
        timeout_ns: [0; Timeout::SLOTS],
        grace_ns: GRACE_NS,
        tcp_loose: u32::from(sysctls.tcp_loose),
        tcp_be_liberal: u32::from(sysctls.tcp_be_liberal),
        tcp_ignore_invalid_rst: u32::from(sysctls.tcp_ignore_invalid_rst),
        tcp_max_retrans: u32::from(sysctls.tcp_max_retrans),
        checksum: u32::from(sysctls.checksum),
        reserved: [0; 13],
    };
    for (index, timeout) in (0_u8..).zip(&mut settings.timeout_ns) {
        let duration = sysctls.timeout_by_index(index);
        *timeout = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    }
    settings
}
