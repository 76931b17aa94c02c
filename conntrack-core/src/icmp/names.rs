//! What ICMP calls its messages: RFC 792 and RFC 4443, and the registries of IANA ("ICMP
//! Parameters", "ICMPv6 Parameters") for what came later.

use crate::protocol::Protocol;

/// A type, its name, and the names of its codes from 0 on; a code without a name is empty.
type Entry = (u8, &'static str, &'static [&'static str]);

const V4: &[Entry] = &[
    (0, "echo-reply", &[]),
    (
        3,
        "destination-unreachable",
        &[
            "net-unreachable",
            "host-unreachable",
            "protocol-unreachable",
            "port-unreachable",
            "fragmentation-needed",
            "source-route-failed",
            "net-unknown",
            "host-unknown",
            "source-host-isolated",
            "net-prohibited",
            "host-prohibited",
            "tos-net-unreachable",
            "tos-host-unreachable",
            "communication-prohibited",
            "host-precedence-violation",
            "precedence-cutoff",
        ],
    ),
    (4, "source-quench", &[]),
    (
        5,
        "redirect",
        &[
            "net-redirect",
            "host-redirect",
            "tos-net-redirect",
            "tos-host-redirect",
        ],
    ),
    (8, "echo-request", &[]),
    (9, "router-advertisement", &[]),
    (10, "router-solicitation", &[]),
    (11, "time-exceeded", &["ttl-exceeded", "reassembly-timeout"]),
    (
        12,
        "parameter-problem",
        &["bad-ip-header", "missing-option", "bad-length"],
    ),
    (13, "timestamp-request", &[]),
    (14, "timestamp-reply", &[]),
    (15, "information-request", &[]),
    (16, "information-reply", &[]),
    (17, "address-mask-request", &[]),
    (18, "address-mask-reply", &[]),
    (40, "photuris", &[]),
    (42, "extended-echo-request", &[]),
    (43, "extended-echo-reply", &[]),
];

const V6: &[Entry] = &[
    (
        1,
        "destination-unreachable",
        &[
            "no-route",
            "administratively-prohibited",
            "beyond-scope",
            "address-unreachable",
            "port-unreachable",
            "source-policy-failed",
            "reject-route",
            "source-routing-error",
            "headers-too-long",
        ],
    ),
    (2, "packet-too-big", &[]),
    (
        3,
        "time-exceeded",
        &["hop-limit-exceeded", "reassembly-timeout"],
    ),
    (
        4,
        "parameter-problem",
        &[
            "bad-header",
            "unknown-next-header",
            "unknown-option",
            "incomplete-first-fragment",
        ],
    ),
    (128, "echo-request", &[]),
    (129, "echo-reply", &[]),
    (130, "multicast-listener-query", &[]),
    (131, "multicast-listener-report", &[]),
    (132, "multicast-listener-done", &[]),
    (133, "router-solicitation", &[]),
    (134, "router-advertisement", &[]),
    (135, "neighbour-solicitation", &[]),
    (136, "neighbour-advertisement", &[]),
    (137, "redirect", &[]),
    (138, "router-renumbering", &[]),
    (139, "node-information-query", &[]),
    (140, "node-information-reply", &[]),
    (141, "inverse-neighbour-solicitation", &[]),
    (142, "inverse-neighbour-advertisement", &[]),
    (143, "multicast-listener-report-v2", &[]),
    (144, "home-agent-discovery-request", &[]),
    (145, "home-agent-discovery-reply", &[]),
    (146, "mobile-prefix-solicitation", &[]),
    (147, "mobile-prefix-advertisement", &[]),
    (148, "certification-path-solicitation", &[]),
    (149, "certification-path-advertisement", &[]),
    (151, "multicast-router-advertisement", &[]),
    (152, "multicast-router-solicitation", &[]),
    (153, "multicast-router-termination", &[]),
    (155, "rpl-control", &[]),
    (157, "duplicate-address-request", &[]),
    (158, "duplicate-address-confirmation", &[]),
    (160, "extended-echo-request", &[]),
    (161, "extended-echo-reply", &[]),
];

fn table(protocol: Protocol) -> &'static [Entry] {
    match protocol {
        Protocol::ICMP => V4,
        Protocol::ICMPV6 => V6,
        _ => &[],
    }
}

fn entry(protocol: Protocol, kind: u8) -> Option<&'static Entry> {
    table(protocol).iter().find(|(number, ..)| *number == kind)
}

/// The name of a type of ICMP or ICMPv6, such as `echo-request`; `None` for one that has
/// none here, and for other protocols.
pub fn type_name(protocol: Protocol, kind: u8) -> Option<&'static str> {
    entry(protocol, kind).map(|(_, name, _)| *name)
}

/// The name of a code of a type, such as `port-unreachable`; `None` where the code says
/// nothing, or nothing that is known.
pub fn code_name(protocol: Protocol, kind: u8, code: u8) -> Option<&'static str> {
    let (.., codes) = entry(protocol, kind)?;
    codes.get(usize::from(code)).copied()
}

/// The numbers of a type by its name, ICMP's and ICMPv6's.
pub(super) fn types_of(name: &str) -> Vec<(Protocol, u8)> {
    let all = [(Protocol::ICMP, V4), (Protocol::ICMPV6, V6)];
    let named = all.into_iter().flat_map(|(protocol, table)| {
        let found = table.iter().filter(|(_, known, _)| *known == name);
        found.map(move |(kind, ..)| (protocol, *kind))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unlike() {
        for table in [V4, V6] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
            for (index, (_, name, codes)) in table.iter().enumerate() {
                let more = &table[index + 1..];
                assert!(more.iter().all(|(_, other, _)| other != name), "{name}");
                for (index, code) in codes.iter().enumerate() {
                    assert!(!code.is_empty() && !codes[index + 1..].contains(code));
                }
            }
        }
    }

    #[test]
    fn what_one_looks_for() {
        assert_eq!(type_name(Protocol::ICMP, 8), Some("echo-request"));
        assert_eq!(code_name(Protocol::ICMP, 3, 3), Some("port-unreachable"));
        assert_eq!(
            code_name(Protocol::ICMP, 3, 4),
            Some("fragmentation-needed")
        );
        assert_eq!(code_name(Protocol::ICMPV6, 1, 4), Some("port-unreachable"));
        assert_eq!(type_name(Protocol::ICMPV6, 2), Some("packet-too-big"));
        assert_eq!(code_name(Protocol::ICMP, 3, 16), None);
        assert_eq!(type_name(Protocol::ICMP, 200), None);
        assert_eq!(type_name(Protocol::TCP, 8), None);
        let both = [(Protocol::ICMP, 11), (Protocol::ICMPV6, 3)];
        assert_eq!(types_of("time-exceeded"), both);
    }
}
