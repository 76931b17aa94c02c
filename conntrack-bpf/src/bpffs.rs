//! Where bpffs is, so that every process finds the same pins. `ip netns exec`,
//! containers and chroots have a `/sys` of their own; so bpffs is looked for in
//! the view of process 1 first, then of this process's ancestors, the eldest
//! first (process 1 may be closed to us), and in its own last.

use std::fs;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
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
const LOCKS: &str = "run/conntrack";

/// A mounted bpffs.
#[derive(Clone, Debug)]
pub(crate) struct Bpffs {
    /// Root of the view that it is in. Held open: the process whose view it was
    /// may end.
    root: Arc<File>,
}

impl Bpffs {
    /// The mounted one; `None` if there is none.
    pub(crate) fn find() -> Option<Self> {
        let processes = eldest_first();
        let views = processes
            .iter()
            .map(|pid| PathBuf::from(format!("/proc/{pid}/root")));
        views
            .chain([PathBuf::from("/")])
            .find(|view| is_bpffs(&view.join(MOUNT_POINT)))
            .and_then(|view| Self::in_view(&view))
    }

    /// The mounted one; if there is none, it is mounted where all will find it.
    pub(crate) fn find_or_mount() -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        let mut refusal = Error::new(ErrorKind::Other, "no process's view is open to us");
        let processes = eldest_first().into_iter();
        for pid in processes.chain([std::process::id()]) {
            let mounted = mount_in_view_of(pid);
            match (mounted, Self::find()) {
                (_, Some(found)) => return Ok(found),
                (Err(error), None) => refusal = error,
                (Ok(()), None) => {}
            }
        }
        Err(refusal.context("mount bpffs on /sys/fs/bpf"))
    }

    fn in_view(view: &Path) -> Option<Self> {
        let mut options = File::options();
        let root = options.read(true).custom_flags(libc::O_PATH).open(view);
        let root = Arc::new(root.ok()?);
        Some(Self { root })
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.path(MOUNT_POINT)
    }

    /// Where locks are: in the same view as the pins they guard.
    pub(crate) fn locks(&self) -> PathBuf {
        self.path(LOCKS)
    }

    /// By the plain path where that leads to the same place.
    fn path(&self, inside: &str) -> PathBuf {
        let plain = Path::new("/").join(inside);
        let through = PathBuf::from(format!("/proc/self/fd/{}", self.root.as_raw_fd()));
        let through = through.join(inside);
        match (identity(&plain), identity(&through)) {
            (Some(here), Some(there)) if here == there => plain,
            (None, None) if self.is_own_root() => plain,
            _ => through,
        }
    }

    fn is_own_root(&self) -> bool {
        let root = self.root.metadata();
        root.is_ok_and(|root| identity(Path::new("/")) == Some((root.dev(), root.ino())))
    }
}

/// The folder of locks. The path may lead through the view that is held open with it.
#[derive(Debug)]
pub(crate) struct Locks {
    path: PathBuf,
    _view: Option<Bpffs>,
}

impl Deref for Locks {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// Where locks are, with or without bpffs.
pub(crate) fn locks() -> Locks {
    let bpffs = Bpffs::find();
    let path = match &bpffs {
        Some(bpffs) => bpffs.locks(),
        None => Path::new("/").join(LOCKS),
    };
    Locks { path, _view: bpffs }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}

/// The ancestors of this process, from process 1 down; only those that are
/// root's, because another user's process may show us any view.
fn eldest_first() -> Vec<u32> {
    let parent = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse().ok().filter(|pid| *pid != 0)
    };
    let mut line: Vec<u32> = std::iter::successors(Some(std::process::id()), parent).collect();
    line.remove(0);
    line.reverse();
    line.retain(|pid| {
        let owner = fs::metadata(format!("/proc/{pid}"));
        owner.is_ok_and(|owner| owner.uid() == 0)
    });
    line
}

/// Mounts in another process's mount namespace; from a thread of its own, which
/// gives up the shared working directory first, as the kernel demands.
fn mount_in_view_of(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/ns/mnt");
    let namespace = File::open(&path).with_context(|| format!("open {path}"))?;
    let work = || {
        unshare(CloneFlags::CLONE_FS).context("unshare the working directory")?;
        setns(&namespace, CloneFlags::CLONE_NEWNS)
            .with_context(|| format!("enter the mount namespace of process {pid}"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_begin_with_process_1() {
        let line = eldest_first();
        assert_eq!(line.first(), Some(&1), "{line:?}");
        assert!(!line.contains(&std::process::id()));
        let parent = std::os::unix::process::parent_id();
        let is_roots = fs::metadata(format!("/proc/{parent}")).unwrap().uid() == 0;
        assert_eq!(line.contains(&parent), is_roots);
    }

    #[test]
    fn the_own_view_has_plain_paths() {
        let own = Bpffs::in_view(Path::new("/")).unwrap();
        assert_eq!(own.dir(), Path::new("/sys/fs/bpf"));
        assert_eq!(own.locks(), Path::new("/run/conntrack"));
        let other = Bpffs::in_view(&std::env::temp_dir()).unwrap();
        assert!(other.dir().starts_with("/proc/self/fd"));
        assert!(other.locks().starts_with("/proc/self/fd"));
    }
}
