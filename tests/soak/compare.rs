//! One flow as both trackers tell it. The two tables cannot be read at one
//! instant, so ours is read before the kernel's and again after it: the kernel's
//! row has to be one of the two, or lie between them.

use crate::support::entry::Entry;

/// Nanoseconds by which both may put the creation of a flow apart: ours at its
/// first packet, the kernel's when that leaves; and clocks of different grain.
const BIRTH: u64 = 1_000_000_000;

/// What is compared, in order of weight.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) enum Field {
    OnlyOurs,
    OnlyTheirs,
    Created,
    Reply,
    State,
    SeenReply,
    Assured,
    Timeout,
    Packets,
    Bytes,
}

impl Field {
    /// For the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OnlyOurs => "only we have the flow",
            Self::OnlyTheirs => "only the kernel has it",
            Self::Created => "created",
            Self::Reply => "reply tuple",
            Self::State => "state",
            Self::SeenReply => "seen_reply",
            Self::Assured => "assured",
            Self::Timeout => "timeout",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
        }
    }
}

/// One flow in the three readings.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) before: Option<&'a Entry>,
    pub(crate) theirs: Option<&'a Entry>,
    pub(crate) after: Option<&'a Entry>,
    /// Whole seconds the three took.
    pub(crate) seconds: u64,
}

/// How a flow came out.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Outcome {
    /// Theirs equals ours, as it was before or as it was after.
    Equal,
    /// It has moved between our two readings, and theirs is on the way.
    Between(Field),
    /// Neither. A packet may have been inside the router, seen by one only.
    Differs(Field),
}

impl Rows<'_> {
    /// Compares them.
    pub(crate) fn compare(&self) -> Outcome {
        let (before, after) = (self.first(self.before), self.first(self.after));
        match (before, after) {
            (None, _) | (_, None) => Outcome::Equal,
            (Some(_), Some(field)) if self.is_between() => Outcome::Between(field),
            (Some(_), Some(field)) => Outcome::Differs(field),
        }
    }

    /// The first field in which theirs differs from this row of ours.
    fn first(&self, ours: Option<&Entry>) -> Option<Field> {
        let (ours, theirs) = match (ours, self.theirs) {
            (Some(ours), Some(theirs)) => (ours, theirs),
            (Some(_), None) => return Some(Field::OnlyOurs),
            (None, Some(_)) => return Some(Field::OnlyTheirs),
            (None, None) => return None,
        };
        let late = ours.timeout.abs_diff(theirs.timeout) > 1 + self.seconds;
        [
            (Field::Created, ours.birth.abs_diff(theirs.birth) > BIRTH),
            (Field::Reply, ours.reply != theirs.reply),
            (Field::State, ours.state != theirs.state),
            (Field::SeenReply, ours.seen_reply != theirs.seen_reply),
            (Field::Assured, ours.assured != theirs.assured),
            (Field::Timeout, late),
            (Field::Packets, ours.packets != theirs.packets),
            (Field::Bytes, ours.bytes != theirs.bytes),
        ]
        .into_iter()
        .find_map(|(field, differs)| differs.then_some(field))
    }

    /// Where both of ours say the same, theirs does. Else a flow that is never at
    /// rest would hide for ever what is wrong with it.
    fn stands(&self, before: &Entry, theirs: &Entry, after: &Entry) -> bool {
        let near = |a: &Entry, b: &Entry| a.timeout.abs_diff(b.timeout) <= 1 + self.seconds;
        (before.state != after.state || theirs.state == after.state)
            && (!near(before, after) || near(theirs, after))
    }

    /// The kernel has counted some, but not all, of the packets that came between
    /// our two readings.
    pub(crate) fn passing(&self) -> bool {
        let (Some(theirs), Some(after)) = (self.theirs, self.after) else {
            return false;
        };
        let counts = |entry: &Entry| [entry.packets, entry.bytes].concat();
        let low = self.before.map_or(vec![0; 4], counts);
        let (mid, high) = (counts(theirs), counts(after));
        let ordered = |a: &[u64], b: &[u64]| a.iter().zip(b).all(|(a, b)| a <= b);
        ordered(&low, &mid) && ordered(&mid, &high) && mid != low && mid != high
    }

    /// It passes from one to the other. Then its state and timeout may be of a
    /// moment that neither of ours shows.
    fn is_between(&self) -> bool {
        let (Some(theirs), Some(after)) = (self.theirs, self.after) else {
            return false;
        };
        let flags = |entry: &Entry| [entry.seen_reply, entry.assured];
        let raised = |a: [bool; 2], b: [bool; 2]| a.iter().zip(b).all(|(a, b)| *a <= b);
        let born = |other: &Entry| other.birth.abs_diff(theirs.birth) <= BIRTH;
        self.passing()
            && raised(self.before.map_or([false; 2], flags), flags(theirs))
            && raised(flags(theirs), flags(after))
            && self
                .before
                .is_none_or(|before| self.stands(before, theirs, after))
            && born(after)
            && self.before.is_none_or(born)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use conntrack::L4;
    use conntrack::Protocol;
    use conntrack::Tuple;

    use super::Entry;
    use super::Field;
    use super::Outcome;
    use super::Rows;

    fn tuple(src: u16, dst: u16) -> Tuple {
        let [this, that] = [[10, 0, 0, 2], [10, 0, 0, 1]].map(IpAddr::from);
        Tuple {
            src: this,
            dst: that,
            protocol: Protocol::TCP,
            l4: L4::Ports { src, dst },
        }
    }

    fn entry(packets: u64, timeout: u64) -> Entry {
        Entry {
            reply: tuple(80, 40_000),
            state: "ESTABLISHED".into(),
            seen_reply: true,
            assured: packets > 3,
            timeout,
            packets: [packets, 2],
            bytes: [packets * 100, 200],
            birth: 5_000_000_000,
        }
    }

    fn outcome(before: Option<&Entry>, theirs: Option<&Entry>, after: Option<&Entry>) -> Outcome {
        let rows = Rows {
            before,
            theirs,
            after,
            seconds: 0,
        };
        rows.compare()
    }

    #[test]
    fn a_flow_at_rest_has_to_be_equal_in_every_field() {
        let ours = entry(5, 300);
        let compare = |theirs: &Entry| outcome(Some(&ours), Some(theirs), Some(&ours));
        assert_eq!(compare(&entry(5, 301)), Outcome::Equal);
        let check = |field, change: fn(&mut Entry)| {
            let mut theirs = ours.clone();
            change(&mut theirs);
            assert_eq!(compare(&theirs), Outcome::Differs(field));
        };
        check(Field::Created, |e| e.birth += 2_000_000_000);
        check(Field::Reply, |e| e.reply = tuple(80, 40_001));
        check(Field::State, |e| e.state = "CLOSE".into());
        check(Field::SeenReply, |e| e.seen_reply = false);
        check(Field::Assured, |e| e.assured = false);
        check(Field::Timeout, |e| e.timeout -= 2);
        check(Field::Packets, |e| e.packets[1] += 1);
        check(Field::Bytes, |e| e.bytes[0] -= 1);
        let only = outcome(Some(&ours), None, Some(&ours));
        assert_eq!(only, Outcome::Differs(Field::OnlyOurs));
        assert_eq!(
            outcome(None, Some(&ours), None),
            Outcome::Differs(Field::OnlyTheirs)
        );
    }

    #[test]
    fn one_that_moves_has_to_lie_between() {
        let [low, high] = [entry(5, 300), entry(8, 432_000)];
        let compare = |theirs: &Entry| outcome(Some(&low), Some(theirs), Some(&high));
        for end in [&low, &high] {
            assert_eq!(compare(end), Outcome::Equal);
        }
        let on_the_way = Outcome::Between(Field::Timeout);
        assert_eq!(compare(&entry(6, 300)), on_the_way);
        // As many packets as after, and not what we say of them.
        assert_eq!(compare(&entry(8, 300)), Outcome::Differs(Field::Timeout));
        assert_eq!(compare(&entry(4, 300)), Outcome::Differs(Field::Timeout));
        assert_eq!(
            compare(&entry(9, 432_000)),
            Outcome::Differs(Field::Packets)
        );
        let lost_its_flag = Entry {
            assured: false,
            ..entry(6, 432_000)
        };
        assert_eq!(compare(&lost_its_flag), Outcome::Differs(Field::Assured));
    }

    #[test]
    fn one_that_never_rests_hides_nothing() {
        let [low, high] = [entry(5, 300), entry(8, 300)];
        let compare = |theirs: &Entry| outcome(Some(&low), Some(theirs), Some(&high));
        assert_eq!(compare(&entry(6, 300)), Outcome::Between(Field::Packets));
        let other_state = Entry {
            state: "CLOSE".into(),
            ..entry(6, 300)
        };
        assert_eq!(compare(&other_state), Outcome::Differs(Field::State));
        assert_eq!(compare(&entry(6, 600)), Outcome::Differs(Field::Timeout));
    }

    #[test]
    fn one_may_come_or_go_between_the_readings() {
        let it = entry(5, 300);
        for theirs in [None, Some(&it)] {
            assert_eq!(outcome(None, theirs, Some(&it)), Outcome::Equal);
            assert_eq!(outcome(Some(&it), theirs, None), Outcome::Equal);
        }
        let younger = entry(2, 432_000);
        let begun = outcome(None, Some(&younger), Some(&it));
        assert_eq!(begun, Outcome::Between(Field::Assured));
    }
}
