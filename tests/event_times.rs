//! Times of events: in the order in which things happened, to the microsecond.

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;

use conntrack::FlowState;
use conntrack::Mode;
use conntrack::TcpState;
use conntrack::Timestamp;
use conntrack::What;
use support::netns::Netns;
use support::tracked;

const CONNECTIONS: usize = 50;

/// Opened, used and closed by the client, within less than a tick of the kernel's
/// clock.
fn connections(host: &Netns) {
    host.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        for _ in 0..CONNECTIONS {
            let addr = listener.local_addr().expect("an address");
            let mut client = TcpStream::connect(addr).expect("connect");
            let (mut server, _) = listener.accept().expect("accept");
            client.write_all(b"?").expect("send");
            let mut byte = [0];
            server.read_exact(&mut byte).expect("receive");
            drop(client);
            assert_eq!(server.read(&mut byte).expect("the end"), 0);
        }
    });
}

#[test]
#[ignore = "root"]
fn a_flows_events_are_in_order() {
    let host = Netns::new();
    host.sh("ip link set lo up");
    let tracker = tracked::track(&host, &["lo"], Mode::Auto);
    let mut events = tracker.events().expect("listen");
    connections(&host);
    let mut last: BTreeMap<_, (Timestamp, FlowState)> = BTreeMap::new();
    let over = |state: FlowState| state == FlowState::Tcp(TcpState::TimeWait);
    let mut closed = 0;
    while closed < CONNECTIONS {
        let event = events.next_timeout(support::PATIENCE).expect("an event");
        let event = event.expect("in time");
        let (What::New(flow) | What::Update(flow)) = event.what else {
            panic!("{event:?}");
        };
        closed += usize::from(over(flow.state));
        assert!(flow.last_seen <= event.time, "{flow:?} at {:?}", event.time);
        let name = flow.original.tuple.ports().expect("ports");
        if let Some((before, state)) = last.insert(name, (event.time, flow.state)) {
            let now = event.time;
            assert!(
                before < now,
                "{state:?} {before:?}, {:?} {now:?}",
                flow.state
            );
        }
    }
    assert_eq!(last.len(), CONNECTIONS);
}
