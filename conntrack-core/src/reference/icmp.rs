//! ICMP and ICMPv6: which messages belong to a flow, which carry the packet
//! they complain of, and which nf_conntrack leaves alone
//! (nf_conntrack_proto_icmp.c, nf_conntrack_proto_icmpv6.c).

use crate::icmp;
use crate::protocol::Family;
use crate::protocol::Protocol;

/// What a message is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Class {
    /// A request, or the answer to one.
    Query,
    /// The packet it is about is in it.
    Error,
    /// ICMPv6's redirect: so is the packet, behind other things.
    Redirect,
    /// Neighbours, routers and multicast listeners.
    Untracked,
    /// Anything else.
    Invalid,
}

/// ICMP's protocol number in a family.
pub(super) fn protocol(family: Family) -> Protocol {
    match family {
        Family::Ipv4 => Protocol::ICMP,
        Family::Ipv6 => Protocol::ICMPV6,
    }
}

/// What a message of this type is.
pub(super) fn classify(family: Family, kind: u8) -> Class {
    match (family, kind) {
        (Family::Ipv4, 3 | 4 | 5 | 11 | 12) | (Family::Ipv6, 0..128) => Class::Error,
        (Family::Ipv6, 130..=136 | 143 | 151 | 152) => Class::Untracked,
        (Family::Ipv6, 137) => Class::Redirect,
        _ if icmp::inverse(protocol(family), kind).is_some() => Class::Query,
        _ => Class::Invalid,
    }
}
