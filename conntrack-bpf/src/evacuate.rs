//! Moving what is left of a table to the one that takes its place, by
//! `ct_evacuate_some` (`bpf/evacuate.h`); and waiting until no packet is with a program
//! that was taken off its hook.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;
use libbpf_rs::MapType;
use libbpf_rs::ProgramHandle;
use nix::errno::Errno;

use crate::clock::Clock;
use crate::defines::EVAC_BUCKETS;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::wire::ct_evacuation;

/// What became of the flows of a table that were left.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Evacuated {
    /// They have moved.
    pub(crate) moved: u64,
    /// Their time was up.
    pub(crate) ended: u64,
    /// The other table has no room for them.
    pub(crate) stay: u64,
    /// Somebody was at it.
    pub(crate) again: u64,
}

impl Evacuated {
    /// There was nothing.
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Goes once through tables with so many buckets, IPv4 and IPv6. Packets go on
/// meanwhile. One process at a time does it.
///
/// # Errors
/// The kernel refuses for lack of privileges.
pub(crate) fn once(program: &ProgramHandle, buckets: [u32; 2]) -> Result<Evacuated> {
    let clock = Clock::live()?;
    let mut sum = Evacuated::default();
    for (v6, end) in (0..).zip(buckets) {
        for bucket in (0..end).step_by(EVAC_BUCKETS as usize) {
            let mut order = ct_evacuation {
                now: clock.now(),
                v6,
                bucket,
                buckets: EVAC_BUCKETS.min(end - bucket),
                ..ct_evacuation::default()
            };
            run(program, &mut order)?;
            sum.moved += u64::from(order.moved);
            sum.ended += u64::from(order.ended);
            sum.stay += u64::from(order.stay);
            sum.again += u64::from(order.again);
        }
    }
    Ok(sum)
}

/// Runs the program on an order, which takes the answer.
fn run(program: &ProgramHandle, order: &mut ct_evacuation) -> Result<()> {
    let mut opts = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        ctx_in: (&raw mut *order).cast_const().cast(),
        ctx_size_in: size_of::<ct_evacuation>() as u32,
        ..Default::default()
    };
    let program = program.as_fd().as_raw_fd();
    // SAFETY: `ctx_in` and its size are those of `order`, which is borrowed for
    // writing: the kernel writes the context back. There are no other buffers, and
    // the descriptor is open for the call.
    let status = unsafe { libbpf_sys::bpf_prog_test_run_opts(program, &raw mut opts) };
    if status < 0 {
        return Err(Errno::from_raw(-status)).context("run ct_evacuate_some");
    }
    match opts.retval {
        0 => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Other,
            "ct_evacuate_some has no scratch",
        )),
    }
}

/// Waits until every run of a packet program that began before this call is over. The
/// kernel does so when a map within a map is replaced (`maybe_wait_bpf_programs()`);
/// membarrier(2) would not where there are `nohz_full` CPUs.
///
/// # Errors
/// The kernel refuses for lack of privileges.
pub(crate) fn wait_for_packets() -> Result<()> {
    let word = size_of::<u32>() as u32;
    let mut opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    let create = |kind, opts: &_| {
        let map = MapHandle::create(kind, Some("ct_wait"), word, word, 1, opts);
        map.context("make a map to wait with")
    };
    let inner = create(MapType::Array, &opts)?;
    let fd = inner.as_fd().as_raw_fd();
    opts.inner_map_fd = fd.cast_unsigned();
    let outer = create(MapType::ArrayOfMaps, &opts)?;
    outer
        .update(&[0; 4], &fd.to_ne_bytes(), MapFlags::ANY)
        .context("wait for packets")
}
