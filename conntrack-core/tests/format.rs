//! Text for terminals and scripts, against lines that conntrack-tools printed.

mod common;

use std::time::Duration;

use conntrack_core::Flow;
use conntrack_core::FlowState;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::TcpState;
use conntrack_core::format::arrow;
use conntrack_core::format::conntrack_line;
use conntrack_core::format::extended_line;
use conntrack_core::format::session_line;

/// `conntrack -L` of conntrack-tools 1.4.7, with nf_conntrack_acct=1.
const PRINTED: [&str; 3] = [
    "tcp      6 431999 ESTABLISHED src=127.0.0.1 dst=127.0.0.1 sport=51564 dport=8000 packets=4 bytes=217 src=127.0.0.1 dst=127.0.0.1 sport=8000 dport=51564 packets=3 bytes=169 [ASSURED] mark=0 use=1",
    "udp      17 29 src=127.0.0.1 dst=127.0.0.1 sport=59586 dport=5353 packets=1 bytes=29 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=5353 dport=59586 packets=0 bytes=0 mark=0 use=1",
    "icmp     1 29 src=127.0.0.1 dst=127.0.0.1 type=8 code=0 id=77 packets=1 bytes=28 src=127.0.0.1 dst=127.0.0.1 type=0 code=0 id=77 packets=1 bytes=28 mark=0 use=1",
];

fn local_tcp() -> Flow {
    let l4 = L4::Ports {
        src: 51_564,
        dst: 8_000,
    };
    let mut flow = common::flow("127.0.0.1", "127.0.0.1", Protocol::TCP, l4);
    common::count(&mut flow, (4, 217), (3, 169));
    flow.state = FlowState::Tcp(TcpState::Established);
    flow.assured = true;
    flow.timeout = Duration::from_nanos(431_999_999_999_999);
    flow
}

#[test]
fn lines_of_conntrack_tools() {
    let flows = [local_tcp(), common::udp(), common::ping()];
    for (flow, line) in flows.iter().zip(PRINTED) {
        assert_eq!(conntrack_line(flow).to_string(), line);
        assert_eq!(
            extended_line(flow).to_string(),
            format!("ipv4     2 {line}")
        );
    }
}

#[test]
fn extended_lines_of_the_others() {
    let lines = [
        (
            common::ping6(),
            "ipv6     10 icmpv6   58 30 src=2001:db8::1 dst=2001:db8::2 type=128 code=0 id=9 packets=1 bytes=104 src=2001:db8::2 dst=2001:db8::1 type=129 code=0 id=9 packets=1 bytes=104 mark=0 use=1",
        ),
        (
            common::sctp(),
            "ipv6     10 sctp     132 3 COOKIE_ECHOED src=fe80::1 dst=fe80::2 sport=5000 dport=2905 packets=3 bytes=300 src=fe80::2 dst=fe80::1 sport=2905 dport=5000 packets=2 bytes=200 [ASSURED] mark=0 use=1",
        ),
        (
            common::gre(),
            "ipv4     2 gre      47 180 src=10.0.0.1 dst=10.0.0.2 srckey=0x1f dstkey=0x0 packets=2 bytes=120 src=10.0.0.2 dst=10.0.0.1 srckey=0x0 dstkey=0x1f packets=2 bytes=120 [ASSURED] mark=0 use=1",
        ),
        (
            common::unknown(),
            "ipv4     2 unknown  253 600 src=10.0.0.1 dst=10.0.0.2 packets=1 bytes=20 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 packets=0 bytes=0 mark=0 use=1",
        ),
    ];
    for (flow, line) in lines {
        assert_eq!(extended_line(&flow).to_string(), line);
    }
}

#[test]
fn session_lines() {
    let l4 = L4::Ports {
        src: 45_812,
        dst: 443,
    };
    let mut flow = common::flow("192.168.143.246", "142.250.184.83", Protocol::TCP, l4);
    common::count(&mut flow, (12, 1_523), (11, 2_000));
    assert_eq!(
        session_line(&flow).to_string(),
        "192.168.143.246:45812 -> 142.250.184.83:443 | 3.44 KB 23 packets"
    );
    assert_eq!(
        session_line(&common::sctp()).to_string(),
        "[fe80::1]:5000 -> [fe80::2]:2905 | 500 B 5 packets"
    );
    assert_eq!(
        session_line(&common::ping()).to_string(),
        "127.0.0.1 -> 127.0.0.1 type 8 code 0 id 77 | 56 B 2 packets"
    );
    assert_eq!(
        arrow(&common::unknown().original.tuple).to_string(),
        "10.0.0.1 -> 10.0.0.2"
    );
}

#[test]
fn a_flow_reads_well() {
    assert_eq!(
        common::tcp().to_string(),
        "tcp 10.0.0.1:40000 -> 10.0.0.2:80 ESTABLISHED ASSURED, \
         4 packets 217 B, back 3 packets 169 B, expires in 431999s"
    );
    assert_eq!(
        common::unknown().to_string(),
        "253 10.0.0.1 -> 10.0.0.2 UNREPLIED, \
         1 packets 20 B, back 0 packets 0 B, expires in 600s"
    );
}
