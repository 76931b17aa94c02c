//! Equal addresses in two network namespaces are different connections, and the
//! ways to name a namespace.

mod common;

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use common::Name;
use common::has_tcx;
use common::hooks;
use common::link::veth;
use common::native;
use common::netns::Netns;
use common::pinned;
use common::present;
use conntrack::ErrorKind;
use conntrack::Flow;
use conntrack::Keep;
use conntrack::L4;
use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;

const PORTS: (u16, u16) = (7001, 7002);

/// A host and its peer; every such pair has the same addresses.
fn pair() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    let (inner, outer) = veth((&here, "wire"), (&there, "wire"));
    inner.addr("10.9.0.1/24");
    outer.addr("10.9.0.2/24");
    (here, there)
}

/// One datagram from the host to its peer.
fn talk(here: &Netns, there: &Netns, text: &[u8]) {
    let socket = |ns: &Netns, addr: &str, port: u16| {
        let socket = ns.run(|| UdpSocket::bind((addr, port)));
        let socket = socket.expect("bind");
        let patience = Some(Duration::from_secs(10));
        socket.set_read_timeout(patience).expect("a timeout");
        socket
    };
    let from = socket(here, "10.9.0.1", PORTS.0);
    let to = socket(there, "10.9.0.2", PORTS.1);
    from.send_to(text, ("10.9.0.2", PORTS.1)).expect("send");
    let mut buffer = [0; 64];
    let (len, _) = to.recv_from(&mut buffer).expect("receive");
    assert_eq!(&buffer[..len], text);
}

fn udp_flows(tracker: &Tracker) -> Vec<Flow> {
    let flows = tracker.flows().map(|flow| flow.expect("a flow"));
    let ports = L4::Ports {
        src: PORTS.0,
        dst: PORTS.1,
    };
    flows
        .filter(|flow| flow.original.tuple.l4 == ports)
        .collect()
}

#[test]
#[ignore = "root"]
fn one_tuple_in_two_namespaces_is_two_flows() {
    let pairs = [pair(), pair()];
    let names = [Name::new(), Name::new()];
    let trackers = [0, 1].map(|n: usize| pinned(&names[n], &pairs[n].0, &["wire"]));
    for ((here, there), text) in pairs.iter().zip(["one", "three"]) {
        talk(here, there, text.as_bytes());
    }
    let flows = trackers.each_ref().map(udp_flows);
    for (flows, bytes) in flows.iter().zip([28 + 3, 28 + 5]) {
        assert_eq!(flows.len(), 1, "{flows:?}");
        let sent = &flows[0].original;
        assert_eq!((sent.packets, sent.bytes), (1, bytes), "{flows:?}");
    }
    assert_eq!(flows[0][0].original.tuple, flows[1][0].original.tuple);
}

#[test]
#[ignore = "root"]
fn counters_of_an_interface_begin_at_zero() {
    let (here, there) = pair();
    let name = Name::new();
    let tracker = pinned(&name, &here, &["wire"]);
    talk(&here, &there, b"x");
    let packets = |tracker: &Tracker| {
        let interfaces = tracker.stats().expect("counters").interfaces;
        let wire = interfaces.iter().find(|it| it.name == "wire");
        wire.expect("the interface").packets
    };
    assert!(packets(&tracker) > 0);
    tracker.remove_interface("wire").unwrap();
    assert_eq!(tracker.stats().unwrap().interfaces.len(), 0);
    assert_eq!(udp_flows(&tracker).len(), 1, "flows stay");
    there.sh("ip link set wire down"); // nothing arrives by itself
    tracker.add_interface("wire", Mode::Auto).unwrap();
    assert_eq!(packets(&tracker), 0);
}

/// A namespace that `ip netns` knows; it goes when dropped.
struct Named(String);

impl Named {
    fn new() -> Self {
        let name = format!("ctruntime{}", std::process::id());
        ip(&["netns", "add", &name]);
        Self(name)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

fn ip(words: &[&str]) {
    let status = Command::new("ip").args(words).status().expect("ip");
    assert!(status.success(), "ip {words:?}");
}

#[test]
#[ignore = "root"]
fn a_namespace_by_its_name_or_a_process() {
    let named = Named::new();
    ip(&["-n", &named.0, "link", "set", "lo", "up"]);
    let mut sleeper = Command::new("ip")
        .args(["netns", "exec", &named.0, "sleep", "600"])
        .spawn()
        .expect("a process");
    let pid = sleeper.id();
    let by_name = NetnsRef::Name(named.0.clone());
    let by_pid = NetnsRef::Pid(pid);

    let name = Name::new();
    let tracker = Tracker::builder()
        .interface("lo")
        .instance(&name.0)
        .netns(by_name.clone())
        .max_flows(1000)
        .keep(Keep::Pinned)
        .attach()
        .expect("attach");
    let namespace = tracker.status().expect("status").namespace;
    assert_eq!(namespace.name.as_ref(), Some(&named.0));
    // The process enters before it sleeps.
    let end = Instant::now() + Duration::from_secs(10);
    let inode = || {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/net"));
        link.expect("a link").to_string_lossy().into_owned()
    };
    while inode() != format!("net:[{}]", namespace.inode) {
        assert!(Instant::now() < end, "the process never came in");
    }
    for netns in [by_name, by_pid, NetnsRef::Current] {
        let opened = Tracker::open_in(&name.0, &netns).expect("open");
        assert_eq!(hooks(&opened).len(), 1, "{netns:?}");
    }
    let wrong = Tracker::open_in(&name.0, &NetnsRef::Pid(std::process::id()));
    assert_eq!(
        wrong.unwrap_err().kind(),
        conntrack::ErrorKind::OtherNamespace
    );
    assert!(!tracker.is_here());
    sleeper.kill().expect("kill");
    sleeper.wait().expect("wait");
    tracker.detach().expect("detach");
}

#[test]
#[ignore = "root"]
fn attached_from_outside_it_sees_the_inside() {
    let (here, there) = pair();
    let name = Name::new();
    let tracker = pinned(&name, &here, &["wire"]);
    assert_eq!(hooks(&tracker), [("wire".to_owned(), native())]);
    talk(&here, &there, b"hello");
    let outside = Tracker::open(&name.0).unwrap();
    let inside = there.run(|| udp_flows(&Tracker::open(&name.0).unwrap()));
    assert_eq!(udp_flows(&outside).len(), 1);
    assert_eq!(inside.len(), 1);
    assert_eq!(inside[0].interface.as_deref(), Some("wire"));
}

/// A namespace that has neither a name nor a process in it: its interfaces are as
/// they were, but nobody finds it.
#[test]
#[ignore = "root"]
fn out_of_sight_is_not_dead() {
    let here = Netns::new();
    here.sh("ip link add v0 type veth peer name v1");
    let name = Name::new();
    let door = File::open(here.path()).expect("the namespace");
    let path = format!("/proc/{}/fd/{}", process::id(), door.as_raw_fd());
    let builder = Tracker::builder().instance(&name.0).interface("v0");
    let builder = builder.netns(NetnsRef::Path(path.into())).max_flows(1000);
    drop(builder.keep(Keep::Pinned).attach().expect("attach"));
    drop(door);

    let tracker = Tracker::open(&name.0).expect("open");
    assert!(!tracker.is_dead(), "XDP is still on v0");
    let elsewhere = Tracker::builder().instance(&name.0).interface("lo");
    let error = elsewhere.keep(Keep::Pinned).attach().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:#}");
    drop(tracker);

    conntrack::detach(&name.0).expect("detach");
    let left = present(&here, "v0");
    if has_tcx() {
        assert_eq!(left, [""; 0]);
    } else {
        // Filters can't be reached from here; the program says so.
        assert_eq!(left, ["clsact egress ct_tc_egress"]);
    }
}
