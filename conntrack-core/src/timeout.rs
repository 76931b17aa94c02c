//! How long a flow lives without packets.

use std::time::Duration;

use crate::sctp::SctpState;
use crate::sysctl::Sysctls;
use crate::tcp::TcpState;

/// Which timeout is in force for a flow.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Timeout {
    /// TCP in this state.
    Tcp(TcpState),
    /// TCP after [`Sysctls::tcp_max_retrans`] retransmissions or with a zero
    /// window.
    TcpRetrans,
    /// TCP with unacknowledged data, or picked up in mid-stream.
    TcpUnack,
    /// UDP and UDP-Lite.
    Udp,
    /// UDP and UDP-Lite, once the flow is a stream.
    UdpStream,
    /// ICMP queries.
    Icmp,
    /// ICMPv6 queries.
    Icmpv6,
    /// GRE without an answer.
    Gre,
    /// GRE, answered.
    GreStream,
    /// Every protocol without rules of its own.
    Generic,
    /// SCTP in this state.
    Sctp(SctpState),
}

/// First index of SCTP's timeouts.
const SCTP_BASE: u8 = 32;

impl Timeout {
    /// Indices are below this: `CT_TMO_MAX` of the packet path.
    pub const SLOTS: usize = 64;

    /// Its number: `enum ct_timeout` of the packet path.
    pub fn index(self) -> u8 {
        match self {
            Self::Tcp(state) => state.index(),
            Self::TcpRetrans => 10,
            Self::TcpUnack => 11,
            Self::Udp => 16,
            Self::UdpStream => 17,
            Self::Icmp => 18,
            Self::Icmpv6 => 19,
            Self::Gre => 20,
            Self::GreStream => 21,
            Self::Generic => 22,
            Self::Sctp(state) => SCTP_BASE + state.index(),
        }
    }

    /// The timeout with this number; `None` for the gaps in between.
    pub fn from_index(index: u8) -> Option<Self> {
        Some(match index {
            0..=9 => Self::Tcp(TcpState::from_index(index)?),
            10 => Self::TcpRetrans,
            11 => Self::TcpUnack,
            16 => Self::Udp,
            17 => Self::UdpStream,
            18 => Self::Icmp,
            19 => Self::Icmpv6,
            20 => Self::Gre,
            21 => Self::GreStream,
            22 => Self::Generic,
            _ => Self::Sctp(SctpState::from_index(index.checked_sub(SCTP_BASE)?)?),
        })
    }
}

impl Sysctls {
    /// How long the timeout is under these settings.
    ///
    /// TCP's and SCTP's `NONE` have the value of a new flow, as in the kernel;
    /// `SYN_SENT2` has no sysctl there and is 120 s.
    pub fn timeout(&self, timeout: Timeout) -> Duration {
        let seconds = match timeout {
            Timeout::Tcp(state) => self.tcp_seconds(state),
            Timeout::TcpRetrans => self.tcp_timeout_max_retrans,
            Timeout::TcpUnack => self.tcp_timeout_unacknowledged,
            Timeout::Udp => self.udp_timeout,
            Timeout::UdpStream => self.udp_timeout_stream,
            Timeout::Icmp => self.icmp_timeout,
            Timeout::Icmpv6 => self.icmpv6_timeout,
            Timeout::Gre => self.gre_timeout,
            Timeout::GreStream => self.gre_timeout_stream,
            Timeout::Generic => self.generic_timeout,
            Timeout::Sctp(state) => self.sctp_seconds(state),
        };
        Duration::from_secs(u64::from(seconds))
    }

    /// The timeout with that number, zero for a gap: what goes into the packet
    /// path's settings.
    pub fn timeout_by_index(&self, index: u8) -> Duration {
        Timeout::from_index(index).map_or(Duration::ZERO, |timeout| self.timeout(timeout))
    }

    fn tcp_seconds(&self, state: TcpState) -> u32 {
        match state {
            TcpState::None | TcpState::SynSent => self.tcp_timeout_syn_sent,
            TcpState::SynRecv => self.tcp_timeout_syn_recv,
            TcpState::Established => self.tcp_timeout_established,
            TcpState::FinWait => self.tcp_timeout_fin_wait,
            TcpState::CloseWait => self.tcp_timeout_close_wait,
            TcpState::LastAck => self.tcp_timeout_last_ack,
            TcpState::TimeWait => self.tcp_timeout_time_wait,
            TcpState::Close => self.tcp_timeout_close,
            TcpState::SynSent2 => 120,
        }
    }

    fn sctp_seconds(&self, state: SctpState) -> u32 {
        match state {
            SctpState::None | SctpState::Closed => self.sctp_timeout_closed,
            SctpState::CookieWait => self.sctp_timeout_cookie_wait,
            SctpState::CookieEchoed => self.sctp_timeout_cookie_echoed,
            SctpState::Established => self.sctp_timeout_established,
            SctpState::ShutdownSent => self.sctp_timeout_shutdown_sent,
            SctpState::ShutdownRecd => self.sctp_timeout_shutdown_recd,
            SctpState::ShutdownAckSent => self.sctp_timeout_shutdown_ack_sent,
            SctpState::HeartbeatSent => self.sctp_timeout_heartbeat_sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_round_trip() {
        let known: Vec<u8> = (0..=255)
            .filter(|&index| match Timeout::from_index(index) {
                Some(timeout) => {
                    assert_eq!(timeout.index(), index);
                    true
                }
                None => false,
            })
            .collect();
        let want: Vec<u8> = (0..=11).chain(16..=22).chain(32..=40).collect();
        assert_eq!(known, want);
    }

    #[test]
    fn each_index_has_linux_default() {
        let sysctls = Sysctls::default();
        let tcp = [120, 120, 60, 432_000, 120, 60, 30, 120, 10, 120, 300, 300];
        let others = [30, 120, 30, 30, 30, 180, 600];
        let sctp = [10, 10, 3, 3, 210, 3, 3, 3, 30];
        let mut want = [0_u64; Timeout::SLOTS];
        want[..12].copy_from_slice(&tcp);
        want[16..23].copy_from_slice(&others);
        want[32..41].copy_from_slice(&sctp);
        for (index, seconds) in (0_u8..).zip(want) {
            assert_eq!(
                sysctls.timeout_by_index(index),
                Duration::from_secs(seconds),
                "{index}"
            );
        }
    }
}
