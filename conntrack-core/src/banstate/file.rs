//! The file itself: written so that it is never half there, read so that a damaged
//! one costs as little as possible.

use std::fmt;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufReader;
use std::io::BufWriter;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::BanState;
use super::Damage;
use super::NewerVersion;
use super::decode;
use super::encode;
use crate::time::Timestamp;

/// Only the owner reads and writes.
const MODE: u32 = 0o600;

/// What could not be done with the file.
#[derive(Debug)]
pub struct BanFileError {
    doing: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl BanFileError {
    /// The kind of the error of the system.
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for BanFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.path.display(), self.error)
    }
}

impl std::error::Error for BanFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

fn wrong(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BanFileError {
    let path = path.to_owned();
    move |error| BanFileError { doing, path, error }
}

/// How the file was found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// There was none.
    Missing,
    /// All of it was read.
    Sound,
    /// Some of it was not.
    Damaged {
        /// What is wrong with it, what was read and what is lost.
        damage: Damage,
        /// Where the damaged file is kept.
        aside: Result<PathBuf, BanFileError>,
        /// Whether what was read is in the file now. It is left as it was if it
        /// could not be kept aside.
        repaired: Result<(), BanFileError>,
    },
    /// Nothing of it was read: a newer program wrote it.
    Newer {
        /// Its version.
        version: NewerVersion,
        /// Where it is kept; it is still in its place, too.
        aside: Result<PathBuf, BanFileError>,
    },
}

impl fmt::Display for Outcome {
    /// One line for the operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aside = match self {
            Self::Missing => return f.write_str("there is no file of bans"),
            Self::Sound => return f.write_str("the file of bans is sound"),
            Self::Damaged { damage, aside, .. } => {
                write!(f, "the file of bans is damaged: {damage}")?;
                aside
            }
            Self::Newer { version, aside } => {
                write!(f, "the file of bans is not read: {version}")?;
                aside
            }
        };
        match aside {
            Ok(path) => write!(f, "; it is kept as {}", path.display())?,
            Err(error) => write!(f, "; {error}")?,
        }
        match self {
            Self::Damaged {
                aside: Ok(_),
                repaired: Err(error),
                ..
            } => write!(f, "; {error}"),
            _ => Ok(()),
        }
    }
}

/// What was loaded.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// All that is sound; ended things are still in it.
    pub state: BanState,
    /// When it was written, if that is known.
    pub saved: Option<Timestamp>,
    /// How the file was found.
    pub outcome: Outcome,
}

/// A file that keeps a state. Whoever saves or loads holds the lock of the instance:
/// of two that save at once, the state of the later one stays.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct BanFile {
    path: PathBuf,
}

impl BanFile {
    /// The file at a path; its folder exists.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file. Whenever this is interrupted, by a kill or a loss of power,
    /// the file is the old one or the new one. When it returns, the new one is on
    /// the disk.
    ///
    /// # Errors
    /// It could not be written; the old one is still there. If only the folder could
    /// not be brought to the disk, either is.
    pub fn save(&self, state: &BanState, now: Timestamp) -> Result<(), BanFileError> {
        let (temporary, file) = self.temporary()?;
        let written = write(&temporary, file, state, now).and_then(|()| {
            fs::rename(&temporary, &self.path).map_err(wrong("renaming", &temporary))
        });
        if written.is_err() {
            // Nothing needs it; a failure to remove it is the smaller one.
            let _ = fs::remove_file(&temporary);
        }
        written.and_then(|()| self.sync_folder())
    }

    /// Reads the file. If it is damaged, what is sound is given, the damaged file is
    /// kept as `NAME.damaged-TIME`, and the file has what is sound from then on; at
    /// no moment there is no file. What saves of killed processes left is removed.
    ///
    /// # Errors
    /// It is there, but cannot be opened; nothing is known of its content, and
    /// nothing was changed.
    pub fn load(&self, now: Timestamp) -> Result<Loaded, BanFileError> {
        let reading = "reading";
        let metadata = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.remove_temporaries();
                return Ok(Loaded {
                    state: BanState::default(),
                    saved: None,
                    outcome: Outcome::Missing,
                });
            }
            metadata => metadata.map_err(wrong(reading, &self.path))?,
        };
        // A pipe would be waited for.
        if !metadata.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            return Err(wrong(reading, &self.path)(error));
        }
        let file = File::open(&self.path).map_err(wrong(reading, &self.path))?;
        self.remove_temporaries();
        let decoded = match decode(BufReader::with_capacity(1 << 18, file)) {
            Ok(decoded) => decoded,
            Err(version) => {
                let aside = self.keep_aside("newer", now);
                return Ok(Loaded {
                    state: BanState::default(),
                    saved: None,
                    outcome: Outcome::Newer { version, aside },
                });
            }
        };
        let outcome = match decoded.damage {
            None => Outcome::Sound,
            Some(damage) => self.repair(damage, &decoded.state, now),
        };
        Ok(Loaded {
            state: decoded.state,
            saved: decoded.saved,
            outcome,
        })
    }

    /// Keeps a damaged file aside, then replaces it by what is sound.
    fn repair(&self, damage: Damage, state: &BanState, now: Timestamp) -> Outcome {
        let aside = self.keep_aside("damaged", now);
        let repaired = match &aside {
            Ok(_) => self.save(state, now),
            Err(_) => {
                let error = io::Error::other("it was not kept aside before");
                Err(wrong("replacing", &self.path)(error))
            }
        };
        Outcome::Damaged {
            damage,
            aside,
            repaired,
        }
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// The path with something after the name.
    fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(end);
        name.into()
    }

    /// A new file of a name that no other process has.
    fn temporary(&self) -> Result<(PathBuf, File), BanFileError> {
        static SAVES: AtomicU64 = AtomicU64::new(0);
        loop {
            // Any order will do: each number is given once.
            let count = SAVES.fetch_add(1, Ordering::Relaxed);
            let path = self.beside(&format!(".new-{}-{count}", std::process::id()));
            let mut options = OpenOptions::new();
            let made = options.write(true).create_new(true).mode(MODE).open(&path);
            match made {
                // Of a killed process that had our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok((path.clone(), made.map_err(wrong("creating", &path))?)),
            }
        }
    }

    /// Removes what saves left that were killed. That it is there harms nobody.
    fn remove_temporaries(&self) {
        let Some(name) = self.path.file_name() else {
            return;
        };
        let start = [name.as_encoded_bytes(), b".new-"].concat();
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(&start) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Gives the file a second name, or copies it where files have only one.
    fn keep_aside(&self, why: &str, now: Timestamp) -> Result<PathBuf, BanFileError> {
        let time: String = now
            .to_string()
            .chars()
            .filter(|c| !"-:".contains(*c))
            .collect();
        let time = time.split('.').next().unwrap_or_default();
        let mut path = self.beside(&format!(".{why}-{time}Z"));
        let mut count = 1;
        loop {
            match fs::hard_link(&self.path, &path) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    count += 1;
                    path = self.beside(&format!(".{why}-{time}Z-{count}"));
                }
                Err(_) => {
                    copy(&self.path, &path).map_err(wrong("keeping aside as", &path))?;
                    break;
                }
            }
        }
        self.sync_folder()?;
        Ok(path)
    }

    fn sync_folder(&self) -> Result<(), BanFileError> {
        let folder = self.folder();
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(wrong("bringing to the disk", folder))
    }
}

/// Fills a new file and brings it to the disk.
fn write(path: &Path, file: File, state: &BanState, now: Timestamp) -> Result<(), BanFileError> {
    let write = || {
        // Whatever the mask of the process leaves of it.
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
        let mut out = BufWriter::with_capacity(1 << 18, &file);
        encode(state, now, &mut out)?;
        out.flush()?;
        drop(out);
        file.sync_all()
    };
    write().map_err(wrong("writing", path))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut original = File::open(from)?;
    let mut options = OpenOptions::new();
    let mut copy = options.write(true).create_new(true).mode(MODE).open(to)?;
    let copied = io::copy(&mut original, &mut copy).and_then(|_| copy.sync_all());
    if copied.is_err() {
        // Half a copy is none.
        let _ = fs::remove_file(to);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where files have only one name, a copy is made of a damaged one.
    #[test]
    fn copies_are_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "rubbish").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"rubbish");
        assert_eq!(
            fs::metadata(&to).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        // None replaces another.
        assert_eq!(
            copy(&from, &to).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        fs::remove_file(&to).unwrap();
        assert!(copy(&folder.path().join("none"), &to).is_err());
        assert!(!to.exists());
    }
}
