//! TCP's options as nf_conntrack reads them: `tcp_options()` and `tcp_sack()`
//! of nf_conntrack_proto_tcp.c.

use super::packet::Options;

const END: u8 = 0;
const NOP: u8 = 1;
const SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;

/// RFC 7323's largest shift; a larger one is taken for it.
const MAX_SCALE: u8 = 14;

/// Reads the options. It stops at the end mark, at a length below two and at
/// one that overruns the header; what came before counts. Among several window
/// scales the last counts, among several SACK options the first with a block.
pub(super) fn parse(bytes: &[u8]) -> Options {
    let mut options = Options {
        some: !bytes.is_empty(),
        ..Options::default()
    };
    let mut rest = bytes;
    while let [kind, tail @ ..] = rest {
        match *kind {
            END => break,
            NOP => {
                rest = tail;
                continue;
            }
            _ => {}
        }
        let Some(&length) = tail.first() else { break };
        let length = usize::from(length);
        if length < 2 || length > rest.len() {
            break;
        }
        let (option, tail) = rest.split_at(length);
        match (*kind, &option[2..]) {
            (SCALE, [shift]) => options.scale = Some(MAX_SCALE.min(*shift)),
            (SACK_PERMITTED, []) => options.sack_permitted = true,
            (SACK, blocks) if options.edges.is_empty() && blocks.len().is_multiple_of(8) => {
                options.edges = blocks.chunks_exact(8).map(right_edge).collect();
            }
            _ => {}
        }
        rest = tail;
    }
    options
}

fn right_edge(block: &[u8]) -> u32 {
    u32::from_be_bytes([block[4], block[5], block[6], block[7]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_comes_before_what_is_broken() {
        let options = parse(&[1, 3, 3, 15, 4, 2, 3, 1, 3, 3, 5, 0]);
        assert_eq!(options.scale, Some(14));
        assert!(options.sack_permitted && options.some);
        let ended = parse(&[0, 3, 3, 7]);
        assert!(ended.some && ended.scale.is_none());
        assert_eq!(parse(&[3, 3]).scale, None);
        assert_eq!(parse(&[3]).scale, None);
        assert!(!parse(&[]).some);
    }

    #[test]
    fn the_first_sack_option_with_blocks_counts() {
        let blocks = [
            5, 2, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 9, 5, 10, 0, 0, 0, 5, 0, 0,
            0, 6,
        ];
        assert_eq!(parse(&blocks).edges, [2, 9]);
        assert!(parse(&[5, 9, 0, 0, 0, 0, 0, 0, 0]).edges.is_empty());
    }
}
