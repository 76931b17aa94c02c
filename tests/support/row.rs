//! A flow as both trackers tell it, to be compared.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use conntrack::Flow;
use conntrack::L4;
use conntrack::Protocol;
use conntrack::Side;

/// One direction.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Half {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) l4: L4,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// One connection.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Row {
    pub(crate) protocol: Protocol,
    pub(crate) original: Half,
    pub(crate) reply: Half,
    pub(crate) state: Option<String>,
    pub(crate) seen_reply: bool,
    pub(crate) assured: bool,
    /// Seconds left.
    pub(crate) timeout: u64,
}

impl From<&Side> for Half {
    fn from(side: &Side) -> Self {
        Self {
            src: side.tuple.src,
            dst: side.tuple.dst,
            l4: side.tuple.l4,
            packets: side.packets,
            bytes: side.bytes,
        }
    }
}

impl From<&Flow> for Row {
    fn from(flow: &Flow) -> Self {
        Self {
            protocol: flow.protocol,
            original: Half::from(&flow.original),
            reply: Half::from(&flow.reply),
            state: flow.state.name().map(str::to_owned),
            seen_reply: flow.seen_reply,
            assured: flow.assured,
            timeout: flow.timeout.as_secs(),
        }
    }
}

/// How far the beginnings of one timeout may be apart: nf_conntrack's clock is
/// the jiffy, 10 ms at most, and a packet is some way from one hook to the other.
const SKEW: Duration = Duration::from_millis(100);

impl Row {
    /// Packets and bytes, original and reply.
    pub(crate) fn counts(&self) -> [(u64, u64); 2] {
        [self.original, self.reply].map(|half| (half.packets, half.bytes))
    }

    /// The same with nothing counted.
    #[must_use]
    pub(crate) fn without_counts(&self) -> Self {
        let bare = |half: Half| Half {
            packets: 0,
            bytes: 0,
            ..half
        };
        Self {
            original: bare(self.original),
            reply: bare(self.reply),
            ..self.clone()
        }
    }

    /// The same connection, told the same way, if the other was read so much
    /// later? Each has its seconds left rounded down: the whole seconds between
    /// the two, and one more.
    fn agrees(&self, other: &Self, later: Duration) -> bool {
        let timed = |row: &Self| Self {
            timeout: 0,
            ..row.clone()
        };
        let apart = (later + SKEW).as_secs() + 1;
        timed(self) == timed(other) && self.timeout.abs_diff(other.timeout) <= apart
    }
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            src,
            dst,
            l4,
            packets,
            bytes,
        } = self;
        write!(f, "{src} > {dst} {l4:?} packets={packets} bytes={bytes}")
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.as_deref().unwrap_or("-");
        write!(f, "{} {state} {}s", self.protocol, self.timeout)?;
        write!(
            f,
            " seen_reply={} assured={}",
            self.seen_reply, self.assured
        )?;
        write!(f, "\n    {:?}\n    {:?}", self.original, self.reply)
    }
}

/// `Ok` if both lists say the same, otherwise what only one of them says. Both
/// are sorted.
pub(crate) fn same(ours: &[Row], theirs: &[Row]) -> Result<(), String> {
    same_after(ours, theirs, Duration::ZERO)
}

/// The same, where theirs have been read so much later.
pub(crate) fn same_after(ours: &[Row], theirs: &[Row], later: Duration) -> Result<(), String> {
    let mut both = ours.iter().zip(theirs);
    if ours.len() == theirs.len() && both.all(|(a, b)| a.agrees(b, later)) {
        return Ok(());
    }
    let only = |these: &[Row], those: &[Row]| {
        let alone = these
            .iter()
            .filter(|row| !those.iter().any(|other| row.agrees(other, later)));
        alone.map(|row| format!("  {row:?}\n")).collect::<String>()
    };
    Err(format!(
        "{} of ours, {} of theirs\nonly ours:\n{}only theirs:\n{}",
        ours.len(),
        theirs.len(),
        only(ours, theirs),
        only(theirs, ours)
    ))
}
