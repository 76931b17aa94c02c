//! A running tracker: a data path, the interfaces it is attached to, and its
//! pins, if it has any.

mod bans;
mod follow;
mod interfaces;
mod keep;
mod prints;
mod resize;
mod status;
mod upgrade;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;

use conntrack_core::Config;
use conntrack_core::Hooks;
use conntrack_core::Sysctls;

pub use self::follow::Change;
pub use self::follow::Follower;
pub use self::resize::ResizeReport;
pub use self::upgrade::UpgradeReport;
use crate::attach;
use crate::attach::Attachment;
use crate::choose::NotAttached;
use crate::choose::Wanted;
use crate::datapath::Datapath;
use crate::datapath::LoadOptions;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::guard;
use crate::ifaces::IfaceTable;
use crate::lock::Lock;
use crate::netns::Netns;
use crate::netns::NetnsRef;
use crate::pins::Condition;
use crate::pins::PinDir;
use crate::plan;
use crate::probe;
use crate::probe::KernelSupport;
use crate::proc_sys::KernelSysctls;
use crate::records::AttachRecord;
use crate::settings;
use crate::sweep;
use crate::targets;
use crate::targets::Search;
use crate::teardown;

/// How long an instance lives, and who sees it.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub enum Keep {
    /// As long as the value that stands for it; seen by nobody else.
    #[default]
    Process,
    /// As long, but other processes can open and read it by its name.
    Visible,
    /// Until it is detached.
    Pinned,
}

/// What to attach.
#[derive(Clone, Debug)]
pub struct Request {
    /// The configuration; its interfaces, mode and instance name count.
    pub config: Config,
    /// The namespace of the interfaces.
    pub netns: NetnsRef,
    /// How long it lives.
    pub keep: Keep,
    /// Interfaces that are not there or cannot be attached to are left out, be it
    /// all of them: somebody will follow the changes.
    pub lenient: bool,
}

/// What became of an interface.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct AttachReport {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// The hooks in use.
    pub hooks: Hooks,
    /// Why not the hooks one would expect; `None` if they are.
    pub why: Option<String>,
}

/// What became of the interfaces of a request.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Attached {
    /// Those attached to.
    pub interfaces: Vec<AttachReport>,
    /// Those that a pattern matched, or a lenient request named, and that were
    /// left out, by index.
    pub skipped: Vec<NotAttached>,
}

/// A running tracker. Dropping it ends what does not live longer by [`Keep`].
#[derive(Debug)]
pub struct Instance {
    pub(crate) name: String,
    /// As of the last look; another process may have upgraded it since.
    datapath: RwLock<Arc<Datapath>>,
    pub(crate) ifaces: IfaceTable,
    /// `None` if the namespace is gone, or out of reach.
    pub(crate) netns: Option<Arc<Netns>>,
    /// Interfaces may be added from here only, if said.
    home: Option<Arc<Netns>>,
    attached: Attached,
    state: Mutex<State>,
}

/// What changes while it runs.
#[derive(Debug, Default)]
struct State {
    /// What this process holds; empty once pinned.
    attachments: BTreeMap<u32, Attachment>,
    /// Where maps and programs are pinned.
    dir: Option<PinDir>,
    /// Links are pinned as well.
    pinned: bool,
    /// Held for life in the foreground.
    lock: Option<Lock>,
    /// By this value.
    detached: bool,
}

impl Instance {
    /// Loads the programs and attaches them to the interfaces: to all that are
    /// named, or to none; of those that a pattern matches, to as many as can be.
    ///
    /// # Errors
    /// `NotFound` for a missing interface or namespace, for a pattern that matches
    /// nothing, and if nothing is left to attach to; `InUse` if the instance
    /// is running or a demanded hook is taken, `NotPermitted`, `Unsupported`,
    /// `Invalid` for a configuration that makes no sense.
    pub fn attach(request: &Request) -> Result<Self> {
        let config = &request.config;
        config.validate()?;
        probe::may_load()?;
        let kernel = KernelSupport::probe();
        plan::kernel_is_new_enough(&kernel)?;
        let netns = Arc::new(Netns::open(&request.netns)?);
        let wanted = Wanted::new(&config.attach.interfaces)?;
        let wanted = match request.lenient {
            true => wanted.followed(),
            false => wanted,
        };
        targets::check(&netns, &attach::devices(&netns)?, &wanted, &[].into())?;

        let mut state = State::default();
        let mut lock = None;
        if request.keep != Keep::Process {
            let dir = PinDir::find_or_mount(&config.instance)?;
            lock = Some(teardown::claim(&dir, keep::purpose(request.keep))?);
            state.dir = Some(dir);
            state.pinned = request.keep == Keep::Pinned;
        }
        // Not earlier: what a dead process left would be in the way.
        let mut search = Search::new(&netns, kernel, wanted, config.attach.mode);
        let found = search.find(&[].into())?;
        let entries: Vec<_> = found
            .targets
            .iter()
            .flat_map(|it| attach::entries(&it.plan))
            .collect();
        let mut datapath = Datapath::load(&LoadOptions::new(config).entries(&entries))?;
        datapath.meta.netns_ino = netns.id().inode;
        datapath.meta.netns_dev = netns.id().device;
        datapath.meta.netns = netns.named().to_string();
        datapath.meta.foreground = request.keep == Keep::Visible;
        datapath.meta.state = keep::state_dir(config)?;
        datapath.meta.write(&datapath.maps.meta)?;
        let mut instance = Self {
            name: config.instance.clone(),
            ifaces: IfaceTable::map(&datapath.maps)?,
            datapath: RwLock::new(Arc::new(datapath)),
            netns: Some(netns),
            home: None,
            attached: Attached::default(),
            state: Mutex::new(State::default()),
        };
        let attach =
            |instance: &Self, state: &mut State| instance.attach_found(state, found, &mut search);
        instance.allow_configured(&config.allow)?;
        if let Some(threshold) = &config.threshold {
            instance.limit(Some(threshold))?;
        }
        if request.keep != Keep::Process {
            instance.restore()?;
        }
        match instance.set_up(&mut state, attach) {
            Ok(attached) => instance.attached = attached,
            Err(error) => {
                state.attachments.clear();
                if let Some(dir) = state.dir.take().filter(PinDir::exists) {
                    warn_of(teardown::take_down(&dir).map(drop));
                }
                return Err(error);
            }
        }
        state.lock = lock.filter(|_| request.keep == Keep::Visible);
        instance.state = Mutex::new(state);
        Ok(instance)
    }

    fn set_up(
        &self,
        state: &mut State,
        attach: impl FnOnce(&Self, &mut State) -> Result<Attached>,
    ) -> Result<Attached> {
        if let Some(dir) = &state.dir {
            dir.pin_datapath(&self.datapath())?;
        }
        let attached = attach(self, state)?;
        sweep::start(&self.datapath().programs)?;
        if state.dir.is_some() {
            self.set_ready()?;
        }
        Ok(attached)
    }

    /// Opens what another process, or an earlier one, has attached. With `home`
    /// named, the instance must belong to that namespace; the current one is a
    /// demand only on adding interfaces.
    ///
    /// # Errors
    /// `NotFound` if nothing is attached under the name, or only half of it was
    /// when its process died; `AbiMismatch`, `NotPermitted`, `Invalid`.
    pub fn open(name: &str, home: Option<&NetnsRef>) -> Result<Self> {
        check_name(name)?;
        let home = home.map(Netns::open).transpose()?.map(Arc::new);
        let absent = || teardown::not_attached(name);
        let dir = PinDir::find(name).ok_or_else(absent)?;
        let datapath = match dir.inspect()? {
            Condition::Absent => return Err(absent()),
            Condition::HalfMade => return Err(half_made(&dir)),
            Condition::Ready(datapath) => *datapath,
        };
        let instance = Self {
            name: name.to_owned(),
            ifaces: IfaceTable::map(&datapath.maps)?,
            netns: teardown::home(&datapath.meta).map(Arc::new),
            datapath: RwLock::new(Arc::new(datapath)),
            home,
            attached: Attached::default(),
            state: Mutex::new(State {
                dir: Some(dir),
                pinned: true,
                ..State::default()
            }),
        };
        let named = |home: &Arc<Netns>| *home.named() != NetnsRef::Current;
        if instance.home.as_ref().is_some_and(named) {
            instance.check_home()?;
        }
        instance.tell();
        Ok(instance)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What became of the interfaces that it was attached with; nothing for one
    /// that was opened.
    pub fn attached(&self) -> &Attached {
        &self.attached
    }

    /// Its maps, and its programs as of the last look.
    pub fn datapath(&self) -> Arc<Datapath> {
        let datapath = self.datapath.read();
        Arc::clone(&datapath.unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether none of its programs sits on an interface any more: its process
    /// died, or the interfaces went. Attaching under its name starts anew then.
    /// One from which every interface was removed by name is not dead, and none is
    /// for a process that must not ask.
    pub fn is_dead(&self) -> bool {
        let state = self.state();
        // Who keeps it may be where its namespace is in sight.
        let ask = self.netns.is_none() || self.lost_its_process(&state);
        let kept = ask && state.dir.as_ref().is_some_and(PinDir::is_locked);
        !kept && self.is_dead_in(&state)
    }

    /// For who holds its lock, or knows that nobody does.
    fn is_dead_in(&self, state: &State) -> bool {
        if self.lost_its_process(state) {
            return true;
        }
        let programs = || self.program_ids(state);
        teardown::is_dead(
            state.dir.as_ref(),
            &self.datapath(),
            self.netns.as_deref(),
            programs,
        )
    }

    /// Whether it has been detached, by this process or another: it tracks nothing
    /// any more, and what there is to read is what it has left.
    pub fn is_detached(&self) -> bool {
        let state = self.state();
        match &state.dir {
            Some(dir) => !self.is_pinned_in(dir).unwrap_or(true),
            None => state.detached,
        }
    }

    /// The addresses of its network namespace: those of this host.
    ///
    /// # Errors
    /// `NotFound` if the namespace is gone; what the kernel says.
    pub fn addresses(&self) -> Result<Vec<IpAddr>> {
        guard::addresses(self.netns()?)
    }

    /// nf_conntrack's settings in force.
    ///
    /// # Errors
    /// The kernel refuses to map them.
    pub fn sysctls(&self) -> Result<Sysctls> {
        settings::read(&self.datapath().maps)
    }

    /// Changes nf_conntrack's settings, from the next packet on.
    ///
    /// # Errors
    /// The kernel refuses to map them.
    pub fn set_sysctls(&self, sysctls: &Sysctls) -> Result<()> {
        settings::write(&self.datapath().maps, sysctls)
    }

    /// Changes some of nf_conntrack's settings, from the next packet on. What
    /// `change` leaves alone stays as it is, also if another process changes it
    /// at this moment. Returns the settings in force after it.
    ///
    /// # Errors
    /// The kernel refuses to map them.
    pub fn update_sysctls(&self, change: impl FnOnce(&mut Sysctls)) -> Result<Sysctls> {
        settings::update(&self.datapath().maps, change)
    }

    /// The kernel's own settings in the namespace it belongs to.
    ///
    /// # Errors
    /// As [`KernelSysctls::of`]; `NotFound` if the namespace is gone.
    pub fn kernel_sysctls(&self) -> Result<KernelSysctls> {
        KernelSysctls::read(self.netns()?)
    }

    /// What this process attached by itself or found attached, by interface.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn records(&self) -> Result<Vec<AttachRecord>> {
        AttachRecord::read_all(&self.datapath().maps.attach)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What it guards is in the kernel, and as consistent as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn netns(&self) -> Result<&Arc<Netns>> {
        self.netns.as_ref().ok_or_else(|| {
            let message = format!("the network namespace of instance {} is gone", self.name);
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// The lock for a change, unless it is held already or nothing is pinned.
    fn lock(&self, state: &State, purpose: &str) -> Result<Option<Lock>> {
        let dir = match &state.dir {
            Some(dir) if state.lock.is_none() => dir,
            _ => return Ok(None),
        };
        let lock = dir.lock(purpose)?;
        if self.is_pinned_in(dir)? {
            return Ok(Some(lock));
        }
        Err(teardown::not_attached(&self.name).context("it was detached meanwhile"))
    }

    /// Whether what is pinned is still this one.
    fn is_pinned_in(&self, dir: &PinDir) -> Result<bool> {
        Ok(self.pinned_in(dir)?.is_some())
    }

    fn check_home(&self) -> Result<()> {
        let theirs = self.netns()?.id();
        match &self.home {
            Some(home) if home.id() != theirs => {
                let message = format!(
                    "instance {} belongs to {}; equal addresses in two namespaces are \
                     different connections: use another instance for this one",
                    self.name,
                    self.namespace()
                );
                Err(Error::new(ErrorKind::OtherNamespace, message))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let mut state = self.state();
        state.attachments.clear();
        if let Some(dir) = state.dir.take().filter(|_| state.lock.is_some()) {
            warn_of(teardown::take_down(&dir).map(drop));
        }
    }
}

fn half_made(dir: &PinDir) -> Error {
    let instance = dir.instance();
    if let Some(holder) = dir.locked_by() {
        let message = format!("instance {instance} is being set up or taken down by {holder}");
        return Error::new(ErrorKind::InUse, message);
    }
    let message = format!(
        "instance {instance} was left half made by a process that died: \
         `detach` clears it away, `attach` starts anew"
    );
    Error::new(ErrorKind::NotFound, message)
}

/// Refuses what cannot be an instance's name, such as a way out of the directory.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let mut config = Config::default();
    config.instance = name.to_owned();
    Ok(config.validate()?)
}

/// For clean-up on the way out, where another error is more important.
fn warn_of(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!("clean up: {error:#}");
    }
}
