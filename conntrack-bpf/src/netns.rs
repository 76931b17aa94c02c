//! Network namespaces: naming one, telling one from another, and doing
//! something inside one without moving the caller's thread there.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io;
use std::panic;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sched::setns;
use nix::sys::stat::fstat;
use nix::sys::statfs::NSFS_MAGIC;
use nix::sys::statfs::fstatfs;

use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

/// Which network namespace.
#[derive(Clone, Eq, PartialEq, Hash, Debug, Default)]
pub enum NetnsRef {
    /// The calling thread's.
    #[default]
    Current,
    /// One that `ip netns` knows by this name.
    Name(String),
    /// One that a file stands for, such as `/proc/1/ns/net`.
    Path(PathBuf),
    /// The one of a process.
    Pid(u32),
}

impl FromStr for NetnsRef {
    type Err = Infallible;

    /// A number is a process, a text with `/` a path, anything else a name;
    /// the empty text is the current namespace.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse::<u32>() {
            _ if text.is_empty() => Self::Current,
            Ok(pid) => Self::Pid(pid),
            Err(_) if text.contains('/') => Self::Path(PathBuf::from(text)),
            Err(_) => Self::Name(text.to_owned()),
        })
    }
}

impl fmt::Display for NetnsRef {
    /// What [`FromStr`] takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => Ok(()),
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Pid(pid) => write!(f, "{pid}"),
        }
    }
}

impl NetnsRef {
    fn candidates(&self) -> Vec<PathBuf> {
        match self {
            Self::Current => vec![PathBuf::from("/proc/thread-self/ns/net")],
            Self::Name(name) => vec![
                Path::new("/run/netns").join(name),
                Path::new("/var/run/netns").join(name),
            ],
            Self::Path(path) => vec![path.clone()],
            Self::Pid(pid) => vec![PathBuf::from(format!("/proc/{pid}/ns/net"))],
        }
    }
}

/// What tells two network namespaces apart: the inode that stands for each.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct NetnsId {
    /// Inode number.
    pub inode: u64,
    /// Device of that inode.
    pub device: u64,
}

impl NetnsId {
    fn of(file: &File) -> Result<Self> {
        let stat = fstat(file).context("look at a network namespace")?;
        Ok(Self {
            inode: stat.st_ino,
            device: stat.st_dev,
        })
    }
}

/// An open network namespace; it lives at least as long as this.
#[derive(Debug)]
pub struct Netns {
    file: File,
    id: NetnsId,
    named: NetnsRef,
}

impl Netns {
    /// Opens a namespace.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `Invalid` if the path is
    /// something else, `NotPermitted` if a process's must not be looked at.
    pub fn open(named: &NetnsRef) -> Result<Self> {
        let file = open_first(&named.candidates()).map_err(|error| missing(named, error))?;
        let is_nsfs = fstatfs(&file).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC);
        if !is_nsfs {
            let message = format!("{named} is no network namespace");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Self {
            id: NetnsId::of(&file)?,
            file,
            named: named.clone(),
        })
    }

    /// Finds a namespace by what it is, among those that have a name or a
    /// process in them; `None` if it is gone, or out of sight.
    pub fn find(id: NetnsId) -> Option<Self> {
        Self::within_sight().find(|netns| netns.id == id)
    }

    /// Every namespace that has a name or a process in it, once.
    pub(crate) fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for netns in Self::within_sight() {
            if all.iter().all(|known| known.id != netns.id) {
                all.push(netns);
            }
        }
        all
    }

    /// What `ip netns` calls a namespace, if it knows it.
    pub(crate) fn name_of(id: NetnsId) -> Option<String> {
        let path = named_files().find(|path| {
            let netns = Self::open(&NetnsRef::Path(path.clone()));
            netns.is_ok_and(|netns| netns.id == id)
        })?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    }

    fn within_sight() -> impl Iterator<Item = Self> {
        let named = named_files().map(NetnsRef::Path);
        let processes = entries(Path::new("/proc"))
            .filter_map(|entry| entry.file_name()?.to_str()?.parse::<u32>().ok())
            .map(NetnsRef::Pid);
        std::iter::once(NetnsRef::Current)
            .chain(named)
            .chain(processes)
            .filter_map(|named| Self::open(&named).ok())
    }

    /// What tells it apart.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// How it was named when opened.
    pub fn named(&self) -> &NetnsRef {
        &self.named
    }

    /// Does something in the namespace: on the calling thread if that is there
    /// already, on one of its own otherwise.
    ///
    /// # Errors
    /// `NotPermitted` if the namespace must not be entered, `Invalid` if it is
    /// a namespace of another kind.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let here = Self::open(&NetnsRef::Current);
        if here.is_ok_and(|here| here.id == self.id) {
            return Ok(work());
        }
        let enter = || {
            setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| self.no_entry(errno))?;
            Ok(work())
        };
        thread::scope(|scope| {
            let worker = thread::Builder::new()
                .name("ct-netns".to_owned())
                .spawn_scoped(scope, enter)
                .context("start a thread for a network namespace")?;
            match worker.join() {
                Ok(result) => result,
                Err(payload) => panic::resume_unwind(payload),
            }
        })
    }

    fn no_entry(&self, errno: Errno) -> Error {
        let kind = match errno {
            Errno::EINVAL => ErrorKind::Invalid,
            errno => Error::from(errno).kind(),
        };
        Error::from(errno)
            .context(format!("enter network namespace {}", self.named))
            .with_kind(kind)
    }
}

fn open_first(paths: &[PathBuf]) -> io::Result<File> {
    let mut result = Err(io::Error::from_raw_os_error(libc::ENOENT));
    for path in paths {
        result = File::open(path);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn missing(named: &NetnsRef, error: io::Error) -> Error {
    let what = match named {
        NetnsRef::Current => "the current network namespace (is /proc mounted?)".to_owned(),
        NetnsRef::Pid(pid) => format!("the network namespace of process {pid}"),
        NetnsRef::Name(_) | NetnsRef::Path(_) => format!("network namespace {named}"),
    };
    Error::from(error).context(format!("open {what}"))
}

/// What `ip netns` keeps.
fn named_files() -> impl Iterator<Item = PathBuf> {
    let folders = ["/run/netns", "/var/run/netns"];
    folders.into_iter().flat_map(|dir| entries(Path::new(dir)))
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = dir.read_dir().into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_processes() {
        let cases = [
            ("", NetnsRef::Current),
            ("blue", NetnsRef::Name("blue".into())),
            ("12", NetnsRef::Pid(12)),
            ("12a", NetnsRef::Name("12a".into())),
            (
                "/proc/1/ns/net",
                NetnsRef::Path(PathBuf::from("/proc/1/ns/net")),
            ),
        ];
        for (text, named) in cases {
            assert_eq!(text.parse(), Ok(named.clone()));
            assert_eq!(named.to_string(), text);
        }
    }

    #[test]
    fn the_current_one_is_that_of_this_process() {
        let current = Netns::open(&NetnsRef::Current).unwrap();
        let own = Netns::open(&NetnsRef::Pid(std::process::id())).unwrap();
        assert_eq!(current.id(), own.id());
        let thread = thread::current().id();
        assert_eq!(own.run(|| thread::current().id()).unwrap(), thread);
        assert_eq!(Netns::find(own.id()).unwrap().id(), own.id());
        let same = Netns::all().into_iter().filter(|it| it.id() == own.id());
        assert_eq!(same.count(), 1);
    }

    #[test]
    fn what_is_no_namespace() {
        let error = |named| Netns::open(&named).unwrap_err();
        let absent = error(NetnsRef::Name("ct-no-such-namespace".into()));
        assert_eq!(absent.kind(), ErrorKind::NotFound);
        assert!(absent.to_string().contains("ct-no-such-namespace"));
        let file = error(NetnsRef::Path(PathBuf::from("/proc/self/status")));
        assert_eq!(file.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn another_kind_of_namespace_is_refused() {
        let mount = NetnsRef::Path(PathBuf::from("/proc/self/ns/mnt"));
        let error = Netns::open(&mount).unwrap().run(|| ()).unwrap_err();
        let allowed = [ErrorKind::Invalid, ErrorKind::NotPermitted];
        assert!(allowed.contains(&error.kind()), "{error:?}");
    }
}
