//! What is done about what is too much, and what a ban takes.

use std::fmt;
use std::str::FromStr;

use crate::parse::ParseError;

/// What is done about connections that are too much.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
#[repr(u32)]
pub enum ThresholdAction {
    /// They are counted and pass.
    Count = 1,
    /// The packets that would begin them are dropped.
    #[default]
    Drop = 2,
    /// The source is banned, once it has shown that it is there: see [`BanOn`]. Until
    /// then what of its TCP connections is half-open and too much is dropped, and of other
    /// protocols what is too much.
    Ban = 3,
}

impl ThresholdAction {
    const ALL: [Self; 3] = [Self::Count, Self::Drop, Self::Ban];

    /// `count`, `drop` or `ban`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Drop => "drop",
            Self::Ban => "ban",
        }
    }

    /// By its number in the packet path.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u32 == number)
    }
}

impl fmt::Display for ThresholdAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ThresholdAction {
    type Err = ParseError;

    /// Takes the names.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|it| it.name() == text);
        found.ok_or_else(|| ParseError::new("action", text, "count, drop or ban"))
    }
}

/// What counts towards a ban by [`ThresholdAction::Ban`].
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub enum BanOn {
    /// Handshakes of TCP that have come through: whoever sends the last packet of one
    /// has received the second, unless he forges that one as well, or guesses its number.
    /// Other protocols have none, and nobody is banned for them; what is too much is
    /// dropped.
    #[default]
    Handshake,
    /// The packet that begins a connection. Its source can be forged: whoever sends
    /// such packets chooses who is banned.
    Syn,
}

impl BanOn {
    /// `handshake` or `syn`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Syn => "syn",
        }
    }
}

impl fmt::Display for BanOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BanOn {
    type Err = ParseError;

    /// Takes the names.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let all = [Self::Handshake, Self::Syn];
        let found = all.into_iter().find(|it| it.name() == text);
        found.ok_or_else(|| ParseError::new("ban_on", text, "handshake or syn"))
    }
}
