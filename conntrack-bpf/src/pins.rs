//! Where an instance is pinned, what condition the pins are in, and who works
//! on them. A pin is a file in bpffs:
//! `conntrack/v<ABI>/<instance>/{map_*,prog_*,link_<ifindex>_<side>}`. A program
//! that is about to take another's place is `prog_<name>@<id>`, a table `map_next4` or
//! `map_next6`.

mod names;

use std::ffi::CString;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;
use nix::errno::Errno;

use self::names::BESIDE;
use self::names::is_beside;
use self::names::is_pin;
use crate::bpffs::Bpffs;
use crate::datapath::Datapath;
use crate::datapath::Maps;
use crate::datapath::NEXT_NAMES;
use crate::datapath::Programs;
use crate::defines::ABI;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::lock::Lock;
use crate::programs::Entry;
use crate::records::Meta;
use crate::shape;
use crate::sys;

/// Why a user may not look. The pins are root's alone; and what reads, too, opens maps
/// for reading and writing, for commands do both.
const ROOT_ONLY: &str = "pins in bpffs are root's, to read as well as to change: it takes root \
                         (or CAP_DAC_OVERRIDE and CAP_BPF)";

/// The directory of an instance's pins; it may or may not be there.
#[derive(Clone, Debug)]
pub(crate) struct PinDir {
    bpffs: Bpffs,
    instance: String,
    layout: u32,
}

/// What is in the directory.
#[derive(Debug)]
pub(crate) enum Condition {
    /// No such directory.
    Absent,
    /// Pins, but not the record that ends the set-up.
    HalfMade,
    /// All of it. The data path is boxed, being large.
    Ready(Box<Datapath>),
}

impl PinDir {
    /// Where the instance is, or would be, pinned; `None` without bpffs.
    pub(crate) fn find(instance: &str) -> Option<Self> {
        Some(Self::within(Bpffs::find()?, instance))
    }

    /// The same, with bpffs mounted if it was not.
    pub(crate) fn find_or_mount(instance: &str) -> Result<Self> {
        Ok(Self::within(Bpffs::find_or_mount()?, instance))
    }

    fn within(bpffs: Bpffs, instance: &str) -> Self {
        Self {
            bpffs,
            instance: instance.to_owned(),
            layout: ABI,
        }
    }

    /// Where instances of this name are pinned, whichever layout they have.
    pub(crate) fn of_all_layouts(instance: &str) -> Vec<Self> {
        let Some(own) = Self::find(instance) else {
            return Vec::new();
        };
        let layouts = fs::read_dir(own.bpffs.dir().join("conntrack"));
        let layouts = layouts.into_iter().flatten().flatten();
        let layouts = layouts.filter_map(|entry| {
            let name = entry.file_name();
            let layout = name.to_str()?.strip_prefix('v')?.parse().ok()?;
            let own = own.clone();
            Some(Self { layout, ..own }).filter(Self::exists)
        });
        let mut found: Vec<Self> = layouts.collect();
        found.sort_by_key(|dir| dir.layout);
        found
    }

    /// The names of the instances that are there, sorted.
    ///
    /// # Errors
    /// The folder must not be looked at.
    pub(crate) fn instances() -> io::Result<Vec<String>> {
        let Some(bpffs) = Bpffs::find() else {
            return Ok(Vec::new());
        };
        let entries = match fs::read_dir(Self::within(bpffs, "").parent()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
        names.sort_unstable();
        Ok(names)
    }

    /// The version of the layout of its maps.
    pub(crate) fn layout(&self) -> u32 {
        self.layout
    }

    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    fn parent(&self) -> PathBuf {
        let layout = self.layout;
        self.bpffs.dir().join(format!("conntrack/v{layout}"))
    }

    /// The directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.parent().join(&self.instance)
    }

    /// Whether the directory is there.
    pub(crate) fn exists(&self) -> bool {
        self.path().is_dir()
    }

    /// Locks the instance for whoever changes it.
    pub(crate) fn lock(&self, purpose: &str) -> Result<Lock> {
        Lock::take(&self.bpffs.locks(), &self.instance, purpose)
    }

    /// Locks who is banned on the instance and who never. Instances have no such names.
    pub(crate) fn lock_policy(&self, purpose: &str) -> Result<Lock> {
        let name = format!("{}+policy", self.instance);
        Lock::take(&self.bpffs.locks(), &name, purpose)
    }

    /// Locks the instance if nobody else works on it.
    pub(crate) fn lock_if_free(&self, purpose: &str) -> Option<Lock> {
        Lock::take_if_free(&self.bpffs.locks(), &self.instance, purpose)
    }

    /// Who works on the instance, or keeps it in the foreground.
    pub(crate) fn locked_by(&self) -> Option<String> {
        Lock::holder(&self.bpffs.locks(), &self.instance)
    }

    /// Whether somebody does.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked_by().is_some()
    }

    /// Looks at the pins.
    ///
    /// # Errors
    /// `AbiMismatch` if there is an instance of this name, but not of ours;
    /// `NotPermitted`.
    pub(crate) fn inspect(&self) -> Result<Condition> {
        self.look().map_err(|error| match error.kind() {
            ErrorKind::NotPermitted => error.context(ROOT_ONLY),
            _ => error,
        })
    }

    fn look(&self) -> Result<Condition> {
        let path = self.path();
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match Self::of_all_layouts(&self.instance).first() {
                    Some(other) => Err(self.of_another_layout(other)),
                    None => Ok(Condition::Absent),
                };
            }
            found => found.with_context(|| format!("look at {}", path.display()))?,
        };
        match Datapath::open(&path) {
            Ok(datapath) if datapath.meta.ready => Ok(Condition::Ready(Box::new(datapath))),
            Ok(_) => Ok(Condition::HalfMade),
            // Pins come one by one.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Condition::HalfMade),
            Err(error) => Err(error),
        }
    }

    fn of_another_layout(&self, other: &Self) -> Error {
        let (instance, path) = (&self.instance, other.path());
        let path = path.display();
        let message = format!(
            "instance {instance} was set up by a version whose maps have another layout ({path}; \
             this one's is v{ABI}): its flows and counters, bans and what is allowed, settings \
             changed since it was attached, and its interfaces cannot be taken over. Detach it \
             with that version, or with `detach --force`, and attach anew"
        );
        Error::new(ErrorKind::AbiMismatch, message)
    }

    /// Creates the directory and pins maps and programs.
    pub(crate) fn pin_datapath(&self, datapath: &Datapath) -> Result<()> {
        let path = self.path();
        fs::create_dir_all(self.parent())
            .and_then(|()| fs::create_dir(&path))
            .with_context(|| format!("create {}", path.display()))?;
        for (name, map) in datapath.maps.named() {
            pin(map.as_fd(), &path.join(format!("map_{name}")))?;
        }
        self.pin_programs(&datapath.programs)?;
        tracing::info!("maps and programs are pinned in {}", path.display());
        Ok(())
    }

    /// Pins programs that have no pin yet.
    pub(crate) fn pin_programs(&self, programs: &Programs) -> Result<()> {
        for (name, program) in programs.named() {
            let path = self.path().join(format!("prog_{name}"));
            if !path.exists() {
                pin(program.as_fd(), &path)?;
            }
        }
        Ok(())
    }

    fn map_path(&self, name: &str) -> PathBuf {
        self.path().join(format!("map_{name}"))
    }

    /// Pins the tables that are to take the place of those there are.
    pub(crate) fn pin_next(&self, maps: &Maps) -> Result<()> {
        let mut next = maps.named().into_iter();
        next.try_for_each(|(name, map)| match NEXT_NAMES.contains(&name) {
            true => pin(map.as_fd(), &self.map_path(name)),
            false => Ok(()),
        })
    }

    /// Gives the tables that have taken the place of others, by the record, their names,
    /// and takes away whatever else stands where such tables do. No tables are to come
    /// by the record.
    pub(crate) fn settle_tables(&self, meta: &Meta) -> Result<()> {
        let names = NEXT_NAMES.into_iter().zip(["table4", "table6"]);
        for ((next, name), buckets) in names.zip([meta.buckets4, meta.buckets6]) {
            let (from, to) = (self.map_path(next), self.map_path(name));
            if !from.exists() {
                continue;
            }
            let map = MapHandle::from_pinned_path(&from);
            let map = map.with_context(|| format!("open {}", from.display()))?;
            match map.max_entries() == buckets {
                true => {
                    fs::rename(&from, &to).with_context(|| format!("replace {}", to.display()))?
                }
                false => unpin(&from)?,
            }
        }
        Ok(())
    }

    fn beside(&self, name: &str, program: u32) -> PathBuf {
        self.path().join(format!("prog_{name}{BESIDE}{program}"))
    }

    /// Pins programs beside those that are pinned already: whatever may sit on a
    /// hook has a pin.
    pub(crate) fn pin_beside(&self, programs: &Programs) -> Result<()> {
        let mut named = programs.named();
        named.try_for_each(|(name, it)| pin(it.as_fd(), &self.beside(name, it.id())))
    }

    /// Takes the pins of these programs away that stand beside.
    pub(crate) fn unpin_beside(&self, programs: &Programs) -> Result<()> {
        let mut named = programs.named();
        named.try_for_each(|(name, it)| unpin(&self.beside(name, it.id())))
    }

    /// Puts the pins of these programs in the place of the ones there were, and
    /// takes away whatever else stands beside. A pin cannot be overwritten, but
    /// another can be renamed over it.
    pub(crate) fn promote(&self, programs: &Programs) -> Result<()> {
        for (name, program) in programs.named() {
            let to = self.path().join(format!("prog_{name}"));
            fs::rename(self.beside(name, program.id()), &to)
                .with_context(|| format!("replace {}", to.display()))?;
        }
        let left = self.names("prog_")?;
        let mut left = left.iter().filter(|path| is_beside(path));
        left.try_for_each(|path| unpin(path))
    }

    /// Whether programs stand beside: an upgrade is under way, or was cut short.
    pub(crate) fn is_upgrading(&self) -> bool {
        let programs = self.names("prog_").unwrap_or_default();
        programs.iter().any(|path| is_beside(path))
    }

    /// Whether there are tables that are to take others' place, be it that the record
    /// does not know of them yet, or not any more.
    pub(crate) fn is_resizing(&self) -> bool {
        NEXT_NAMES.iter().any(|name| self.map_path(name).exists())
    }

    fn link_path(&self, ifindex: u32, entry: Entry) -> PathBuf {
        let side = entry.side();
        self.path().join(format!("link_{ifindex}_{side}"))
    }

    /// Pins a link of an interface.
    pub(crate) fn pin_link(&self, ifindex: u32, entry: Entry, link: impl AsFd) -> Result<()> {
        pin(link.as_fd(), &self.link_path(ifindex, entry))
    }

    /// The pinned links, with their paths and the entries that they are for.
    pub(crate) fn links(&self) -> Result<Vec<(PathBuf, Entry, OwnedFd)>> {
        let mut links = Vec::new();
        for path in self.names("link_")? {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
            let entry = name.rsplit('_').next().and_then(Entry::of_side);
            let entry = entry.ok_or_else(|| not_ours(&path))?;
            let (link, _) =
                sys::open_pin(&path).with_context(|| format!("open {}", path.display()))?;
            links.push((path, entry, link));
        }
        Ok(links)
    }

    /// Removes the links of an interface, which detaches.
    pub(crate) fn unpin_links(&self, ifindex: u32) -> Result<()> {
        let mut entries = Entry::ALL.into_iter();
        entries.try_for_each(|entry| unpin_link(&self.link_path(ifindex, entry)))
    }

    /// Refuses a directory in which anything has a name that no pin of ours has:
    /// it may be somebody else's.
    pub(crate) fn check_names(&self) -> Result<()> {
        for path in self.names("")? {
            let name = path.file_name().and_then(OsStr::to_str);
            if !name.is_some_and(is_pin) {
                return Err(not_ours(&path));
            }
        }
        Ok(())
    }

    /// The paths of pins whose names begin so, sorted.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<PathBuf>> {
        let path = self.path();
        let context = || format!("list {}", path.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&path).with_context(context)? {
            let entry = entry.with_context(context)?;
            if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Programs that are pinned, whatever condition the rest is in.
    pub(crate) fn program_ids(&self) -> Vec<u32> {
        let pins = self.names("prog_").unwrap_or_default();
        let programs = pins
            .iter()
            .filter_map(|path| libbpf_rs::ProgramHandle::from_pinned_path(path).ok());
        programs.map(|program| program.id()).collect()
    }

    /// Whether one of the links still has its interface.
    pub(crate) fn has_live_links(&self) -> bool {
        let links = self.names("link_").unwrap_or_default();
        let mut links = links.iter();
        links.any(|path| sys::link_interface(path).is_ok_and(|ifindex| ifindex != 0))
    }

    /// Removes every link, which detaches.
    pub(crate) fn remove_links(&self) -> Result<()> {
        for path in self.names("link_")? {
            unpin_link(&path)?;
        }
        Ok(())
    }

    /// Removes what is left, and the directory. The record goes last: until
    /// then it can be told what this was.
    pub(crate) fn remove(&self) -> Result<()> {
        self.remove_links()?;
        let meta = self.path().join("map_meta");
        for path in self.names("prog_")?.iter().chain(&self.names("map_")?) {
            if *path != meta {
                unpin(path)?;
            }
        }
        unpin(&meta)?;
        let path = self.path();
        fs::remove_dir(&path).with_context(|| format!("remove {}", path.display()))?;
        // The directories above are shared; they go with the last instance.
        let _ = fs::remove_dir(self.parent());
        let _ = fs::remove_dir(self.bpffs.dir().join("conntrack"));
        Ok(())
    }
}

fn not_ours(path: &Path) -> Error {
    let path = path.display();
    shape::mismatch(format!("{path} is no pin of ours: nothing is changed"))
}

fn pin(object: impl AsFd, path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes());
    let name =
        name.map_err(|_| Error::new(ErrorKind::Invalid, "the path of a pin has a NUL in it"))?;
    sys::pin(object.as_fd(), &name).with_context(|| format!("pin {}", path.display()))
}

/// As `unpin`, with the program off the interface when it returns. A link whose
/// interface has gone refuses; its pin goes all the same.
fn unpin_link(path: &Path) -> Result<()> {
    match sys::detach_link(path) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => tracing::debug!("detach {}: {errno}", path.display()),
    }
    unpin(path)
}

/// It is no error if there is nothing to remove.
fn unpin(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::from(error).context(format!("remove {}", path.display()))),
    }
}
