//! What becomes of flows, told as it happens.

use std::fmt;
use std::ops::Add;
use std::ops::Sub;
use std::str::FromStr;

use crate::ban::Ban;
use crate::flow::Flow;
use crate::parse::ParseError;
use crate::protocol::Family;
use crate::time::Timestamp;

/// One thing that happened.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Its number among those that the kernel chose for this listener, lost ones
    /// included. What of a wish the kernel cannot look at (states, assured or not) is
    /// left out later, and leaves a gap.
    pub seq: u64,
    /// When it was told; that of pressure, and of an INVALID packet without SYN, FIN and
    /// RST, up to a tick early.
    pub time: Timestamp,
    /// What.
    pub what: What,
}

impl Event {
    /// An event from its parts.
    pub fn new(seq: u64, time: Timestamp, what: What) -> Self {
        Self { seq, time, what }
    }

    /// The flow it is about, if it is about one.
    pub fn flow(&self) -> Option<&Flow> {
        match &self.what {
            What::New(flow) | What::Update(flow) | What::Destroy(flow, _) | What::Invalid(flow) => {
                Some(flow)
            }
            What::Pressure(_) | What::Ban(_) | What::Unban(_) | What::Lost(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn flow_mut(&mut self) -> Option<&mut Flow> {
        match &mut self.what {
            What::New(flow) | What::Update(flow) | What::Destroy(flow, _) | What::Invalid(flow) => {
                Some(flow)
            }
            What::Pressure(_) | What::Ban(_) | What::Unban(_) | What::Lost(_) => None,
        }
    }
}

/// What happened.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum What {
    /// A flow began with this packet.
    New(Flow),
    /// Its state changed, or it was answered or became assured.
    Update(Flow),
    /// It is no more. Counters and duration are final.
    Destroy(Flow, GoneReason),
    /// A packet that is no valid one of any flow, in the shape of a flow of one
    /// packet; or of the flow it pretends to belong to. A sample: at most a
    /// hundred a second on each CPU.
    Invalid(Flow),
    /// A table fills up, or empties again.
    Pressure(Pressure),
    /// Somebody is banned from now on, or the ban is another now: by command, by a program
    /// or by a limit. Bans of lists are not told.
    Ban(Box<Ban>),
    /// A ban was taken back, with what it had dropped by then. One whose time is up ends
    /// untold.
    Unban(Box<Ban>),
    /// So many events found no room in the listener's buffer since the last
    /// such notice. They are gone; what is in the table can be listed.
    Lost(LostCounts),
}

impl What {
    /// The word for it in text and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Update(_) => "update",
            Self::Destroy(..) => "destroy",
            Self::Invalid(_) => "invalid",
            Self::Pressure(_) => "pressure",
            Self::Ban(_) => "ban",
            Self::Unban(_) => "unban",
            Self::Lost(_) => "lost",
        }
    }
}

/// Kinds of events to listen for.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum EventType {
    /// [`What::New`]
    New,
    /// [`What::Update`]
    Update,
    /// [`What::Destroy`]
    Destroy,
    /// [`What::Invalid`]
    Invalid,
    /// [`What::Pressure`]
    Pressure,
    /// [`What::Ban`]
    Ban,
    /// [`What::Unban`]
    Unban,
}

impl EventType {
    /// All, in the order of the packet path's `enum ct_event_type`.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Update,
        Self::Destroy,
        Self::Invalid,
        Self::Pressure,
        Self::Ban,
        Self::Unban,
    ];

    /// What a listener gets that does not choose: all but INVALID.
    pub const DEFAULT: [Self; 6] = [
        Self::New,
        Self::Update,
        Self::Destroy,
        Self::Pressure,
        Self::Ban,
        Self::Unban,
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::Destroy => "destroy",
            Self::Invalid => "invalid",
            Self::Pressure => "pressure",
            Self::Ban => "ban",
            Self::Unban => "unban",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EventType {
    type Err = ParseError;

    /// Takes a word in any case, and conntrack-tools' `NEW`, `UPDATES` and
    /// `DESTROY`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL
            .into_iter()
            .find(|kind| text.eq_ignore_ascii_case(kind.name()));
        match found {
            Some(kind) => Ok(kind),
            None if text.eq_ignore_ascii_case("updates") => Ok(Self::Update),
            None => Err(ParseError::new(
                "event type",
                text,
                "one of new, update, destroy, invalid, pressure, ban, unban",
            )),
        }
    }
}

/// Why a flow is no more.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
#[non_exhaustive]
pub enum GoneReason {
    /// Its time was up.
    Timeout,
    /// The same, after both ends had closed the connection (`TIME_WAIT`).
    Fin,
    /// The same, after a RST (`CLOSE`); or a RST answered its SYN.
    Rst,
    /// It was unassured, and pushed out by a new one.
    Evicted,
    /// Its tuple was opened anew.
    Replaced,
    /// By command, this one.
    Deleted,
    /// By command, all of them.
    Flushed,
}

impl GoneReason {
    /// All, in the order of the packet path's `enum ct_gone`.
    pub const ALL: [Self; 7] = [
        Self::Timeout,
        Self::Fin,
        Self::Rst,
        Self::Evicted,
        Self::Replaced,
        Self::Deleted,
        Self::Flushed,
    ];

    /// Their words in the same order.
    pub const NAMES: [&str; 7] = [
        "timeout", "fin", "rst", "evicted", "replaced", "deleted", "flushed",
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The reason with this number in `enum ct_gone`.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

impl fmt::Display for GoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How full a table is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub enum PressureLevel {
    /// Nothing to worry about.
    #[default]
    None,
    /// 80 % of the flows it is sized for. It ends at 75 %.
    High,
    /// 95 %. It ends at 90 %.
    Critical,
}

impl PressureLevel {
    /// All, in the order of the packet path's `enum ct_pressure`.
    pub const ALL: [Self; 3] = [Self::None, Self::High, Self::Critical];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The level with this number in `enum ct_pressure`.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

impl fmt::Display for PressureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A table's level has changed.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Pressure {
    /// Whose table.
    pub family: Family,
    /// The level now.
    pub level: PressureLevel,
    /// Flows in it, those not yet cleared away included.
    pub flows: u64,
    /// Flows it is sized for.
    pub max: u64,
}

/// Events that were lost, by type.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct LostCounts {
    counts: [u64; EventType::ALL.len()],
}

impl LostCounts {
    /// From counts in the order of [`EventType::ALL`].
    pub fn new(counts: [u64; EventType::ALL.len()]) -> Self {
        Self { counts }
    }

    /// Those of one type.
    pub fn of(&self, kind: EventType) -> u64 {
        self.counts[kind as usize]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Add for LostCounts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        for (to, from) in self.counts.iter_mut().zip(other.counts) {
            *to = to.wrapping_add(from);
        }
        self
    }
}

impl Sub for LostCounts {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        for (to, from) in self.counts.iter_mut().zip(other.counts) {
            *to = to.wrapping_sub(from);
        }
        self
    }
}

#[cfg(feature = "serde")]
mod json {
    use serde::Serialize;
    use serde::Serializer;
    use serde::ser::SerializeMap;

    use super::Event;
    use super::EventType;
    use super::LostCounts;
    use super::PressureLevel;
    use super::What;

    impl Serialize for PressureLevel {
        /// Its word.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            crate::text::serialize(self, serializer)
        }
    }

    impl Serialize for LostCounts {
        /// An object of the types that lost any.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let lost = EventType::ALL.into_iter().filter(|kind| self.of(*kind) > 0);
            serializer.collect_map(lost.map(|kind| (kind.name(), self.of(kind))))
        }
    }

    impl Serialize for Event {
        /// The line of `events -o jsonl`, see `schemas/event.schema.json`.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut out = serializer.serialize_map(None)?;
            out.serialize_entry("seq", &self.seq)?;
            out.serialize_entry("time", &self.time)?;
            out.serialize_entry("event", self.what.name())?;
            match &self.what {
                What::Destroy(_, reason) => out.serialize_entry("reason", reason.name())?,
                What::Pressure(pressure) => {
                    out.serialize_entry("reason", pressure.level.name())?;
                    out.serialize_entry("family", &pressure.family)?;
                    out.serialize_entry("flows", &pressure.flows)?;
                    out.serialize_entry("max", &pressure.max)?;
                }
                What::Lost(lost) => {
                    out.serialize_entry("lost", &lost.total())?;
                    out.serialize_entry("lost_by_type", lost)?;
                }
                What::Ban(ban) | What::Unban(ban) => out.serialize_entry("ban", ban)?,
                What::New(_) | What::Update(_) | What::Invalid(_) => {}
            }
            if let Some(flow) = self.flow() {
                out.serialize_entry("flow", flow)?;
            }
            out.end()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for kind in EventType::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.name().to_uppercase().parse(), Ok(kind));
        }
        assert_eq!("UPDATES".parse(), Ok(EventType::Update));
        assert!("newer".parse::<EventType>().is_err());
        for (index, reason) in (0..).zip(GoneReason::ALL) {
            assert_eq!(GoneReason::from_index(index), Some(reason));
            assert_eq!(reason.name(), GoneReason::NAMES[usize::from(index)]);
        }
        assert_eq!(GoneReason::from_index(7), None);
        assert_eq!(PressureLevel::from_index(3), None);
    }

    #[test]
    fn losses_add_up_by_type() {
        let first = LostCounts::new([1, 2, 3, 4, 5, 6, 7]);
        let both = first + first;
        assert_eq!(both.total(), 56);
        assert_eq!(both.of(EventType::Destroy), 6);
        assert_eq!(both - first, first);
    }
}
