//! Lines of the file. A field that has its usual value is left out; one that is not
//! known makes a line unreadable, because it may say that less is banned.

use ipnet::IpNet;
use serde::Deserialize;
use serde::Serialize;

use super::AllowKind;
use super::SavedAllow;
use super::SavedEntry;
use super::SavedList;
use crate::ban::Ban;
use crate::ban::BanDirection;
use crate::ban::BanOrigin;
use crate::ban::BanScope;
use crate::ban::BanTarget;
use crate::fingerprint::FingerprintBan;
use crate::time::Timestamp;

/// What a line holds; its JSON is `{"ban":{…}}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Record {
    Ban(BanRecord),
    List(ListRecord),
    In(EntryRecord),
    Allow(AllowRecord),
    Fingerprint(FingerprintRecord),
    End(EndRecord),
}

/// The first line, without what other versions may have in it.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) conntrack_bans: u64,
    pub(super) saved: Option<Timestamp>,
}

fn usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BanRecord {
    net: IpNet,
    #[serde(default, skip_serializing_if = "usual")]
    scope: BanScope,
    origin: BanOrigin,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "usual")]
    until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "usual")]
    reason: String,
    #[serde(default, skip_serializing_if = "usual")]
    direction: BanDirection,
    #[serde(default, skip_serializing_if = "usual")]
    dry_run: bool,
    #[serde(default, skip_serializing_if = "usual")]
    unconfirmed: bool,
    #[serde(default, skip_serializing_if = "usual")]
    hits: u64,
    #[serde(default, skip_serializing_if = "usual")]
    bytes: u64,
    #[serde(default, skip_serializing_if = "usual")]
    last_hit: Option<Timestamp>,
}

impl From<&Ban> for BanRecord {
    fn from(ban: &Ban) -> Self {
        Self {
            net: ban.target.net(),
            scope: ban.target.scope,
            origin: ban.origin.clone(),
            since: ban.since,
            until: ban.until,
            reason: ban.reason.clone(),
            direction: ban.direction,
            dry_run: ban.dry_run,
            unconfirmed: ban.unconfirmed,
            hits: ban.hits,
            bytes: ban.bytes,
            last_hit: ban.last_hit,
        }
    }
}

impl From<BanRecord> for Ban {
    fn from(record: BanRecord) -> Self {
        let target = BanTarget::new(record.net).with_scope(record.scope);
        Self {
            reason: record.reason,
            origin: record.origin,
            direction: record.direction,
            dry_run: record.dry_run,
            until: record.until,
            unconfirmed: record.unconfirmed,
            hits: record.hits,
            bytes: record.bytes,
            last_hit: record.last_hit,
            ..Self::new(target, record.since)
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRecord {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "usual")]
    pub(super) source: String,
    pub(super) updated: Timestamp,
    pub(super) entries: u64,
    /// Some were lost before.
    #[serde(default, skip_serializing_if = "usual")]
    pub(super) incomplete: bool,
}

impl From<&SavedList> for ListRecord {
    fn from(list: &SavedList) -> Self {
        Self {
            name: list.name.clone(),
            source: list.source.clone(),
            updated: list.updated,
            entries: list.entries.len() as u64,
            incomplete: !list.complete,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryRecord {
    pub(super) list: String,
    net: IpNet,
    #[serde(default, skip_serializing_if = "usual")]
    scope: BanScope,
    #[serde(default, skip_serializing_if = "usual")]
    except: bool,
    #[serde(default, skip_serializing_if = "usual")]
    until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "usual")]
    direction: BanDirection,
    #[serde(default, skip_serializing_if = "usual")]
    dry_run: bool,
    #[serde(default, skip_serializing_if = "usual")]
    reason: String,
}

impl EntryRecord {
    pub(super) fn new(list: &str, entry: &SavedEntry) -> Self {
        Self {
            list: list.to_owned(),
            net: entry.target.net(),
            scope: entry.target.scope,
            except: entry.except,
            until: entry.until,
            direction: entry.direction,
            dry_run: entry.dry_run,
            reason: entry.reason.clone(),
        }
    }
}

impl From<EntryRecord> for SavedEntry {
    fn from(record: EntryRecord) -> Self {
        Self {
            target: BanTarget::new(record.net).with_scope(record.scope),
            except: record.except,
            until: record.until,
            direction: record.direction,
            dry_run: record.dry_run,
            reason: record.reason,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowRecord {
    net: IpNet,
    kind: AllowKind,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "usual")]
    until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "usual")]
    reason: String,
}

impl From<&SavedAllow> for AllowRecord {
    fn from(allow: &SavedAllow) -> Self {
        Self {
            net: allow.net.trunc(),
            kind: allow.kind,
            since: allow.since,
            until: allow.until,
            reason: allow.reason.clone(),
        }
    }
}

impl From<AllowRecord> for SavedAllow {
    fn from(record: AllowRecord) -> Self {
        Self {
            net: record.net.trunc(),
            kind: record.kind,
            since: record.since,
            until: record.until,
            reason: record.reason,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FingerprintRecord {
    pattern: String,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "usual")]
    until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "usual")]
    dry_run: bool,
}

impl From<&FingerprintBan> for FingerprintRecord {
    fn from(ban: &FingerprintBan) -> Self {
        Self {
            pattern: ban.pattern.clone(),
            since: ban.since,
            until: ban.until,
            dry_run: ban.dry_run,
        }
    }
}

impl From<FingerprintRecord> for FingerprintBan {
    fn from(record: FingerprintRecord) -> Self {
        Self {
            dry_run: record.dry_run,
            ..Self::new(record.pattern, record.since, record.until)
        }
    }
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndRecord {
    /// Lines between the first and this one.
    pub(super) records: u64,
    /// The CRC-32 of all lines before this one.
    pub(super) crc: u32,
}
