//! The entries of bans in the kernel, and what is counted of them. Packets make entries as
//! well, and take over those whose time is up (`bpf/limit_ban.h`): so what is new is put in
//! only where there is nothing, and what is over is looked at once more as it is taken out.

use conntrack_core::BanTarget;
use libbpf_rs::MapCore;
use nix::errno::Errno;

use super::Bans;
use super::codec::ORIGIN_THRESHOLD;
use super::codec::kind_of;
use super::codec::target_of;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::hash;
use crate::policy::Kind;
use crate::wire::ct_ban;
use crate::wire::ct_ban_key;

/// Whether packets made it.
fn made(ban: &ct_ban) -> bool {
    ban.origin == ORIGIN_THRESHOLD
}

impl Bans<'_> {
    pub(super) fn get(&self, key: &ct_ban_key) -> Result<Option<ct_ban>> {
        self.hash().get(key).context("look at a ban")
    }

    /// Writes an entry, new or not, and that there is one.
    pub(super) fn enter(
        &self,
        key: &ct_ban_key,
        target: &BanTarget,
        there: Option<&ct_ban>,
        value: &ct_ban,
    ) -> Result<()> {
        let what = || format!("ban {target}");
        if let Some(there) = there {
            return self.change(key, there, value).with_context(what);
        }
        let (kind, net) = (Kind::Ban(kind_of(target.scope)), target.net());
        self.policy.enter(kind, &net);
        self.policy.count_made(i64::from(made(value)));
        let written = self.add(key, value);
        if !matches!(written, Ok(true)) {
            self.policy.leave(kind, &net);
            self.policy.count_made(-i64::from(made(value)));
        }
        if written.with_context(what)? {
            return Ok(());
        }
        // A packet has banned the same meanwhile.
        let there = self.get(key)?.unwrap_or_default();
        self.change(key, &there, value).with_context(what)
    }

    /// Writes another value over an entry.
    pub(super) fn change(&self, key: &ct_ban_key, there: &ct_ban, value: &ct_ban) -> Result<()> {
        self.hash().put(key, value)?;
        let more = i64::from(made(value)) - i64::from(made(there));
        self.policy.count_made(more);
        Ok(())
    }

    /// Puts in an entry, unless there is one; makes room for it if there is none. Whether
    /// it was put in.
    fn add(&self, key: &ct_ban_key, value: &ct_ban) -> Result<bool> {
        let add = || match self.hash().put_new(key, value) {
            Err(Errno::EEXIST) => Ok(false),
            added => added.map(|()| true),
        };
        match add() {
            Err(Errno::E2BIG) if self.purge_beside(u64::from(made(value)))? > 0 => Ok(add()?),
            Err(Errno::E2BIG) => {
                let room = self.maps.bans.max_entries();
                let message = format!("there are {room} bans, and room for no more");
                Err(Error::new(ErrorKind::Other, message))
            }
            other => Ok(other?),
        }
    }

    /// Takes out what is over; how many. That is done where there is no room, and now and
    /// then for the sake of packets, which may make so many and cannot do it themselves.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn purge(&self) -> Result<u64> {
        self.purge_beside(0)
    }

    /// The same where so many of packets' making are counted that are not in yet.
    fn purge_beside(&self, pending: u64) -> Result<u64> {
        let (mut purged, mut taken, mut left) = (0, 0, pending);
        let before = self.policy.made();
        hash::for_each(&self.hash(), |key, value| {
            if self.is_over(&value) && self.take_over(&key, &value)? {
                purged += 1;
                taken += u64::from(made(&value));
            } else {
                left += u64::from(made(&value));
            }
            Ok::<_, Error>(())
        })?;
        // Whoever was killed between an entry and its count is made good here.
        self.policy.mend_made(before, taken, left);
        Ok(purged)
    }

    /// The same if packets have made any, for else there is nobody whom it would help.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn purge_made(&self) -> Result<u64> {
        match self.policy.made() {
            0 => Ok(0),
            _ => self.purge(),
        }
    }

    /// Takes out an entry that is over; whether it was so still. One that a packet has
    /// taken over meanwhile goes back: for that moment it drops nothing.
    fn take_over(&self, key: &ct_ban_key, seen: &ct_ban) -> Result<bool> {
        let taken = self.hash().take(key).context("take out a ban")?;
        let Some(value) = taken else {
            return Ok(false);
        };
        // A packet that has written no more than its end finds nothing, and gives up.
        if !self.is_over(&value) && made(&value) {
            // Where it was not of packets' making before, that is counted here. If the
            // packet has done so as well, the next purge mends it.
            self.policy.count_made(i64::from(!made(seen)));
            match self.hash().put_new(key, &value) {
                Ok(()) => return Ok(false),
                // Its source was banned anew in that moment.
                Err(Errno::EEXIST) => {}
                Err(errno) => tracing::warn!("a ban was lost: {errno}"),
            }
        }
        self.left(key, &value)?;
        Ok(true)
    }

    /// Takes out an entry; whether there was one.
    pub(super) fn take(&self, key: &ct_ban_key) -> Result<bool> {
        let taken = self.hash().take(key).context("unban")?;
        taken.map_or(Ok(false), |value| self.left(key, &value).map(|()| true))
    }

    /// Counts that an entry is gone.
    fn left(&self, key: &ct_ban_key, value: &ct_ban) -> Result<()> {
        let target = target_of(key)?;
        let kind = Kind::Ban(kind_of(target.scope));
        self.policy.leave(kind, &target.net());
        self.policy.count_made(-i64::from(made(value)));
        Ok(())
    }
}
