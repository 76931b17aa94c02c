//! The sketch of the packet path against the one of conntrack-core: any word, any half.

use conntrack_core::reference::sketch::Rate;
use conntrack_core::reference::sketch::cell;
use conntrack_native::pure;
use proptest::prelude::*;

/// Near the half that a rate has, mostly.
fn half_near(rate: u64) -> impl Strategy<Value = u32> {
    let own = (rate >> 40) as u32;
    prop_oneof![
        4 => (0..8_u32).prop_map(move |n| own.wrapping_add(n).wrapping_sub(4)),
        1 => any::<u32>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn rates_are_the_same(
        (word, half, other) in any::<u64>()
            .prop_flat_map(|word| (Just(word), half_near(word), half_near(word)))
    ) {
        let rate = Rate::from_word(word);
        prop_assert_eq!(rate.word(), word);
        prop_assert_eq!(pure::rate_sum(word), rate.sum());
        prop_assert_eq!(pure::rate_at(word, half), rate.at(half).word());
        prop_assert_eq!(pure::rate_more(word), rate.more().word());
        let now = rate.at(half);
        prop_assert_eq!(pure::rate_less(now.word(), other), now.less(other).word());
    }

    #[test]
    fn cells_are_the_same_and_in_their_row(
        hash in any::<u64>(), row in 0..8_u32, bits in 10..=24_u32
    ) {
        let width = 1 << bits;
        let index = cell(hash, row, width);
        prop_assert_eq!(pure::sketch_cell(hash, row, width), index);
        prop_assert_eq!(index / width, row);
    }
}
