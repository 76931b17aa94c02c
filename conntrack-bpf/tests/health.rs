//! What is measured of TCP connections: every rule, and what must not count, with a clock
//! that we set.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_core::FlowKey;
use conntrack_core::Health;
use conntrack_core::HealthConfig;
use conntrack_core::HealthSide;

const MS: i64 = SECOND / 1000;

/// A connection at whose segments we look.
struct Talk {
    lab: Lab,
    client: SocketAddr,
    server: SocketAddr,
    /// The time.
    now: i64,
}

impl Talk {
    /// Nothing has been said.
    fn silent(health: HealthConfig) -> Self {
        let lab = Lab::with(|config| {
            config.table.max_flows = 1000;
            config.health = health;
        });
        Self {
            lab,
            client: end("10.0.0.1:40000"),
            server: end("10.0.0.2:443"),
            now: TIME,
        }
    }

    /// Its handshake is through, of 20 ms to the server and 4 ms to the client. Both say
    /// 1001 next, and have a window of 64,000 without a scale.
    fn begin() -> Self {
        let mut talk = Self::silent(HealthConfig::default());
        talk.client(|it| it.flags(SYN).seq(1000).ack(0));
        talk.after(20 * MS)
            .server(|it| it.flags(SYN | ACK).seq(1000).ack(1001));
        talk.after(4 * MS).client(|it| it.seq(1001).ack(1001));
        talk
    }

    fn after(&mut self, time: i64) -> &mut Self {
        self.now += time;
        self
    }

    fn client(&mut self, change: impl FnOnce(Packet) -> Packet) -> &mut Self {
        let packet = Packet::tcp(self.client, self.server).window(64_000);
        self.lab.send_at(self.now, &change(packet));
        self
    }

    fn server(&mut self, change: impl FnOnce(Packet) -> Packet) -> &mut Self {
        let packet = Packet::tcp(self.server, self.client).window(64_000);
        self.lab.send_at(self.now, &change(packet));
        self
    }

    /// Data of the client from its `from`th byte on.
    fn sends(&mut self, from: u32, bytes: usize) -> &mut Self {
        self.client(|it| {
            it.flags(ACK | PSH)
                .seq(1001 + from)
                .ack(1001)
                .payload(bytes)
        })
    }

    /// The server has all before the client's `to`th byte.
    fn has(&mut self, to: u32) -> &mut Self {
        self.server(|it| it.seq(1001).ack(1001 + to))
    }

    fn health(&self) -> Health {
        self.found().expect("an entry")
    }

    fn found(&self) -> Option<Health> {
        let name: FlowKey = format!("tcp {} {}", self.client, self.server)
            .parse()
            .expect("a name");
        let found = self.lab.tables.find(&name, &Clock::stopped(self.now));
        let flow = found.expect("a sound slot").expect("the flow is there");
        flow.health
    }

    fn sent(&self) -> HealthSide {
        self.health().original
    }
}

/// Segments sent again and their bytes, out of order, duplicate ACKs.
fn loss(end: HealthSide) -> [Option<u64>; 4] {
    [
        end.retransmits.map(u64::from),
        end.retransmitted_bytes,
        end.out_of_order.map(u64::from),
        end.duplicate_acks.map(u64::from),
    ]
}

fn all(numbers: [u64; 4]) -> [Option<u64>; 4] {
    numbers.map(Some)
}

fn ms(time: Option<Duration>) -> Option<u128> {
    time.map(|time| time.as_millis())
}

/// No options but a timestamp.
fn stamped(packet: Packet, value: u32, echo: u32) -> Packet {
    let mut options = vec![1, 1, 8, 10];
    options.extend(value.to_be_bytes());
    options.extend(echo.to_be_bytes());
    packet.tcp_options(&options)
}

#[test]
#[ignore = "root"]
fn a_quiet_connection_has_nothing_wrong() {
    let mut talk = Talk::begin();
    for turn in 0..10 {
        talk.after(MS).sends(turn * 100, 100);
        talk.after(MS).has(turn * 100 + 100);
    }
    let health = talk.health();
    for end in [health.original, health.reply] {
        assert_eq!(loss(end), all([0; 4]));
        assert_eq!(end.loss_ppm, Some(0));
        assert_eq!(end.zero_windows, Some(0));
        assert_eq!(end.zero_window_time, Some(Duration::ZERO));
        assert_eq!((end.window_min, end.window_max), (None, Some(64_000)));
        assert_eq!((end.srtt, end.reset), (None, false));
    }
    assert_eq!(health.duration, None);
    assert_eq!(health.rtt(), Some(Duration::from_millis(24)));
}

#[test]
#[ignore = "root"]
fn data_that_is_not_new_was_sent_again() {
    let mut talk = Talk::begin();
    talk.sends(0, 100).sends(100, 100).sends(200, 100);
    talk.after(SECOND).sends(100, 100);
    assert_eq!(loss(talk.sent()), all([1, 100, 0, 0]));
    // Some of it is new.
    talk.sends(250, 100);
    assert_eq!(loss(talk.sent()), all([2, 150, 0, 0]));
    talk.has(350).sends(350, 100);
    assert_eq!(loss(talk.sent()), all([2, 150, 0, 0]));
    assert_eq!(talk.sent().loss_ppm, Some(2_000_000 / 8));
}

#[test]
#[ignore = "root"]
fn keep_alives_are_not_data_sent_again() {
    let mut talk = Talk::begin();
    talk.sends(0, 100).has(100);
    for _ in 0..5 {
        // Without data, and with one byte of it, as some stacks send them.
        talk.after(60 * SECOND)
            .client(|it| it.seq(1100).ack(1001))
            .has(100);
        talk.client(|it| it.seq(1100).ack(1001).payload(1)).has(100);
    }
    assert_eq!(loss(talk.sent()), all([0; 4]));
    assert_eq!(loss(talk.health().reply), all([0; 4]));
}

#[test]
#[ignore = "root"]
fn who_was_overtaken_was_not_sent_again() {
    let mut talk = Talk::begin();
    talk.sends(0, 100).sends(200, 100);
    talk.after(2 * MS).sends(100, 100);
    assert_eq!(loss(talk.sent()), all([0, 0, 1, 0]));
    // Within half of a round trip: nobody can have asked for it.
    talk.sends(400, 100).after(11 * MS).sends(300, 100);
    assert_eq!(loss(talk.sent()), all([0, 0, 2, 0]));
    talk.sends(600, 100).after(13 * MS).sends(500, 100);
    assert_eq!(loss(talk.sent()), all([1, 100, 2, 0]));
    // The gap is filled: what comes once more was sent again.
    talk.after(MS).sends(500, 100);
    assert_eq!(loss(talk.sent()), all([2, 200, 2, 0]));
}

#[test]
#[ignore = "root"]
fn several_gaps_have_their_own_times() {
    let mut talk = Talk::begin();
    talk.sends(0, 100).sends(200, 100);
    talk.after(30 * MS).sends(400, 200);
    talk.after(MS).sends(700, 100);
    // Of the first gap, a while ago; of the other two, just now.
    talk.after(MS)
        .sends(100, 100)
        .sends(300, 100)
        .sends(600, 100);
    assert_eq!(loss(talk.sent()), all([1, 100, 2, 0]));
    // A gap of several segments is filled in order.
    talk.sends(1000, 100).sends(800, 100).sends(900, 100);
    assert_eq!(loss(talk.sent()), all([1, 100, 4, 0]));
}

#[test]
#[ignore = "root"]
fn what_is_left_of_a_gap_is_not_forgotten() {
    let mut talk = Talk::begin();
    // One segment has overtaken three, which come as 2, 1, 3.
    talk.sends(0, 100).sends(400, 100).after(MS);
    talk.sends(200, 100).sends(100, 100).sends(300, 100);
    assert_eq!(loss(talk.sent()), all([0, 0, 3, 0]));
    // Three gaps are all there is room for: of what would be the fourth, the larger stays.
    talk.sends(600, 100).sends(800, 100).sends(1300, 100);
    talk.sends(1000, 100).sends(1100, 200);
    assert_eq!(loss(talk.sent()), all([0, 0, 5, 0]));
    talk.sends(900, 100);
    assert_eq!(loss(talk.sent()), all([1, 100, 5, 0]));
    talk.sends(500, 100).sends(700, 100);
    assert_eq!(loss(talk.sent()), all([1, 100, 7, 0]));
}

/// A round trip is no longer than the shorter of those that were measured.
#[test]
#[ignore = "root"]
fn delayed_acks_do_not_make_it_soon() {
    let mut talk = Talk::begin();
    let data = |it: Packet| it.flags(ACK | PSH).seq(1001).ack(1001).payload(100);
    talk.client(|it| stamped(data(it), 8, 7));
    talk.after(96 * MS)
        .server(|it| stamped(it.seq(1001).ack(1101), 9, 8));
    assert_eq!(ms(talk.sent().srtt), Some(96));
    talk.sends(200, 100).after(13 * MS).sends(100, 100);
    assert_eq!(loss(talk.sent()), all([1, 100, 0, 0]));
}

#[test]
#[ignore = "root"]
fn gaps_are_a_direction_s() {
    let mut talk = Talk::begin();
    talk.sends(100, 100);
    talk.server(|it| it.flags(ACK | PSH).seq(1001).ack(1001).payload(50));
    talk.after(MS);
    talk.server(|it| it.flags(ACK | PSH).seq(1001).ack(1001).payload(50));
    assert_eq!(loss(talk.health().reply), all([1, 50, 0, 0]));
    assert_eq!(loss(talk.sent()), all([0; 4]));
}

#[test]
#[ignore = "root"]
fn super_packets_count_as_their_segments_once() {
    let mut talk = Talk::begin();
    talk.sends(0, 14_000).sends(14_000, 14_000);
    assert_eq!(loss(talk.sent()), all([0; 4]));
}

#[test]
#[ignore = "root"]
fn duplicate_acks_say_the_same_while_data_is_under_way() {
    let mut talk = Talk::begin();
    talk.sends(0, 100).has(100).sends(100, 100).sends(200, 100);
    talk.has(100).has(100);
    assert_eq!(loss(talk.health().reply), all([0, 0, 0, 2]));
    // A window that has moved, data, and an ACK with nothing under way are none.
    talk.server(|it| it.seq(1001).ack(1101).window(63_000));
    talk.server(|it| {
        it.flags(ACK | PSH)
            .seq(1001)
            .ack(1101)
            .window(63_000)
            .payload(5)
    });
    let has_all = |it: Packet| it.seq(1006).ack(1301).window(63_000);
    talk.server(has_all).server(has_all).server(has_all);
    assert_eq!(loss(talk.health().reply), all([0, 0, 0, 2]));
}

#[test]
#[ignore = "root"]
fn the_end_is_no_duplicate_ack() {
    let mut talk = Talk::begin();
    talk.server(|it| it.flags(ACK | PSH).seq(1001).ack(1001).payload(100));
    talk.client(|it| it.flags(FIN | ACK).seq(1001).ack(1001));
    assert_eq!(loss(talk.sent()), all([0; 4]));
}

#[test]
#[ignore = "root"]
fn handshakes_and_ends_that_come_twice_were_sent_again() {
    let mut talk = Talk::silent(HealthConfig::default());
    let syn = |it: Packet| it.flags(SYN).seq(1000).ack(0);
    talk.client(syn).after(SECOND).client(syn);
    let answer = |it: Packet| it.flags(SYN | ACK).seq(1000).ack(1001);
    talk.server(answer).after(SECOND).server(answer);
    talk.client(|it| it.seq(1001).ack(1001));
    let health = talk.health();
    assert_eq!(loss(health.original), all([1, 0, 0, 0]));
    assert_eq!(loss(health.reply), all([1, 0, 0, 0]));
    assert_eq!((health.rtt_to_server, health.rtt_to_client), (None, None));
    let fin = |it: Packet| it.flags(FIN | ACK).seq(1001).ack(1001);
    talk.client(fin).after(MS).client(fin);
    assert_eq!(loss(talk.sent()), all([2, 0, 0, 0]));
}

#[test]
#[ignore = "root"]
fn closed_windows_are_counted_and_timed() {
    let mut talk = Talk::begin();
    talk.sends(0, 100);
    talk.server(|it| it.seq(1001).ack(1101).window(0));
    talk.after(200 * MS)
        .server(|it| it.seq(1001).ack(1101).window(0));
    let closed = talk.health().reply;
    assert_eq!(closed.zero_windows, Some(1));
    assert_eq!(ms(closed.zero_window_time), Some(200), "so far");
    talk.after(300 * MS)
        .server(|it| it.seq(1001).ack(1101).window(5000));
    talk.after(SECOND);
    let opened = talk.health().reply;
    assert_eq!(ms(opened.zero_window_time), Some(500));
    assert_eq!(opened.window_min, Some(5000));
    talk.server(|it| it.seq(1001).ack(1101).window(0));
    talk.after(10 * MS)
        .server(|it| it.flags(RST | ACK).seq(1001).ack(1101));
    talk.after(SECOND);
    let over = talk.health().reply;
    assert_eq!(over.zero_windows, Some(2));
    assert_eq!(ms(over.zero_window_time), Some(510), "not beyond its end");
    assert_eq!(talk.sent().zero_windows, Some(0));
}

#[test]
#[ignore = "root"]
fn the_smallest_window_is_less_than_half_of_the_largest() {
    let mut talk = Talk::begin();
    for window in [40_000, 32_000, 31_000, 9_000, 20_000, 8_000, 60_000] {
        talk.server(|it| it.seq(1001).ack(1001).window(window));
    }
    assert_eq!(talk.health().reply.window_min, Some(8_000));
    assert_eq!(talk.health().reply.window_max, Some(64_000));
    assert_eq!(talk.sent().window_min, None);
}

#[test]
#[ignore = "root"]
fn windows_are_scaled() {
    let mut talk = Talk::silent(HealthConfig::default());
    let scaled = |it: Packet| it.tcp_options(&[3, 3, 7, 0]).window(64_000);
    talk.client(|it| scaled(it.flags(SYN).seq(1000).ack(0)));
    talk.server(|it| scaled(it.flags(SYN | ACK).seq(1000).ack(1001)));
    talk.client(|it| it.seq(1001).ack(1001).window(5_000));
    talk.client(|it| it.seq(1001).ack(1001).window(1_000));
    assert_eq!(talk.sent().window_min, Some(128_000));
    assert_eq!(talk.sent().window_max, Some(640_000));
}

#[test]
#[ignore = "root"]
fn timestamps_and_their_echoes_are_smoothed() {
    let mut talk = Talk::begin();
    let mut rtts = [40, 40, 80, 40].into_iter();
    let mut want: Option<f64> = None;
    for turn in 1..5 {
        let value = 8 * turn;
        let from = 100 * (turn - 1);
        let data = |it: Packet| it.flags(ACK | PSH).seq(1001 + from).ack(1001).payload(50);
        talk.after(MS).client(|it| stamped(data(it), value, 7));
        // The next one has the same tick, and its echo comes first: neither counts.
        talk.after(5 * MS);
        talk.client(|it| stamped(data(it).seq(1051 + from), value, 7));
        let rtt = rtts.next().expect("four");
        talk.after(rtt * MS - 5 * MS);
        let ack = |it: Packet| stamped(it.seq(1001).ack(1101 + from), 9, value);
        talk.server(ack).after(MS).server(ack);
        let rtt = rtt as f64;
        want = Some(want.map_or(rtt, |srtt| srtt + (rtt - srtt) / 8.0));
    }
    let srtt = talk.sent().srtt.expect("a sample").as_secs_f64() * 1000.0;
    assert!((srtt - want.expect("four")).abs() < 0.01, "{srtt} {want:?}");
    assert_eq!(talk.health().reply.srtt, None);
}

/// Ticks go on while an echo is on its way: they wait for it, and are not timed late.
#[test]
#[ignore = "root"]
fn one_timestamp_is_timed_at_a_time() {
    let mut talk = Talk::begin();
    let data = |talk: &mut Talk, turn: u32, value| {
        let seq = 1001 + 10 * turn;
        talk.client(|it| {
            let it = it.flags(ACK | PSH).seq(seq).ack(1001).payload(10);
            stamped(it, value, 7)
        });
    };
    let echo = |talk: &mut Talk, value| {
        talk.server(|it| stamped(it.seq(1001).ack(1011), 9, value));
    };
    for turn in 0..6 {
        data(&mut talk, turn, 8 * (turn + 1));
        talk.after(8 * MS);
    }
    echo(&mut talk, 8);
    assert_eq!(ms(talk.sent().srtt), Some(48));
    // This tick has been seen: its first segment is longer ago.
    data(&mut talk, 6, 48);
    talk.after(MS);
    echo(&mut talk, 48);
    assert_eq!(ms(talk.sent().srtt), Some(48));
    // An ACK of several segments echoes one of them only: the others are not waited for.
    data(&mut talk, 7, 56);
    talk.after(MS);
    echo(&mut talk, 64);
    data(&mut talk, 8, 72);
    talk.after(48 * MS);
    echo(&mut talk, 72);
    assert_eq!(ms(talk.sent().srtt), Some(48));
    // What is never answered does not stand in the way for ever.
    data(&mut talk, 9, 80);
    talk.after(10 * SECOND);
    data(&mut talk, 10, 88);
    talk.after(48 * MS);
    echo(&mut talk, 88);
    assert_eq!(ms(talk.sent().srtt), Some(48));
}

/// The echo of an ACK without data comes whenever the other end has something to say.
#[test]
#[ignore = "root"]
fn what_is_not_answered_at_once_is_not_timed() {
    let mut talk = Talk::begin();
    talk.client(|it| stamped(it.seq(1001).ack(1001), 8, 7));
    talk.after(MS);
    talk.client(|it| stamped(it.flags(ACK | PSH).seq(1001).ack(1001).payload(5), 8, 7));
    talk.after(30 * SECOND);
    talk.server(|it| stamped(it.seq(1001).ack(1006), 9, 8));
    // A tick that is not among those that are timed.
    talk.client(|it| stamped(it.flags(ACK | PSH).seq(1006).ack(1001).payload(5), 17, 7));
    talk.after(MS)
        .server(|it| stamped(it.seq(1001).ack(1011), 9, 17));
    assert_eq!(talk.sent().srtt, None);
}

#[test]
#[ignore = "root"]
fn the_first_byte_is_the_server_s() {
    let mut talk = Talk::begin();
    talk.after(MS).sends(0, 100).has(100);
    assert_eq!(talk.health().first_byte, None);
    talk.after(100 * MS);
    talk.server(|it| it.flags(ACK | PSH).seq(1001).ack(1101).payload(5));
    assert_eq!(ms(talk.health().first_byte), Some(125));
    talk.after(SECOND);
    talk.server(|it| it.flags(ACK | PSH).seq(1006).ack(1101).payload(5));
    assert_eq!(ms(talk.health().first_byte), Some(125));
}

#[test]
#[ignore = "root"]
fn it_lasts_until_the_second_fin() {
    let mut talk = Talk::begin();
    talk.after(SECOND)
        .client(|it| it.flags(FIN | ACK).seq(1001).ack(1001));
    assert_eq!(talk.health().duration, None);
    talk.after(MS).server(|it| it.seq(1001).ack(1002));
    talk.after(SECOND + 7);
    talk.server(|it| it.flags(FIN | ACK).seq(1001).ack(1002));
    talk.after(SECOND).client(|it| it.seq(1002).ack(1002));
    let wanted = Duration::from_nanos(2_025_000_007);
    assert_eq!(talk.health().duration, Some(wanted));
    assert!(!talk.sent().reset && !talk.health().reply.reset);
}

#[test]
#[ignore = "root"]
fn it_lasts_until_the_first_reset() {
    let mut talk = Talk::begin();
    talk.after(SECOND)
        .server(|it| it.flags(RST | ACK).seq(1001).ack(1001));
    talk.after(SECOND)
        .client(|it| it.flags(RST).seq(1001).ack(1001));
    let health = talk.health();
    assert_eq!(ms(health.duration), Some(1024));
    assert!(health.reply.reset);
    // Out of the window: nobody's.
    let mut talk = Talk::begin();
    talk.server(|it| it.flags(RST | ACK).seq(1_000_000).ack(1001));
    assert_eq!(talk.health().duration, None);
    assert!(!talk.health().reply.reset);
}

/// By RFC 5961 it is answered, and the connection goes on.
#[test]
#[ignore = "root"]
fn a_reset_that_does_not_close_ends_nothing() {
    let mut talk = Talk::begin();
    talk.after(SECOND)
        .server(|it| it.flags(RST | ACK).seq(1051).ack(1001));
    assert_eq!(talk.health().duration, None);
    assert!(!talk.health().reply.reset);
    talk.sends(0, 100)
        .after(SECOND)
        .server(|it| it.flags(RST | ACK).seq(1001).ack(1101));
    assert_eq!(ms(talk.health().duration), Some(2024));
    assert!(talk.health().reply.reset);
}

#[test]
#[ignore = "root"]
fn windows_close_no_more_once_it_is_over() {
    let mut talk = Talk::begin();
    talk.client(|it| it.flags(FIN | ACK).seq(1001).ack(1001));
    talk.server(|it| it.flags(FIN | ACK).seq(1001).ack(1002));
    talk.after(MS)
        .server(|it| it.seq(1002).ack(1002).window(0))
        .after(SECOND);
    let reply = talk.health().reply;
    assert!(talk.health().duration.is_some());
    assert_eq!(reply.zero_windows, Some(0));
    assert_eq!(reply.zero_window_time, Some(Duration::ZERO));
}

/// Who is seen one way only, or from mid-stream on, is not followed closely.
#[test]
#[ignore = "root"]
fn what_was_picked_up_in_mid_stream_has_no_counts() {
    for both in [false, true] {
        let mut talk = Talk::silent(HealthConfig::default());
        for turn in 0..200 {
            talk.after(MS).sends(turn * 100, 100).sends(turn * 100, 100);
            if both {
                let ack = |it: Packet| it.seq(1001).ack(1101 + turn * 100).window(turn as u16);
                talk.server(ack).server(ack);
            }
        }
        assert_eq!(talk.found(), None, "nothing was noted");
        talk.client(|it| it.flags(FIN | ACK).seq(21_001).ack(1001));
        if both {
            talk.after(MS)
                .client(|it| it.flags(RST).seq(21_002).ack(1001));
        }
        let health = talk.health();
        assert_eq!(ms(health.duration), both.then_some(200));
        assert_eq!((health.rtt(), health.first_byte), (None, None));
        assert_eq!(health.original.reset, both);
        for end in [health.original, health.reply] {
            assert_eq!(loss(end), [None; 4]);
            assert_eq!((end.zero_windows, end.zero_window_time), (None, None));
            assert_eq!((end.window_min, end.window_max), (None, None));
        }
    }
}

#[test]
#[ignore = "root"]
fn groups_are_switched_off() {
    for (rtt, loss_too, window) in [
        (true, false, false),
        (false, true, false),
        (false, false, true),
    ] {
        let mut talk = Talk::silent(HealthConfig {
            rtt,
            loss: loss_too,
            window,
            ..HealthConfig::default()
        });
        talk.client(|it| it.flags(SYN).seq(1000).ack(0));
        talk.after(MS)
            .server(|it| it.flags(SYN | ACK).seq(1000).ack(1001));
        talk.after(MS).client(|it| it.seq(1001).ack(1001));
        talk.sends(0, 100).after(SECOND).sends(0, 100);
        talk.server(|it| it.flags(ACK | PSH).seq(1001).ack(1101).payload(7).window(0));
        talk.after(SECOND);
        talk.server(|it| it.flags(RST | ACK).seq(1008).ack(1101));
        let health = talk.health();
        assert_eq!(health.rtt_to_server.is_some(), rtt);
        assert_eq!(health.first_byte.is_some(), rtt);
        let again = health.original.retransmits;
        assert_eq!(again, loss_too.then_some(1));
        assert_eq!(health.reply.zero_windows, window.then_some(1));
        assert_eq!(health.duration, Some(Duration::from_millis(2_002)));
        assert!(health.reply.reset);
    }
}
