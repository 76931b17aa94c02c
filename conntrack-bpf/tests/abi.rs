//! The C side and this crate agree on what is in the maps.

use std::mem::size_of;

use conntrack_bpf::datapath::Datapath;
use conntrack_bpf::datapath::LoadOptions;
use conntrack_core::Config;
use libbpf_rs::MapCore;

/// Loads with small tables.
fn load() -> Datapath {
    let mut config = Config::default();
    config.table.max_flows = 1000;
    Datapath::load(&LoadOptions::new(&config).entries(&[])).expect("load")
}

#[test]
#[ignore = "root"]
fn tables_have_the_size_asked_for() {
    let datapath = load();
    assert_eq!(datapath.meta.buckets4, 84, "1000 / 12, rounded up");
    assert_eq!(datapath.maps.table4.max_entries(), 84);
    assert_eq!(datapath.meta.buckets6, 42);
    assert_eq!(datapath.maps.table6.max_entries(), 42);
    assert_eq!(datapath.maps.meta.key_size() as usize, size_of::<u32>());
}

#[test]
#[ignore = "root"]
fn every_instance_has_its_own_seed() {
    let seeds = [load().meta.hash_seed, load().meta.hash_seed];
    assert_ne!(seeds[0], seeds[1]);
    for seed in seeds {
        assert!(seed.iter().all(|&word| word != 0), "{seed:?}");
    }
}
