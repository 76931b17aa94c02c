//! Where the packet path notes a source, against conntrack-core.

use conntrack_core::reference::distinct::place;
use conntrack_native::pure;
use proptest::prelude::*;

/// Any hash, and some that end in many zeros, or are nothing but.
fn hash() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (any::<u64>(), 0..64_u32).prop_map(|(hash, zeros)| hash << zeros),
        (any::<u32>(), 0..33_u32).prop_map(|(low, zeros)| 1_u64 << 63 >> zeros | u64::from(low)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn places_are_the_same(hash in hash(), bits in 8..=16_u32) {
        let registers = 1 << bits;
        let (register, rank) = place(hash, registers);
        prop_assert_eq!(pure::distinct_register(hash, registers), register);
        prop_assert_eq!(pure::distinct_rank(hash) + 1, u32::from(rank));
    }

    #[test]
    fn ticks_are_never_none(now in any::<u64>()) {
        let tick = pure::distinct_tick(now);
        prop_assert!(tick != 0);
        prop_assert!(tick == (now >> 26) as u32 || (tick == 1 && (now >> 26) as u32 == 0));
    }
}
