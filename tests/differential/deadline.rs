//! Moments from which on a flow is treated otherwise. The clocks of the two
//! trackers are not one, so there, and nowhere else, a packet may be early to one
//! and late to the other.

use std::time::Duration;
use std::time::Instant;

use conntrack_core::Flow;
use conntrack_core::Protocol;

/// How far from such a moment the two may disagree. nf_conntrack's clock is the
/// jiffy, 10 ms at most, and so is that of our ordinary packets; one end of the
/// time is behind a packet, one before it, and the machine may do something else
/// in between. Far less than the second that would hide a wrong timeout.
const SKEW: Duration = Duration::from_millis(100);

/// From this age on a packet makes a stream of a UDP flow that was answered.
const STREAM: Duration = Duration::from_secs(2);

/// The moments of one flow, which was read `now`, at `civil` nanoseconds since
/// 1970.
pub(crate) fn of(flow: &Flow, now: Instant, civil: i64) -> Vec<Instant> {
    let mut moments = vec![now + flow.timeout];
    if matches!(flow.protocol, Protocol::UDP | Protocol::UDPLITE) {
        let age = Duration::from_nanos((civil - flow.start.0).max(0).cast_unsigned());
        moments.extend(STREAM.checked_sub(age).map(|rest| now + rest));
    }
    moments
}

/// Whether one of them is within a time that began at `from` and ends at `to`.
pub(crate) fn within(moments: &[Instant], from: Instant, to: Instant) -> bool {
    moments
        .iter()
        .any(|moment| *moment + SKEW >= from && *moment <= to + SKEW)
}

#[test]
fn only_a_moment_that_is_near_counts() {
    let now = Instant::now();
    let at = |millis| now + Duration::from_millis(millis);
    for (moment, near) in [
        (1000, false),
        (1850, false),
        (1950, true),
        (2300, true),
        (2650, true),
        (2750, false),
    ] {
        assert_eq!(within(&[at(moment)], at(2000), at(2600)), near, "{moment}");
    }
}
