//! The simplest of places: a tracked host, a peer, and a wire between them.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use conntrack::Mode;
use conntrack::Tracker;

use super::eventually;
use super::kernel;
use super::link::Link;
use super::link::LinkCounters;
use super::link::Offloads;
use super::link::veth;
use super::netns::Netns;
use super::row::Row;
use super::tracked;

/// Where the host and the peer are.
pub(crate) const HOST4: &str = "10.7.0.1";
pub(crate) const HOST6: &str = "fd07::1";
pub(crate) const PEER4: &str = "10.7.0.2";
pub(crate) const PEER6: &str = "fd07::2";

/// A host under two trackers, and its peer.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) host: Netns,
    pub(crate) peer: Netns,
    pub(crate) inner: Link,
    pub(crate) outer: Link,
    pub(crate) tracker: Tracker,
    /// Of the interface and of the tracker, at the same moment.
    before: (LinkCounters, [u64; 2]),
    /// Bytes of a frame that the interface counts and IP does not: received, sent.
    headers: [u64; 2],
}

/// Of an Ethernet header.
const HEADER: u64 = 14;

impl Pair {
    /// With these offloads on both ends, tracked by the kernel and by us.
    pub(crate) fn new(mode: Mode, offloads: Offloads, mtu: u32) -> Self {
        let (host, peer) = (Netns::new(), Netns::new());
        let (inner, outer) = veth((&host, "inner"), (&peer, "outer"));
        for link in [&inner, &outer] {
            link.mtu(mtu).offloads(offloads);
        }
        kernel::track(&host);
        let tracker = tracked::track(&host, &["inner"], mode);
        let before = at_once(&inner, &tracker);
        let queued = [
            mode == Mode::Native || offloads == Offloads::Software,
            offloads == Offloads::Software,
        ];
        inner
            .addr(&format!("{HOST4}/24"))
            .addr(&format!("{HOST6}/64"));
        outer
            .addr(&format!("{PEER4}/24"))
            .addr(&format!("{PEER6}/64"));
        Self {
            host,
            peer,
            inner,
            outer,
            tracker,
            before,
            headers: queued.map(|queued| if queued { 0 } else { HEADER }),
        }
    }

    /// Every flow is told the same way by both trackers: tuples, packets,
    /// bytes, state, flags, time left. Returns them.
    pub(crate) fn assert_agreement(&self) -> Vec<Row> {
        tracked::assert_same(&self.tracker, || kernel::rows(&self.host))
    }

    /// Every frame that crossed the wire is one that we counted: as an IP
    /// packet of its length, or as no IP (which here is ARP). Where veth queues
    /// frames (for XDP; for GRO, if the sending end has no TSO) both ends count
    /// them without their Ethernet header.
    pub(crate) fn assert_wire(&self) {
        eventually("the wire's counters agree", || {
            let (link, (before, counted)) = (self.inner.counters(), self.before);
            let received = link.rx_packets - before.rx_packets;
            let sent = link.tx_packets - before.tx_packets;
            let bytes = link.rx_bytes + link.tx_bytes - before.rx_bytes - before.tx_bytes;
            let headers = received * self.headers[0] + sent * self.headers[1];
            let now = of_tracker(&self.tracker);
            let ours = [now[0] - counted[0], now[1] - counted[1]];
            let wire = [received + sent, bytes - headers];
            if ours == wire {
                return Ok(());
            }
            let counters = tracked::counters(&self.tracker);
            Err(format!(
                "{ours:?} of ours, {wire:?} on the wire, {before:?} then, {link:?} now; {:?}",
                counters.passed_untracked
            ))
        });
    }

    /// Nothing was INVALID, neither to us nor to the kernel.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(
            kernel::invalid(&self.host),
            0,
            "the kernel called something INVALID"
        );
        tracked::assert_clean(&self.tracker);
    }
}

/// For so long nothing crosses the wire before the counting begins: what is on its
/// way, one has counted and the other has not.
const QUIET: Duration = Duration::from_secs(1);

/// What both have counted so far. IPv6 tells of itself when it likes.
fn at_once(link: &Link, tracker: &Tracker) -> (LinkCounters, [u64; 2]) {
    eventually("a moment without a frame", || {
        let before = link.counters();
        thread::sleep(QUIET);
        let counted = of_tracker(tracker);
        let after = link.counters();
        if before == after {
            return Ok((after, counted));
        }
        Err(format!("from {before:?} to {after:?}"))
    })
}

/// Packets and bytes that the tracker has seen on its only interface, ARP as well.
fn of_tracker(tracker: &Tracker) -> [u64; 2] {
    let counters = tracked::counters(tracker);
    let [inner] = counters.interfaces.as_slice() else {
        panic!("one interface: {:?}", counters.interfaces);
    };
    let arp = counters.passed_untracked["not_ip"];
    [inner.packets + arp, inner.bytes + 28 * arp]
}

/// A socket address of text.
pub(crate) fn at(addr: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(addr), port)
}

/// An address of text.
pub(crate) fn ip(addr: &str) -> IpAddr {
    addr.parse().expect("an address")
}
