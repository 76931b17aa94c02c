//! Every form, to the letter: one capture, one text each.

use crate::packets;
use crate::packets::Link;
use crate::packets::story;
use crate::replay::File;

fn shown(options: &[&str]) -> crate::run::Run {
    let bytes = packets::pcap(Link::Ethernet, &story(), 65_535);
    File::new(&bytes).replay(&[options, &["--sort", "-start"]].concat())
}

#[test]
#[ignore = "root"]
fn table() {
    let want = "\
PROTO  SOURCE              DESTINATION       STATE        STATUS      SENT  PACKETS  RECEIVED  PACKETS  DURATION  TIMEOUT  IFACE
tcp    10.0.0.1:40000      10.0.0.2:80       ESTABLISHED  assured    360 B        4     420 B        3       6ms   4d 23h  -
udp    [2001:db8::1]:5353  [2001:db8::2]:53  -            unreplied   78 B        1       0 B        0        0s      29s  -
icmp   10.0.0.1            10.0.0.2 id=77    -            replied     28 B        1      28 B        1       1ms      30s  -
";
    assert_eq!(shown(&[]).ok(), want);
    let bare = shown(&["--no-header"]).ok();
    assert_eq!(bare.lines().count(), 3);
    assert!(bare.starts_with("tcp "), "{bare}");
}

#[test]
#[ignore = "root"]
fn extended() {
    let run = shown(&["-o", "extended"]);
    let want = "\
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=80 packets=4 bytes=360 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=40000 packets=3 bytes=420 [ASSURED] mark=0 use=1
ipv6     10 udp      17 29 src=2001:db8::1 dst=2001:db8::2 sport=5353 dport=53 packets=1 bytes=78 [UNREPLIED] src=2001:db8::2 dst=2001:db8::1 sport=53 dport=5353 packets=0 bytes=0 mark=0 use=1
ipv4     2 icmp     1 30 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 packets=1 bytes=28 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77 packets=1 bytes=28 mark=0 use=1
";
    assert_eq!(run.stdout, want);
    let version = env!("CARGO_PKG_VERSION");
    let summary =
        format!("conntrack v{version} (conntrack-xdp): 3 flow entries have been shown.\n");
    assert_eq!((run.code, run.stderr), (Some(0), summary));
}

#[test]
#[ignore = "root"]
fn session() {
    let want = "\
10.0.0.1:40000 -> 10.0.0.2:80 | 780 B 7 packets
[2001:db8::1]:5353 -> [2001:db8::2]:53 | 78 B 1 packets
10.0.0.1 -> 10.0.0.2 type 8 code 0 id 77 | 56 B 2 packets
";
    assert_eq!(shown(&["-o", "session"]).ok(), want);
}

const TCP: &str = r#"{"family":"ipv4","protocol":"tcp","protonum":6,"state":"ESTABLISHED","status":["SEEN_REPLY","ASSURED"],"timeout":431999,"original":{"src":"10.0.0.1","dst":"10.0.0.2","sport":40000,"dport":80,"packets":4,"bytes":360,"tcp":{"flags":16,"seq":1201,"ack":5301,"window":502}},"reply":{"src":"10.0.0.2","dst":"10.0.0.1","sport":80,"dport":40000,"packets":3,"bytes":420,"tcp":{"flags":24,"seq":5001,"ack":1201,"window":502}},"start":"2026-11-20T17:52:37.123456000Z","last_seen":"2026-11-20T17:52:37.129456000Z","duration_ns":6000000,"interface":null,"health":{"duration_ns":null,"rtt_to_server_ns":1000000,"rtt_to_client_ns":1000000,"first_byte_ns":5000000,"original":{"srtt_ns":null,"retransmits":0,"retransmitted_bytes":0,"out_of_order":0,"duplicate_acks":0,"loss_ppm":0,"zero_windows":0,"zero_window_ns":0,"window_min":null,"window_max":502,"reset":false},"reply":{"srtt_ns":null,"retransmits":0,"retransmitted_bytes":0,"out_of_order":0,"duplicate_acks":0,"loss_ppm":0,"zero_windows":0,"zero_window_ns":0,"window_min":null,"window_max":502,"reset":false}},"fingerprint":{"original":"4:64+0:0:0:502,0::df,id+:0","reply":"4:64+0:0:0:502,0::df,id+:0"}}"#;
const UDP: &str = r#"{"family":"ipv6","protocol":"udp","protonum":17,"state":null,"status":["UNREPLIED"],"timeout":29,"original":{"src":"2001:db8::1","dst":"2001:db8::2","sport":5353,"dport":53,"packets":1,"bytes":78},"reply":{"src":"2001:db8::2","dst":"2001:db8::1","sport":53,"dport":5353,"packets":0,"bytes":0},"start":"2026-11-20T17:52:37.130456000Z","last_seen":"2026-11-20T17:52:37.130456000Z","duration_ns":0,"interface":null,"health":null,"fingerprint":null}"#;
const ICMP: &str = r#"{"family":"ipv4","protocol":"icmp","protonum":1,"state":null,"status":["SEEN_REPLY"],"timeout":30,"original":{"src":"10.0.0.1","dst":"10.0.0.2","type":8,"code":0,"id":77,"packets":1,"bytes":28},"reply":{"src":"10.0.0.2","dst":"10.0.0.1","type":0,"code":0,"id":77,"packets":1,"bytes":28},"start":"2026-11-20T17:52:37.131456000Z","last_seen":"2026-11-20T17:52:37.132456000Z","duration_ns":1000000,"interface":null,"health":null,"fingerprint":null}"#;

#[test]
#[ignore = "root"]
fn json() {
    let array = shown(&["-o", "json"]).ok();
    assert_eq!(array, format!("[\n{TCP},\n{UDP},\n{ICMP}\n]\n"));
    let lines = shown(&["-o", "jsonl"]).ok();
    assert_eq!(lines, format!("{TCP}\n{UDP}\n{ICMP}\n"));
}

#[test]
#[ignore = "root"]
fn csv() {
    let want = "\
family,protocol,protonum,state,status,timeout,src,dst,sport,dport,type,code,id,packets,bytes,tcp_flags,tcp_seq,tcp_ack,tcp_window,reply_src,reply_dst,reply_sport,reply_dport,reply_type,reply_code,reply_id,reply_packets,reply_bytes,reply_tcp_flags,reply_tcp_seq,reply_tcp_ack,reply_tcp_window,start,last_seen,duration_ns,interface
ipv4,tcp,6,ESTABLISHED,SEEN_REPLY|ASSURED,431999,10.0.0.1,10.0.0.2,40000,80,,,,4,360,16,1201,5301,502,10.0.0.2,10.0.0.1,80,40000,,,,3,420,24,5001,1201,502,2026-11-20T17:52:37.123456000Z,2026-11-20T17:52:37.129456000Z,6000000,
ipv6,udp,17,,UNREPLIED,29,2001:db8::1,2001:db8::2,5353,53,,,,1,78,,,,,2001:db8::2,2001:db8::1,53,5353,,,,0,0,,,,,2026-11-20T17:52:37.130456000Z,2026-11-20T17:52:37.130456000Z,0,
ipv4,icmp,1,,SEEN_REPLY,30,10.0.0.1,10.0.0.2,,,8,0,77,1,28,,,,,10.0.0.2,10.0.0.1,,,0,0,77,1,28,,,,,2026-11-20T17:52:37.131456000Z,2026-11-20T17:52:37.132456000Z,1000000,
";
    assert_eq!(shown(&["-o", "csv"]).ok(), want);
    let bare = shown(&["-o", "csv", "--no-header"]).ok();
    assert_eq!(bare, want.split_once('\n').unwrap().1);
    let wide = shown(&["-o", "csv", "--wide"]).ok();
    let added = [
        ",rtt_ns,first_byte_ns,retransmits,loss_ppm,out_of_order,zero_window_ns,reply_retransmits,reply_loss_ppm,reply_out_of_order,reply_zero_window_ns",
        ",2000000,5000000,0,0,0,0,0,0,0,0",
        ",,,,,,,,,,",
        ",,,,,,,,,,",
    ];
    let lines = want.lines().zip(added);
    let want: String = lines
        .map(|(line, more)| format!("{line}{more}\n"))
        .collect();
    assert_eq!(wide, want);
}
