//! VLAN tags, on frames made by hand: up to four, of both kinds, in both
//! directions. The flow is the one that the packet inside belongs to, whatever
//! stands around it. (Real VLAN devices: `tests/stacked.rs`.)

mod support;

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use conntrack::Mode;
use conntrack::Tracker;
use support::eventually;
use support::frame;
use support::frame::CTAG;
use support::frame::Injector;
use support::frame::STAG;
use support::link::Link;
use support::link::veth;
use support::netns::Netns;
use support::row::Row;
use support::tracked;

const CLIENT4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 2);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 1);

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// From the outside in; 0 is the VLAN of a priority tag.
const TAGS: [&[(u16, u16)]; 6] = [
    &[],
    &[(CTAG, 10)],
    &[(CTAG, 0)],
    &[(STAG, 20), (CTAG, 10)],
    &[(CTAG, 30), (CTAG, 10)],
    &[(STAG, 1), (STAG, 2), (CTAG, 3), (CTAG, 4)],
];

/// Two ends of a wire that no stack of its own speaks on.
struct Wire {
    tracker: Tracker,
    /// Its frames come in at the tracked end.
    inward: Injector,
    /// Its frames go out there.
    outward: Injector,
    macs: [[u8; 6]; 2],
}

impl Wire {
    fn new(mode: Mode) -> Self {
        let (host, peer) = (Netns::new(), Netns::new());
        for ns in [&host, &peer] {
            ns.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        }
        let (inner, outer) = veth((&host, "inner"), (&peer, "outer"));
        let tracker = tracked::track(&host, &["inner"], mode);
        Self {
            tracker,
            inward: Injector::new(&outer),
            outward: Injector::new(&inner),
            macs: [&inner, &outer].map(Link::mac),
        }
    }

    fn inward(&self, tags: &[(u16, u16)], packet: &[u8]) {
        let [inner, outer] = self.macs;
        self.inward
            .send(&frame::ethernet(inner, outer, tags, packet));
    }

    fn outward(&self, tags: &[(u16, u16)], packet: &[u8]) {
        let [inner, outer] = self.macs;
        self.outward
            .send(&frame::ethernet(outer, inner, tags, packet));
    }

    /// The flows, once so many packets have been counted.
    fn rows(&self, packets: u64) -> Vec<Row> {
        eventually("every packet is counted", || {
            let counted = tracked::counters(&self.tracker).packets;
            if counted == packets {
                Ok(())
            } else {
                Err(format!("{counted} of {packets}"))
            }
        });
        tracked::rows(&self.tracker)
    }
}

/// Queries of one flow under every stack of tags, each answered under the same:
/// one flow, counted by the length of its IP packets.
fn tags_do_not_matter(mode: Mode) {
    let wire = Wire::new(mode);
    // Padded to 60 bytes as a network card would: the padding does not count.
    let query = frame::udp(4000, 53, &[1; 5]);
    let answer = frame::udp(53, 4000, &[2; 600]);
    for tags in TAGS {
        let mut padded = frame::ipv4(CLIENT4, SERVER4, 17, &[], &query);
        padded.resize(46, 0);
        wire.inward(tags, &padded);
        wire.inward(tags, &frame::ipv6(CLIENT6, SERVER6, 17, &query));
        wire.outward(tags, &frame::ipv4(SERVER4, CLIENT4, 17, &[], &answer));
        wire.outward(tags, &frame::ipv6(SERVER6, CLIENT6, 17, &answer));
    }
    let sent = TAGS.len() as u64;
    let rows = wire.rows(4 * sent);
    let counts: Vec<_> = rows.iter().map(Row::counts).collect();
    let of = |header: u64| [(sent, sent * (header + 13)), (sent, sent * (header + 608))];
    assert_eq!(counts, [of(20), of(40)], "{rows:#?}");
    assert!(rows.iter().all(|row| row.seen_reply));
    tracked::assert_clean(&wire.tracker);
}

#[test]
#[ignore = "root"]
fn tags_do_not_matter_to_xdp() {
    tags_do_not_matter(Mode::Native);
}

#[test]
#[ignore = "root"]
fn tags_do_not_matter_to_tc() {
    tags_do_not_matter(Mode::Tc);
}

/// A handshake whose segments are tagged differently, as a switch between two
/// VLANs would have it.
fn a_handshake_under_tags(mode: Mode) {
    let wire = Wire::new(mode);
    let segment = |seq, ack, flags| frame::tcp(4001, 80, seq, ack, flags, &[]);
    let back = frame::tcp(80, 4001, 500, 101, SYN | ACK, &[]);
    wire.inward(
        TAGS[1],
        &frame::ipv4(CLIENT4, SERVER4, 6, &[], &segment(100, 0, SYN)),
    );
    wire.rows(1);
    wire.outward(TAGS[3], &frame::ipv4(SERVER4, CLIENT4, 6, &[], &back));
    wire.rows(2);
    wire.inward(
        TAGS[3],
        &frame::ipv4(CLIENT4, SERVER4, 6, &[], &segment(101, 501, ACK)),
    );
    let rows = wire.rows(3);
    let [row] = rows.as_slice() else {
        panic!("one flow: {rows:#?}")
    };
    assert_eq!(row.state.as_deref(), Some("ESTABLISHED"));
    assert!(row.assured);
    assert_eq!(row.counts(), [(2, 80), (1, 40)]);
    tracked::assert_clean(&wire.tracker);
}

#[test]
#[ignore = "root"]
fn a_handshake_under_tags_by_xdp() {
    a_handshake_under_tags(Mode::Native);
}

#[test]
#[ignore = "root"]
fn a_handshake_under_tags_by_tc() {
    a_handshake_under_tags(Mode::Tc);
}

/// More tags than we read: the packet passes, is counted by its reason, and
/// makes no flow. TC is given the outermost tag apart from the frame.
#[test]
#[ignore = "root"]
fn too_many_tags() {
    let wire = Wire::new(Mode::Native);
    let tags = [(CTAG, 5); 5];
    let query = frame::udp(4000, 53, &[1; 5]);
    wire.inward(&tags, &frame::ipv4(CLIENT4, SERVER4, 17, &[], &query));
    eventually("it is counted", || {
        let counters = tracked::counters(&wire.tracker);
        match counters.passed_untracked["vlan_depth"] {
            1 => Ok(()),
            other => Err(format!("{other}: {:?}", counters.passed_untracked)),
        }
    });
    assert_eq!(tracked::rows(&wire.tracker), []);
}
