//! The clsact qdisc and BPF filters on it, for kernels before tcx: listing,
//! adding, taking away. Filters outlive the process that added them.

use nix::errno::Errno;

use crate::netlink::Attrs;
use crate::netlink::Message;
use crate::netlink::Netlink;

const TCMSG: usize = 20; // struct tcmsg
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const NLM_F_CREATE: u16 = libc::NLM_F_CREATE as u16;
const NLM_F_EXCL: u16 = libc::NLM_F_EXCL as u16;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

/// Which way packets go.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub(crate) enum Way {
    Ingress,
    Egress,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }
}

/// A filter on a clsact qdisc.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Filter {
    /// Which of its two sides.
    pub(crate) way: Way,
    /// Its handle; 0 stands for the group of filters of a priority.
    pub(crate) handle: u32,
    /// Priority, upper half, and protocol, lower half.
    info: u32,
    /// `bpf`, `u32`, `flower`, …
    pub(crate) kind: String,
    /// The id of a BPF filter's program.
    pub(crate) program: Option<u32>,
}

impl Filter {
    pub(crate) fn priority(&self) -> u32 {
        self.info >> 16
    }
}

fn tcmsg(ifindex: u32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG] {
    let mut bytes = [0; TCMSG];
    for (at, field) in (4..).step_by(4).zip([ifindex, handle, parent, info]) {
        bytes[at..at + 4].copy_from_slice(&field.to_ne_bytes());
    }
    bytes
}

fn field(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?))
}

/// Whether a device has the clsact qdisc.
pub(crate) fn present(netlink: &Netlink, ifindex: u32) -> Result<bool, Errno> {
    let ask = || Message::new(libc::RTM_GETQDISC, &tcmsg(ifindex, 0, 0, 0));
    let found = netlink.dump(ask, |body| {
        let here = field(body, 4)? == ifindex && field(body, 12)? == TC_H_CLSACT;
        let kind = Attrs::new(body.get(TCMSG..)?).text(libc::TCA_KIND)?;
        (here && kind == "clsact").then_some(())
    })?;
    Ok(!found.is_empty())
}

/// Adds the clsact qdisc; false if it was there already.
pub(crate) fn create(netlink: &Netlink, ifindex: u32) -> Result<bool, Errno> {
    let fixed = tcmsg(ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0);
    let message = Message::new(libc::RTM_NEWQDISC, &fixed).text(libc::TCA_KIND, "clsact");
    match netlink.request(message, NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) if present(netlink, ifindex)? => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Takes the clsact qdisc away unless somebody has a filter on it.
pub(crate) fn remove_if_empty(netlink: &Netlink, ifindex: u32) -> Result<(), Errno> {
    for way in Way::BOTH {
        if !filters(netlink, ifindex, way)?.is_empty() {
            return Ok(());
        }
    }
    let fixed = tcmsg(ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0);
    let message = Message::new(libc::RTM_DELQDISC, &fixed).text(libc::TCA_KIND, "clsact");
    match netlink.request(message, 0) {
        Err(Errno::ENOENT | Errno::EINVAL | Errno::ENODEV) => Ok(()),
        result => result,
    }
}

/// The filters on one side of a device.
pub(crate) fn filters(netlink: &Netlink, ifindex: u32, way: Way) -> Result<Vec<Filter>, Errno> {
    let ask = || Message::new(libc::RTM_GETTFILTER, &tcmsg(ifindex, 0, way.parent(), 0));
    let found = netlink.dump(ask, |body| {
        let attrs = Attrs::new(body.get(TCMSG..)?);
        let kind = attrs.text(libc::TCA_KIND).unwrap_or_default();
        // Other kinds mean something else by the same numbers.
        let options = attrs.nested(libc::TCA_OPTIONS).filter(|_| kind == "bpf");
        let here = field(body, 4)? == ifindex && field(body, 12)? == way.parent();
        here.then_some(Filter {
            way,
            handle: field(body, 8)?,
            info: field(body, 16)?,
            kind,
            program: options.and_then(|options| options.u32(TCA_BPF_ID)),
        })
    });
    match found {
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(Vec::new()), // no clsact
        found => found,
    }
}

/// Adds a BPF filter for all protocols, before the ones that are there: the
/// kernel picks a priority that is free.
pub(crate) fn add(
    netlink: &Netlink,
    ifindex: u32,
    way: Way,
    program: i32,
    name: &str,
) -> Result<(), Errno> {
    let all_protocols = u32::from((libc::ETH_P_ALL as u16).to_be());
    let fixed = tcmsg(ifindex, 0, way.parent(), all_protocols);
    let message = with_program(&fixed, program, name);
    netlink.request(message, NLM_F_CREATE | NLM_F_EXCL)
}

/// Puts a program in the place of a filter's. Priority and handle stay, and each
/// packet meets the one program or the other. `ENOENT` if the filter is gone.
pub(crate) fn replace(
    netlink: &Netlink,
    ifindex: u32,
    filter: &Filter,
    program: i32,
    name: &str,
) -> Result<(), Errno> {
    let fixed = tcmsg(ifindex, filter.handle, filter.way.parent(), filter.info);
    netlink.request(with_program(&fixed, program, name), 0)
}

fn with_program(fixed: &[u8], program: i32, name: &str) -> Message {
    Message::new(libc::RTM_NEWTFILTER, fixed)
        .text(libc::TCA_KIND, "bpf")
        .nest(libc::TCA_OPTIONS, |options| {
            options
                .attr(TCA_BPF_FD, &program.to_ne_bytes())
                .text(TCA_BPF_NAME, name)
                .attr(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes())
        })
}

/// Takes one filter away; it is no error if it went by itself.
pub(crate) fn remove(netlink: &Netlink, ifindex: u32, filter: &Filter) -> Result<(), Errno> {
    let fixed = tcmsg(ifindex, filter.handle, filter.way.parent(), filter.info);
    let message = Message::new(libc::RTM_DELTFILTER, &fixed).text(libc::TCA_KIND, &filter.kind);
    match netlink.request(message, 0) {
        Err(Errno::ENOENT | Errno::EINVAL | Errno::ENODEV) => Ok(()),
        result => result,
    }
}

/// Takes away every filter that runs one of these programs.
pub(crate) fn remove_programs(
    netlink: &Netlink,
    ifindex: u32,
    programs: &[u32],
) -> Result<usize, Errno> {
    let mut removed = 0;
    for way in Way::BOTH {
        for filter in filters(netlink, ifindex, way)? {
            if filter.program.is_some_and(|id| programs.contains(&id)) {
                remove(netlink, ifindex, &filter)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::fd::OwnedFd;
    use std::thread;

    use nix::sched::CloneFlags;
    use nix::sched::unshare;

    use super::*;
    use crate::sys;

    fn program() -> OwnedFd {
        sys::load_trivial(libbpf_sys::BPF_PROG_TYPE_SCHED_CLS, 0).unwrap()
    }

    #[test]
    #[ignore = "root"]
    fn a_filter_is_replaced_in_its_place() {
        const LOOPBACK: u32 = 1;
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let netlink = Netlink::open().unwrap();
            assert!(create(&netlink, LOOPBACK).unwrap());
            let programs = [program(), program(), program()];
            for program in &programs[..2] {
                add(&netlink, LOOPBACK, Way::Egress, program.as_raw_fd(), "one").unwrap();
            }
            let list = || filters(&netlink, LOOPBACK, Way::Egress).unwrap();
            let mut before = list();
            before.retain(|filter| filter.handle != 0);
            let [first, second] = &before[..] else {
                panic!("{before:?}");
            };
            replace(&netlink, LOOPBACK, second, programs[2].as_raw_fd(), "two").unwrap();
            let mut after = list();
            after.retain(|filter| filter.handle != 0);
            let places = |all: &[Filter]| -> Vec<_> {
                let all = all.iter();
                all.map(|filter| (filter.handle, filter.info)).collect()
            };
            assert_eq!(places(&after), places(&before));
            assert_eq!(after[0].program, first.program, "the other one");
            assert_ne!(after[1].program, second.program);

            remove(&netlink, LOOPBACK, second).unwrap();
            let gone = replace(&netlink, LOOPBACK, second, programs[0].as_raw_fd(), "two");
            assert_eq!(gone, Err(Errno::ENOENT), "none is made anew");
        };
        thread::spawn(inside).join().unwrap();
    }
}
