//! The flows, and a packet's way to its own: `nf_conntrack_in()` and
//! `resolve_normal_ct()` of nf_conntrack_core.c.

use std::time::Duration;

use super::fragment::Counted;
use super::fragment::Fragment;
use super::fragment::Fragments;
use super::packet::Body;
use super::packet::Packet;
use super::packet::Parsed;
use super::parse;
use super::sctp::Sctp;
use super::tcp::Edges;
use super::tcp::Tcp;
use super::udp;
use crate::flow::Direction;
use crate::flow::Flow;
use crate::flow::FlowState;
use crate::flow::Side;
use crate::icmp;
use crate::sysctl::Sysctls;
use crate::time::Timestamp;
use crate::timeout::Timeout;
use crate::tuple::L4;
use crate::tuple::Tuple;

/// nf_conntrack's class of a packet (`ct state` of nftables), and which way it
/// went.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Class {
    /// It begins a flow, or belongs to one without an answer yet.
    New,
    /// Of a flow that was answered, or the answer.
    Established(Direction),
    /// An ICMP error about a packet of a flow; the direction is its own.
    Related(Direction),
    /// Of no flow, and it may not begin one.
    Invalid,
    /// nf_conntrack leaves it alone.
    Untracked,
}

/// What a protocol's machine makes of a packet.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Answer {
    /// It counts, and the flow lives this long from now on.
    Accept {
        /// That of its new state, mostly.
        timeout: Timeout,
        /// The flow is ASSURED from now on, if it was not before.
        assured: bool,
    },
    /// It passes as the flow's, but counts for nothing.
    Ignore,
    /// It is none of the flow's.
    Invalid,
    /// Neither, but the flow's life is cut short.
    Shorten(Timeout),
    /// The flow is over, and this packet begins the tuple's next one.
    Reopen,
    /// It counts, and then the flow is gone.
    End,
}

/// What a machine may know of its flow.
#[derive(Copy, Clone, Debug)]
pub struct Status {
    /// A packet of the reply direction was seen.
    pub seen_reply: bool,
    /// It is ASSURED.
    pub assured: bool,
    /// Nanoseconds left of the flow's life.
    pub left: u64,
}

/// The part of a flow that its protocol keeps.
#[derive(Clone, Debug)]
enum Machine {
    Tcp(Tcp),
    Sctp(Sctp),
    Plain,
}

#[derive(Clone, Debug)]
struct Entry {
    tuples: [Tuple; 2],
    machine: Machine,
    seen_reply: bool,
    assured: bool,
    packets: [u64; 2],
    bytes: [u64; 2],
    start: u64,
    seen: u64,
    timeout: Timeout,
}

/// A tracker: nf_conntrack's rules, and the flows so far.
#[derive(Clone, Debug)]
pub struct Tracker {
    settings: Sysctls,
    entries: Vec<Entry>,
    fragments: Fragments,
}

impl Tracker {
    /// Without flows.
    pub fn new(settings: Sysctls) -> Self {
        Self {
            settings,
            entries: Vec::new(),
            fragments: Fragments::default(),
        }
    }

    /// A packet from its IP header on; what is behind its end does not count.
    /// `now` is in nanoseconds since any moment, and must not go back. `None`
    /// for what never comes to nf_conntrack by itself: IP refuses it, or it is a
    /// fragment of a packet that is classified with its first one.
    pub fn packet(&mut self, now: u64, packet: &[u8]) -> Option<Class> {
        let settings = self.settings;
        self.entries.retain(|entry| entry.left(now, &settings) > 0);
        match parse::parse(packet, &settings) {
            (Parsed::Later(fragment), _) => {
                self.later(now, &fragment);
                None
            }
            (parsed, Some(fragment)) => self.first(now, &fragment, parsed),
            (parsed, None) => self.whole(now, parsed).0,
        }
    }

    /// The flows alive at `now`, in the order of their creation. Times are
    /// those that were handed in.
    pub fn flows(&self, now: u64) -> Vec<Flow> {
        let left = |entry: &&Entry| entry.left(now, &self.settings) > 0;
        let alive = self.entries.iter().filter(left);
        alive.map(|entry| entry.flow(now, &self.settings)).collect()
    }

    /// How far the window of a TCP flow reaches, as its packets have left it.
    /// The tuple is that of either direction, and so is the answer: the sender's
    /// edges first.
    pub fn edges(&self, tuple: &Tuple) -> Option<[Edges; 2]> {
        let (index, direction) = self.find(tuple)?;
        match &self.entries[index].machine {
            Machine::Tcp(tcp) => Some([direction, direction.opposite()].map(|d| tcp.edges(d))),
            _ => None,
        }
    }

    fn find(&self, tuple: &Tuple) -> Option<(usize, Direction)> {
        let found = |entry: &Entry| {
            // Where both are the same, the reply's comes first in the kernel's table.
            if entry.tuples[1] == *tuple {
                return Some(Direction::Reply);
            }
            (entry.tuples[0] == *tuple).then_some(Direction::Original)
        };
        let mut entries = self.entries.iter().enumerate();
        entries.find_map(|(index, entry)| Some((index, found(entry)?)))
    }

    fn error(&mut self, inner: &Tuple, returned: bool) -> Class {
        match inner.inverted().and_then(|answer| self.find(&answer)) {
            Some((_, direction)) if returned => Class::Related(direction),
            _ => Class::Invalid,
        }
    }

    /// A packet, all of it or its first fragment: its class, and whether it counted.
    fn whole(&mut self, now: u64, parsed: Parsed) -> (Option<Class>, bool) {
        let class = match parsed {
            Parsed::Nothing | Parsed::Later(_) => return (None, false),
            Parsed::Invalid => Class::Invalid,
            Parsed::Untracked => Class::Untracked,
            Parsed::Error { inner, returned } => self.error(&inner, returned),
            Parsed::Packet(packet) => {
                let (class, counted) = self.track(now, &packet);
                return (Some(class), counted);
            }
        };
        (Some(class), false)
    }

    /// Stands for its packet.
    fn first(&mut self, now: u64, fragment: &Fragment, mut parsed: Parsed) -> Option<Class> {
        let early = self.fragments.first(now, fragment, &self.settings)?;
        let mut where_to = None;
        if let Parsed::Packet(packet) = &mut parsed {
            let (mut base, mut end) = (0, 0);
            if let Body::Tcp(segment) = &mut packet.body {
                end = segment.end();
                base = end.wrapping_sub(fragment.length);
                segment.payload += early.end.saturating_sub(fragment.length);
            }
            packet.bytes += u64::from(early.bytes);
            let tuple = packet.tuple;
            where_to = Some((tuple, base, end));
        }
        let (class, counted) = self.whole(now, parsed);
        if let (true, Some((tuple, base, end))) = (counted, where_to) {
            let anew = self.is_anew(&tuple);
            let counted = Counted {
                tuple,
                base,
                end,
                anew,
            };
            self.fragments.counted(&fragment.id, counted);
        }
        class
    }

    /// Whether what is known of a TCP segment's sender began with the segment.
    fn is_anew(&self, tuple: &Tuple) -> bool {
        let Some((index, direction)) = self.find(tuple) else {
            return false;
        };
        match &self.entries[index].machine {
            Machine::Tcp(tcp) => tcp.is_anew(direction),
            Machine::Sctp(_) | Machine::Plain => false,
        }
    }

    /// Its packet was judged with the first fragment.
    fn later(&mut self, now: u64, fragment: &Fragment) {
        let Some(first) = self.fragments.later(now, fragment, &self.settings) else {
            return;
        };
        let Some((index, direction)) = self.find(&first.tuple) else {
            return;
        };
        let entry = &mut self.entries[index];
        entry.bytes[direction as usize] += u64::from(fragment.length);
        entry.seen = now;
        if let Machine::Tcp(tcp) = &mut entry.machine {
            let end = fragment.offset.wrapping_add(fragment.length);
            let end = first.base.wrapping_add(end);
            entry.timeout = tcp.extend(direction, &first, end, entry.timeout, &self.settings);
        }
    }

    fn track(&mut self, now: u64, packet: &Packet) -> (Class, bool) {
        let Some((index, direction)) = self.find(&packet.tuple) else {
            return self.begin(now, packet);
        };
        let settings = self.settings;
        let entry = &mut self.entries[index];
        let class = entry.class(direction);
        let answer = entry.step(now, direction, packet, &settings);
        match answer {
            Answer::Accept { timeout, assured } => {
                entry.count(direction, packet);
                entry.timeout = timeout;
                entry.seen = now;
                entry.assured |= assured;
            }
            Answer::Ignore => {}
            Answer::Invalid => return (Class::Invalid, false),
            Answer::Shorten(timeout) => {
                entry.timeout = timeout;
                entry.seen = now;
                return (Class::Invalid, false);
            }
            Answer::Reopen => {
                self.entries.remove(index);
                return self.begin(now, packet);
            }
            Answer::End => {
                self.entries.remove(index);
                return (class, true);
            }
        }
        entry.seen_reply |= direction == Direction::Reply;
        (class, answer != Answer::Ignore)
    }

    fn begin(&mut self, now: u64, packet: &Packet) -> (Class, bool) {
        let Some(mut entry) = Entry::open(now, packet, &self.settings) else {
            return (Class::Invalid, false);
        };
        let settings = self.settings;
        let answer = entry.step(now, Direction::Original, packet, &settings);
        let Answer::Accept { timeout, assured } = answer else {
            return (Class::Invalid, false);
        };
        entry.count(Direction::Original, packet);
        entry.timeout = timeout;
        entry.assured = assured;
        self.entries.push(entry);
        (Class::New, true)
    }
}

impl Entry {
    fn open(now: u64, packet: &Packet, settings: &Sysctls) -> Option<Self> {
        let tuple = packet.tuple;
        if let L4::Icmp { kind, .. } = tuple.l4
            && !icmp::is_request(tuple.protocol, kind)
        {
            return None;
        }
        let machine = match &packet.body {
            Body::Tcp(segment) => Machine::Tcp(Tcp::open(segment, settings)?),
            Body::Sctp(bundle) => Machine::Sctp(Sctp::open(bundle)?),
            Body::Plain => Machine::Plain,
        };
        Some(Self {
            tuples: [tuple, tuple.inverted()?],
            machine,
            seen_reply: false,
            assured: false,
            packets: [0; 2],
            bytes: [0; 2],
            start: now,
            seen: now,
            timeout: Timeout::Generic,
        })
    }

    fn step(
        &mut self,
        now: u64,
        direction: Direction,
        packet: &Packet,
        settings: &Sysctls,
    ) -> Answer {
        let status = Status {
            seen_reply: self.seen_reply,
            assured: self.assured,
            left: self.left(now, settings),
        };
        match (&mut self.machine, &packet.body) {
            (Machine::Tcp(tcp), Body::Tcp(segment)) => {
                tcp.segment(direction, segment, &status, settings)
            }
            (Machine::Sctp(sctp), Body::Sctp(bundle)) => {
                let answer = sctp.packet(direction, bundle);
                // What one chunk has proved stays, whatever the next one does.
                self.assured |= sctp.assured;
                answer
            }
            _ => udp::packet(packet.tuple.protocol, now - self.start, &status),
        }
    }

    fn class(&self, direction: Direction) -> Class {
        if direction == Direction::Reply || self.seen_reply {
            return Class::Established(direction);
        }
        Class::New
    }

    fn count(&mut self, direction: Direction, packet: &Packet) {
        self.packets[direction as usize] += 1;
        self.bytes[direction as usize] += packet.bytes;
    }

    /// Nanoseconds left of its life.
    fn left(&self, now: u64, settings: &Sysctls) -> u64 {
        let life = settings.timeout(self.timeout).as_nanos();
        let life = u64::try_from(life).unwrap_or(u64::MAX);
        self.seen.saturating_add(life).saturating_sub(now)
    }

    fn flow(&self, now: u64, settings: &Sysctls) -> Flow {
        let side = |direction: Direction| {
            let mut side = Side::new(self.tuples[direction as usize]);
            side.packets = self.packets[direction as usize];
            side.bytes = self.bytes[direction as usize];
            side
        };
        let mut flow = Flow::new(side(Direction::Original), side(Direction::Reply));
        match &self.machine {
            Machine::Tcp(tcp) => flow.state = FlowState::Tcp(tcp.state),
            Machine::Sctp(sctp) => flow.state = FlowState::Sctp(sctp.state),
            Machine::Plain => {}
        }
        flow.seen_reply = self.seen_reply;
        flow.assured = self.assured;
        flow.timeout = Duration::from_nanos(self.left(now, settings));
        flow.start = Timestamp(self.start.cast_signed());
        flow.last_seen = Timestamp(self.seen.cast_signed());
        flow.duration = Duration::from_nanos(self.seen - self.start);
        flow
    }
}
