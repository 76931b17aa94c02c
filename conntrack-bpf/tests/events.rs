//! Events of flows, by packets at times of our choice.

mod common;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use common::Lab;
use common::SECOND;
use common::TIME;
use common::packet::*;
use conntrack_bpf::Clock;
use conntrack_bpf::events::Listener;
use conntrack_bpf::events::Wish;
use conntrack_core::Event;
use conntrack_core::EventType;
use conntrack_core::FlowFilter;
use conntrack_core::GoneReason;
use conntrack_core::LostCounts;
use conntrack_core::Protocol;
use conntrack_core::Timestamp;
use conntrack_core::What;

fn listen(lab: &Lab, wish: &Wish) -> Listener {
    let listener = Listener::new(&lab.datapath, wish).expect("listen");
    listener.with_clock(Clock::stopped(TIME))
}

fn all(listener: &mut Listener) -> Vec<Event> {
    std::iter::from_fn(|| listener.next_event().expect("an event")).collect()
}

/// `new SYN_SENT`, `destroy fin`, …
fn words(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| {
        let name = event.what.name();
        match &event.what {
            What::Destroy(_, why) => format!("{name} {why}"),
            What::New(flow) | What::Update(flow) => {
                let flags = [(flow.seen_reply, " seen_reply"), (flow.assured, " assured")];
                let flags = flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word);
                let state = flow.state.name().unwrap_or("-");
                format!("{name} {state}{}", flags.collect::<String>())
            }
            _ => name.to_owned(),
        }
    };
    events.iter().map(word).collect()
}

fn ends(v6: bool) -> (SocketAddr, SocketAddr) {
    match v6 {
        false => (end("10.0.0.1:40000"), end("10.0.0.2:80")),
        true => (end("[2001:db8::1]:40000"), end("[2001:db8::2]:80")),
    }
}

fn the_whole_life_is_told(v6: bool) {
    let mut lab = Lab::new(1000);
    let mut listener = listen(&lab, &Wish::default());
    let (client, server) = ends(v6);
    let out = |flags, seq, ack| Packet::tcp(client, server).flags(flags).seq(seq).ack(ack);
    let back = |flags, seq, ack| Packet::tcp(server, client).flags(flags).seq(seq).ack(ack);
    lab.send(&out(SYN, 100, 0));
    lab.send(&back(SYN | ACK, 500, 101));
    lab.send(&out(ACK, 101, 501));
    lab.send(&out(ACK, 101, 501).payload(10));
    lab.send(&out(FIN | ACK, 111, 501));
    lab.send(&back(FIN | ACK, 501, 112));
    lab.send_at(TIME + 2 * SECOND, &out(ACK, 112, 502));
    // The tuple's next connection, long after TIME_WAIT.
    lab.send_at(TIME + 200 * SECOND, &out(SYN, 9000, 0));
    let events = all(&mut listener);
    assert_eq!(
        words(&events),
        [
            "new SYN_SENT",
            "update SYN_RECV seen_reply",
            "update ESTABLISHED seen_reply assured",
            "update FIN_WAIT seen_reply assured",
            "update LAST_ACK seen_reply assured",
            "update TIME_WAIT seen_reply assured",
            "destroy fin",
            "new SYN_SENT",
        ]
    );
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    assert_eq!(events[0].time, Timestamp(TIME));
    let What::Destroy(flow, GoneReason::Fin) = &events[6].what else {
        panic!("{:?}", events[6]);
    };
    assert_eq!((flow.original.packets, flow.reply.packets), (5, 2));
    assert_eq!(flow.duration.as_secs(), 2);
    assert_eq!(flow.original.tuple.src, client.ip());
    assert_eq!(flow.original.tuple.ports(), Some((40000, 80)));
    assert_eq!(listener.lost(), LostCounts::default());
}

#[test]
#[ignore = "root"]
fn the_whole_life_is_told_v4() {
    the_whole_life_is_told(false);
}

#[test]
#[ignore = "root"]
fn the_whole_life_is_told_v6() {
    the_whole_life_is_told(true);
}

/// The tuple's next connection begins in TIME_WAIT.
#[test]
#[ignore = "root"]
fn who_is_replaced_is_told_as_it_last_was() {
    let mut lab = Lab::new(1000);
    let mut listener = listen(&lab, &Wish::default());
    let (client, server) = ends(false);
    let out = |flags, seq, ack| Packet::tcp(client, server).flags(flags).seq(seq).ack(ack);
    let back = |flags, seq, ack| Packet::tcp(server, client).flags(flags).seq(seq).ack(ack);
    lab.send(&out(SYN, 100, 0));
    lab.send(&back(SYN | ACK, 500, 101));
    lab.send(&out(ACK, 101, 501));
    lab.send(&out(FIN | ACK, 101, 501).payload(10));
    lab.send(&back(FIN | ACK, 501, 112));
    lab.send(&out(ACK, 112, 502));
    lab.send_at(TIME + 3 * SECOND, &out(SYN, 9000, 0));
    let events = all(&mut listener);
    let words = words(&events);
    assert_eq!(
        words[words.len() - 2..],
        ["destroy replaced", "new SYN_SENT"]
    );
    let What::Destroy(flow, _) = &events[events.len() - 2].what else {
        panic!("{events:?}");
    };
    assert_eq!((flow.original.packets, flow.reply.packets), (4, 2));
    // Without options, and ten bytes.
    assert_eq!(
        (flow.original.bytes, flow.reply.bytes),
        (4 * 40 + 10, 2 * 40)
    );
    let table = lab.counters().table;
    assert_eq!(
        (table.gone(GoneReason::Replaced), table.gone_total()),
        (1, 1)
    );
}

#[test]
#[ignore = "root"]
fn a_reset_says_so() {
    let mut lab = Lab::new(1000);
    let mut listener = listen(&lab, &Wish::default());
    let (client, server) = ends(false);
    lab.send(&Packet::tcp(client, server).flags(SYN).seq(100));
    lab.send(&Packet::tcp(server, client).flags(RST | ACK).seq(0).ack(101));
    let events = all(&mut listener);
    assert_eq!(words(&events), ["new SYN_SENT", "destroy rst"]);
    let What::Destroy(flow, _) = &events[1].what else {
        panic!("{:?}", events[1]);
    };
    assert_eq!((flow.original.packets, flow.reply.packets), (1, 1));
    assert_eq!(lab.counters().table.gone(GoneReason::Rst), 1);
}

#[test]
#[ignore = "root"]
fn invalid_packets_are_sampled() {
    let mut lab = Lab::new(1000);
    let wish = Wish {
        types: vec![EventType::Invalid],
        ..Wish::default()
    };
    let mut listener = listen(&lab, &wish);
    let (client, server) = ends(false);
    let stray = Packet::tcp(client, server).flags(FIN | ACK).seq(7).ack(9);
    for _ in 0..1000 {
        lab.send(&stray);
    }
    // One a hundredth of a second on each CPU, and this test may have moved.
    let events = all(&mut listener);
    assert!((1..=8).contains(&events.len()), "{}", events.len());
    let flow = events[0].flow().expect("a packet");
    assert_eq!(flow.original.tuple.src, client.ip());
    assert_eq!(flow.original.packets, 1);
    assert_eq!(flow.original.bytes, stray.ip_len());
    let tcp = flow.original.tcp.expect("TCP");
    assert_eq!((tcp.seq, tcp.ack), (7, 9));
    assert_eq!(lab.counters().ct_state.original.invalid, 1000);
}

#[test]
#[ignore = "root"]
fn only_what_was_wished_for_is_told() {
    let mut lab = Lab::new(1000);
    let wish = |filter| Wish {
        types: vec![EventType::New],
        filter,
        ..Wish::default()
    };
    let filters = [
        FlowFilter::default(),
        FlowFilter {
            protocol: Some(Protocol::UDP),
            ..FlowFilter::default()
        },
        FlowFilter {
            dst: Some("10.0.0.2/32".parse().expect("a network")),
            ..FlowFilter::default()
        },
        FlowFilter {
            addr: Some("2001:db8::/64".parse().expect("a network")),
            ..FlowFilter::default()
        },
        FlowFilter {
            sport: Some("50-60".parse().expect("ports")),
            ..FlowFilter::default()
        },
    ];
    let mut listeners: Vec<_> = filters
        .iter()
        .map(|filter| listen(&lab, &wish(filter.clone())))
        .collect();
    for (src, dst) in [
        ("10.0.0.1:1000", "10.0.0.2:53"),
        ("10.0.0.2:53", "10.0.0.9:1000"),
        ("[2001:db8::1]:55", "[2001:db8::2]:53"),
    ] {
        lab.send(&Packet::udp(end(src), end(dst)));
        lab.send(&Packet::tcp(end(src), end(dst)).flags(SYN));
    }
    let flows = lab.flows();
    assert_eq!(flows.len(), 6);
    for (listener, filter) in listeners.iter_mut().zip(&filters) {
        let wanted = flows.iter().filter(|flow| filter.matches(flow)).count();
        // The kernel looked at these conditions: nothing else came so far.
        assert_eq!(listener.wished(), wanted as u64, "{filter:?}");
        let events = all(listener);
        assert_eq!(events.len(), wanted, "{filter:?}");
        assert!(
            events
                .iter()
                .all(|event| filter.matches(event.flow().expect("a flow")))
        );
    }
}

/// Who reads less than comes is told all the same what was lost.
#[test]
#[ignore = "root"]
fn a_loss_is_told_though_there_is_always_more() {
    let mut lab = Lab::new(10_000);
    let small = Wish {
        buffer: 1,
        ..Wish::default()
    };
    let mut slow = listen(&lab, &small);
    let ip = end("10.0.0.1:1").ip();
    let (mut port, mut told, mut lost) = (0, 0, LostCounts::default());
    for _ in 0..200 {
        for _ in 0..40 {
            port += 1;
            lab.send(&Packet::udp(SocketAddr::new(ip, port), end("10.0.0.2:53")));
        }
        for _ in 0..20 {
            let event = slow.next_event().expect("an event").expect("there is more");
            if let What::Lost(these) = event.what {
                (told, lost) = (told + 1, lost + these);
            }
        }
    }
    assert!(told > 2, "{told}");
    for event in all(&mut slow) {
        if let What::Lost(these) = event.what {
            lost = lost + these;
        }
    }
    assert_eq!(lost, slow.lost());
}

#[test]
#[ignore = "root"]
fn what_is_lost_is_told_exactly() {
    const FLOWS: u16 = 5000;
    let mut lab = Lab::new(10_000);
    let small = Wish {
        buffer: 1,
        ..Wish::default()
    };
    let (mut slow, mut quick) = (listen(&lab, &small), listen(&lab, &Wish::default()));
    let udp = |port| {
        Packet::udp(
            SocketAddr::new(end("10.0.0.1:1").ip(), port),
            end("10.0.0.2:53"),
        )
    };
    for port in 1..=FLOWS {
        lab.send(&udp(port));
    }
    let told = all(&mut slow);
    let (What::Lost(lost), heard) = (&told[told.len() - 1].what, &told[..told.len() - 1]) else {
        panic!("no loss was told");
    };
    assert_eq!(
        heard.len() as u64 + lost.of(EventType::New),
        u64::from(FLOWS)
    );
    assert!(lost.of(EventType::New) > 0 && !heard.is_empty());
    assert_eq!(lost.total(), lost.of(EventType::New));
    assert_eq!(
        all(&mut quick).len(),
        usize::from(FLOWS),
        "another one's loss"
    );
    // It goes on as if nothing had been.
    lab.send(&udp(FLOWS + 1));
    assert_eq!(words(&all(&mut slow)), ["new -"]);
    assert_eq!(words(&all(&mut quick)), ["new -"]);
}

#[test]
#[ignore = "root"]
fn eight_may_listen() {
    let lab = Lab::new(1000);
    let wish = Wish {
        buffer: 1,
        ..Wish::default()
    };
    let mut listeners: Vec<_> = (0..8).map(|_| listen(&lab, &wish)).collect();
    let error = Listener::new(&lab.datapath, &wish).expect_err("a ninth");
    assert_eq!(error.kind(), conntrack_bpf::ErrorKind::InUse);
    listeners.swap_remove(3);
    listeners.push(listen(&lab, &wish));
}

#[test]
#[ignore = "root"]
fn every_flow_that_goes_is_told_of() {
    const FLOWS: u32 = 3000;
    // Room for 240: most of them are pushed out.
    let mut lab = Lab::new(192);
    let mut listener = listen(&lab, &Wish::default());
    for number in 0..FLOWS {
        let [_, b, c, d] = number.to_be_bytes();
        let src = SocketAddr::new([10, b, c, d].into(), 1000);
        // Later ones find expired flows as well.
        let time = TIME + i64::from(number) * SECOND / 10;
        lab.send_at(time, &Packet::udp(src, end("192.0.2.1:53")));
    }
    let events = all(&mut listener);
    let count = |name: &str| {
        events
            .iter()
            .filter(|event| event.what.name() == name)
            .count() as u64
    };
    let table = lab.counters().table;
    assert_eq!(count("new"), table.created);
    assert_eq!(count("destroy"), table.gone_total());
    for reason in GoneReason::ALL {
        let told = events.iter().filter(|event| match &event.what {
            What::Destroy(flow, why) => {
                assert_eq!((flow.original.packets, flow.reply.packets), (1, 0));
                *why == reason
            }
            _ => false,
        });
        assert_eq!(told.count() as u64, table.gone(reason), "{reason}");
    }
    assert!(
        table.evicted() > 0 && table.gone(GoneReason::Timeout) > 0,
        "{table:?}"
    );
    let there = lab.tables.count(&Clock::stopped(0)).active;
    assert_eq!(table.created - table.gone_total(), there, "{table:?}");
}

/// As fast as two threads can make flows, in a table that is too small for them:
/// every creation and every end is heard or told lost, by each listener.
#[test]
#[ignore = "root"]
fn nothing_is_missing_at_full_rate() {
    const FLOWS: u32 = 100_000;
    let mut lab = Lab::new(10_000);
    lab.replayer.set(TIME, 2000);
    let wish = |buffer| Wish {
        buffer,
        types: vec![EventType::New, EventType::Destroy],
        ..Wish::default()
    };
    // One that hears all, whenever it reads; one that cannot keep up.
    let patient = listen(&lab, &wish(64 << 20));
    let hurried = listen(&lab, &wish(64 << 10));
    let sending = AtomicU32::new(2);
    let heard = std::thread::scope(|scope| {
        for thread in 0..2 {
            let (lab, sending) = (&lab, &sending);
            scope.spawn(move || {
                for number in 0..FLOWS / 2 {
                    let [_, b, c, d] = (number * 2 + thread).to_be_bytes();
                    let src = SocketAddr::new([10, b, c, d].into(), 1000);
                    lab.run(&Packet::udp(src, end("192.0.2.1:53")).frame());
                }
                sending.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let readers = [(patient, 0), (hurried, 1000)].map(|(mut listener, late)| {
            let sending = &sending;
            scope.spawn(move || {
                // More than the small ring has room for, so that some are lost.
                while listener.wished() < late {
                    std::thread::yield_now();
                }
                let mut counts = [0_u64; 2];
                let mut told = LostCounts::default();
                loop {
                    let last = sending.load(Ordering::SeqCst) == 0;
                    for event in all(&mut listener) {
                        match event.what {
                            What::New(_) => counts[0] += 1,
                            What::Destroy(..) => counts[1] += 1,
                            What::Lost(lost) => told = told + lost,
                            other => panic!("{other:?}"),
                        }
                    }
                    if last {
                        assert_eq!(told, listener.lost(), "every loss is told");
                        assert_eq!(counts.iter().sum::<u64>() + told.total(), listener.wished());
                        return (counts, told);
                    }
                }
            })
        });
        readers.map(|reader| reader.join().expect("a listener"))
    });
    let table = lab.counters().table;
    assert_eq!(table.created, u64::from(FLOWS));
    for (counts, told) in heard {
        assert_eq!(counts[0] + told.of(EventType::New), table.created);
        assert_eq!(counts[1] + told.of(EventType::Destroy), table.gone_total());
    }
    let [(_, patient), (_, hurried)] = heard;
    assert_eq!(patient.total(), 0, "another one's loss");
    assert!(hurried.total() > 0, "{table:?}");
}
