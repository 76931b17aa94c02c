//! nf_conntrack's settings as the packet path reads them: before the load, and
//! while packets run.

use std::mem::offset_of;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conntrack_core::SctpState;
use conntrack_core::Sysctls;
use conntrack_core::TcpState;
use conntrack_core::Timeout;

use crate::datapath::Maps;
use crate::error::Result;
use crate::shared::SharedWords;
use crate::skel::types::ct_settings;

/// How long a slot rests between two flows, in nanoseconds: longer than any
/// packet is under way between finding a slot and writing to it.
const GRACE_NS: u64 = 100_000_000;

/// Settings that are one of the packet path's timeouts.
const TIMEOUTS: [(&str, Timeout); 25] = [
    ("tcp_timeout_syn_sent", Timeout::Tcp(TcpState::SynSent)),
    ("tcp_timeout_syn_recv", Timeout::Tcp(TcpState::SynRecv)),
    (
        "tcp_timeout_established",
        Timeout::Tcp(TcpState::Established),
    ),
    ("tcp_timeout_fin_wait", Timeout::Tcp(TcpState::FinWait)),
    ("tcp_timeout_close_wait", Timeout::Tcp(TcpState::CloseWait)),
    ("tcp_timeout_last_ack", Timeout::Tcp(TcpState::LastAck)),
    ("tcp_timeout_time_wait", Timeout::Tcp(TcpState::TimeWait)),
    ("tcp_timeout_close", Timeout::Tcp(TcpState::Close)),
    ("tcp_timeout_max_retrans", Timeout::TcpRetrans),
    ("tcp_timeout_unacknowledged", Timeout::TcpUnack),
    ("udp_timeout", Timeout::Udp),
    ("udp_timeout_stream", Timeout::UdpStream),
    ("icmp_timeout", Timeout::Icmp),
    ("icmpv6_timeout", Timeout::Icmpv6),
    ("gre_timeout", Timeout::Gre),
    ("gre_timeout_stream", Timeout::GreStream),
    ("generic_timeout", Timeout::Generic),
    ("sctp_timeout_closed", Timeout::Sctp(SctpState::Closed)),
    (
        "sctp_timeout_cookie_wait",
        Timeout::Sctp(SctpState::CookieWait),
    ),
    (
        "sctp_timeout_cookie_echoed",
        Timeout::Sctp(SctpState::CookieEchoed),
    ),
    (
        "sctp_timeout_established",
        Timeout::Sctp(SctpState::Established),
    ),
    (
        "sctp_timeout_shutdown_sent",
        Timeout::Sctp(SctpState::ShutdownSent),
    ),
    (
        "sctp_timeout_shutdown_recd",
        Timeout::Sctp(SctpState::ShutdownRecd),
    ),
    (
        "sctp_timeout_shutdown_ack_sent",
        Timeout::Sctp(SctpState::ShutdownAckSent),
    ),
    (
        "sctp_timeout_heartbeat_sent",
        Timeout::Sctp(SctpState::HeartbeatSent),
    ),
];

/// Settings that are numbers or switches, and where the packet path has them.
const NUMBERS: [(&str, usize); 6] = [
    ("tcp_loose", offset_of!(ct_settings, tcp_loose)),
    ("tcp_be_liberal", offset_of!(ct_settings, tcp_be_liberal)),
    (
        "tcp_ignore_invalid_rst",
        offset_of!(ct_settings, tcp_ignore_invalid_rst),
    ),
    ("tcp_max_retrans", offset_of!(ct_settings, tcp_max_retrans)),
    ("checksum", offset_of!(ct_settings, checksum)),
    ("frag6_timeout", offset_of!(ct_settings, frag6_timeout)),
];

/// The settings in the packet path's form. `sweep` is the background sweep's time
/// round the tables; zero is no sweep.
pub(crate) fn encode(sysctls: &Sysctls, sweep: Duration) -> ct_settings {
    let mut settings = ct_settings {
        timeout_ns: [0; Timeout::SLOTS],
        grace_ns: GRACE_NS,
        tcp_loose: u32::from(sysctls.tcp_loose),
        tcp_be_liberal: u32::from(sysctls.tcp_be_liberal),
        tcp_ignore_invalid_rst: u32::from(sysctls.tcp_ignore_invalid_rst),
        tcp_max_retrans: u32::from(sysctls.tcp_max_retrans),
        checksum: u32::from(sysctls.checksum),
        frag6_timeout: sysctls.frag6_timeout,
        event_types: 0,
        pad: 0,
        sweep_ns: u64::try_from(sweep.as_nanos()).unwrap_or(u64::MAX),
        tables: 0,
        moving: 0,
        print_bans: 0,
        pad2: 0,
        reserved: [0; 4],
    };
    for (index, timeout) in (0_u8..).zip(&mut settings.timeout_ns) {
        let duration = sysctls.timeout_by_index(index);
        *timeout = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    }
    settings
}

/// Reads the settings in force.
pub(crate) fn read(maps: &Maps) -> Result<Sysctls> {
    Ok(decode(&SharedWords::map(&maps.settings)?.load()))
}

/// Changes the settings in force, field by field; the sweep's stays.
pub(crate) fn write(maps: &Maps, sysctls: &Sysctls) -> Result<()> {
    SharedWords::map(&maps.settings)?.store(&to_bytes(&encode(sysctls, Duration::ZERO)));
    Ok(())
}

/// Changes some of the settings in force, and leaves the others to whoever
/// changes them meanwhile. Returns what is in force afterwards.
pub(crate) fn update(maps: &Maps, change: impl FnOnce(&mut Sysctls)) -> Result<Sysctls> {
    let words = SharedWords::map(&maps.settings)?;
    let before = decode(&words.load());
    let mut after = before;
    change(&mut after);
    let bytes = |sysctls| to_bytes(&encode(&sysctls, Duration::ZERO));
    let [before, after] = [before, after].map(bytes);
    words.merge(&before, &after, offset_of!(ct_settings, tcp_loose));
    Ok(decode(&words.load()))
}

/// How many entries of bans of fingerprints packets look at.
pub(crate) fn set_print_bans(maps: &Maps, count: u32) -> Result<()> {
    let at = offset_of!(ct_settings, print_bans);
    change_number(maps, at, |_| count)
}

/// Lets flows move from one table to another, or not. Programs that create flows where
/// they move from must be gone by then.
pub(crate) fn set_moving(maps: &Maps, moving: bool) -> Result<()> {
    let at = offset_of!(ct_settings, moving);
    change_number(maps, at, |_| u32::from(moving))
}

/// Lets readers know that they should look which tables there are.
pub(crate) fn announce_tables(maps: &Maps) -> Result<()> {
    let at = offset_of!(ct_settings, tables);
    change_number(maps, at, |count| count.wrapping_add(1))
}

/// Changes a number that shares its word only with what the caller keeps others from
/// changing.
fn change_number(maps: &Maps, at: usize, change: impl FnOnce(u32) -> u32) -> Result<()> {
    let words = SharedWords::map(&maps.settings)?;
    let word = &words.words()[at / 8];
    let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
    let (numbers, _) = bytes.as_chunks_mut::<4>();
    let number = &mut numbers[at % 8 / 4];
    *number = change(u32::from_ne_bytes(*number)).to_ne_bytes();
    word.store(u64::from_ne_bytes(bytes), Ordering::Release);
    Ok(())
}

/// In the order of the struct; what is behind the last field stays as it is.
fn to_bytes(settings: &ct_settings) -> Vec<u8> {
    let wide = settings.timeout_ns.iter().chain([&settings.grace_ns]);
    let narrow = [
        settings.tcp_loose,
        settings.tcp_be_liberal,
        settings.tcp_ignore_invalid_rst,
        settings.tcp_max_retrans,
        settings.checksum,
        settings.frag6_timeout,
    ];
    let wide = wide.flat_map(|field| field.to_ne_bytes());
    wide.chain(narrow.into_iter().flat_map(u32::to_ne_bytes))
        .collect()
}

fn decode(bytes: &[u8]) -> Sysctls {
    let mut sysctls = Sysctls::default();
    for (name, timeout) in TIMEOUTS {
        let at = usize::from(timeout.index()) * size_of::<u64>();
        let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        let duration = Duration::from_nanos(field.map_or(0, |field| u64::from_ne_bytes(*field)));
        set(&mut sysctls, name, duration.as_secs());
    }
    for (name, at) in NUMBERS {
        let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        let value = field.map_or(0, |field| u32::from_ne_bytes(*field));
        set(&mut sysctls, name, u64::from(value));
    }
    sysctls
}

/// What the packet path has came from a valid setting.
fn set(sysctls: &mut Sysctls, name: &str, value: u64) {
    if let Err(error) = sysctls.set(name, value) {
        tracing::warn!("read the settings in force: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut sysctls = Sysctls::default();
        for (number, (name, _)) in (1000..).zip(Sysctls::default().iter()) {
            let value = u64::min(number, Sysctls::max(name).unwrap().into());
            sysctls.set(name, value).unwrap();
        }
        sysctls.tcp_be_liberal = false;
        sysctls.tcp_max_retrans = 9;
        let bytes = to_bytes(&encode(&sysctls, Duration::ZERO));
        assert_eq!(decode(&bytes), sysctls);
    }

    #[test]
    fn fields_are_in_the_order_of_the_struct() {
        let settings = ct_settings {
            checksum: 7,
            grace_ns: 9,
            ..encode(&Sysctls::default(), Duration::ZERO)
        };
        let bytes = to_bytes(&settings);
        let at = offset_of!(ct_settings, checksum);
        assert_eq!(bytes[at..at + 4], 7_u32.to_ne_bytes());
        let at = offset_of!(ct_settings, grace_ns);
        assert_eq!(bytes[at..at + 8], 9_u64.to_ne_bytes());
    }
}
