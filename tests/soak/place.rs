//! Client, router, server, and a relay on each of the router's two wires. What a
//! relay loses or doubles, it does before or behind the router, so both trackers
//! see the same packets.

use std::time::Duration;

use conntrack::Config;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;

use crate::support::kernel;
use crate::support::netns::Netns;
use crate::support::relay::Log;
use crate::support::relay::Relay;
use crate::support::relay::lane::Totals;
use crate::support::relay::plan::Impairment;
use crate::support::relay::plan::Way;

/// Where the server is; the client goes through the router.
pub(crate) const SERVER: [&str; 2] = ["10.2.0.2", "fd02::2"];
/// The router itself.
pub(crate) const ROUTER: [&str; 2] = ["10.1.0.1", "fd01::1"];
/// An address that the router has a route to, and nobody has.
pub(crate) const NOBODY: [&str; 2] = ["10.2.0.9", "fd02::9"];

/// More flows than there ever are: none is evicted.
const MAX_FLOWS: u32 = 16_384;

/// Everything the soak stands on.
pub(crate) struct Place {
    pub(crate) client: Netns,
    pub(crate) router: Netns,
    pub(crate) server: Netns,
    relays: [Relay; 2],
    pub(crate) tracker: Tracker,
}

/// What both wires do. A packet meets it on either side of the router.
pub(crate) fn impairment(seed: u64) -> Impairment {
    Impairment {
        seed,
        loss: 0.008,
        duplicate: 0.005,
        reorder: 0.01,
        delay: Duration::from_micros(500),
        jitter: Duration::from_millis(1),
        hold: Duration::from_millis(8),
    }
}

impl Place {
    /// With both trackers at their defaults on the router, from its first packet
    /// on.
    pub(crate) fn new(seed: u64) -> Self {
        let [client, router, server] = [(); 3].map(|()| Netns::new());
        let wire = |a, b, seed| Relay::between(a, b, &impairment(seed), Log::Totals);
        let relays = [
            wire((&client, "c0"), (&router, "r0"), seed),
            wire((&router, "r1"), (&server, "s0"), seed.wrapping_add(1)),
        ];
        router.forward();
        // Windows that are not scaled, in what it says itself.
        router.sysctl("net/ipv4/tcp_window_scaling", "0");
        kernel::watch(&router);
        router.sysctl("net/netfilter/nf_conntrack_timestamp", "1");
        for ns in [&client, &router, &server] {
            // Every error is told.
            ns.sysctl("net/ipv4/icmp_ratemask", "0");
            ns.sysctl("net/ipv6/icmp/ratelimit", "0");
        }
        let tracker = attach(&router, seed);
        for (link, net) in [(&relays[0].b, 1), (&relays[1].a, 2)] {
            // XDP has switched it on: a merged packet would be one to the kernel.
            router.sh(&format!("ethtool -K {} gro off", link.name));
            let features = router.sh(&format!("ethtool -k {}", link.name));
            assert!(
                features.contains("generic-receive-offload: off"),
                "{features}"
            );
            link.addr(&format!("10.{net}.0.1/24"));
            link.addr(&format!("fd{net:02}::1/64"));
        }
        for (link, net) in [(&relays[0].a, 1), (&relays[1].b, 2)] {
            link.addr(&format!("10.{net}.0.2/24"));
            link.addr(&format!("fd{net:02}::2/64"));
            link.ns
                .sh(&format!("ip route add default via 10.{net}.0.1"));
            link.ns
                .sh(&format!("ip -6 route add default via fd{net:02}::1"));
        }
        Self {
            client,
            router,
            server,
            relays,
            tracker,
        }
    }

    /// Waits until no packet is under way on a wire.
    pub(crate) fn drain(&self) {
        for relay in &self.relays {
            relay.drain();
        }
    }

    /// What the wires have done, both and both ways.
    pub(crate) fn relayed(&self) -> Totals {
        let ways = self
            .relays
            .iter()
            .flat_map(|relay| Way::BOTH.map(|way| relay.totals(way)));
        ways.fold(Totals::default(), Totals::plus)
    }
}

fn attach(router: &Netns, seed: u64) -> Tracker {
    Tracker::builder()
        .config(Config::default())
        .instance(format!("ctsoak-{}-{}", std::process::id(), seed % 1000))
        .netns(NetnsRef::Path(router.path()))
        .interfaces(["r0", "r1"])
        .mode(Mode::Native)
        .max_flows(MAX_FLOWS)
        .max_flows_v6(MAX_FLOWS)
        .attach()
        .unwrap_or_else(|error| panic!("attach to the router: {error:#}"))
}
