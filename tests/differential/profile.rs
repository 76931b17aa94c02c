//! The settings the scenarios are played under.

use conntrack_core::Config;

use crate::lab::Lab;

/// A name, and the sysctls (less `nf_conntrack_`) that are not as by default.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    sysctls: &'static [(&'static str, u32)],
}

pub(crate) const PROFILES: [Profile; 6] = [
    Profile {
        name: "defaults",
        sysctls: &[],
    },
    Profile {
        name: "strict",
        sysctls: &[("tcp_loose", 0)],
    },
    Profile {
        name: "liberal",
        sysctls: &[("tcp_be_liberal", 1)],
    },
    Profile {
        name: "ignore_invalid_rst",
        sysctls: &[("tcp_ignore_invalid_rst", 1)],
    },
    Profile {
        name: "checksum",
        sysctls: &[("checksum", 1)],
    },
    Profile {
        name: "short_timeouts",
        sysctls: &[
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
        ],
    },
];

impl Profile {
    /// Whether it makes a difference to a scenario.
    pub(crate) fn plays(&self, name: &str) -> bool {
        match self.name {
            "defaults" | "checksum" => true,
            _ => name.contains("/tcp/"),
        }
    }

    /// Sets the router's sysctls, and gives the same for us.
    pub(crate) fn apply(&self, lab: &Lab) -> Config {
        let mut config = Config::default();
        config.table.max_flows = 16_384;
        for (name, value) in [("checksum", 0)].iter().chain(self.sysctls) {
            let name = format!("nf_conntrack_{name}");
            lab.sysctl(&format!("net.netfilter.{name}"), &value.to_string());
            config
                .conntrack
                .set(&name, u64::from(*value))
                .expect("a setting of ours");
        }
        config
    }
}
