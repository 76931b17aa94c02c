//! The settings the scenarios are played under.

use std::borrow::Cow;

use conntrack_core::Config;

use crate::kernels::Without;
use crate::lab::Lab;
use crate::random::Random;

/// A name, and the sysctls (less `nf_conntrack_`) that are not as by default.
#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    sysctls: Cow<'static, [(&'static str, u32)]>,
}

pub(crate) const PROFILES: [Profile; 7] = [
    Profile {
        name: "defaults",
        sysctls: Cow::Borrowed(&[]),
    },
    Profile {
        name: "strict",
        sysctls: Cow::Borrowed(&[("tcp_loose", 0)]),
    },
    Profile {
        name: "liberal",
        sysctls: Cow::Borrowed(&[("tcp_be_liberal", 1)]),
    },
    Profile {
        name: "ignore_invalid_rst",
        sysctls: Cow::Borrowed(&[("tcp_ignore_invalid_rst", 1)]),
    },
    Profile {
        name: "checksum",
        sysctls: Cow::Borrowed(&[("checksum", 1)]),
    },
    Profile {
        name: "short_timeouts",
        sysctls: Cow::Borrowed(&[
            ("tcp_max_retrans", 1),
            ("tcp_timeout_syn_sent", 3),
            ("tcp_timeout_syn_recv", 2),
            ("tcp_timeout_established", 4),
            ("tcp_timeout_fin_wait", 3),
            ("tcp_timeout_close_wait", 2),
            ("tcp_timeout_last_ack", 2),
            ("tcp_timeout_time_wait", 2),
            ("tcp_timeout_close", 1),
            ("tcp_timeout_max_retrans", 3),
            ("tcp_timeout_unacknowledged", 3),
            ("udp_timeout", 1),
            ("udp_timeout_stream", 3),
            ("icmp_timeout", 1),
            ("icmpv6_timeout", 1),
            ("gre_timeout", 1),
            ("gre_timeout_stream", 3),
            ("generic_timeout", 2),
            ("sctp_timeout_closed", 2),
            ("sctp_timeout_cookie_wait", 2),
            ("sctp_timeout_cookie_echoed", 3),
            ("sctp_timeout_established", 4),
            ("sctp_timeout_shutdown_sent", 2),
            ("sctp_timeout_shutdown_recd", 3),
            ("sctp_timeout_shutdown_ack_sent", 2),
            ("sctp_timeout_heartbeat_sent", 3),
        ]),
    },
    // What comes again shows in a flow that is closing, too.
    Profile {
        name: "retrans",
        sysctls: Cow::Borrowed(&[("tcp_max_retrans", 1), ("tcp_timeout_max_retrans", 30)]),
    },
];

/// Every timeout, as in Linux or too short, too long, or out of order.
const TIMEOUTS: [&str; 25] = [
    "tcp_timeout_syn_sent",
    "tcp_timeout_syn_recv",
    "tcp_timeout_established",
    "tcp_timeout_fin_wait",
    "tcp_timeout_close_wait",
    "tcp_timeout_last_ack",
    "tcp_timeout_time_wait",
    "tcp_timeout_close",
    "tcp_timeout_max_retrans",
    "tcp_timeout_unacknowledged",
    "udp_timeout",
    "udp_timeout_stream",
    "icmp_timeout",
    "icmpv6_timeout",
    "gre_timeout",
    "gre_timeout_stream",
    "generic_timeout",
    "sctp_timeout_closed",
    "sctp_timeout_cookie_wait",
    "sctp_timeout_cookie_echoed",
    "sctp_timeout_established",
    "sctp_timeout_shutdown_sent",
    "sctp_timeout_shutdown_recd",
    "sctp_timeout_shutdown_ack_sent",
    "sctp_timeout_heartbeat_sent",
];

impl Profile {
    /// Whether it makes a difference to a scenario.
    pub(crate) fn plays(&self, name: &str) -> bool {
        match self.name {
            "strict" | "liberal" | "ignore_invalid_rst" => name.contains("/tcp/"),
            "retrans" => name.contains("/tcp/repeat/"),
            _ => true,
        }
    }

    /// Settings by chance, but for what this kernel does otherwise with them.
    pub(crate) fn mixed(seed: u64, without: &Without) -> Self {
        let random = &mut Random::new(seed);
        let mut sysctls = vec![
            ("tcp_loose", u32::from(random.percent(70))),
            ("tcp_be_liberal", u32::from(random.percent(25))),
            ("tcp_ignore_invalid_rst", u32::from(random.percent(30))),
            ("tcp_max_retrans", random.below(5) as u32),
        ];
        for name in TIMEOUTS {
            sysctls.push((name, random.pick(&[2, 3, 5, 60, 200, 300, 301, 100_000])));
        }
        if without.rst {
            keep_below(
                &mut sysctls,
                "tcp_timeout_close",
                "tcp_timeout_unacknowledged",
            );
        }
        Self {
            name: "mixed",
            sysctls: Cow::Owned(sysctls),
        }
    }

    /// Sets the router's sysctls, and gives the same for us.
    pub(crate) fn apply(&self, lab: &Lab) -> Config {
        if crate::is_traced() {
            println!("{}: {:?}", self.name, self.sysctls);
        }
        for (name, value) in [("checksum", 0)].iter().chain(self.sysctls.iter()) {
            lab.sysctl(
                &format!("net.netfilter.nf_conntrack_{name}"),
                &value.to_string(),
            );
        }
        self.config(16_384)
    }

    /// The settings for us, with room for so many flows.
    pub(crate) fn config(&self, max_flows: u32) -> Config {
        let mut config = Config::default();
        config.table.max_flows = max_flows;
        for (name, value) in self.sysctls.iter() {
            config
                .conntrack
                .set(name, u64::from(*value))
                .expect("a setting of ours");
        }
        config
    }
}

/// Makes one setting another's at most.
fn keep_below(sysctls: &mut [(&str, u32)], this: &str, other: &str) {
    let limit = sysctls.iter().find(|(name, _)| *name == other);
    let limit = limit.expect("a setting").1;
    for (name, value) in sysctls {
        if *name == this {
            *value = limit.min(*value);
        }
    }
}
