//! What the programs cost the verifier. It gives up at a million instructions, and
//! a change of the C that makes it follow branches into each other gets there
//! sooner than one thinks: this notices on the way.

use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_core::Config;
use libbpf_rs::query::ProgInfoIter;

/// What a program that sees packets may cost, in instructions that the verifier
/// walks through. The kernels differ: of the largest, `ct_tc_egress`, 6.1 takes 615,000
/// and 6.18 568,000 (clang 14). Between the ceiling and the verifier's limit there must
/// be room for the next kernel to differ.
const PACKETS: u32 = 700_000;
/// The same for the sweep: 30,000 to 35,000 on all of them.
const SWEEP: u32 = 100_000;
/// The same for removal by command: 77,000 on 6.1, 50,000 on 6.18.
const REMOVE: u32 = 120_000;
fn options() -> LoadOptions {
    let mut config = Config::default();
    config.table.max_flows = 1000;
    LoadOptions::new(&config)
}

/// Everything that a plan may load: TC programs are the same in all of them.
fn variants() -> [(&'static str, LoadOptions); 4] {
    [
        ("as planned", options()),
        ("single buffer", options().single_buffer()),
        ("replay", options().replay()),
        ("replay, single buffer", options().replay().single_buffer()),
    ]
}

#[test]
#[ignore = "root"]
fn programs_stay_below_their_ceilings() {
    for (variant, options) in variants() {
        let datapath = Datapath::load(&options).expect("load");
        for (name, program) in datapath.programs.named() {
            let mut all = ProgInfoIter::default();
            let info = all.find(|info| info.id == program.id());
            let walked = info.expect("a loaded program").verified_insns;
            println!("{variant}, {name}: {walked}");
            let ceiling = match name {
                "ct_sweep_start" => SWEEP,
                "ct_remove" => REMOVE,
                _ => PACKETS,
            };
            assert!(
                (1..=ceiling).contains(&walked),
                "{variant}, {name}: {walked} instructions, {ceiling} are allowed"
            );
        }
    }
}
