//! Who has a ban: somebody by a command or a program, and any number of lists. There
//! is one entry in the kernel for all of them, which drops what any of them drops, as
//! long as any of them does; each takes its part away by itself.
//!
//! When lists end an entry at different times, or a ban beside lists is made anew, the
//! latest end that was ever said counts until the last of them is gone: what each list
//! said is not kept.

use super::codec::ORIGIN_LIST;
use crate::defines::BAN_BOTH;
use crate::defines::BAN_DRY_RUN;
use crate::defines::BAN_OWN_BOTH;
use crate::defines::BAN_OWN_DRY_RUN;
use crate::defines::BAN_UNCONFIRMED;
use crate::wire::ct_ban;

/// `BAN_DRY_RUN` and `BAN_BOTH` of a set of lists, by their bits: it counts only if all
/// do, and drops both ways if any does.
pub(super) trait Rules {
    fn flags(&self, lists: u32) -> u16;
}

/// Whether it is also, or only, somebody's who is no list.
pub(super) fn is_own(ban: &ct_ban, boot: u64) -> bool {
    let over = ban.lists != 0 && ban.then != 0 && boot >= ban.then;
    ban.origin != ORIGIN_LIST && !over
}

/// `BAN_DRY_RUN` and `BAN_BOTH` of its own part.
fn own_flags(ban: &ct_ban) -> u16 {
    if ban.lists == 0 {
        return ban.flags & (BAN_DRY_RUN | BAN_BOTH);
    }
    let flag = |bit, own| if ban.flags & bit != 0 { own } else { 0 };
    flag(BAN_OWN_DRY_RUN, BAN_DRY_RUN) | flag(BAN_OWN_BOTH, BAN_BOTH)
}

/// Sets what it does, by all that have it.
fn settle(ban: &mut ct_ban, own: Option<u16>, rules: &impl Rules) {
    let of_lists = (ban.lists != 0).then(|| rules.flags(ban.lists));
    let parts = [own, of_lists];
    let mut parts = parts.iter().flatten();
    let dry_run = parts.clone().all(|flags| flags & BAN_DRY_RUN != 0);
    let both = parts.any(|flags| flags & BAN_BOTH != 0);
    let flag = |on: bool, bit: u16| if on { bit } else { 0 };
    let beside = own.filter(|_| ban.lists != 0).unwrap_or(0);
    ban.flags = flag(dry_run, BAN_DRY_RUN)
        | flag(both, BAN_BOTH)
        | flag(beside & BAN_DRY_RUN != 0, BAN_OWN_DRY_RUN)
        | flag(beside & BAN_BOTH != 0, BAN_OWN_BOTH);
}

/// The later of two ends; 0 is for ever.
fn later(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { 0 } else { a.max(b) }
}

/// What a list, or what is nobody's yet, makes of an entry.
pub(super) struct Part {
    /// When it ends; 0 never.
    pub(super) until: u64,
    /// Its reason.
    pub(super) note: u32,
    /// The civil time now.
    pub(super) since: u64,
    /// Now, by the clock of ends.
    pub(super) boot: u64,
}

/// An entry with a list's part; `live` is the one in force. A ban that waits to be
/// confirmed is the list's from then on: it would end otherwise.
pub(super) fn join(live: Option<ct_ban>, bit: u32, part: &Part, rules: &impl Rules) -> ct_ban {
    let fresh = ct_ban {
        since: part.since,
        note: part.note,
        origin: ORIGIN_LIST,
        until: part.until,
        ..ct_ban::default()
    };
    let live = live.filter(|ban| ban.flags & BAN_UNCONFIRMED == 0);
    let Some(mut ban) = live else {
        let mut ban = fresh;
        ban.lists = bit;
        settle(&mut ban, None, rules);
        return ban;
    };
    let own = is_own(&ban, part.boot).then(|| own_flags(&ban));
    if ban.lists == 0 {
        ban.then = ban.until;
    }
    ban.until = later(ban.until, part.until);
    ban.lists |= bit;
    ban.cleared = 0;
    settle(&mut ban, own, rules);
    ban
}

/// An entry without a list's part; `None` if nothing is left of it.
pub(super) fn part_with(
    mut ban: ct_ban,
    bit: u32,
    boot: u64,
    rules: &impl Rules,
) -> Option<ct_ban> {
    let own = is_own(&ban, boot).then(|| own_flags(&ban));
    ban.lists &= !bit;
    if ban.lists == 0 {
        own?;
        (ban.until, ban.then) = (ban.then, 0);
    }
    settle(&mut ban, own, rules);
    Some(ban)
}

/// An entry of lists, in force, with a new ban's part: `own` as it would be without
/// them.
pub(super) fn beside(lists: &ct_ban, own: &ct_ban, rules: &impl Rules) -> ct_ban {
    let mut ban = *own;
    ban.lists = lists.lists;
    ban.then = own.until;
    ban.until = later(lists.until, own.until);
    settle(&mut ban, Some(own.flags & (BAN_DRY_RUN | BAN_BOTH)), rules);
    ban
}

/// What lists alone have of an entry; `None` if none has it.
pub(super) fn without_own(mut ban: ct_ban, rules: &impl Rules) -> Option<ct_ban> {
    if ban.lists == 0 {
        return None;
    }
    (ban.origin, ban.then) = (ORIGIN_LIST, 0);
    settle(&mut ban, None, rules);
    Some(ban)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// List 1 drops, 2 counts, 4 drops both ways.
    struct Three;

    impl Rules for Three {
        fn flags(&self, lists: u32) -> u16 {
            let dry = if lists & 5 == 0 { BAN_DRY_RUN } else { 0 };
            dry | if lists & 4 != 0 { BAN_BOTH } else { 0 }
        }
    }

    fn part(until: u64) -> Part {
        Part {
            until,
            note: 9,
            since: 7,
            boot: 100,
        }
    }

    fn own(until: u64, flags: u16) -> ct_ban {
        ct_ban {
            until,
            flags,
            since: 5,
            hits: 3,
            ..ct_ban::default()
        }
    }

    #[test]
    fn each_takes_its_part_away() {
        let a = join(Some(own(500, BAN_DRY_RUN)), 1, &part(0), &Three);
        assert_eq!(
            (a.until, a.then, a.lists, a.hits, a.since),
            (0, 500, 1, 3, 5)
        );
        assert_eq!(a.flags, BAN_OWN_DRY_RUN, "the list drops");
        let b = join(Some(a), 4, &part(900), &Three);
        assert_eq!(
            (b.until, b.lists, b.flags),
            (0, 5, BAN_BOTH | BAN_OWN_DRY_RUN)
        );
        let c = part_with(b, 1, 100, &Three).unwrap();
        assert_eq!((c.lists, c.flags), (4, BAN_BOTH | BAN_OWN_DRY_RUN));
        let d = part_with(c, 4, 100, &Three).unwrap();
        assert_eq!(
            (d.until, d.then, d.lists, d.flags),
            (500, 0, 0, BAN_DRY_RUN)
        );
        assert!(without_own(d, &Three).is_none());
        // Its own time is up meanwhile.
        assert!(part_with(c, 4, 500, &Three).is_none());
        assert!(is_own(&c, 499) && !is_own(&c, 500));
    }

    #[test]
    fn lists_stay_when_a_ban_is_ended() {
        let list = join(None, 2, &part(800), &Three);
        assert_eq!((list.flags, list.note, list.since), (BAN_DRY_RUN, 9, 7));
        let both = beside(&list, &own(300, BAN_BOTH), &Three);
        assert_eq!(
            (both.until, both.then, both.flags),
            (800, 300, BAN_BOTH | BAN_OWN_BOTH)
        );
        let list = without_own(both, &Three).unwrap();
        assert_eq!((list.until, list.then, list.flags), (800, 0, BAN_DRY_RUN));
        assert!(!is_own(&list, 0));
        assert!(part_with(list, 2, 0, &Three).is_none());
    }

    #[test]
    fn what_waits_to_be_confirmed_is_the_lists() {
        let waits = ct_ban {
            then: 0,
            ..own(200, BAN_UNCONFIRMED)
        };
        let list = join(Some(waits), 1, &part(0), &Three);
        assert_eq!((list.until, list.flags, list.lists), (0, 0, 1));
        assert!(!is_own(&list, 100));
    }
}
