//! UDP, UDP-Lite, GRE and what has no rules of its own: nf_conntrack_proto_udp.c,
//! nf_conntrack_proto_gre.c, `generic_packet()` of nf_conntrack_core.c.

use super::tracker::Answer;
use super::tracker::Status;
use crate::protocol::Protocol;
use crate::timeout::Timeout;

/// A UDP flow that was answered is a stream once it is older than this.
const STREAM_AGE: u64 = 2_000_000_000;

/// A packet of a flow without states. UDP and GRE look at whether an answer was
/// seen before this packet.
pub(super) fn packet(protocol: Protocol, age: u64, status: &Status) -> Answer {
    let (one_way, both_ways) = match protocol {
        Protocol::UDP | Protocol::UDPLITE => (Timeout::Udp, Timeout::UdpStream),
        Protocol::GRE => (Timeout::Gre, Timeout::GreStream),
        Protocol::ICMP => (Timeout::Icmp, Timeout::Icmp),
        Protocol::ICMPV6 => (Timeout::Icmpv6, Timeout::Icmpv6),
        _ => (Timeout::Generic, Timeout::Generic),
    };
    let proves = one_way != both_ways;
    let old_enough = protocol != Protocol::UDP || age > STREAM_AGE;
    if proves && status.seen_reply && old_enough {
        return Answer::Accept {
            timeout: both_ways,
            assured: true,
        };
    }
    Answer::Accept {
        timeout: one_way,
        assured: false,
    }
}
