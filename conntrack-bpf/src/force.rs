//! Getting rid of an instance that another version has pinned, when that version
//! is not at hand. Nothing is known of its maps, so its pins are looked at
//! instead: all of them must be what our versions pin.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;

use libbpf_rs::ProgramHandle;

use crate::defines::ABI;
use crate::error::Context;
use crate::error::Result;
use crate::instance;
use crate::pins::PinDir;
use crate::shape;
use crate::sys;
use crate::sys::BpfObject;
use crate::teardown;

/// What was taken down.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct ForcedReport {
    /// Version of the layout of its maps.
    pub layout: u32,
}

/// Detaches and unpins whatever instance has this name, also one of a version
/// whose maps have another layout, and says what there was. Its flows are gone
/// then. A clsact qdisc of another layout's instance stays, for it may be
/// somebody else's.
///
/// # Errors
/// `AbiMismatch`, with nothing changed, if one of its pins is not what our
/// versions pin: a map, a program or a link by the names `map_*`, `prog_*` and
/// `link_*`, with programs that are called `ct_*`. `NotFound` if there is none,
/// `InUse` if a process keeps it in the foreground, `Invalid`, `NotPermitted`.
pub fn force_detach(instance: &str) -> Result<Vec<ForcedReport>> {
    instance::check_name(instance)?;
    let absent = || teardown::not_attached(instance);
    let dirs = PinDir::of_all_layouts(instance);
    let _lock = dirs.first().ok_or_else(absent)?.lock("detaching")?;
    // Others may have been faster.
    let dirs = PinDir::of_all_layouts(instance);
    if dirs.is_empty() {
        return Err(absent());
    }
    let known = |dir: &PinDir| dir.layout() == ABI && dir.check_names().is_ok();
    for dir in dirs.iter().filter(|dir| !known(dir)) {
        dir.names("")?.iter().try_for_each(|path| check(path))?;
    }
    let take = |dir: &PinDir| {
        if known(dir) {
            teardown::take_down(dir)?.tell(instance);
        } else {
            dir.remove_links()?;
            teardown::remove_filters_everywhere(&dir.program_ids())?;
            dir.remove()?;
        }
        let layout = dir.layout();
        Ok(ForcedReport { layout })
    };
    let reports: Result<_> = dirs.iter().map(take).collect();
    reports.with_context(|| format!("detach instance {instance} by force"))
}

/// Whether a version of ours may have pinned this.
fn check(path: &Path) -> Result<()> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
    let kind = match name.split_once('_') {
        Some(("map", _)) => Some(BpfObject::Map),
        Some(("prog", _)) => Some(BpfObject::Program),
        Some(("link", _)) => Some(BpfObject::Link),
        _ => None,
    };
    let opened = sys::open_pin(path).ok();
    let fits = opened.is_some_and(|(object, found)| match kind {
        Some(BpfObject::Map) => found == kind,
        Some(BpfObject::Program) => found == kind && is_ours(ProgramHandle::from_pinned_path(path)),
        Some(BpfObject::Link) => {
            let program = sys::link_program(object.as_fd());
            found == kind && program.is_ok_and(|id| is_ours(ProgramHandle::from_prog_id(id)))
        }
        None => false,
    });
    if fits {
        return Ok(());
    }
    let path = path.display();
    Err(shape::mismatch(format!(
        "{path} is nothing that any version of ours pins: nothing is changed; remove it first if \
         it may go"
    )))
}

fn is_ours(program: libbpf_rs::Result<ProgramHandle>) -> bool {
    program.is_ok_and(|program| program.name().as_encoded_bytes().starts_with(b"ct_"))
}
