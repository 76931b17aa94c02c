//! The background sweep: starting it, asking for a time round, and what it has
//! done. It is a timer in the kernel; see `bpf/sweep.h`.

use std::mem::offset_of;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use conntrack_core::PressureLevel;
use conntrack_core::stats::SweepStats;
use conntrack_core::stats::SweptFlows;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;

use crate::datapath::Datapath;
use crate::datapath::Programs;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::skel::types::ct_sweeper;
use crate::testrun;

/// Starts the sweep, or lets it go on with these programs.
///
/// # Errors
/// The kernel refuses. Where it lacks `bpf_loop`, nothing is done.
pub fn start(programs: &Programs) -> Result<()> {
    run(programs, 0)
}

fn run(programs: &Programs, hurry: u32) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let Some(program) = &programs.sweep_start else {
        tracing::warn!("this kernel has no bpf_loop (Linux 5.17): nothing sweeps expired flows");
        return Ok(());
    };
    let begin = Instant::now();
    loop {
        let code = testrun::call(program.as_fd(), hurry)?;
        if code == 0 {
            return Ok(());
        }
        // Seen once in thousands of attaches. __bpf_async_init() of kernel/bpf/helpers.c
        // takes a timer's memory by bpf_map_kmalloc_nolock(), which may find the
        // allocator locked, and has none then.
        if begin.elapsed() > PATIENCE {
            let message = format!("the kernel does not start the sweep's timer ({code})");
            return Err(Error::new(ErrorKind::Other, message));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Goes round both tables at once; how many flows all sweeping took out
/// meanwhile. Each was over, and gone for readers, before.
///
/// # Errors
/// `Unsupported` where the kernel lacks `bpf_loop` (5.17); what the kernel says;
/// `Other` if the sweep makes no progress.
pub fn now(datapath: &Datapath) -> Result<u64> {
    const STUCK: Duration = Duration::from_secs(60);
    let stats = || {
        let (stats, _) = read(datapath)?.ok_or_else(|| {
            let message = "this kernel cannot sweep: it has no bpf_loop (Linux 5.17)";
            Error::new(ErrorKind::Unsupported, message)
        })?;
        Ok::<_, Error>(stats)
    };
    let before = stats()?;
    run(&datapath.programs, 1)?;
    let mut last = before;
    let mut moved = Instant::now();
    // The one that is under way, and one whole.
    while last.runs < before.runs + 2 {
        thread::sleep(Duration::from_millis(1));
        let now = stats()?;
        if now.slices != last.slices {
            moved = Instant::now();
        } else if moved.elapsed() > STUCK {
            return Err(Error::new(ErrorKind::Other, "the sweep makes no progress"));
        }
        last = now;
    }
    Ok(last.removed.total() - before.removed.total())
}

/// What it has done, and how full it finds the tables; `None` where there is no
/// sweep.
///
/// # Errors
/// What the kernel says.
pub fn read(datapath: &Datapath) -> Result<Option<(SweepStats, [PressureLevel; 2])>> {
    if datapath.programs.sweep_start.is_none() {
        return Ok(None);
    }
    let map = &datapath.maps.sweep;
    let value = map
        .lookup(&[0; 4], MapFlags::ANY)
        .context("read ct_sweep")?;
    let value = value.unwrap_or_default();
    let word = |at: usize| {
        let bytes = value.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    let stat = |index: usize| word(offset_of!(ct_sweeper, stats) + index * size_of::<u64>());
    let level = |index: usize| {
        let at = offset_of!(ct_sweeper, pressure) + index * size_of::<u32>();
        let byte = value.get(at).copied().unwrap_or(0);
        PressureLevel::from_index(byte).unwrap_or_default()
    };
    let stats = SweepStats {
        runs: stat(0),
        slices: stat(1),
        scanned: stat(2),
        removed: SweptFlows {
            timeout: stat(3),
            fin: stat(4),
            rst: stat(5),
        },
        time_ns: stat(6),
        worst_slice_ns: stat(7),
        last_round_ns: stat(8),
    };
    Ok(Some((stats, [level(0), level(1)])))
}
