//! What pins are called, in the directory of an instance.

use std::ffi::OsStr;
use std::path::Path;

use crate::datapath::MAP_NAMES;
use crate::datapath::NEXT_NAMES;
use crate::programs::Entry;
use crate::programs::PROGRAM_NAMES;

/// Between the name of a program and its id, in pins that stand beside. bpffs
/// refuses dots.
pub(super) const BESIDE: char = '@';

/// Whether a pin of ours may have this name.
pub(super) fn is_pin(name: &str) -> bool {
    match name.split_once('_') {
        Some(("map", map)) => MAP_NAMES.contains(&map) || NEXT_NAMES.contains(&map),
        Some(("prog", program)) => match program.split_once(BESIDE) {
            Some((program, id)) => PROGRAM_NAMES.contains(&program) && is_number(id),
            None => PROGRAM_NAMES.contains(&program),
        },
        Some(("link", link)) => link
            .split_once('_')
            .is_some_and(|(ifindex, side)| is_number(ifindex) && Entry::of_side(side).is_some()),
        _ => false,
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

/// Whether a program's pin is not the one it is opened by.
pub(super) fn is_beside(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.contains(BESIDE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_pins() {
        for name in [
            "map_meta",
            "map_table4",
            "map_next6",
            "prog_ct_xdp",
            "prog_ct_xdp@17",
            "link_2_egress",
        ] {
            assert!(is_pin(name), "{name}");
        }
        for name in [
            "",
            "map_",
            "map_other",
            "maps",
            "prog_xdp",
            "prog_ct_xdp@",
            "prog_ct_xdp@x",
            "prog_xdp@17",
            "map_meta@17",
            "link_xdp",
            "link__xdp",
            "link_+2_xdp",
            "link_2_both",
            "link_99999999999_xdp",
            "link_2_xdp_",
            "Map_meta",
        ] {
            assert!(!is_pin(name), "{name}");
        }
    }
}
