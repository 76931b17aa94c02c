//! One slot of a table: a consistent copy of it, and the flow in it.
//!
//! Packets write to a slot while it is read. A copy is consistent if the word
//! (generation, phase, state, flags) was the same before and after: the copy is
//! then of one flow, and shows no answer counted that its word does not know
//! of, because packets change the word before they count. Counters of one copy
//! may be apart by the packets that were being counted at that moment.

use std::hint;
use std::mem::offset_of;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;
use std::thread;
use std::time::Duration;

use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::FlowState;
use conntrack_core::L4;
use conntrack_core::Protocol;
use conntrack_core::SctpState;
use conntrack_core::Side;
use conntrack_core::TcpLast;
use conntrack_core::TcpState;
use conntrack_core::Tuple;

use crate::clock::Clock;
use crate::clock::age;
use crate::defines::SLOTS;
use crate::key::RawKey;
use crate::key::is_icmp;
use crate::wire::Wire;
use crate::wire::Word;
use crate::wire::copy;
use crate::wire::ct_bucket_head;
use crate::wire::ct_bucket4;
use crate::wire::ct_bucket6;
use crate::wire::ct_flow;
use crate::wire::ct_flow6;
use crate::wire::ct_tcp_end;
use crate::wire::words_of;

/// A slot of either family.
pub(crate) trait Slot: Wire {
    /// The bucket it is in.
    type Bucket: Wire;
    const FAMILY: Family;

    /// What both families have.
    fn flow(&self) -> &ct_flow;
    /// The key's addresses, as words loaded from a packet.
    fn addresses(&self) -> ([u32; 4], [u32; 4]);
}

impl Slot for ct_flow {
    type Bucket = ct_bucket4;
    const FAMILY: Family = Family::Ipv4;

    fn flow(&self) -> &ct_flow {
        self
    }

    fn addresses(&self) -> ([u32; 4], [u32; 4]) {
        ([self.lo, 0, 0, 0], [self.hi, 0, 0, 0])
    }
}

impl Slot for ct_flow6 {
    type Bucket = ct_bucket6;
    const FAMILY: Family = Family::Ipv6;

    fn flow(&self) -> &ct_flow {
        &self.flow
    }

    fn addresses(&self) -> ([u32; 4], [u32; 4]) {
        (self.lo, self.hi)
    }
}

/// The words of one bucket.
#[derive(Copy, Clone)]
pub(crate) struct Bucket<'a> {
    words: &'a [AtomicU64],
}

// Places in a bucket and in a slot, in words.
const HEAD: usize = words_of::<ct_bucket_head>();
const TAGS: usize = size_of::<[u16; 16]>() / 8;
const CARRY: usize = offset_of!(ct_bucket_head, carry) / 8;
const WORD: usize = offset_of!(ct_flow, word) / 8;
const SEEN: usize = offset_of!(ct_flow, seen) / 8;
/// Both ports, then protocol and interface.
const PORTS_IF: usize = offset_of!(ct_flow, lo_port_be) / 8;

/// The flags of the answering end's last segment: the word, and which of its bytes.
const HEARD_AT: usize =
    offset_of!(ct_flow, tcp) + size_of::<ct_tcp_end>() + offset_of!(ct_tcp_end, flags);
const HEARD: usize = HEARD_AT / 8;
const HEARD_BYTE: usize = HEARD_AT % 8;

/// The `u32` in the upper addresses of a word.
fn second_half(word: u64) -> u32 {
    let bytes = word.to_ne_bytes();
    u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])
}

impl<'a> Bucket<'a> {
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    /// The tags of its slots; 0 is an empty slot.
    #[inline]
    fn tags(self) -> impl Iterator<Item = u16> {
        self.words[..TAGS].iter().flat_map(|word| {
            let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            [0, 2, 4, 6].map(|at| u16::from_ne_bytes([bytes[at], bytes[at + 1]]))
        })
    }

    /// The slots that may hold a flow, one bit each. A live flow's tag is never
    /// 0, from before it is live until after.
    #[inline]
    pub(crate) fn used(self) -> u32 {
        self.slots(|tag| tag != 0)
    }

    /// The slots with this tag, one bit each.
    pub(crate) fn tagged(self, tag: u16) -> u32 {
        self.slots(|other| other == tag)
    }

    #[inline]
    fn slots(self, test: impl Fn(u16) -> bool) -> u32 {
        self.tags()
            .take(SLOTS as usize)
            .zip(0..)
            .fold(0, |slots, (tag, slot)| {
                slots | (u32::from(test(tag)) << slot)
            })
    }

    /// The words of a slot.
    #[inline]
    fn slot<S: Slot>(self, slot: usize) -> &'a [AtomicU64] {
        let size = words_of::<S>();
        let begin = HEAD + slot * size;
        &self.words[begin..begin + size]
    }

    /// Bits 32..47 of a slot's packet counts.
    #[inline]
    fn carry(self, slot: usize) -> [u16; 2] {
        // Two slots share a word.
        let bytes = self.words[CARRY + slot / 2]
            .load(Ordering::Relaxed)
            .to_ne_bytes();
        let at = slot % 2 * 4;
        [0, 2].map(|dir| u16::from_ne_bytes([bytes[at + dir], bytes[at + dir + 1]]))
    }

    /// What tells whether a slot is worth a copy; `None` if no flow is in it.
    #[inline]
    pub(crate) fn glance<S: Slot>(self, slot: usize) -> Option<Glance> {
        let words = self.slot::<S>(slot);
        let word = settled(words);
        word.is_live().then(|| Glance {
            word,
            seen: words[SEEN].load(Ordering::Relaxed),
            proto_if: second_half(words[PORTS_IF].load(Ordering::Relaxed)),
        })
    }

    /// Whatever is in a slot, a flow or what is left of one.
    pub(crate) fn remains<S: Slot>(self, slot: usize) -> Row<S> {
        let words = self.slot::<S>(slot);
        Row {
            word: Word(words[WORD].load(Ordering::Acquire)),
            carry: self.carry(slot),
            slot: copy(words),
        }
    }

    /// A consistent copy of a slot; `None` if no flow is in it.
    #[inline]
    pub(crate) fn read<S: Slot>(self, slot: usize) -> Option<Row<S>> {
        let words = self.slot::<S>(slot);
        let mut tries = 0;
        loop {
            let word = settled(words);
            if !word.is_live() {
                return None;
            }
            let carry = self.carry(slot);
            let heard = words[HEARD].load(Ordering::Acquire).to_ne_bytes()[HEARD_BYTE] != 0;
            let slot_copy: S = copy(words);
            let carry_after = self.carry(slot);
            fence(Ordering::Acquire);
            let after = Word(words[WORD].load(Ordering::Relaxed));
            let row = Row {
                word: after,
                carry,
                slot: slot_copy,
            };
            // Else its numbers may be what stood there before: see `opener()`.
            let same = carry == carry_after && heard == row.is_heard();
            let stable = word == after && same && !row.may_lack_carry();
            // A flow whose word changes all the time is shown as it is: of one
            // life, its state that of the end of the copy.
            if stable || (tries >= TRIES && word.same_life(after)) {
                return Some(row);
            }
            tries += 1;
            hint::spin_loop();
        }
    }
}

/// Copies made of a slot that keeps changing.
const TRIES: u32 = 32;

/// The word of a slot. A flow on its way to another table is waited for until it is
/// there, so that who looks there afterwards finds it. That takes microseconds, unless
/// who moves it was preempted.
#[inline]
fn settled(words: &[AtomicU64]) -> Word {
    let word = Word(words[WORD].load(Ordering::Acquire));
    match word.is_leaving() {
        true => arrival(words),
        false => word,
    }
}

#[cold]
fn arrival(words: &[AtomicU64]) -> Word {
    const YIELDS: u32 = 1000;
    const NAPS: u32 = 10_000;
    let mut word = Word(words[WORD].load(Ordering::Acquire));
    for wait in 0..YIELDS + NAPS {
        if !word.is_leaving() {
            break;
        }
        match wait < YIELDS {
            true => thread::yield_now(),
            false => thread::sleep(Duration::from_micros(100)),
        }
        word = Word(words[WORD].load(Ordering::Acquire));
    }
    word
}

/// The first look at a slot. The fields need not belong to one moment.
#[derive(Copy, Clone)]
pub(crate) struct Glance {
    pub(crate) word: Word,
    /// When the last packet came, in the packet path's time.
    pub(crate) seen: u64,
    proto_if: u32,
}

impl Glance {
    pub(crate) fn protocol(&self) -> Protocol {
        Protocol(self.proto_if as u8)
    }

    fn ifindex(&self) -> u32 {
        self.proto_if >> 8
    }

    /// Whether the filter's conditions on protocol, status and interface are
    /// met.
    #[inline]
    pub(crate) fn meets(&self, filter: &FlowFilter) -> bool {
        let protocol = self.protocol();
        filter.matches_protocol(protocol)
            && filter.matches_ifindex(self.ifindex())
            // A state that does not exist is for the reader to complain of.
            && state(protocol, self.word.state()).is_none_or(|state| {
                filter.matches_status(state, self.word.seen_reply(), self.word.assured())
            })
    }
}

/// The state with this number; `None` if the protocol has none such.
pub(crate) fn state(protocol: Protocol, number: u8) -> Option<FlowState> {
    match protocol {
        Protocol::TCP => TcpState::from_index(number).map(FlowState::Tcp),
        Protocol::SCTP => SctpState::from_index(number).map(FlowState::Sctp),
        _ => Some(FlowState::None),
    }
}

/// A consistent copy of a slot with a flow in it.
#[derive(Copy, Clone)]
pub(crate) struct Row<S> {
    word: Word,
    carry: [u16; 2],
    slot: S,
}

impl Row<ct_flow> {
    /// A slot as an event tells of it, with its packet counts in full.
    pub(crate) fn told(mut slot: ct_flow, packets: [u64; 2]) -> Self {
        slot.packets = packets.map(|packets| packets as u32);
        Self {
            word: Word(slot.word),
            carry: packets.map(|packets| (packets >> 32) as u16),
            slot,
        }
    }
}

impl Row<ct_flow6> {
    /// The same for IPv6.
    pub(crate) fn told6(mut slot: ct_flow6, packets: [u64; 2]) -> Self {
        slot.flow.packets = packets.map(|packets| packets as u32);
        Self {
            word: Word(slot.flow.word),
            carry: packets.map(|packets| (packets >> 32) as u16),
            slot,
        }
    }
}

impl<S: Slot> Row<S> {
    /// What [`Bucket::glance`] would have seen.
    pub(crate) fn glance(&self) -> Glance {
        Glance {
            word: self.word,
            seen: self.slot.flow().seen,
            proto_if: self.slot.flow().proto_if,
        }
    }

    /// What tells it from the slot's other flows: its word, and when it began.
    pub(crate) fn life(&self) -> (u64, u64) {
        (self.word.0, self.slot.flow().start)
    }

    /// The copy itself.
    pub(crate) fn raw(&self) -> &ct_flow {
        self.slot.flow()
    }

    /// Its key.
    pub(crate) fn key(&self) -> RawKey {
        let flow = self.slot.flow();
        let (lo, hi) = self.slot.addresses();
        RawKey {
            family: S::FAMILY,
            lo,
            hi,
            lo_port_be: flow.lo_port_be,
            hi_port_be: flow.hi_port_be,
            protocol: self.glance().protocol(),
        }
    }

    /// A CPU that wrapped the low half of a packet count may be about to carry.
    /// 2^32 packets are at least 80 GiB, so hardly any flow waits for that.
    fn may_lack_carry(&self) -> bool {
        const JUST_WRAPPED: u32 = 1 << 16;
        const WRAP_BYTES: u64 = 20 << 32;
        let flow = self.slot.flow();
        [0, 1]
            .into_iter()
            .any(|dir| flow.bytes[dir] >= WRAP_BYTES && flow.packets[dir] < JUST_WRAPPED)
    }

    /// Whether it is the flow of this key.
    pub(crate) fn is(&self, key: &RawKey) -> bool {
        self.key() == *key
    }

    /// What a packet from the key's lower end to the higher one carries.
    fn tuple(&self) -> Tuple {
        let flow = self.slot.flow();
        let (lo, hi) = self.slot.addresses();
        let protocol = self.glance().protocol();
        let ports = [flow.lo_port_be, flow.hi_port_be].map(u16::from_be);
        let l4 = if protocol.has_ports() {
            L4::Ports {
                src: ports[0],
                dst: ports[1],
            }
        } else if is_icmp(S::FAMILY, protocol) {
            let [kind, code] = ports[1].to_be_bytes();
            L4::Icmp {
                kind,
                code,
                id: ports[0],
            }
        } else if protocol == Protocol::GRE {
            L4::Gre {
                src_key: ports[0],
                dst_key: ports[1],
            }
        } else {
            L4::None
        };
        Tuple {
            src: addr(S::FAMILY, lo),
            dst: addr(S::FAMILY, hi),
            protocol,
            l4,
        }
    }

    /// Whether a segment of the answering end is noted, of TCP's flows.
    fn is_heard(&self) -> bool {
        self.slot.flow().tcp[1].flags != 0
    }

    /// The id of the opener's fingerprint, if it stands in the slot: `ct_opener()` in the
    /// BPF sources. Of TCP's flows only.
    pub(crate) fn opener(&self) -> Option<u64> {
        let answer = &self.slot.flow().tcp[1];
        let id = u64::from(answer.ack) << 32 | u64::from(answer.seq);
        Some(id).filter(|&id| id != 0 && !self.is_heard())
    }

    /// One direction; 0 is the original one.
    fn side(&self, dir: usize, tuple: Tuple) -> Side {
        let flow = self.slot.flow();
        let end = &flow.tcp[dir];
        // Until it is heard something else stands there: see `opener()`.
        let heard = |number: u32| if end.flags == 0 { 0 } else { number };
        Side {
            tuple,
            packets: (u64::from(self.carry[dir]) << 32) | u64::from(flow.packets[dir]),
            bytes: flow.bytes[dir],
            tcp: (tuple.protocol == Protocol::TCP).then_some(TcpLast {
                flags: end.flags,
                seq: heard(end.seq),
                ack: heard(end.ack),
                window: end.win,
            }),
        }
    }

    /// The flow, `left` of whose life is left, if the filter's conditions are
    /// met.
    ///
    /// # Errors
    /// [`BadRow`]: no packet path of ours wrote it.
    pub(crate) fn decode(
        &self,
        filter: &FlowFilter,
        clock: &Clock,
        left: Duration,
    ) -> Result<Option<Flow>, BadRow> {
        let glance = self.glance();
        if !glance.meets(filter) {
            return Ok(None);
        }
        let lower = self.tuple();
        let higher = lower.inverted().ok_or(BadRow)?;
        let (original, reply) = if self.word.opened_by_hi() {
            (higher, lower)
        } else {
            (lower, higher)
        };
        if !filter.matches_ports(original.ports())
            || !filter.matches_addresses(original.src, original.dst)
        {
            return Ok(None);
        }
        let raw = self.slot.flow();
        let mut flow = Flow::new(self.side(0, original), self.side(1, reply));
        flow.state = state(original.protocol, self.word.state()).ok_or(BadRow)?;
        flow.seen_reply = self.word.seen_reply();
        flow.assured = self.word.assured();
        flow.timeout = left;
        flow.start = clock.civil(raw.start);
        flow.last_seen = clock.civil(raw.seen);
        flow.duration = Duration::from_nanos(age(raw.seen, raw.start));
        flow.ifindex = glance.ifindex();
        Ok(Some(flow))
    }
}

/// A live slot that makes no sense.
#[derive(Copy, Clone, Debug)]
pub(crate) struct BadRow;

/// An address as the packet path has it.
pub(crate) fn addr(family: Family, words: [u32; 4]) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from(words[0].to_ne_bytes()).into(),
        Family::Ipv6 => {
            let mut octets = [0; 16];
            for (to, word) in octets.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            Ipv6Addr::from(octets).into()
        }
    }
}
