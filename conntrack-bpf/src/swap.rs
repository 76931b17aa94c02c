//! Puts other programs in the place of those that run. Each packet meets the one
//! or the other: none passes in between, none meets two. Both work upon the same
//! maps, so the hooks may change one after the other.
//!
//! Whatever may sit on a hook is pinned at every moment: a process that is killed
//! on the way leaves an instance that runs on, with old programs on some hooks and
//! new ones on others, all of them known by their pins. The next swap puts its own
//! everywhere.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use libbpf_rs::ProgramHandle;
use nix::errno::Errno;

use crate::attach::Attachment;
use crate::clsact;
use crate::clsact::Filter;
use crate::clsact::Way;
use crate::datapath::Datapath;
use crate::datapath::Entry;
use crate::datapath::Programs;
use crate::error::Context;
use crate::error::Result;
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::pins::PinDir;
use crate::records::AttachRecord;
use crate::shape;
use crate::sweep;
use crate::sys;
use crate::teardown;

/// Where an instance's programs are. Who hands it over holds the instance's lock.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// `None` if the namespace is gone, and the hooks with it.
    pub(crate) netns: Option<&'a Netns>,
    /// Its pins, if it has any.
    pub(crate) dir: Option<&'a PinDir>,
    /// What this process holds itself.
    pub(crate) attachments: &'a mut BTreeMap<u32, Attachment>,
    /// The ids of all programs that may be on a hook of it.
    pub(crate) known: Vec<u32>,
}

/// A hook with a program of ours.
#[derive(Debug)]
enum Place {
    Link {
        name: String,
        entry: Entry,
        link: OwnedFd,
    },
    Filter {
        ifindex: u32,
        filter: Filter,
    },
}

/// Puts the programs of `new` on every hook, lets the sweep go on with them,
/// writes the record of `new`, and gives them the pins. Nothing else of `new` is
/// written or pinned.
///
/// # Errors
/// What the kernel refuses; then the programs of `old` are back. `AbiMismatch`,
/// with nothing changed, if a link holds a program that is not ours.
pub(crate) fn swap(site: Site<'_>, old: &Datapath, new: &Datapath) -> Result<()> {
    let places = site.places(old)?;
    if let Some(dir) = site.dir {
        let pinned = dir.pin_beside(&new.programs);
        pinned.inspect_err(|_| unpin(dir, new))?;
    }
    for attachment in site.attachments.values_mut() {
        attachment.adopt(&new.programs);
    }
    let mut put = 0;
    let mut all = places.iter();
    let done = all
        .try_for_each(|place| {
            place.put(&new.programs, site.netns)?;
            put += 1;
            Ok(())
        })
        .and_then(|()| sweep::start(&new.programs))
        .and_then(|()| new.meta.write(&new.maps.meta));
    match (done, site.dir) {
        (Ok(()), Some(dir)) => dir.promote(&new.programs),
        (Ok(()), None) => Ok(()),
        (Err(error), dir) => {
            let all_back = put_back(&places[..put], old, site.netns);
            if let Some(dir) = dir.filter(|_| all_back) {
                unpin(dir, new);
            }
            Err(error)
        }
    }
}

/// Whether all could be: what is left of the new programs must keep its pins.
fn put_back(places: &[Place], old: &Datapath, netns: Option<&Netns>) -> bool {
    let places = places.iter().map(|place| place.put(&old.programs, netns));
    let results: Vec<_> = places.chain([sweep::start(&old.programs)]).collect();
    let mut all = true;
    for error in results.into_iter().filter_map(Result::err) {
        tracing::warn!("new programs stay in use: {error:#}");
        all = false;
    }
    all
}

fn unpin(dir: &PinDir, new: &Datapath) {
    if let Err(error) = dir.unpin_beside(&new.programs) {
        tracing::warn!("clean up: {error:#}");
    }
}

impl Site<'_> {
    fn places(&self, old: &Datapath) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        let pinned = self.dir.map(PinDir::links).transpose()?;
        for (path, entry, link) in pinned.into_iter().flatten() {
            let name = path.display().to_string();
            places.extend(self.link(name, entry, link.as_fd())?);
        }
        for (ifindex, attachment) in self.attachments.iter() {
            for (entry, link) in attachment.links() {
                let name = format!("the {} link of interface {ifindex}", entry.side());
                places.extend(self.link(name, entry, link)?);
            }
        }
        if let Some(netns) = self.netns {
            let mut records = AttachRecord::read_all(&old.maps.attach)?;
            records.retain(teardown::has_filters);
            for record in records {
                places.extend(netns.run(|| self.filters(record.ifindex))??);
            }
        }
        Ok(places)
    }

    /// `None` if its interface is gone.
    fn link(&self, name: String, entry: Entry, link: BorrowedFd<'_>) -> Result<Option<Place>> {
        let info = sys::link_info(link).with_context(|| format!("look at {name}"))?;
        if info.ifindex == 0 {
            return Ok(None);
        }
        if !self.known.contains(&info.program) {
            let program = info.program;
            return Err(shape::mismatch(format!(
                "{name} holds program {program}, which is not ours: nothing is changed"
            )));
        }
        let link = link.try_clone_to_owned().context("keep a link open")?;
        Ok(Some(Place::Link { name, entry, link }))
    }

    /// Ours on an interface of the calling thread's namespace.
    fn filters(&self, ifindex: u32) -> Result<Vec<Place>> {
        let netlink = Netlink::open().context("open a netlink socket")?;
        let mut places = Vec::new();
        for way in Way::BOTH {
            let mut filters = clsact::filters(&netlink, ifindex, way)
                .with_context(|| format!("list the filters of interface {ifindex}"))?;
            filters.retain(|filter| filter.program.is_some_and(|id| self.known.contains(&id)));
            let filters = filters.into_iter();
            places.extend(filters.map(|filter| Place::Filter { ifindex, filter }));
        }
        Ok(places)
    }
}

impl Place {
    /// Puts the program for this hook there. It is no error if the hook went
    /// meanwhile.
    fn put(&self, programs: &Programs, netns: Option<&Netns>) -> Result<()> {
        match self {
            Self::Link { name, entry, link } => {
                let program = programs.entry(*entry)?;
                match sys::link_update(link.as_fd(), program.as_fd()) {
                    Ok(()) | Err(Errno::ENOLINK) => Ok(()),
                    Err(errno) => Err(errno).with_context(|| format!("replace what {name} holds")),
                }
            }
            Self::Filter { ifindex, filter } => {
                let program = programs.entry(match filter.way {
                    Way::Ingress => Entry::TcIngress,
                    Way::Egress => Entry::TcEgress,
                })?;
                let replace = || replace_filter(*ifindex, filter, program);
                netns.map_or(Ok(()), |netns| netns.run(replace)?)
            }
        }
    }
}

fn replace_filter(ifindex: u32, filter: &Filter, program: &ProgramHandle) -> Result<()> {
    let netlink = Netlink::open().context("open a netlink socket")?;
    let name = program.name().to_string_lossy();
    let fd = program.as_fd().as_raw_fd();
    match clsact::replace(&netlink, ifindex, filter, fd, &name) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        Err(errno) => {
            Err(errno).with_context(|| format!("replace a filter of interface {ifindex}"))
        }
    }
}
