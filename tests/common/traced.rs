//! A process that is stopped at its system calls, to be killed before one of
//! them: every state it can leave behind can be had.

use std::fs;
use std::process::Child;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::signal::raise;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::WaitStatus;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Of the calls that change something for others.
const CALLS: [libc::c_long; 8] = [
    libc::SYS_bpf,
    libc::SYS_mount,
    libc::SYS_rename,
    libc::SYS_renameat2,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_mkdir,
    libc::SYS_sendto,
];

/// `BPF_OBJ_PIN`.
const PIN: u64 = 6;

/// Commands of `bpf` that change what others may see: elements of maps (update,
/// delete), pins, and programs on hooks (attach, detach, links).
const CHANGES: [u64; 8] = [2, 3, PIN, 8, 9, 28, 29, 34];

/// A call that is about to be made.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Call {
    number: u64,
    first: u64,
    /// It only asks for a netlink dump.
    asks: bool,
}

impl Call {
    /// It pins something in bpffs.
    pub(crate) fn pins(self) -> bool {
        self.is_bpf() && self.first == PIN
    }

    /// Before and after it, others may see something else.
    pub(crate) fn changes(self) -> bool {
        match self.is_bpf() {
            true => CHANGES.contains(&self.first),
            false => !self.asks,
        }
    }

    /// It does the same to something else.
    pub(crate) fn is_like(self, other: Self) -> bool {
        self.number == other.number && (!self.is_bpf() || self.first == other.first)
    }

    fn is_bpf(self) -> bool {
        self.number == libc::SYS_bpf as u64
    }
}

/// Lets the thread that started this process follow the calling thread; waits
/// for it.
pub(crate) fn be_traced() {
    ptrace::traceme().expect("be traced");
    raise(Signal::SIGSTOP).expect("stop");
}

/// A process one thread of which called [`be_traced`]; killed when dropped. It
/// belongs to the thread that started it.
#[derive(Debug)]
pub(crate) struct Traced {
    child: Child,
    thread: Pid,
}

impl Traced {
    /// Starts a process and waits until it is stopped.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.spawn().expect("start a process");
        let end = Instant::now() + Duration::from_secs(300);
        let thread = loop {
            if let Some(thread) = traced_thread(child.id()) {
                break thread;
            }
            assert!(Instant::now() < end, "it never stops");
            thread::sleep(Duration::from_millis(1));
        };
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("wait for it");
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(thread, options).expect("trace it");
        Self { child, thread }
    }

    /// Lets it go on to the next call that changes something; `None` at its end.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        let mut signal = None;
        loop {
            ptrace::syscall(self.thread, signal.take()).ok()?;
            match waitpid(self.thread, Some(WaitPidFlag::__WALL)).ok()? {
                WaitStatus::PtraceSyscall(_) => {
                    let call = entered(self.thread);
                    if call.is_some() {
                        return call;
                    }
                }
                WaitStatus::Stopped(_, received) => signal = Some(received),
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return None,
                _ => {}
            }
        }
    }

    /// Waits for its end; whether it ended well.
    pub(crate) fn finish(mut self) -> bool {
        while self.next_call().is_some() {}
        self.child.wait().expect("its end").success()
    }

    /// Kills it before the call that it is stopped at.
    pub(crate) fn kill(self) {}
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = waitpid(self.thread, Some(WaitPidFlag::__WALL));
        let _ = self.child.wait();
    }
}

/// The thread of a process that somebody traces.
fn traced_thread(process: u32) -> Option<Pid> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let traced = tasks.flatten().find(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let tracer = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|tracer| tracer.trim() != "0")
    });
    let number = traced?.file_name().to_str()?.parse().ok()?;
    Some(Pid::from_raw(number))
}

/// The call that a stopped thread is about to make, if it is one of [`CALLS`].
fn entered(thread: Pid) -> Option<Call> {
    let info = ptrace::syscall_info(thread).ok()?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that this is the member in use.
    let entry = unsafe { info.u.entry };
    let known = CALLS.iter().any(|&call| call as u64 == entry.nr);
    known.then(|| Call {
        number: entry.nr,
        first: entry.args[0],
        asks: entry.nr == libc::SYS_sendto as u64 && dumps(thread, entry.args[1]),
    })
}

/// Whether the netlink message at this address of a stopped thread asks for a
/// dump: length and type are before the flags.
fn dumps(thread: Pid, message: u64) -> bool {
    let head = ptrace::read(thread, message as ptrace::AddressType);
    let [.., low, high] = head.expect("read its memory").to_ne_bytes();
    let dump = libc::NLM_F_DUMP as u16;
    u16::from_ne_bytes([low, high]) & dump == dump
}
