//! The machine: CPU to run on, clock, who else is busy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sched::CpuSet;
use nix::sched::sched_getaffinity;
use nix::sched::sched_setaffinity;
use nix::time::ClockId;
use nix::time::clock_gettime;
use nix::unistd::Pid;
use nix::unistd::geteuid;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// Fails unless this process is root's.
///
/// # Errors
/// [`Error::NotRoot`].
pub fn need_root() -> Result<()> {
    if geteuid().is_root() {
        Ok(())
    } else {
        Err(Error::NotRoot)
    }
}

/// Ties this thread to the last CPU it may use, away from the interrupts that
/// the first one gets. Returns which it is.
///
/// # Errors
/// If the kernel refuses.
pub fn pin() -> Result<usize> {
    let last = cpus()?.last().copied().unwrap_or(0);
    pin_to(last)?;
    Ok(last)
}

/// Ties this thread to one CPU.
///
/// # Errors
/// If the kernel refuses.
pub fn pin_to(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu).context("name a CPU")?;
    sched_setaffinity(Pid::from_raw(0), &only).context("stay on one CPU")
}

/// The CPUs this process may use.
///
/// # Errors
/// If the kernel refuses.
pub fn cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("ask for the CPUs to run on")?;
    let all = 0..CpuSet::count();
    Ok(all.filter(|cpu| allowed.is_set(*cpu) == Ok(true)).collect())
}

/// CPU time this thread has used.
///
/// # Errors
/// If the kernel has no such clock.
pub fn thread_cpu() -> Result<Duration> {
    let time =
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("read the thread's clock")?;
    Ok(Duration::from(time))
}

/// Ticks of one line of /proc/stat.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    busy: u64,
    idle: u64,
    steal: u64,
}

/// What all CPUs did between two moments.
#[derive(Clone, Debug)]
pub struct Watch {
    cpu: usize,
    before: Vec<Ticks>,
}

/// How quiet it was while the bench ran.
#[derive(Clone, Debug, Serialize)]
pub struct Quiet {
    /// The CPU the bench ran on.
    pub cpu: usize,
    /// Part of the other CPUs' time that somebody used, 0 to 1.
    pub others_busy: f64,
    /// Part of all CPUs' time that the hypervisor gave to others, 0 to 1.
    pub stolen: f64,
}

/// Above these, figures say more of the neighbours than of the programs.
const NOISY_OTHERS: f64 = 0.10;
const NOISY_STOLEN: f64 = 0.01;

impl Quiet {
    /// Whether it was not.
    #[must_use]
    pub fn is_noisy(&self) -> bool {
        self.others_busy > NOISY_OTHERS || self.stolen > NOISY_STOLEN
    }
}

impl Watch {
    /// Begins to watch; the bench runs on `cpu`.
    ///
    /// # Errors
    /// If /proc/stat cannot be read.
    pub fn start(cpu: usize) -> Result<Self> {
        Ok(Self {
            cpu,
            before: read_ticks()?,
        })
    }

    /// What has happened since.
    ///
    /// # Errors
    /// If /proc/stat cannot be read.
    pub fn stop(&self) -> Result<Quiet> {
        let (mut others, mut all) = (Ticks::default(), Ticks::default());
        for (cpu, (now, then)) in read_ticks()?.iter().zip(&self.before).enumerate() {
            let spent = Ticks {
                busy: now.busy - then.busy,
                idle: now.idle - then.idle,
                steal: now.steal - then.steal,
            };
            all.add(spent);
            if cpu != self.cpu {
                others.add(spent);
            }
        }
        Ok(Quiet {
            cpu: self.cpu,
            others_busy: part(others.busy, others.idle),
            stolen: part(all.steal, all.busy + all.idle),
        })
    }
}

impl Ticks {
    fn add(&mut self, more: Self) {
        self.busy += more.busy;
        self.idle += more.idle;
        self.steal += more.steal;
    }
}

fn part(of: u64, rest: u64) -> f64 {
    of as f64 / (of + rest).max(1) as f64
}

/// One entry a CPU that is on, in order.
fn read_ticks() -> Result<Vec<Ticks>> {
    let text = read("/proc/stat")?;
    Ok(text.lines().filter_map(parse_ticks).collect())
}

/// `cpu1 user nice system idle iowait irq softirq steal guest guest_nice`.
fn parse_ticks(line: &str) -> Option<Ticks> {
    let (name, fields) = line.split_once(' ')?;
    name.strip_prefix("cpu")?.parse::<usize>().ok()?;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let at = |index: usize| ticks.get(index).copied().unwrap_or(0);
    Some(Ticks {
        busy: at(0) + at(1) + at(2) + at(5) + at(6),
        idle: at(3) + at(4),
        steal: at(7),
    })
}

/// What the figures were taken on.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the processor.
    pub processor: String,
    /// CPUs that are on.
    pub cpus: usize,
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If /proc cannot be read.
    pub fn read() -> Result<Self> {
        let processor = read("/proc/cpuinfo")?
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']))
            .to_owned();
        let kernel = read("/proc/sys/kernel/osrelease")?.trim().to_owned();
        Ok(Self {
            kernel,
            processor,
            cpus: read_ticks()?.len(),
        })
    }
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).context(&format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_stat_is_split_into_busy_idle_and_stolen() {
        let ticks = parse_ticks("cpu1 10 1 20 300 5 2 3 7 0 0").unwrap();
        assert_eq!((ticks.busy, ticks.idle, ticks.steal), (36, 305, 7));
    }

    #[test]
    fn the_sum_line_and_others_are_no_cpu() {
        assert!(parse_ticks("cpu  10 1 20 300 5 2 3 7 0 0").is_none());
        assert!(parse_ticks("ctxt 12345").is_none());
    }
}
