//! What the programs that know two tables cost the verifier; `tests/verifier.rs` has the
//! others, and why.

use conntrack_core::Config;
use libbpf_rs::query::ProgInfoIter;

use super::*;
use crate::records::Phase;

/// What a program that sees packets may cost, in instructions that the verifier walks
/// through, where it knows two tables: 462,000 on 6.18, 423,000 on 7.3 (clang 14). 6.1
/// walks through a third more of the others.
const TWO_TABLES: u32 = 750_000;
/// The same for the sweep and for removal by command.
const OTHERS: u32 = 200_000;
/// The same for what moves flows from one table into the other: 68,000 on 6.18.
const EVACUATE: u32 = 150_000;

fn walked(program: &ProgramHandle) -> u32 {
    let mut all = ProgInfoIter::default();
    let info = all.find(|info| info.id == program.id());
    info.expect("a loaded program").verified_insns
}

#[test]
#[ignore = "root"]
fn programs_that_know_two_tables_stay_below_their_ceilings() {
    let mut config = Config::default();
    config.table.max_flows = 1000;
    let options = LoadOptions::new(&config).entries(&[]);
    let datapath = Datapath::load(&options).expect("load");
    let (now, maps) = (&datapath.meta, &datapath.maps);
    // Both tables are replaced, or one of them.
    for [next_buckets4, next_buckets6] in [[200, 100], [200, 0], [0, 100]] {
        let meta = Meta {
            phase: Phase::Prepare,
            next_buckets4,
            next_buckets6,
            next_flows4: 1000,
            next_flows6: 1000,
            ..now.clone()
        };
        let (_, maps) = next_anew(maps, &meta, &[]).expect("load and make the tables");
        let made = [&maps.next4, &maps.next6].map(Option::is_some);
        assert_eq!(made, [next_buckets4 != 0, next_buckets6 != 0]);
        for creates in [Creates::InOld, Creates::InNew] {
            let programs = upon_both(&maps, &meta, &Entry::ALL, creates).expect("load");
            assert_eq!(programs.evacuate.is_some(), creates == Creates::InNew);
            let evacuate = programs.evacuate.as_ref();
            let evacuate = evacuate.map(|program| ("ct_evacuate_some", program));
            for (name, program) in programs.named().chain(evacuate) {
                let walked = walked(program);
                println!("{next_buckets4} {next_buckets6} {creates:?}, {name}: {walked}");
                let ceiling = match name {
                    "ct_sweep_start" | "ct_remove" => OTHERS,
                    "ct_evacuate_some" => EVACUATE,
                    _ => TWO_TABLES,
                };
                assert!(
                    (1..=ceiling).contains(&walked),
                    "{creates:?}, {name}: {walked} instructions, {ceiling} are allowed"
                );
            }
        }
    }
}
