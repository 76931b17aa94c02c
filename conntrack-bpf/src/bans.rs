//! Bans in the kernel: put in, taken out, read. Who may change them, and whether it
//! would cut off somebody, is the instance's matter.

mod claims;
mod codec;
mod entries;
mod lists;
mod saved;
mod walk;

use std::time::Duration;

use conntrack_core::Ban;
use conntrack_core::BanDirection;
use conntrack_core::BanOrigin;
use conntrack_core::BanScope;
use conntrack_core::BanSpec;
use conntrack_core::BanTarget;
use conntrack_core::Timestamp;
use ipnet::IpNet;

use self::codec::decode;
use self::codec::hash_of;
use self::codec::key_of;
pub(crate) use self::codec::net_key;
pub(crate) use self::codec::net_of;
use self::codec::number_of;
use self::codec::senseless;
pub use self::lists::BanList;
pub use self::lists::ListReport;
pub use self::lists::ListSpec;
pub use self::lists::Listed;
use self::lists::Names;
pub(crate) use self::saved::to_load;
pub use self::walk::Walk;
use crate::clock::Civil;
use crate::clock::nanos;
use crate::datapath::Maps;
use crate::defines::BAN_BOTH;
use crate::defines::BAN_DRY_RUN;
use crate::defines::BAN_UNCONFIRMED;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::hash;
use crate::hash::Hash;
use crate::notes::Notes;
use crate::policy::Kind;
use crate::policy::Policy;
use crate::wire::ct_ban;
use crate::wire::ct_ban_key;

/// A ban of an event, which has no part of lists.
pub(crate) fn told(maps: &Maps, key: &ct_ban_key, value: &ct_ban) -> Result<Ban> {
    let reason = Notes::of(maps).get(value.note)?;
    decode(key, value, reason, &Names::default(), &Civil::now()?)
}

/// The key and the value of a ban, as an event has them.
pub(crate) fn to_tell(maps: &Maps, ban: &Ban) -> Result<(ct_ban_key, ct_ban)> {
    let civil = Civil::now()?;
    let flag = |on: bool, bit: u16| if on { bit } else { 0 };
    let ago = |then: Timestamp| nanos(civil.civil.since(then));
    let value = ct_ban {
        until: ban
            .ttl
            .map_or(0, |ttl| civil.boot.saturating_add(nanos(ttl))),
        since: ban.since.0.cast_unsigned(),
        hits: ban.hits,
        bytes: ban.bytes,
        last: ban
            .last_hit
            .map_or(0, |hit| civil.mono.saturating_sub(ago(hit))),
        note: Notes::of(maps).put(&ban.reason)?,
        flags: flag(ban.dry_run, BAN_DRY_RUN)
            | flag(ban.direction == BanDirection::Both, BAN_BOTH)
            | flag(ban.unconfirmed, BAN_UNCONFIRMED),
        origin: number_of(&ban.origin),
        ..ct_ban::default()
    };
    Ok((key_of(&ban.target), value))
}

/// What became of a wish to end a ban.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Unbanned {
    /// The bans that were in force and are no more.
    pub removed: Vec<Ban>,
    /// A ban of a larger network that drops it still.
    pub covered: Option<Ban>,
}

/// The bans of a data path, for whoever is alone in changing them.
#[derive(Debug)]
pub struct Bans<'a> {
    maps: &'a Maps,
    policy: Policy,
    civil: Civil,
}

impl<'a> Bans<'a> {
    /// Maps what packets ask first.
    ///
    /// # Errors
    /// The kernel refuses, or does not know a clock.
    pub fn of(maps: &'a Maps) -> Result<Self> {
        Ok(Self {
            maps,
            policy: Policy::map(&maps.policy)?,
            civil: Civil::now()?,
        })
    }

    fn hash(&self) -> Hash<'a, ct_ban_key, ct_ban> {
        hash_of(self.maps)
    }

    /// Puts a ban in, or changes the one there is; its counts go on then.
    ///
    /// # Errors
    /// `InUse` if it is to be confirmed and there is one already; `Invalid` for a
    /// text or a time that cannot be one; `Other` if the map is full.
    pub fn put(&self, spec: &BanSpec) -> Result<Ban> {
        check(spec)?;
        let (key, net) = (key_of(&spec.target), spec.target.net());
        let old = self.get(&key)?;
        let lives = old.filter(|old| !self.is_over(old));
        if spec.confirm.is_some() && lives.is_some() {
            let message = format!("{} is banned already: unban it first", spec.target);
            return Err(Error::new(ErrorKind::InUse, message));
        }
        let after = |time| self.after(time);
        let then = spec.ttl.map_or(0, after);
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        let value = ct_ban {
            until: spec.confirm.map_or(then, after),
            then,
            since: lives.map_or(self.civil.civil.0.cast_unsigned(), |old| old.since),
            note: Notes::of(self.maps).put(&spec.reason)?,
            flags: flag(spec.dry_run, BAN_DRY_RUN)
                | flag(spec.direction == BanDirection::Both, BAN_BOTH)
                | flag(spec.confirm.is_some(), BAN_UNCONFIRMED),
            origin: number_of(&spec.origin),
            cleared: 0,
            ..lives.unwrap_or_default()
        };
        let value = match lives.filter(|live| live.lists != 0) {
            Some(lists) => claims::beside(&lists, &value, &Names::read(self.maps)?),
            None => ct_ban { lists: 0, ..value },
        };
        self.enter(&key, &spec.target, old.as_ref(), &value)?;
        self.policy.bump(&net);
        self.ban(&key, &value)
    }

    /// When a time from now is over, by the clock of ends.
    fn after(&self, time: Duration) -> u64 {
        self.civil.boot.saturating_add(nanos(time))
    }

    /// Takes out the bans of exactly this network, with this scope or with any. What
    /// lists have of them stays, and is what covers it then.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, net: IpNet, scope: Option<BanScope>) -> Result<Unbanned> {
        let mut removed = Vec::new();
        for key in self.keys(net, scope)? {
            let value = self.get(&key)?;
            let live = value.filter(|value| !self.is_over(value));
            let own = live.filter(|live| claims::is_own(live, self.civil.boot));
            let left = match live {
                Some(live) => claims::without_own(live, &Names::read(self.maps)?),
                None => None,
            };
            match (live, left) {
                (Some(live), Some(left)) => self.change(&key, &live, &left).context("unban")?,
                _ => drop(self.take(&key)?),
            }
            if let Some(own) = own {
                removed.push(self.ban(&key, &own)?);
            }
        }
        let covered = self.cover(net, scope)?;
        Ok(Unbanned { removed, covered })
    }

    /// Takes out all of them, lists included; how many were in force.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn clear(&self) -> Result<u64> {
        self.clear_telling(|_| ())
    }

    /// The same, telling of those that were not lists' alone.
    pub(crate) fn clear_telling(&self, mut tell: impl FnMut(&Ban)) -> Result<u64> {
        let (mut removed, names) = (0, Names::read(self.maps)?);
        hash::for_each(&self.hash(), |key, value| {
            if self.take(&key)? && !self.is_over(&value) {
                removed += 1;
                if claims::is_own(&value, self.civil.boot) {
                    tell(&self.named(&key, &value, &names)?);
                }
            }
            Ok::<_, Error>(())
        })?;
        self.forget_lists()?;
        Ok(removed)
    }

    /// The keys that bans of a network may have. Those with scopes are looked for
    /// among all, if there are any.
    fn keys(&self, net: IpNet, scope: Option<BanScope>) -> Result<Vec<ct_ban_key>> {
        let target = BanTarget::new(net);
        if let Some(scope) = scope {
            return Ok(vec![key_of(&target.with_scope(scope))]);
        }
        let plain = key_of(&target);
        let mut keys = vec![plain];
        let scoped = [1, 2].into_iter().any(|scope| self.policy.has_scope(scope));
        if scoped {
            hash::for_each(&self.hash(), |key, _| {
                let same =
                    (key.family, key.prefix, key.addr) == (plain.family, plain.prefix, plain.addr);
                if same && key.proto != 0 {
                    keys.push(key);
                }
                Ok::<_, Error>(())
            })?;
        }
        Ok(keys)
    }

    /// The smallest larger network whose ban drops all of this one.
    fn cover(&self, net: IpNet, scope: Option<BanScope>) -> Result<Option<Ban>> {
        let scopes = match scope {
            None | Some(BanScope::Any) => vec![BanScope::Any],
            Some(scope) => wider(scope),
        };
        for prefix in (0..=net.prefix_len()).rev() {
            let larger = IpNet::new(net.addr(), prefix)
                .map_err(|_| senseless())?
                .trunc();
            if !self.policy.has_prefix(Kind::Ban(0), &larger) {
                continue;
            }
            for scope in &scopes {
                let key = key_of(&BanTarget::new(larger).with_scope(*scope));
                let drops = |value: &ct_ban| value.flags & BAN_DRY_RUN == 0 && !self.is_over(value);
                if let Some(value) = self.get(&key)?.filter(drops) {
                    return self.ban(&key, &value).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Confirms what waits for it; how many.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn confirm(&self) -> Result<u64> {
        let mut confirmed = 0;
        hash::for_each(&self.hash(), |key, mut value| {
            if value.flags & BAN_UNCONFIRMED != 0 && !self.is_over(&value) {
                value.until = value.then;
                value.flags &= !BAN_UNCONFIRMED;
                self.hash().put(&key, &value).context("confirm a ban")?;
                // It may have ended a moment ago, and flows have been told so.
                self.policy.bump(&net_of(&key)?);
                confirmed += 1;
            }
            Ok::<_, Error>(())
        })?;
        Ok(confirmed)
    }

    fn is_over(&self, ban: &ct_ban) -> bool {
        codec::is_over(ban, &self.civil)
    }

    fn ban(&self, key: &ct_ban_key, value: &ct_ban) -> Result<Ban> {
        self.named(key, value, &Names::read(self.maps)?)
    }

    /// The same for who has read the names of lists.
    fn named(&self, key: &ct_ban_key, value: &ct_ban, names: &Names) -> Result<Ban> {
        let reason = Notes::of(self.maps).get(value.note)?;
        decode(key, value, reason, names, &self.civil)
    }
}

fn check(spec: &BanSpec) -> Result<()> {
    let times = [spec.ttl, spec.confirm];
    if times.into_iter().flatten().any(|time| time.is_zero()) {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a ban lasts longer than no time",
        ));
    }
    match spec.origin {
        BanOrigin::Threshold | BanOrigin::List(_) => {
            let message = format!("{} is no origin of a single ban", spec.origin);
            Err(Error::new(ErrorKind::Invalid, message))
        }
        BanOrigin::Manual | BanOrigin::Api => Ok(()),
    }
}

/// A scope, and those that what it concerns is concerned by, too.
fn wider(scope: BanScope) -> Vec<BanScope> {
    let protocol = scope.protocol().map(BanScope::Protocol);
    let mut scopes: Vec<_> = [Some(scope), protocol, Some(BanScope::Any)]
        .into_iter()
        .flatten()
        .collect();
    scopes.dedup();
    scopes
}

#[cfg(test)]
mod tests;
