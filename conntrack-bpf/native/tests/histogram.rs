//! The buckets of the packet path against those of conntrack-core.

use conntrack_core::histogram::bucket_of;
use conntrack_native::pure;
use proptest::prelude::*;

const BUCKETS: u32 = 96;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50_000))]

    #[test]
    fn buckets_are_the_same(value in any::<u32>(), shift in 0..32_u32) {
        let value = value >> shift;
        prop_assert_eq!(pure::bucket_of(value), bucket_of(value, BUCKETS));
    }
}

#[test]
fn small_values_and_powers_of_two() {
    let powers = (0..32).flat_map(|log| [1_u32 << log, (1 << log) - 1, (1 << log) + 1]);
    for value in (0..10_000).chain(powers).chain([u32::MAX]) {
        assert_eq!(pure::bucket_of(value), bucket_of(value, BUCKETS), "{value}");
    }
}
