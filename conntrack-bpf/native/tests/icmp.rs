//! ICMP types of the packet path against conntrack-core and nf_conntrack.md.

use conntrack_core::Protocol;
use conntrack_core::icmp;
use conntrack_native::pure;
use conntrack_native::pure::IcmpClass;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

#[test]
fn every_type_has_the_class_nf_conntrack_gives_it() {
    for kind in 0..=255_u8 {
        let v4 = match kind {
            0 | 8 | 13..=18 => IcmpClass::Query,
            3 | 4 | 5 | 11 | 12 => IcmpClass::Error,
            _ => IcmpClass::Invalid,
        };
        assert_eq!(pure::icmp_classify(ICMP, kind), v4, "ICMP type {kind}");
        let v6 = match kind {
            0..=127 => IcmpClass::Error,
            128 | 129 | 139 | 140 => IcmpClass::Query,
            130..=136 | 143 | 151..=152 => IcmpClass::Untracked,
            137 => IcmpClass::Redirect,
            _ => IcmpClass::Invalid,
        };
        assert_eq!(pure::icmp_classify(ICMPV6, kind), v6, "ICMPv6 type {kind}");
    }
}

#[test]
fn queries_and_answers_are_the_same_pairs() {
    for (number, protocol) in [(ICMP, Protocol::ICMP), (ICMPV6, Protocol::ICMPV6)] {
        let mut pairs = 0;
        for kind in 0..=255_u8 {
            let query = pure::icmp_classify(number, kind) == IcmpClass::Query;
            let inverse = icmp::inverse(protocol, kind);
            assert_eq!(inverse.is_some(), query, "{protocol} {kind}");
            if let Some(inverse) = inverse {
                assert_eq!(
                    pure::icmp_inverse(number, kind),
                    inverse,
                    "{protocol} {kind}"
                );
                assert_eq!(
                    pure::icmp_is_reply(number, kind),
                    !icmp::is_request(protocol, kind),
                    "{protocol} {kind}"
                );
                pairs += 1;
            }
        }
        assert_eq!(pairs, if number == ICMP { 8 } else { 4 });
    }
}
