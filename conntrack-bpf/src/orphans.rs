//! Filters on clsact outlive their process, unlike links. Who attaches by them
//! without pins marks them with locked files; a mark that is free says that the
//! process died, and its filters go when the interface is next attached to.

use nix::errno::Errno;

use crate::bpffs;
use crate::clsact;
use crate::clsact::Way;
use crate::lock::Lock;
use crate::netlink::Netlink;
use crate::netns::NetnsId;

/// In a mark: the clsact qdisc was not there before.
const MADE: &str = "made the clsact qdisc";
const FOUND: &str = "found a clsact qdisc";

/// Marks the filters of these programs on an interface, as long as the values
/// live. Without a place for marks there are none.
pub(crate) fn mark(netns: NetnsId, ifindex: u32, programs: &[u32], made: bool) -> Vec<Lock> {
    let note = if made { MADE } else { FOUND };
    let marks = programs.iter().map(|&program| {
        let name = name(netns, ifindex, program);
        Lock::take(&bpffs::locks(), &name, note)
    });
    marks
        .filter_map(|mark| match mark {
            Ok(mark) => Some(mark),
            Err(error) => {
                tracing::debug!("filters would stay if this process died: {error:#}");
                None
            }
        })
        .collect()
}

/// Takes away what dead processes left on an interface of the calling thread's
/// namespace; true if one of them had made the clsact qdisc.
pub(crate) fn clear(netlink: &Netlink, netns: NetnsId, ifindex: u32) -> Result<bool, Errno> {
    let mut made = false;
    for way in Way::BOTH {
        for filter in clsact::filters(netlink, ifindex, way)? {
            let Some(program) = filter.program else {
                continue;
            };
            let name = name(netns, ifindex, program);
            if let Some((_mark, note)) = Lock::take_abandoned(&bpffs::locks(), &name) {
                tracing::info!("interface {ifindex}: remove a filter whose process died");
                clsact::remove(netlink, ifindex, &filter)?;
                made |= note.ends_with(MADE);
            }
        }
    }
    Ok(made)
}

/// Ids of programs are never used again until the next boot, which takes the
/// marks as well.
fn name(netns: NetnsId, ifindex: u32, program: u32) -> String {
    let inode = netns.inode;
    format!("clsact-{inode}-{ifindex}-{program}")
}
