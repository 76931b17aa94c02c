//! Threads that each have a CPU of their own.

use std::sync::Barrier;
use std::thread;

use nix::sched::CpuSet;
use nix::sched::sched_getaffinity;
use nix::sched::sched_setaffinity;
use nix::unistd::Pid;

/// Runs `work` for thread 0 and 1 at once, each tied to a CPU.
pub(crate) fn on_two_cpus(work: impl Fn(usize) + Sync) {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("CPUs");
    let cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true));
    let cpus: Vec<_> = cpus.take(2).collect();
    assert_eq!(cpus.len(), 2, "two CPUs are needed");
    let begin = Barrier::new(2);
    thread::scope(|scope| {
        for (thread, cpu) in cpus.into_iter().enumerate() {
            let (begin, work) = (&begin, &work);
            scope.spawn(move || {
                let mut only = CpuSet::new();
                only.set(cpu).expect("a CPU");
                sched_setaffinity(Pid::from_raw(0), &only).expect("stay on a CPU");
                begin.wait();
                work(thread);
            });
        }
    });
}

/// Ties the calling thread, which is a test's own, to the CPU that it is on.
pub(crate) fn stay() {
    let cpu = nix::sched::sched_getcpu().expect("a CPU");
    let mut only = CpuSet::new();
    only.set(cpu).expect("a CPU");
    sched_setaffinity(Pid::from_raw(0), &only).expect("stay on a CPU");
}
