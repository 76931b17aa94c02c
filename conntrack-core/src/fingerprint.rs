//! What SYNs and SYN+ACKs have told of their senders, as a tracker keeps it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::check_range;
use crate::key::Endpoint;
use crate::p0f::Kind;
use crate::p0f::Raw;
use crate::p0f::RawError;
use crate::p0f::Signature;
use crate::time::Timestamp;

/// A signature, and who had it.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Fingerprint {
    /// The packet path's record, which the signature follows from.
    pub record: Raw,
    /// The signature.
    pub signature: Signature,
    /// Of how many segments.
    pub count: u64,
    /// When the first came.
    pub first_seen: Timestamp,
    /// When the last came.
    pub last_seen: Timestamp,
    /// Who sent the last, or the first of those within a millisecond of it.
    pub last_source: Endpoint,
    /// A hash of the record, by which flows name it; another one in each tracker.
    pub id: u64,
}

/// The last signature of a source: as a client, or as a server.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct SourceFingerprint {
    /// The source.
    pub source: IpAddr,
    /// The packet path's record, which the signature follows from.
    pub record: Raw,
    /// The signature.
    pub signature: Signature,
    /// How many SYNs, or SYN+ACKs, it has sent, whatever their signatures.
    pub count: u64,
    /// When the first came.
    pub first_seen: Timestamp,
    /// When the last came.
    pub last_seen: Timestamp,
}

/// What is known of a segment's sender besides its signature: counts and times.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Seen {
    /// Segments.
    pub count: u64,
    /// When the first came.
    pub first: Timestamp,
    /// When the last came.
    pub last: Timestamp,
}

impl Fingerprint {
    /// Of a record, who sent it last, and its hash.
    ///
    /// # Errors
    /// The record is none that the packet path makes.
    pub fn new(record: Raw, seen: Seen, last_source: Endpoint, id: u64) -> Result<Self, RawError> {
        Ok(Self {
            signature: Signature::from_raw(&record)?,
            record,
            count: seen.count,
            first_seen: seen.first,
            last_seen: seen.last,
            last_source,
            id,
        })
    }

    /// Of which segments.
    pub fn kind(&self) -> Kind {
        self.record.kind()
    }
}

impl SourceFingerprint {
    /// Of a source and its last record.
    ///
    /// # Errors
    /// The record is none that the packet path makes.
    pub fn new(source: IpAddr, record: Raw, seen: Seen) -> Result<Self, RawError> {
        Ok(Self {
            source,
            signature: Signature::from_raw(&record)?,
            record,
            count: seen.count,
            first_seen: seen.first,
            last_seen: seen.last,
        })
    }

    /// Of which segments.
    pub fn kind(&self) -> Kind {
        self.record.kind()
    }
}

/// The signatures of a TCP connection's ends, in p0f's form (the text of a
/// [`Signature`]); one is `None` if its segment was not seen, or its signature has gone.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FlowFingerprint {
    /// Of the client's SYN.
    #[cfg_attr(feature = "serde", serde(with = "shared"))]
    pub original: Option<Arc<str>>,
    /// Of the server's SYN+ACK.
    #[cfg_attr(feature = "serde", serde(with = "shared"))]
    pub reply: Option<Arc<str>>,
}

/// A ban of a fingerprint: of the SYNs that would begin a connection and that a pattern
/// fits.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FingerprintBan {
    /// The pattern, as it was banned.
    pub pattern: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: for ever.
    pub until: Option<Timestamp>,
    /// SYNs that it dropped, or would have dropped.
    pub hits: u64,
    /// Their IP total lengths.
    pub bytes: u64,
    /// When the last of them came.
    pub last_hit: Option<Timestamp>,
    /// They are counted and pass.
    pub dry_run: bool,
}

impl FingerprintBan {
    /// One that has dropped nothing yet.
    pub fn new(pattern: String, since: Timestamp, until: Option<Timestamp>) -> Self {
        Self {
            pattern,
            since,
            until,
            hits: 0,
            bytes: 0,
            last_hit: None,
            dry_run: false,
        }
    }
}

/// Whether SYNs and SYN+ACKs are counted by what they tell of their senders, and room for
/// that. It is fixed when a tracker is created.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FingerprintsConfig {
    /// Whether they are.
    pub enabled: bool,
    /// Signatures that are kept, some 170 bytes of kernel memory each: the least
    /// recently used go.
    pub max_signatures: u32,
    /// Sources whose last signature is kept, as clients and as servers, some 170 bytes
    /// each; in the same way.
    pub max_sources: u32,
}

impl FingerprintsConfig {
    /// The least that either number can be: each CPU keeps some entries in hand.
    pub const MIN: u32 = 1024;
    /// The most signatures.
    pub const MAX_SIGNATURES: u32 = 1 << 20;
    /// The most sources.
    pub const MAX_SOURCES: u32 = 1 << 24;

    /// Entries of the two maps: signatures and sources, one each where there are none.
    pub fn entries(&self) -> [u32; 2] {
        match self.enabled {
            true => [self.max_signatures, self.max_sources],
            false => [1, 1],
        }
    }

    /// Why it cannot be: the setting, and what is wrong with it.
    pub(crate) fn fault(&self) -> Option<(&'static str, String)> {
        let numbers = [
            ("max_signatures", self.max_signatures, Self::MAX_SIGNATURES),
            ("max_sources", self.max_sources, Self::MAX_SOURCES),
        ];
        numbers.into_iter().find_map(|(key, number, most)| {
            let checked = check_range(number.into(), Self::MIN.into(), most.into());
            checked.err().map(|message| (key, message))
        })
    }
}

impl Default for FingerprintsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_signatures: 4096,
            max_sources: 16_384,
        }
    }
}

/// A text that many rows share.
#[cfg(feature = "serde")]
mod shared {
    use std::sync::Arc;

    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serialize;
    use serde::Serializer;

    pub(super) fn serialize<S: Serializer>(
        text: &Option<Arc<str>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Arc::from))
    }
}
