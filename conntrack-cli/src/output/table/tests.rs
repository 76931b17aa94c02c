use std::time::Duration;

use conntrack_core::Protocol;
use conntrack_core::Tuple;

use super::*;

fn flow(src: &str, dst: &str, protocol: Protocol, l4: L4) -> Flow {
    let tuple = Tuple {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        protocol,
        l4,
    };
    let mut flow = Flow::new(Side::new(tuple), Side::new(tuple.inverted().unwrap()));
    flow.original.packets = 4;
    flow.original.bytes = 3523;
    flow.timeout = Duration::from_secs(432_000);
    flow.duration = Duration::from_millis(250);
    flow
}

fn tcp() -> Flow {
    let ports = L4::Ports {
        src: 40000,
        dst: 443,
    };
    let mut flow = flow("10.0.0.1", "10.0.0.2", Protocol::TCP, ports);
    flow.state = FlowState::Tcp(TcpState::Established);
    flow.seen_reply = true;
    flow.assured = true;
    flow.interface = Some("eth0".into());
    flow
}

fn tcp6() -> Flow {
    let ports = L4::Ports {
        src: 65535,
        dst: 65534,
    };
    let addr = "2001:db8:1111:2222:3333:4444:5555:6666";
    flow(addr, addr, Protocol::TCP, ports)
}

fn ping() -> Flow {
    let echo = L4::Icmp {
        kind: 8,
        code: 0,
        id: 77,
    };
    flow("10.0.0.1", "10.0.0.2", Protocol::ICMP, echo)
}

fn shown(flows: &[Flow], width: Option<usize>, color: bool) -> String {
    shown_as(flows, false, width, color)
}

fn shown_as(flows: &[Flow], wide: bool, width: Option<usize>, color: bool) -> String {
    let terminal = Terminal {
        width,
        height: None,
        color,
    };
    let mut table = Table::new(true, wide, terminal);
    let mut out = Vec::new();
    for flow in flows {
        table.row(flow, &mut out).unwrap();
    }
    table.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn columns_are_as_wide_as_needed() {
    let want = "\
PROTO  SOURCE          DESTINATION     STATE        STATUS        SENT  PACKETS  RECEIVED  PACKETS  DURATION  TIMEOUT  IFACE
tcp    10.0.0.1:40000  10.0.0.2:443    ESTABLISHED  assured    3.44 KB        4       0 B        0     250ms    5d 0h  eth0
icmp   10.0.0.1        10.0.0.2 id=77  -            unreplied  3.44 KB        4       0 B        0     250ms    5d 0h  -
";
    assert_eq!(shown(&[tcp(), ping()], None, false), want);
}

#[test]
fn wide_says_how_connections_do() {
    let mut flow = tcp();
    let mut health = Health::default();
    health.rtt_to_server = Some(Duration::from_micros(41_260));
    health.rtt_to_client = Some(Duration::from_micros(340));
    health.original.retransmits = Some(2);
    health.reply.retransmits = Some(0);
    health.original.loss_ppm = Some(15_000);
    health.reply.loss_ppm = Some(0);
    health.original.zero_window_time = Some(Duration::ZERO);
    health.reply.zero_window_time = Some(Duration::from_millis(1500));
    flow.health = Some(health);
    let text = shown_as(&[flow, ping()], true, None, false);
    let cells: Vec<Vec<&str>> = text
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|it| !it.is_empty())
                .collect()
        })
        .collect();
    let wide = ["RTT", "1ST BYTE", "RETRANS", "LOSS", "REORDER", "ZERO WIN"];
    assert_eq!(cells[0][12..], wide);
    assert_eq!(
        cells[1][12..],
        ["41.6ms", "-", "2/0", "1.5/0.0 %", "-", "1500ms"]
    );
    assert_eq!(cells[2][12..], ["-"; 6]);
}

#[test]
fn it_fits_the_terminal() {
    for width in 66..200 {
        let wide = shown_as(&[tcp(), tcp6(), ping()], true, Some(width), false);
        assert!(
            wide.lines().all(|line| line.chars().count() <= width),
            "{wide}"
        );
        let text = shown(&[tcp(), tcp6(), ping()], Some(width), false);
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
        // Both ends of an address and the ports stay visible.
        assert!(text.contains("[2001:") && text.contains("65535"), "{text}");
        assert!(text.contains("ESTABLISHED"), "{text}");
    }
}

#[test]
fn an_empty_table_is_its_heading() {
    assert_eq!(shown(&[], None, false).lines().count(), 1);
}

#[test]
fn colours_only_where_wanted() {
    assert!(!shown(&[tcp()], None, false).contains('\x1b'));
    let colored = shown(&[tcp()], Some(200), true);
    assert!(colored.contains("\x1b[32mESTABLISHED\x1b[0m"), "{colored}");
}

#[test]
fn rows_beyond_the_sample_are_shown_too() {
    let flows: Vec<Flow> = (0..SAMPLE * 2 + 1).map(|_| tcp()).collect();
    assert_eq!(shown(&flows, None, false).lines().count(), flows.len() + 1);
}
