//! One segment to one connection, in both machines.

use conntrack_core::Direction;
use conntrack_core::Sysctls;
use conntrack_core::Timeout;
use conntrack_core::reference::machine as reference;
use conntrack_core::reference::machine::Segment;
use conntrack_core::tcp::flags::ACK;
use conntrack_native::machine;
use conntrack_native::machine::Fast;

/// `CT_OPT_*`.
const SOME: u8 = 1;
const WSCALE: u8 = 2;
const SACK: u8 = 4;

/// A question.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) tcp: reference::Tcp,
    pub(crate) seen_reply: bool,
    pub(crate) assured: bool,
    pub(crate) timeout: Timeout,
    /// Nanoseconds since the flow's last packet.
    pub(crate) age: u64,
    pub(crate) settings: Sysctls,
    pub(crate) direction: Direction,
    pub(crate) segment: Segment,
}

/// What was compared.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) cases: u32,
    /// By answer: accept, ignore, refuse, reopen, end.
    pub(crate) answers: [u32; 5],
    /// Taken by the way for ordinary segments.
    pub(crate) fast: u32,
}

fn end(end: &reference::End) -> machine::TcpEnd {
    machine::TcpEnd {
        end: end.end,
        maxend: end.max_end,
        maxwin: end.max_win,
        maxack: end.max_ack.unwrap_or(0),
        has_maxack: end.max_ack.is_some().into(),
        scale: end.scale,
        scales: end.scales.into(),
        sacks: end.sacks.into(),
        closed: end.closed.into(),
        liberal: end.liberal.into(),
        unacked: end.unacked.into(),
        pad: 0,
    }
}

fn native(tcp: &reference::Tcp, assured: bool, timeout: Timeout, age: u64) -> machine::Tcp {
    let last = &tcp.last;
    machine::Tcp {
        end: tcp.ends.each_ref().map(end),
        seq: last.seq,
        ack: last.ack,
        rec_end: last.end,
        window: last.window,
        state: tcp.state.index(),
        seen_reply: 0,
        assured: assured.into(),
        last: last.kind.map_or(0, |kind| kind.index() + 1),
        last_dir: last.direction as u8,
        again: last.again,
        syn_scale: last.scale.unwrap_or(0),
        syn_scales: last.scale.is_some().into(),
        syn_sacks: last.sack_permitted.into(),
        challenge: last.challenge.into(),
        simopen: last.simultaneous.into(),
        timeout: timeout.index(),
        pad: [0; 2],
        age,
    }
}

impl Case {
    fn question(&self) -> machine::Question {
        let (settings, segment) = (&self.settings, &self.segment);
        let options = &segment.options;
        let further = options.edges.iter().copied();
        let sack = further.fold(segment.ack, |sack, edge| {
            match edge.wrapping_sub(sack).cast_signed() > 0 {
                true => edge,
                false => sack,
            }
        });
        let mut timeout_ns = [0; Timeout::SLOTS];
        for (index, timeout) in (0..).zip(&mut timeout_ns) {
            *timeout = settings.timeout_by_index(index).as_nanos() as u64;
        }
        machine::Question {
            timeout_ns,
            be_liberal: settings.tcp_be_liberal.into(),
            ignore_invalid_rst: settings.tcp_ignore_invalid_rst.into(),
            max_retrans: settings.tcp_max_retrans.into(),
            dir: self.direction as u32,
            seq: segment.seq,
            ack: segment.ack,
            payload: segment.payload,
            sack,
            window: segment.window,
            flags: segment.flags,
            options: [
                (options.some, SOME),
                (options.scale.is_some(), WSCALE),
                (options.sack_permitted, SACK),
            ]
            .map(|(is, bit)| if is { bit } else { 0 })
            .iter()
            .sum(),
            wscale: options.scale.unwrap_or(0),
            pad: [0; 3],
        }
    }

    /// What the reference answers, and the connection after that, told as the
    /// packet path's own.
    fn expected(&self) -> (machine::Answer, machine::Tcp) {
        let life = self.settings.timeout(self.timeout).as_nanos() as u64;
        let status = reference::Status {
            seen_reply: self.seen_reply,
            assured: self.assured,
            left: life.saturating_sub(self.age),
        };
        let mut tcp = self.tcp.clone();
        let answer = tcp.segment(self.direction, &self.segment, &status, &self.settings);
        let (mut assured, mut timeout, mut age) = (self.assured, self.timeout, self.age);
        let answer = match answer {
            reference::Answer::Accept {
                timeout: new,
                assured: proven,
            } => {
                timeout = new;
                assured |= proven;
                machine::Answer::Accept
            }
            reference::Answer::Shorten(new) => {
                (timeout, age) = (new, 0);
                machine::Answer::Refuse
            }
            reference::Answer::Ignore => machine::Answer::Ignore,
            reference::Answer::Invalid => machine::Answer::Refuse,
            reference::Answer::Reopen => machine::Answer::Reopen,
            reference::Answer::End => machine::Answer::End,
        };
        let mut after = native(&tcp, assured, timeout, age);
        (after.seq, after.ack) = (0, 0);
        after.window = u16::from(after.window != 0);
        (answer, after)
    }

    /// Asks both.
    pub(crate) fn check(&self, tally: &mut Tally) {
        let mut before = native(&self.tcp, self.assured, self.timeout, self.age);
        before.seen_reply = self.seen_reply.into();
        let (answer, fast, after) = machine::ask(&before, &self.question());
        let (want, expected) = self.expected();
        assert_eq!(answer, want, "{self:#?}");
        if !matches!(answer, machine::Answer::Reopen | machine::Answer::End) {
            assert_eq!(after, expected, "{answer:?} {self:#?}");
        }
        assert_ne!(fast, Fast::Different, "{self:#?}");
        tally.cases += 1;
        tally.answers[answer as usize] += 1;
        tally.fast += u32::from(fast == Fast::Same);
    }
}

/// A segment without options or data.
pub(crate) fn segment(flags: u8, seq: u32, ack: u32) -> Segment {
    Segment {
        seq,
        ack: if flags & ACK != 0 { ack } else { 0 },
        flags,
        window: 1000,
        ..Segment::default()
    }
}

/// Around a number.
pub(crate) fn around(number: u32) -> [u32; 3] {
    [number.wrapping_sub(1), number, number.wrapping_add(1)]
}
