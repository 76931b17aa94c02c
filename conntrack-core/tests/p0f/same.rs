//! The reference and p0f itself.

use crate::compare;
use crate::probe::Probe;

#[test]
fn the_same_as_p0f_but_for_what_has_its_reason() {
    compare::check(|probes| probes.iter().map(Probe::record).collect());
}
