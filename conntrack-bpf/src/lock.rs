//! One process at a time changes an instance: an advisory lock on a file, which
//! the kernel gives up when its holder dies.
//!
//! Who can open a file can lock it, for as long as he likes. So nobody but its owner
//! can open these.

use std::ffi::OsString;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::Permissions;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;

use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

/// How long to wait for another process that is not going to keep the lock:
/// loading the programs takes seconds on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where the lock is kept for good, as far as can be told: its file may
/// have been a dead process's, and somebody just looked at it.
const SHORT_PATIENCE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(20);

/// What a process says that keeps the lock for all its life.
pub(crate) const FOREGROUND: &str = "foreground";

/// A held lock; dropping it gives it up and removes its file.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Flock<File>,
    /// Its folder and its name there. The path that it was found by may lead through a
    /// file descriptor that is another one's by then.
    folder: File,
    name: OsString,
}

impl Lock {
    /// Takes the lock of an instance, waiting for others to finish.
    ///
    /// # Errors
    /// `InUse`, naming the process, if one keeps the instance in the foreground
    /// or does not come to an end; `NotPermitted`.
    pub(crate) fn take(dir: &Path, instance: &str, purpose: &str) -> Result<Self> {
        make_private(dir).with_context(|| format!("create {}", dir.display()))?;
        let path = file_of(dir, instance);
        let begin = Instant::now();
        loop {
            let lock = Self::attempt(&path, purpose).map_err(|error| match error.kind() {
                ErrorKind::NotPermitted => error.context("it takes root to change an instance"),
                _ => error,
            });
            if let Some(lock) = lock? {
                return Ok(lock);
            }
            let holder = read_holder(&path);
            let stays = holder
                .as_deref()
                .is_some_and(|text| text.ends_with(FOREGROUND));
            let patience = if stays { SHORT_PATIENCE } else { PATIENCE };
            if begin.elapsed() >= patience {
                let holder = holder.unwrap_or_else(|| "another process".to_owned());
                let message = format!("instance {instance} is held by {holder}");
                return Err(Error::new(ErrorKind::InUse, message));
            }
            thread::sleep(PAUSE);
        }
    }

    /// One try; `None` if somebody else holds it.
    fn attempt(path: &Path, purpose: &str) -> Result<Option<Self>> {
        let context = || format!("open {}", path.display());
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .with_context(context)?;
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(Error::from(errno).context(context())),
        };
        // The last holder may have removed the file that we have opened.
        if !is_same(&file, path) {
            return Ok(None);
        }
        let note = format!("process {}, {purpose}", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(note.as_bytes()))
            .with_context(|| format!("write {}", path.display()))?;
        let (folder, name) = (path.parent(), path.file_name());
        let folder = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(folder.unwrap_or(Path::new(".")))
            .with_context(context)?;
        Ok(Some(Self {
            file,
            folder,
            name: name.unwrap_or_default().to_owned(),
        }))
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn take_if_free(dir: &Path, instance: &str, purpose: &str) -> Option<Self> {
        let path = file_of(dir, instance);
        Self::attempt(&path, purpose).ok().flatten()
    }

    /// Takes a lock that a dead process left behind, with what it said of
    /// itself.
    pub(crate) fn take_abandoned(dir: &Path, name: &str) -> Option<(Self, String)> {
        let path = file_of(dir, name);
        let note = read_holder(&path)?;
        let lock = Self::attempt(&path, "clearing up").ok().flatten()?;
        Some((lock, note))
    }

    /// Who holds the lock of an instance, if anybody does.
    pub(crate) fn holder(dir: &Path, instance: &str) -> Option<String> {
        let path = file_of(dir, instance);
        let file = File::open(&path).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => None,
            Err(_) => Some(read_holder(&path).unwrap_or_else(|| "another process".to_owned())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is held, so that nobody's later file is removed.
        let folder = format!("/proc/self/fd/{}", self.folder.as_raw_fd());
        let path = Path::new(&folder).join(&self.name);
        if is_same(&self.file, &path) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// A folder for its owner alone, also if there is one that is for others, too.
fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if fs::metadata(dir)?.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn file_of(dir: &Path, instance: &str) -> PathBuf {
    dir.join(format!("{instance}.lock"))
}

fn is_same(file: &File, path: &Path) -> bool {
    let key = |found: fs::Metadata| (found.dev(), found.ino());
    let here = file.metadata().map(key).ok();
    here.is_some() && here == fs::metadata(path).map(key).ok()
}

fn read_holder(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test alone.
    fn dir(name: &str) -> PathBuf {
        let name = format!("conntrack-lock-{name}-{}", std::process::id());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn one_at_a_time() {
        let dir = dir("one");
        let first = Lock::take(&dir, "a", FOREGROUND).unwrap();
        let error = Lock::take(&dir, "a", "attaching").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        let holder = Lock::holder(&dir, "a").unwrap();
        assert!(holder.contains(&std::process::id().to_string()));
        assert!(error.to_string().contains(&holder), "{error}");
        assert!(
            Lock::take(&dir, "b", "attaching").is_ok(),
            "another instance"
        );
        drop(first);
        assert_eq!(Lock::holder(&dir, "a"), None);
        assert!(
            Lock::take_abandoned(&dir, "a").is_none(),
            "no file, no lock"
        );
        fs::write(file_of(&dir, "a"), "process 0, gone").unwrap();
        let (lock, note) = Lock::take_abandoned(&dir, "a").unwrap();
        assert_eq!(note, "process 0, gone");
        assert!(Lock::take_abandoned(&dir, "a").is_none(), "held");
        drop(lock);
        drop(Lock::take(&dir, "a", "attaching").unwrap());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "no file is left");
        fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn nobody_else_can_open_it() {
        let dir = dir("private");
        DirBuilder::new().mode(0o755).create(&dir).unwrap();
        let lock = Lock::take(&dir, "a", "testing").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&file_of(&dir, "a"))), (0o700, 0o600));
        drop(lock);
        fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn many_take_turns() {
        let dir = dir("many");
        let shared = std::sync::atomic::AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let lock = Lock::take(&dir, "a", "testing").unwrap();
                        let inside = shared.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(inside, 0, "two are inside at once");
                        shared.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        fs::remove_dir(&dir).unwrap();
    }
}
