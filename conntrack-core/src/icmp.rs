//! ICMP and ICMPv6: which type answers which, what they are called, and what a tracker
//! has seen of them.

#[cfg(feature = "serde")]
mod json;
mod names;
mod report;

pub use self::names::code_name;
pub use self::names::type_name;
pub use self::report::Icmp;
pub use self::report::IcmpCount;
pub use self::report::IcmpCounts;
pub use self::report::IcmpError;
pub use self::report::IcmpFilter;
pub use self::report::IcmpKind;
pub use self::report::IcmpType;
use crate::protocol::Protocol;

/// The type that answers an ICMP query, and back: the `invmap` tables of
/// nf_conntrack_proto_icmp.c and nf_conntrack_proto_icmpv6.c. `None` for every
/// other type and protocol.
pub fn inverse(protocol: Protocol, kind: u8) -> Option<u8> {
    match (protocol, kind) {
        (Protocol::ICMP, 8) => Some(0),
        (Protocol::ICMP, 0) => Some(8),
        (Protocol::ICMP, 13..=18) => Some(((kind - 13) ^ 1) + 13),
        (Protocol::ICMPV6, 128 | 129) => Some(kind ^ 1),
        (Protocol::ICMPV6, 139) => Some(140),
        (Protocol::ICMPV6, 140) => Some(139),
        _ => None,
    }
}

/// Whether an ICMP type asks rather than answers, so that it may open a flow:
/// echo, timestamp, information and address mask requests, ICMPv6 echo and
/// node information queries.
pub fn is_request(protocol: Protocol, kind: u8) -> bool {
    matches!(
        (protocol, kind),
        (Protocol::ICMP, 8 | 13 | 15 | 17) | (Protocol::ICMPV6, 128 | 139)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icmp_types_invert_as_in_nf_conntrack() {
        let v4 = [(8, 0), (13, 14), (15, 16), (17, 18)];
        let v6 = [(128, 129), (139, 140)];
        for kind in 0..=255 {
            for (protocol, pairs) in [(Protocol::ICMP, &v4[..]), (Protocol::ICMPV6, &v6[..])] {
                let want = pairs.iter().find_map(|&(request, reply)| match kind {
                    _ if kind == request => Some(reply),
                    _ if kind == reply => Some(request),
                    _ => None,
                });
                assert_eq!(inverse(protocol, kind), want, "{protocol} {kind}");
                let asks = pairs.iter().any(|&(request, _)| request == kind);
                assert_eq!(is_request(protocol, kind), asks, "{protocol} {kind}");
            }
            assert_eq!(inverse(Protocol::TCP, kind), None);
        }
    }
}
