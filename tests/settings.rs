//! Settings that change while packets run: the next packet goes by them, the
//! flows that are there live on, by the new timeouts.

mod support;

use std::net::Ipv4Addr;
use std::thread;

use conntrack::Flow;
use conntrack::FlowKey;
use conntrack::Mode;
use conntrack::Protocol;
use conntrack::Sysctls;
use conntrack::Tracker;
use support::eventually;
use support::frame;
use support::frame::Injector;
use support::link::veth;
use support::netns::Netns;
use support::tracked;

const SYN: u8 = 2;
const ACK: u8 = 16;
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 3);

/// A tracked interface, and somebody who puts frames on its wire.
struct Lab {
    tracker: Tracker,
    injector: Injector,
    macs: [[u8; 6]; 2],
    sent: u64,
}

impl Lab {
    fn new() -> Self {
        let (host, peer) = (Netns::new(), Netns::new());
        let (inner, outer) = veth((&host, "inner"), (&peer, "outer"));
        for ns in [&host, &peer] {
            // Nobody else shall speak here.
            ns.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        }
        let macs = [inner.mac(), outer.mac()];
        let tracker = tracked::track(&host, &["inner"], Mode::Native);
        Self {
            tracker,
            injector: Injector::new(&outer),
            macs,
            sent: 0,
        }
    }

    /// Sends a packet and waits until it has been counted.
    fn send(&mut self, back: bool, protocol: u8, payload: &[u8]) {
        let (src, dst) = if back {
            (SERVER, CLIENT)
        } else {
            (CLIENT, SERVER)
        };
        let packet = frame::ipv4(src, dst, protocol, &[], payload);
        self.injector
            .send(&frame::ethernet(self.macs[0], self.macs[1], &[], &packet));
        self.sent += 1;
        eventually("the packet is counted", || {
            let packets = tracked::counters(&self.tracker).packets;
            (packets == self.sent)
                .then_some(())
                .ok_or_else(|| packets.to_string())
        });
    }

    /// A segment from the client's port, acknowledging what there is to.
    fn ack(&mut self, port: u16, seq: u32) {
        self.send(false, 6, &frame::tcp(port, 80, seq, 5001, ACK, &[]));
    }

    /// A whole handshake from the client's port.
    fn open(&mut self, port: u16) {
        self.send(false, 6, &frame::tcp(port, 80, 1000, 0, SYN, &[]));
        self.send(true, 6, &frame::tcp(80, port, 5000, 1001, SYN | ACK, &[]));
        self.ack(port, 1001);
    }

    fn datagram(&mut self, port: u16) {
        self.send(false, 17, &frame::udp(port, 53, b"?"));
    }

    fn set(&self, change: impl FnOnce(&mut Sysctls)) {
        self.tracker
            .update_sysctls(change)
            .expect("change the settings");
    }

    fn flow(&self, protocol: Protocol, port: u16) -> Option<Flow> {
        let to = if protocol == Protocol::TCP { 80 } else { 53 };
        let name = format!("{protocol} {CLIENT}:{port} {SERVER}:{to}");
        let name: FlowKey = name.parse().expect("a flow's name");
        self.tracker.flow(&name).expect("read the table")
    }

    fn packets(&self, port: u16) -> Option<u64> {
        Some(self.flow(Protocol::TCP, port)?.packets())
    }

    fn invalid(&self) -> u64 {
        tracked::counters(&self.tracker).ct_state.total().invalid
    }
}

#[test]
#[ignore = "root"]
fn the_next_packet_goes_by_them() {
    let mut lab = Lab::new();
    lab.ack(1, 1001);
    assert_eq!(lab.packets(1), Some(1), "picked up");
    lab.set(|sysctls| sysctls.tcp_loose = false);
    lab.ack(2, 1001);
    assert_eq!((lab.packets(2), lab.invalid()), (None, 1), "not loose");
    lab.ack(1, 1001);
    assert_eq!(lab.packets(1), Some(2), "picked up before");
    lab.set(|sysctls| sysctls.tcp_loose = true);
    lab.ack(3, 1001);
    assert_eq!(lab.packets(3), Some(1), "loose again");

    lab.open(4);
    assert_eq!(lab.packets(4), Some(3));
    let beyond = 1001 + (1 << 20);
    lab.ack(4, beyond);
    assert_eq!((lab.packets(4), lab.invalid()), (Some(3), 2), "strict");
    lab.set(|sysctls| sysctls.tcp_be_liberal = true);
    lab.ack(4, beyond);
    assert_eq!((lab.packets(4), lab.invalid()), (Some(4), 2), "liberal");
    assert_eq!(tracked::rows(&lab.tracker).len(), 3, "no flow was lost");
}

#[test]
#[ignore = "root"]
fn flows_that_are_there_live_by_new_timeouts() {
    let mut lab = Lab::new();
    lab.open(1);
    lab.datagram(2);
    let left = |lab: &Lab, protocol, port| {
        let flow = lab.flow(protocol, port);
        flow.map(|flow| flow.timeout.as_secs_f64())
    };
    for (udp, tcp) in [(5000_u32, 7000_u32), (3000, 9000)] {
        lab.set(|sysctls| {
            sysctls.udp_timeout = udp;
            sysctls.tcp_timeout_established = tcp;
        });
        // The test would have to be stopped for half an hour to fail here.
        for (protocol, port, timeout) in [(Protocol::UDP, 2, udp), (Protocol::TCP, 1, tcp)] {
            let left = left(&lab, protocol, port).expect("the flow");
            let timeout = f64::from(timeout);
            assert!(
                (timeout - 1800.0..=timeout).contains(&left),
                "{left} of {timeout}"
            );
        }
    }
    lab.set(|sysctls| sysctls.udp_timeout = 1);
    eventually("the datagram's flow expires", || {
        match lab.flow(Protocol::UDP, 2) {
            None => Ok(()),
            Some(flow) => Err(format!("{flow:?}")),
        }
    });
    lab.datagram(2);
    let opened = tracked::counters(&lab.tracker).table;
    assert_eq!(
        (opened.created, opened.gone(conntrack::GoneReason::Timeout)),
        (3, 1),
        "begun anew"
    );
    assert_eq!(lab.packets(1), Some(3), "the other is as it was");
}

/// Switches share words of memory.
#[test]
#[ignore = "root"]
fn changes_at_once_do_not_undo_each_other() {
    let lab = Lab::new();
    let fields: [fn(&mut Sysctls) -> &mut bool; 3] = [
        |sysctls| &mut sysctls.tcp_loose,
        |sysctls| &mut sysctls.tcp_be_liberal,
        |sysctls| &mut sysctls.tcp_ignore_invalid_rst,
    ];
    thread::scope(|scope| {
        for field in fields {
            let tracker = &lab.tracker;
            scope.spawn(move || {
                for round in 0..2000 {
                    let want = round % 2 == 0;
                    let changed = tracker.update_sysctls(|sysctls| *field(sysctls) = want);
                    let mut changed = changed.expect("change the settings");
                    assert_eq!(*field(&mut changed), want, "round {round}");
                }
            });
        }
    });
}
