//! One thread in the table against a model that says of every packet what must
//! become of it, and which flow may be pushed out for it.

mod common;

use std::collections::BTreeMap;

use common::*;
use conntrack_native::Build;
use conntrack_native::Key;
use conntrack_native::Outcome;
use conntrack_native::Packet;
use conntrack_native::SLOTS;
use conntrack_native::Slot;
use conntrack_native::Table;
use conntrack_native::TableEvent;
use conntrack_native::Timeout;

const OPERATIONS: u32 = 50_000;
const SECOND: u64 = 1_000_000_000;

/// Times and sizes of a run.
#[derive(Copy, Clone, Debug)]
struct Shape {
    buckets: u32,
    connections: u64,
    v6: bool,
    /// Timeouts: UDP, UDP stream, GRE, GRE stream, others.
    timeouts: [u64; 5],
    grace: u64,
    /// Longest time between two operations.
    pause: u64,
}

/// A flow, as the rules of nf_conntrack and of the table make it.
#[derive(Copy, Clone, Debug)]
struct Flow {
    proto: u8,
    opener: bool,
    start: u64,
    seen: u64,
    timeout: u64,
    answered: bool,
    assured: bool,
    packets: [u64; 2],
    bytes: [u64; 2],
}

impl Flow {
    fn expired(&self, now: u64) -> bool {
        now - self.seen >= self.timeout
    }

    fn looks_like(&self, slot: &Slot) -> bool {
        (self.seen, self.timeout, self.assured) == (slot.seen, slot.timeout, slot.assured)
            && (self.packets, self.bytes) == (slot.packets, slot.bytes)
    }
}

/// What must be in the table.
struct Model {
    shape: Shape,
    flows: BTreeMap<Key, Flow>,
    /// When a slot was given up that nobody has taken since.
    given_up: BTreeMap<u32, u64>,
    /// Of each bucket: the places in it, whose flow came first in front.
    queues: Vec<Vec<u32>>,
    /// Of each bucket, a time before which no flow in it is over; 0: not known.
    dues: Vec<u64>,
    /// How often the best of all went; one that was younger by a little; another.
    choices: [u32; 3],
}

impl Model {
    fn timeout(&self, proto: u8, stream: bool) -> u64 {
        let [udp, udp_stream, gre, gre_stream, other] = self.shape.timeouts;
        match (proto, stream) {
            (UDP, false) => udp,
            (UDP, true) => udp_stream,
            (GRE, false) => gre,
            (GRE, true) => gre_stream,
            _ => other,
        }
    }

    /// This place is given away last, of those of its bucket.
    fn queue_up(&mut self, place: u32) {
        let queue = &mut self.queues[(place / SLOTS) as usize];
        queue.retain(|&other| other != place);
        queue.push(place);
    }

    /// A packet that begins a flow.
    fn create(&mut self, key: Key, opener: bool, proto: u8, bytes: u64, now: u64) {
        let flow = Flow {
            proto,
            opener,
            start: now,
            seen: now,
            timeout: self.timeout(proto, false),
            answered: false,
            assured: false,
            packets: [1, 0],
            bytes: [bytes, 0],
        };
        self.flows.insert(key, flow);
    }

    /// A further packet of a flow.
    fn count(&mut self, key: Key, opener: bool, bytes: u64, now: u64) {
        let mut flow = self.flows[&key];
        let old_enough = flow.proto != UDP || now - flow.start > 2 * SECOND;
        let stream = flow.answered && old_enough && flow.proto != OTHER;
        flow.timeout = self.timeout(flow.proto, stream);
        flow.assured |= stream;
        let dir = usize::from(opener != flow.opener);
        flow.answered |= dir == 1;
        flow.packets[dir] += 1;
        flow.bytes[dir] += bytes;
        flow.seen = now;
        self.flows.insert(key, flow);
    }
}

/// The slots a key may be in, with their places.
fn reach(table: &Table, packet: &Packet, shape: Shape) -> Vec<(u32, Slot)> {
    let hash = packet.hash(&SEED, shape.buckets);
    let places = hash
        .buckets
        .map(|bucket| bucket * SLOTS..(bucket + 1) * SLOTS);
    let places = places.into_iter().flatten();
    places
        .map(|place| (place, table.slot(shape.v6, place)))
        .collect()
}

/// How willingly a slot is given away: an empty rested one, an expired flow, the
/// oldest unassured that is not brand new, an empty one that has not rested, the
/// oldest that nobody answered, the oldest that was answered. `None`: never.
fn rank(model: &Model, place: u32, slot: &Slot, now: u64) -> Option<(u32, u64)> {
    let grace = model.shape.grace;
    if slot.is_free() {
        // Slots that never had a flow have rested since the beginning.
        let age = now - model.given_up.get(&place).copied().unwrap_or(0);
        return Some(if age >= grace { (6, 0) } else { (3, age) });
    }
    let flow = &model.flows[&slot.key];
    let age = now - flow.seen;
    match (flow.assured, flow.answered) {
        _ if flow.expired(now) => Some((5, age)),
        (true, _) => None,
        _ if age >= grace => Some((4, age)),
        (_, false) => Some((2, age)),
        (_, true) => Some((1, age)),
    }
}

/// Slots of a bucket that are looked at before all others.
const LOOK: usize = 4;

/// The rank of the slot that a new flow gets: of one that is empty and rested; else of the
/// best of those that came first to either bucket, if among them is in each one that was
/// not seen again since, and they are no better missed than others may be; else of all.
fn choose(
    model: &mut Model,
    buckets: [u32; 2],
    before: &[(u32, Slot)],
    now: u64,
) -> Option<(u32, u64)> {
    let ranks: BTreeMap<u32, _> = before
        .iter()
        .map(|(place, slot)| (*place, (rank(model, *place, slot, now), slot)))
        .collect();
    let all = ranks.values().map(|(rank, _)| *rank).max().flatten();
    if all.is_some_and(|(class, _)| class == 6) {
        return all;
    }
    let (mut first, mut enough) = (None, true);
    let queues = buckets.map(|bucket| {
        let queue = &model.queues[bucket as usize];
        let (mut next, mut old) = (queue.clone(), false);
        for place in &queue[..LOOK] {
            let (rank, slot) = ranks[place];
            first = first.max(rank);
            if slot.is_free() {
                continue;
            }
            let flow = &model.flows[&slot.key];
            if rank.is_some() && flow.seen == flow.start {
                old = true;
            } else {
                next.retain(|other| other != place);
                next.push(*place);
            }
        }
        let due = model.dues[bucket as usize];
        enough &= old && due != 0 && now < due;
        next
    });
    let is_empty = before.iter().any(|(_, slot)| slot.is_free());
    let (best, looked) = match first {
        Some((4.., _)) if enough => (first, false),
        Some((2, _)) if enough && !is_empty => (first, false),
        _ => (all, true),
    };
    if best.is_some() {
        for (bucket, queue) in buckets.into_iter().zip(queues) {
            model.queues[bucket as usize] = queue;
            if looked {
                let places = bucket * SLOTS..(bucket + 1) * SLOTS;
                let live = places.filter_map(|place| model.flows.get(&ranks[&place].1.key));
                let due = live.map(|flow| flow.seen + flow.timeout).min();
                model.dues[bucket as usize] = due.unwrap_or(u64::MAX);
            }
        }
    }
    let class = |rank: Option<(u32, u64)>| rank.map(|(class, _)| class);
    model.choices[match best == all {
        true => 0,
        false => 1 + usize::from(class(best) != class(all)),
    }] += 1;
    best
}

/// Sends a packet, and checks what became of it.
fn send(table: &Table, model: &mut Model, packet: &Packet, proto: u8, bytes: u64, now: u64) {
    let (key, opener) = packet.key();
    let before = reach(table, packet, model.shape);
    let done = table.packet(0, packet);
    let known = model.flows.get(&key).copied();
    if let Some(flow) = known.filter(|flow| !flow.expired(now)) {
        let dir = usize::from(opener != flow.opener);
        assert_eq!(
            (done.outcome, done.dir),
            (Outcome::Counted, dir),
            "{flow:?}"
        );
        return model.count(key, opener, bytes, now);
    }
    if known.is_none() {
        let buckets = packet.hash(&SEED, model.shape.buckets).buckets;
        let Some(best) = choose(model, buckets, &before, now) else {
            assert_eq!(done.outcome, Outcome::Full);
            return;
        };
        let (_, taken) = before
            .iter()
            .find(|(place, _)| *place == done.place)
            .expect("in reach");
        assert_eq!(rank(model, done.place, taken, now), Some(best), "{taken:?}");
        if taken.is_live() {
            model.flows.remove(&taken.key);
        }
        model.given_up.remove(&done.place);
    }
    assert_eq!(done.outcome, Outcome::Created);
    model.queue_up(done.place);
    let over = now + model.timeout(proto, false);
    let due = &mut model.dues[(done.place / SLOTS) as usize];
    if *due != 0 {
        *due = over.min(*due);
    }
    model.create(key, opener, proto, bytes, now);
}

/// The table holds the model's flows, each once, and nothing else.
fn compare(table: &Table, model: &Model) {
    let places = 0..table.places(model.shape.v6);
    let slots = places.map(|place| table.slot(model.shape.v6, place));
    let live: Vec<Slot> = slots.filter(Slot::is_live).collect();
    assert_eq!(live.len(), model.flows.len());
    for slot in live {
        let flow = &model.flows[&slot.key];
        assert!(flow.looks_like(&slot), "{slot:?}\n{flow:?}");
    }
}

/// A random run; how often what happened.
fn run(shape: Shape, seed: u64) -> [u64; 4] {
    let mut random = Random(seed);
    let mut table = Table::new(Build::Product, [shape.buckets; 2], &SEED);
    for (timeout, ns) in [
        Timeout::Udp,
        Timeout::UdpStream,
        Timeout::Gre,
        Timeout::GreStream,
        Timeout::Generic,
    ]
    .into_iter()
    .zip(shape.timeouts)
    {
        table.set_timeout(timeout, ns);
    }
    table.set_grace(shape.grace);
    let places = |bucket| (bucket * SLOTS..(bucket + 1) * SLOTS).collect();
    let mut model = Model {
        shape,
        flows: BTreeMap::new(),
        given_up: BTreeMap::new(),
        queues: (0..shape.buckets).map(places).collect(),
        dues: vec![0; shape.buckets as usize],
        choices: [0; 3],
    };
    let (mut now, mut number, mut full) = (1_000_000 * SECOND, 0, 0);
    for step in 0..OPERATIONS {
        now += random.below(shape.pause);
        // Connections come in bursts, or none would ever be assured.
        if random.percent(30) {
            number = random.below(shape.connections) as u32;
        }
        let proto = [UDP, GRE, OTHER][number as usize % 3];
        let bytes = 40 + random.below(1000);
        let packet = packet(number, proto, shape.v6, random.percent(45));
        let packet = packet.at(now).bytes(bytes as u32);
        if random.percent(4) {
            let (key, _) = packet.key();
            let reach = reach(&table, &packet, shape);
            let held = reach
                .iter()
                .find(|(_, slot)| slot.is_live() && slot.key == key);
            assert_eq!(
                table.release(0, &packet),
                model.flows.remove(&key).is_some()
            );
            model.given_up.extend(held.map(|(place, _)| (*place, now)));
        } else {
            let before = model.flows.len();
            send(&table, &mut model, &packet, proto, bytes, now);
            full += u64::from(
                before == model.flows.len() && !model.flows.contains_key(&packet.key().0),
            );
        }
        if step % 16 == 0 {
            compare(&table, &model);
        }
    }
    compare(&table, &model);
    println!(
        "{shape:?}: the best, a younger, another: {:?}",
        model.choices
    );
    let [best, younger, other] = model.choices;
    assert_eq!(other, 0, "what is looked at first tells of all");
    assert!(younger * 4 <= best, "{younger} of {best}");
    let event = |event| table.events(event);
    [
        event(TableEvent::Created),
        event(TableEvent::Timeout),
        event(TableEvent::Evicted),
        full,
    ]
}

#[test]
fn the_table_does_what_the_model_says() {
    let short = [
        30 * SECOND,
        120 * SECOND,
        30 * SECOND,
        180 * SECOND,
        60 * SECOND,
    ];
    let long = [600 * SECOND; 5];
    let mut sum = [0; 4];
    for v6 in [false, true] {
        for (buckets, connections, timeouts, grace, pause) in [
            (2, 28, short, SECOND / 10, 2 * SECOND),
            (2, 60, short, SECOND / 10, SECOND),
            (2, 90, long, 20 * SECOND, SECOND),
            (3, 120, short, 0, SECOND / 2),
            (16, 400, short, 5 * SECOND, SECOND / 4),
        ] {
            let shape = Shape {
                buckets,
                connections,
                v6,
                timeouts,
                grace,
                pause,
            };
            let counts = run(shape, u64::from(buckets) * connections);
            println!("{shape:?}: created, expired, evicted, full: {counts:?}");
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
    }
    assert!(sum.iter().all(|&count| count > 1000), "{sum:?}");
}
