//! Where bpffs is, so that every process finds the same pins: in the view of
//! process 1 first, because `ip netns exec` and containers have a `/sys` of
//! their own.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::thread;

use nix::mount::MsFlags;
use nix::mount::mount;
use nix::sched::CloneFlags;
use nix::sched::setns;
use nix::sched::unshare;
use nix::sys::statfs::BPF_FS_MAGIC;
use nix::sys::statfs::statfs;

use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

const MOUNT_POINT: &str = "sys/fs/bpf";

/// Roots to look below, in this order.
const ROOTS: [&str; 2] = ["/proc/1/root", "/"];

/// A mounted bpffs, and the root directory of the view that it is in.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Bpffs {
    root: PathBuf,
}

impl Bpffs {
    /// The mounted one; `None` if there is none.
    pub(crate) fn find() -> Option<Self> {
        let mut roots = ROOTS.iter().map(PathBuf::from);
        let root = roots.find(|root| is_bpffs(&root.join(MOUNT_POINT)))?;
        Some(Self { root })
    }

    /// The mounted one in the view of process 1, mounted now if need be. Where
    /// that cannot be had, one in this process's own view.
    pub(crate) fn find_or_mount() -> Result<Self> {
        let first = PathBuf::from(ROOTS[0]);
        if is_bpffs(&first.join(MOUNT_POINT)) {
            return Ok(Self { root: first });
        }
        let mounted = mount_for_process_1();
        match Self::find() {
            Some(found) => Ok(found),
            None => Err(match mounted {
                Err(error) => error.context("mount bpffs on /sys/fs/bpf"),
                Ok(()) => Error::new(
                    ErrorKind::Other,
                    "bpffs was mounted on /sys/fs/bpf, but cannot be seen",
                ),
            }),
        }
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(MOUNT_POINT)
    }

    /// Where locks are: in the same view as the pins they guard.
    pub(crate) fn locks(&self) -> PathBuf {
        self.root.join("run/conntrack")
    }
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts in the mount namespace of process 1; from a thread of its own, which
/// gives up the shared working directory first, as the kernel demands.
fn mount_for_process_1() -> Result<()> {
    let namespace = fs::File::open("/proc/1/ns/mnt").context("open /proc/1/ns/mnt")?;
    let work = || {
        unshare(CloneFlags::CLONE_FS).context("unshare the working directory")?;
        setns(&namespace, CloneFlags::CLONE_NEWNS).context("enter the mount namespace")?;
        mount_bpffs()
    };
    thread::scope(|scope| {
        let worker = thread::Builder::new().spawn_scoped(scope, work);
        let worker = worker.context("start a thread to mount bpffs")?;
        worker.join().unwrap_or_else(|_| {
            let message = "the thread that mounts bpffs died";
            Err(Error::new(ErrorKind::Other, message))
        })
    })
}

fn mount_bpffs() -> Result<()> {
    let source = Some("bpf");
    mount(
        source,
        "/sys/fs/bpf",
        source,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("mode=700"),
    )
    .context("mount")
}
