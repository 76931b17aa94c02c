//! The branch-free searches of a bucket against naive ones.

use conntrack_native::pure;
use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert_eq;
use proptest::prop_assume;
use proptest::prop_oneof;
use proptest::proptest;

/// The slots for which `is` holds, one bit each; the sixteenth tag is no slot's.
fn naive(tags: &[u16; 16], is: impl Fn(u16) -> bool) -> u32 {
    (0..15)
        .filter(|&slot| is(tags[slot]))
        .map(|slot| 1 << slot)
        .sum()
}

/// Lines of tags in which equal, empty and neighbouring tags abound: a borrow
/// between lanes shows where one tag differs from the sought one by 1.
fn lines() -> impl Strategy<Value = ([u16; 16], u16)> {
    any::<u16>().prop_flat_map(|tag| {
        let one = prop_oneof![
            Just(tag),
            Just(tag ^ 1),
            Just(tag ^ 0x8000),
            Just(tag.wrapping_add(1)),
            Just(0),
            Just(1),
            Just(0x7fff),
            Just(0x8000),
            Just(0xffff),
            any::<u16>(),
        ];
        vec(one, 16).prop_map(move |line| {
            let mut tags = [0; 16];
            tags[..15].copy_from_slice(&line[..15]);
            (tags, tag)
        })
    })
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4_000))]

    /// No slot with the tag is missed. One that has not the tag may be named
    /// only above, in the same quad, of one that has, and only if it differs
    /// from it in the lowest bit: rare enough to cost nothing.
    #[test]
    fn every_slot_with_the_tag_is_found((tags, tag) in lines()) {
        prop_assume!(tag != 0);
        let found = pure::tagged(&tags, tag);
        let want = naive(&tags, |t| t == tag);
        prop_assert_eq!(found & want, want, "missed");
        prop_assert_eq!(found >> 15, 0, "the sixteenth tag is no slot's");
        for (slot, &named) in tags.iter().enumerate().take(15) {
            if (found & !want) >> slot & 1 == 1 {
                let below = want & ((1 << slot) - 1) & (0xf << (slot / 4 * 4));
                prop_assert_eq!(named, tag ^ 1, "slot {}", slot);
                prop_assert_eq!(below != 0, true, "slot {} with nothing below", slot);
            }
        }
    }

    #[test]
    fn the_empty_slots_are_found_exactly((tags, _) in lines()) {
        prop_assert_eq!(pure::untagged(&tags), naive(&tags, |t| t == 0));
    }
}

/// Every pattern of matches, with two kinds of strangers in between.
#[test]
fn every_pattern_of_slots_is_found() {
    for pattern in 0..1_u32 << 15 {
        for stranger in [0x1234_u16, 0] {
            let mut tags = [stranger; 16];
            let mut holes = [0x8001_u16; 16];
            tags[15] = 0;
            for slot in (0..15).filter(|slot| pattern >> slot & 1 == 1) {
                tags[slot] = 0xbeef;
                holes[slot] = 0;
            }
            assert_eq!(pure::tagged(&tags, 0xbeef), pattern);
            assert_eq!(pure::untagged(&holes), pattern);
        }
    }
}

#[test]
fn lowest_and_bits_are_right_for_all_sixteen_bit_numbers() {
    assert_eq!(pure::lowest(0), 0);
    for n in 0..1_u32 << 16 {
        if n != 0 {
            assert_eq!(pure::lowest(n), n.trailing_zeros(), "{n:#06x}");
        }
        assert_eq!(pure::bits(n), n.count_ones(), "{n:#06x}");
    }
}
