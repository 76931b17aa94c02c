//! Lists what the kernel has loaded of ours, whoever holds it: a line "program ID
//! NAME" for each program called `ct_…`, and "link ID of program ID NAME" for
//! each link of one. Takes root. `scripts/leftovers.sh` asks it before and after
//! the tests.

use std::collections::BTreeMap;
use std::process::ExitCode;

use libbpf_rs::query::LinkInfoIter;
use libbpf_rs::query::ProgInfoIter;
use nix::unistd::geteuid;

fn main() -> ExitCode {
    // Without root there seems to be nothing.
    if !geteuid().is_root() {
        eprintln!("loaded: it takes root");
        return ExitCode::FAILURE;
    }
    let programs =
        ProgInfoIter::default().map(|it| (it.id, it.name.to_string_lossy().into_owned()));
    let ours: BTreeMap<u32, String> = programs
        .filter(|(_, name)| name.starts_with("ct_"))
        .collect();
    for (id, name) in &ours {
        println!("program {id} {name}");
    }
    for link in LinkInfoIter::default() {
        if let Some(name) = ours.get(&link.prog_id) {
            println!("link {} of program {} {name}", link.id, link.prog_id);
        }
    }
    ExitCode::SUCCESS
}
