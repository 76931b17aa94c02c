//! Flows taken out by command: those with a name, those that meet a filter, or
//! all. The tables are mapped for reading only; `ct_remove`, a program in the
//! kernel, does it (`bpf/remove.h`).

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use conntrack_core::Ban;
use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;
use nix::errno::Errno;

use crate::bans;
use crate::clock::Clock;
use crate::datapath::Datapath;
use crate::defines::REMOVE_BUCKETS;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::table::Spot;
use crate::table::Tables;
use crate::wire::ct_event_type;
use crate::wire::ct_removal;
use crate::wire::ct_remove_what;

/// How often a flow is looked up that goes and comes while it is deleted.
const TRIES: usize = 16;

/// Takes out the flow that was read at this spot, unless it is gone, or another
/// is there by now. Whether it did.
///
/// # Errors
/// The kernel refuses for lack of privileges.
pub fn one(datapath: &Datapath, spot: &Spot) -> Result<bool> {
    let mut order = ct_removal {
        word: spot.word,
        start: spot.start,
        what: ct_remove_what::CT_REMOVE_ONE.0,
        v6: v6(spot.family),
        table: spot.table,
        bucket: spot.bucket,
        slot: spot.slot,
        ..ct_removal::default()
    };
    run(datapath, &mut order)?;
    Ok(order.removed != 0)
}

/// Takes out the flow with this name. Whether there was one.
///
/// # Errors
/// As [`one`]; its slot holds what the packet path never writes.
pub fn named(datapath: &Datapath, tables: &Tables, name: &FlowKey, clock: &Clock) -> Result<bool> {
    for _ in 0..TRIES {
        match tables.locate(name, clock)? {
            None => return Ok(false),
            Some((_, spot)) if one(datapath, &spot)? => return Ok(true),
            Some(_) => {}
        }
    }
    let message = format!("the flow {name} keeps changing");
    Err(Error::new(ErrorKind::Other, message))
}

/// Takes out the flows that meet the filter when they are read; how many.
///
/// # Errors
/// As [`one`]. A row that makes no sense does not end it, and is the error then.
pub fn matching(
    datapath: &Datapath,
    tables: &Tables,
    filter: FlowFilter,
    clock: Clock,
) -> Result<u64> {
    let mut walk = tables.walk(filter, clock);
    let (mut removed, mut senseless) = (0, None);
    while let Some(found) = walk.next_found() {
        match found {
            Ok((flow, spot)) => {
                let done = one(datapath, &spot)? || moved(datapath, tables, &flow, &spot, &clock)?;
                removed += u64::from(done);
            }
            Err(error) => senseless = Some(error),
        }
    }
    match senseless {
        Some(error) => Err(error.context(format!("after {removed} flows were deleted"))),
        None => Ok(removed),
    }
}

/// Takes out a flow that has moved to another table since it was read at this spot;
/// whether it had.
fn moved(
    datapath: &Datapath,
    tables: &Tables,
    flow: &Flow,
    spot: &Spot,
    clock: &Clock,
) -> Result<bool> {
    match tables.locate(&flow.key(), clock)? {
        Some((_, now)) if !now.same_slot(spot) && now.start == spot.start => one(datapath, &now),
        _ => Ok(false),
    }
}

/// A moment by the clock that flows begin by, the kernel's coarse one.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Moment(u64);

/// This moment, or up to a tick before it.
///
/// # Errors
/// As [`one`].
pub fn now(datapath: &Datapath) -> Result<Moment> {
    let mut now = ct_removal {
        what: ct_remove_what::CT_REMOVE_NONE.0,
        ..ct_removal::default()
    };
    run(datapath, &mut now)?;
    Ok(Moment(now.start))
}

/// Takes out every flow that began before a moment; how many. Those whose time was
/// up go, too, and are not counted.
///
/// A flow whose first packet comes later stays, if it comes more than a tick of the
/// kernel's clock later.
///
/// # Errors
/// As [`one`].
pub fn all(datapath: &Datapath, tables: &Tables, moment: Moment) -> Result<u64> {
    let mut removed = 0;
    for family in [Family::Ipv4, Family::Ipv6] {
        // The old one first, for flows move from there.
        for end in tables.buckets(family) {
            for bucket in (0..end).step_by(REMOVE_BUCKETS as usize) {
                let mut order = ct_removal {
                    start: moment.0,
                    what: ct_remove_what::CT_REMOVE_ALL.0,
                    v6: v6(family),
                    table: end,
                    bucket,
                    buckets: REMOVE_BUCKETS.min(end - bucket),
                    ..ct_removal::default()
                };
                run(datapath, &mut order)?;
                removed += u64::from(order.removed);
            }
        }
    }
    Ok(removed)
}

fn v6(family: Family) -> u32 {
    u32::from(family == Family::Ipv6)
}

/// Tells listeners of a ban that was made, or taken back. That they cannot be told changes
/// nothing about the ban.
pub(crate) fn tell(datapath: &Datapath, ban: &Ban, made: bool) {
    let kind = match made {
        true => ct_event_type::CT_EVENT_BAN,
        false => ct_event_type::CT_EVENT_UNBAN,
    };
    let told = bans::to_tell(&datapath.maps, ban).and_then(|(key, ban)| {
        let mut order = ct_removal {
            what: ct_remove_what::CT_REMOVE_TELL.0,
            slot: kind.0,
            key,
            ban,
            ..ct_removal::default()
        };
        run(datapath, &mut order)
    });
    if let Err(error) = told {
        tracing::warn!(
            "listeners are not told of the ban of {}: {error:#}",
            ban.target
        );
    }
}

/// Runs `ct_remove` on an order, which takes the answer.
fn run(datapath: &Datapath, order: &mut ct_removal) -> Result<()> {
    let mut opts = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        ctx_in: (&raw mut *order).cast_const().cast(),
        ctx_size_in: size_of::<ct_removal>() as u32,
        ..Default::default()
    };
    let program = datapath.programs.remove.as_fd();
    // SAFETY: `ctx_in` and its size are those of `order`, which is borrowed for
    // writing: the kernel writes the context back. There are no other buffers, and
    // the descriptor is open for the call.
    let status = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut opts) };
    if status < 0 {
        return Err(Errno::from_raw(-status)).context("run ct_remove");
    }
    match opts.retval {
        0 => Ok(()),
        _ => Err(Error::new(
            ErrorKind::AbiMismatch,
            "ct_remove does not know what it is asked for",
        )),
    }
}
