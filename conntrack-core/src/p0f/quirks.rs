//! What is odd about a packet's headers.

use std::fmt;
use std::ops::BitOr;
use std::ops::BitOrAssign;
use std::str::FromStr;

use crate::parse::ParseError;
use crate::protocol::Family;

/// A set of p0f's quirks. The text has their names in p0f's order, with commas
/// between them; it is empty if there is none. Any order is read.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct Quirks(u32);

/// Their names, each at the place of its bit: the order in which p0f prints them.
const NAMES: [&str; 17] = [
    "df", "id+", "id-", "ecn", "0+", "flow", "seq-", "ack+", "ack-", "uptr+", "urgf+", "pushf+",
    "ts1-", "ts2+", "opt+", "exws", "bad",
];

impl Quirks {
    /// None.
    pub const NONE: Self = Self(0);
    /// `df`: IPv4's "don't fragment" is set.
    pub const DF: Self = Self(1 << 0);
    /// `id+`: it is, and the IP id is not 0.
    pub const ID: Self = Self(1 << 1);
    /// `id-`: it is not, and the IP id is 0.
    pub const ZERO_ID: Self = Self(1 << 2);
    /// `ecn`: IP's field for it is not 0, or TCP has ECE, CWR or AE.
    pub const ECN: Self = Self(1 << 3);
    /// `0+`: IPv4's reserved flag is set.
    pub const RESERVED: Self = Self(1 << 4);
    /// `flow`: IPv6's flow label is not 0.
    pub const FLOW: Self = Self(1 << 5);
    /// `seq-`: the sequence number is 0.
    pub const ZERO_SEQ: Self = Self(1 << 6);
    /// `ack+`: there is an acknowledgment number and no ACK.
    pub const ACK_NUMBER: Self = Self(1 << 7);
    /// `ack-`: there is ACK, and the number is 0.
    pub const ZERO_ACK: Self = Self(1 << 8);
    /// `uptr+`: there is an urgent pointer and no URG.
    pub const URGENT_POINTER: Self = Self(1 << 9);
    /// `urgf+`: there is URG.
    pub const URG: Self = Self(1 << 10);
    /// `pushf+`: there is PSH.
    pub const PSH: Self = Self(1 << 11);
    /// `ts1-`: the sender's own timestamp is 0.
    pub const ZERO_TIMESTAMP: Self = Self(1 << 12);
    /// `ts2+`: a SYN echoes a timestamp.
    pub const ECHO: Self = Self(1 << 13);
    /// `opt+`: what follows the options' end mark is not all 0.
    pub const AFTER_END: Self = Self(1 << 14);
    /// `exws`: a window scale beyond 14.
    pub const EXCESSIVE_SCALE: Self = Self(1 << 15);
    /// `bad`: the options cannot be read to their end, or one of them has a length
    /// that it cannot have.
    pub const BAD: Self = Self(1 << 16);

    /// Those that IPv6 has no room for.
    pub(super) const IPV4_ONLY: Self =
        Self::of(&[Self::DF, Self::ID, Self::ZERO_ID, Self::RESERVED]);
    /// Those that IPv4 has no room for.
    pub(super) const IPV6_ONLY: Self = Self::FLOW;

    /// All of these.
    pub(super) const fn of(several: &[Self]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < several.len() {
            bits |= several[index].0;
            index += 1;
        }
        Self(bits)
    }

    /// A bit a quirk, in p0f's order from bit 0 on; `None` if there are others.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits >> NAMES.len() == 0).then_some(Self(bits))
    }

    /// The bits of [`Quirks::from_bits`].
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are among them.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that packets of the other family only can have.
    pub fn foreign_to(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::IPV6_ONLY,
            Family::Ipv6 => Self::IPV4_ONLY,
        }
    }

    /// These if `condition` holds, otherwise none.
    pub(super) fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }
}

impl BitOr for Quirks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Quirks {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Display for Quirks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{comma}{name}")?;
                comma = ",";
            }
        }
        Ok(())
    }
}

impl FromStr for Quirks {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut quirks = Self::NONE;
        if text.is_empty() {
            return Ok(quirks);
        }
        for word in text.split(',') {
            let bit = NAMES.iter().position(|name| *name == word);
            let wrong = || ParseError::new("quirk", word, "df, id+, id-, ecn, 0+, flow, seq-, …");
            quirks |= Self(1 << bit.ok_or_else(wrong)?);
        }
        Ok(quirks)
    }
}
