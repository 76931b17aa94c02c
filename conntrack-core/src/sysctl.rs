//! nf_conntrack's settings under their sysctl names.

use std::fmt;

use crate::parse::shorten;

/// The settings of `net.netfilter.nf_conntrack_*` that shape tracking; each
/// field is a sysctl without its `nf_conntrack_` prefix. Timeouts are in
/// seconds.
///
/// The defaults are Linux 6.18's on every kernel, with one exception:
/// `checksum` is off, because verifying it takes reading every byte of every
/// packet.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
#[non_exhaustive]
pub struct Sysctls {
    /// Check the checksums of TCP, UDP, UDP-Lite, ICMP, ICMPv6 and SCTP; a wrong
    /// one is INVALID. One that is left to a network card is none.
    pub checksum: bool,
    /// How long, in seconds, the fragments of an IPv6 packet wait for each other.
    /// (IPv4's: 30, as in the kernel.)
    pub frag6_timeout: u32,
    /// Protocols without rules of their own.
    pub generic_timeout: u32,
    /// GRE without an answer.
    pub gre_timeout: u32,
    /// GRE, answered.
    pub gre_timeout_stream: u32,
    /// ICMP queries.
    pub icmp_timeout: u32,
    /// ICMPv6 queries.
    pub icmpv6_timeout: u32,
    /// SCTP CLOSED.
    pub sctp_timeout_closed: u32,
    /// SCTP COOKIE_ECHOED.
    pub sctp_timeout_cookie_echoed: u32,
    /// SCTP COOKIE_WAIT.
    pub sctp_timeout_cookie_wait: u32,
    /// SCTP ESTABLISHED.
    pub sctp_timeout_established: u32,
    /// SCTP HEARTBEAT_SENT.
    pub sctp_timeout_heartbeat_sent: u32,
    /// SCTP SHUTDOWN_ACK_SENT.
    pub sctp_timeout_shutdown_ack_sent: u32,
    /// SCTP SHUTDOWN_RECD.
    pub sctp_timeout_shutdown_recd: u32,
    /// SCTP SHUTDOWN_SENT.
    pub sctp_timeout_shutdown_sent: u32,
    /// Accept segments outside the window, all but RST.
    pub tcp_be_liberal: bool,
    /// An RST outside the window is ignored instead of INVALID.
    pub tcp_ignore_invalid_rst: bool,
    /// Pick up connections in mid-stream.
    pub tcp_loose: bool,
    /// Retransmissions after which `tcp_timeout_max_retrans` holds.
    pub tcp_max_retrans: u8,
    /// TCP CLOSE.
    pub tcp_timeout_close: u32,
    /// TCP CLOSE_WAIT.
    pub tcp_timeout_close_wait: u32,
    /// TCP ESTABLISHED.
    pub tcp_timeout_established: u32,
    /// TCP FIN_WAIT.
    pub tcp_timeout_fin_wait: u32,
    /// TCP LAST_ACK.
    pub tcp_timeout_last_ack: u32,
    /// TCP with too many retransmissions.
    pub tcp_timeout_max_retrans: u32,
    /// TCP SYN_RECV.
    pub tcp_timeout_syn_recv: u32,
    /// TCP SYN_SENT.
    pub tcp_timeout_syn_sent: u32,
    /// TCP TIME_WAIT.
    pub tcp_timeout_time_wait: u32,
    /// TCP with data that is not acknowledged yet.
    pub tcp_timeout_unacknowledged: u32,
    /// UDP.
    pub udp_timeout: u32,
    /// UDP with traffic both ways for more than two seconds.
    pub udp_timeout_stream: u32,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self {
            checksum: false,
            frag6_timeout: 60,
            generic_timeout: 600,
            gre_timeout: 30,
            gre_timeout_stream: 180,
            icmp_timeout: 30,
            icmpv6_timeout: 30,
            sctp_timeout_closed: 10,
            sctp_timeout_cookie_echoed: 3,
            sctp_timeout_cookie_wait: 3,
            sctp_timeout_established: 210,
            sctp_timeout_heartbeat_sent: 30,
            sctp_timeout_shutdown_ack_sent: 3,
            sctp_timeout_shutdown_recd: 3,
            sctp_timeout_shutdown_sent: 3,
            tcp_be_liberal: false,
            tcp_ignore_invalid_rst: false,
            tcp_loose: true,
            tcp_max_retrans: 3,
            tcp_timeout_close: 10,
            tcp_timeout_close_wait: 60,
            tcp_timeout_established: 432_000,
            tcp_timeout_fin_wait: 120,
            tcp_timeout_last_ack: 30,
            tcp_timeout_max_retrans: 300,
            tcp_timeout_syn_recv: 60,
            tcp_timeout_syn_sent: 120,
            tcp_timeout_time_wait: 120,
            tcp_timeout_unacknowledged: 300,
            udp_timeout: 30,
            udp_timeout_stream: 120,
        }
    }
}

/// Where a setting lives, and what values it may have.
#[derive(Copy, Clone)]
enum Field {
    Switch(fn(&mut Sysctls) -> &mut bool),
    Count(fn(&mut Sysctls) -> &mut u8),
    Seconds(fn(&mut Sysctls) -> &mut u32),
}

use Field::Count;
use Field::Seconds;
use Field::Switch;

const PREFIX: &str = "nf_conntrack_";
/// What `sysctl` has before it.
const FOLDER: &str = "net.netfilter.";
/// Longer than any, in bytes.
const MAX_NAME: usize = 64;

/// Every setting, by its full name, in order.
const TABLE: [(&str, Field); 31] = [
    ("nf_conntrack_checksum", Switch(|s| &mut s.checksum)),
    (
        "nf_conntrack_frag6_timeout",
        Seconds(|s| &mut s.frag6_timeout),
    ),
    (
        "nf_conntrack_generic_timeout",
        Seconds(|s| &mut s.generic_timeout),
    ),
    ("nf_conntrack_gre_timeout", Seconds(|s| &mut s.gre_timeout)),
    (
        "nf_conntrack_gre_timeout_stream",
        Seconds(|s| &mut s.gre_timeout_stream),
    ),
    (
        "nf_conntrack_icmp_timeout",
        Seconds(|s| &mut s.icmp_timeout),
    ),
    (
        "nf_conntrack_icmpv6_timeout",
        Seconds(|s| &mut s.icmpv6_timeout),
    ),
    (
        "nf_conntrack_sctp_timeout_closed",
        Seconds(|s| &mut s.sctp_timeout_closed),
    ),
    (
        "nf_conntrack_sctp_timeout_cookie_echoed",
        Seconds(|s| &mut s.sctp_timeout_cookie_echoed),
    ),
    (
        "nf_conntrack_sctp_timeout_cookie_wait",
        Seconds(|s| &mut s.sctp_timeout_cookie_wait),
    ),
    (
        "nf_conntrack_sctp_timeout_established",
        Seconds(|s| &mut s.sctp_timeout_established),
    ),
    (
        "nf_conntrack_sctp_timeout_heartbeat_sent",
        Seconds(|s| &mut s.sctp_timeout_heartbeat_sent),
    ),
    (
        "nf_conntrack_sctp_timeout_shutdown_ack_sent",
        Seconds(|s| &mut s.sctp_timeout_shutdown_ack_sent),
    ),
    (
        "nf_conntrack_sctp_timeout_shutdown_recd",
        Seconds(|s| &mut s.sctp_timeout_shutdown_recd),
    ),
    (
        "nf_conntrack_sctp_timeout_shutdown_sent",
        Seconds(|s| &mut s.sctp_timeout_shutdown_sent),
    ),
    (
        "nf_conntrack_tcp_be_liberal",
        Switch(|s| &mut s.tcp_be_liberal),
    ),
    (
        "nf_conntrack_tcp_ignore_invalid_rst",
        Switch(|s| &mut s.tcp_ignore_invalid_rst),
    ),
    ("nf_conntrack_tcp_loose", Switch(|s| &mut s.tcp_loose)),
    (
        "nf_conntrack_tcp_max_retrans",
        Count(|s| &mut s.tcp_max_retrans),
    ),
    (
        "nf_conntrack_tcp_timeout_close",
        Seconds(|s| &mut s.tcp_timeout_close),
    ),
    (
        "nf_conntrack_tcp_timeout_close_wait",
        Seconds(|s| &mut s.tcp_timeout_close_wait),
    ),
    (
        "nf_conntrack_tcp_timeout_established",
        Seconds(|s| &mut s.tcp_timeout_established),
    ),
    (
        "nf_conntrack_tcp_timeout_fin_wait",
        Seconds(|s| &mut s.tcp_timeout_fin_wait),
    ),
    (
        "nf_conntrack_tcp_timeout_last_ack",
        Seconds(|s| &mut s.tcp_timeout_last_ack),
    ),
    (
        "nf_conntrack_tcp_timeout_max_retrans",
        Seconds(|s| &mut s.tcp_timeout_max_retrans),
    ),
    (
        "nf_conntrack_tcp_timeout_syn_recv",
        Seconds(|s| &mut s.tcp_timeout_syn_recv),
    ),
    (
        "nf_conntrack_tcp_timeout_syn_sent",
        Seconds(|s| &mut s.tcp_timeout_syn_sent),
    ),
    (
        "nf_conntrack_tcp_timeout_time_wait",
        Seconds(|s| &mut s.tcp_timeout_time_wait),
    ),
    (
        "nf_conntrack_tcp_timeout_unacknowledged",
        Seconds(|s| &mut s.tcp_timeout_unacknowledged),
    ),
    ("nf_conntrack_udp_timeout", Seconds(|s| &mut s.udp_timeout)),
    (
        "nf_conntrack_udp_timeout_stream",
        Seconds(|s| &mut s.udp_timeout_stream),
    ),
];

/// Why a setting was not read or written.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum SysctlError {
    /// There is no setting of that name.
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The value is too large for the setting.
    OutOfRange {
        /// The setting's full name.
        name: &'static str,
        /// The value offered.
        value: u64,
        /// The largest value it takes.
        max: u32,
    },
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "unknown setting {name:?}"),
            Self::OutOfRange { name, value, max } => {
                write!(f, "{name} is a number from 0 to {max}, not {value}")
            }
        }
    }
}

impl std::error::Error for SysctlError {}

impl Sysctls {
    /// The full name of a setting given its full or short name.
    pub fn full_name(name: &str) -> Option<&'static str> {
        find(name).map(|(full, _)| full)
    }

    /// The full name of the setting that was most likely meant by what is none;
    /// `None` if nothing is near.
    pub fn similar(name: &str) -> Option<&'static str> {
        let name = name.strip_prefix(FOLDER).unwrap_or(name);
        let short = name.strip_prefix(PREFIX).unwrap_or(name);
        if short.len() > MAX_NAME {
            return None;
        }
        let all = TABLE.iter().map(|(full, _)| *full);
        let apart = all.map(|full| (distance(short, &full[PREFIX.len()..]), full));
        let nearest = apart.min_by_key(|(apart, _)| *apart);
        nearest
            .filter(|(apart, _)| *apart <= 1 + short.len() / 5)
            .map(|(_, full)| full)
    }

    /// The largest value of a setting: 1 for switches, 255 for
    /// `tcp_max_retrans`, 2147483647 (as in the kernel) for timeouts.
    ///
    /// # Errors
    /// [`SysctlError::Unknown`].
    pub fn max(name: &str) -> Result<u32, SysctlError> {
        let (_, field) = find(name).ok_or_else(|| unknown(name))?;
        Ok(field.max())
    }

    /// A setting by its full name (`nf_conntrack_tcp_loose`) or its short one
    /// (`tcp_loose`); switches are 0 or 1.
    ///
    /// # Errors
    /// [`SysctlError::Unknown`].
    pub fn get(&self, name: &str) -> Result<u32, SysctlError> {
        let (_, field) = find(name).ok_or_else(|| unknown(name))?;
        Ok(field.get(*self))
    }

    /// Changes a setting, named as in [`Sysctls::get`].
    ///
    /// # Errors
    /// [`SysctlError::Unknown`], [`SysctlError::OutOfRange`]; nothing changes
    /// then.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), SysctlError> {
        let (name, field) = find(name).ok_or_else(|| unknown(name))?;
        let max = field.max();
        let out_of_range = || SysctlError::OutOfRange { name, value, max };
        match field {
            Switch(of) => {
                *of(self) = match value {
                    0 => false,
                    1 => true,
                    _ => return Err(out_of_range()),
                }
            }
            Count(of) => *of(self) = u8::try_from(value).map_err(|_| out_of_range())?,
            Seconds(of) => {
                let seconds = u32::try_from(value).map_err(|_| out_of_range())?;
                if seconds > max {
                    return Err(out_of_range());
                }
                *of(self) = seconds;
            }
        }
        Ok(())
    }

    /// Every setting with its full name and value, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let sysctls = *self;
        TABLE
            .iter()
            .map(move |(name, field)| (*name, field.get(sysctls)))
    }
}

fn find(name: &str) -> Option<(&'static str, Field)> {
    let name = name.strip_prefix(FOLDER).unwrap_or(name);
    let short = name.strip_prefix(PREFIX).unwrap_or(name);
    TABLE
        .iter()
        .find(|(full, _)| &full[PREFIX.len()..] == short)
        .copied()
}

/// How many letters have to be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut before = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn unknown(name: &str) -> SysctlError {
    SysctlError::Unknown {
        name: shorten(name),
    }
}

impl Field {
    fn max(self) -> u32 {
        match self {
            Switch(_) => 1,
            Count(_) => u32::from(u8::MAX),
            Seconds(_) => i32::MAX.unsigned_abs(),
        }
    }

    /// By value, because the accessors lend the field for writing.
    fn get(self, mut sysctls: Sysctls) -> u32 {
        match self {
            Switch(of) => u32::from(*of(&mut sysctls)),
            Count(of) => u32::from(*of(&mut sysctls)),
            Seconds(of) => *of(&mut sysctls),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Sysctls {
    /// A map from full names to numbers.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_is_its_own() {
        let names: BTreeSet<_> = TABLE.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), TABLE.len());
        for (name, field) in TABLE {
            let mut sysctls = Sysctls::default();
            let new = u32::from(sysctls.get(name).unwrap() == 0);
            sysctls.set(name, u64::from(new)).unwrap();
            let changed: Vec<_> = sysctls
                .iter()
                .zip(Sysctls::default().iter())
                .filter(|(now, before)| now != before)
                .collect();
            assert_eq!(changed.len(), 1, "{name} changes {changed:?}");
            assert_eq!(sysctls.get(&name[PREFIX.len()..]), Ok(new));
            let max = u64::from(field.max());
            assert_eq!(sysctls.set(name, max), Ok(()), "{name}");
            assert!(sysctls.set(name, max + 1).is_err(), "{name}");
            assert!(sysctls.set(name, u64::MAX).is_err(), "{name}");
            assert_eq!(sysctls.get(name), Ok(field.max()), "unchanged after errors");
        }
    }

    #[test]
    fn as_sysctl_names_them() {
        let name = "net.netfilter.nf_conntrack_tcp_loose";
        assert_eq!(Sysctls::full_name(name), Some("nf_conntrack_tcp_loose"));
    }

    #[test]
    fn what_was_meant() {
        for (name, meant) in [
            ("tcp_loos", Some("nf_conntrack_tcp_loose")),
            ("nf_conntrack_udp_timout", Some("nf_conntrack_udp_timeout")),
            (
                "net.netfilter.nf_conntrack_checksun",
                Some("nf_conntrack_checksum"),
            ),
            (
                "tcp_timeout_establish",
                Some("nf_conntrack_tcp_timeout_established"),
            ),
            ("max", None),
            ("", None),
        ] {
            assert_eq!(Sysctls::similar(name), meant, "{name}");
        }
    }

    #[test]
    fn unknown_names() {
        for name in [
            "",
            "nf_conntrack_",
            "tcp_loos",
            "nf_conntrack_nf_conntrack_tcp_loose",
        ] {
            assert!(Sysctls::default().get(name).is_err(), "{name:?}");
            assert!(Sysctls::default().set(name, 1).is_err(), "{name:?}");
        }
    }
}
