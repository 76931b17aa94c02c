//! What all commands start from.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use conntrack::ErrorKind;
use conntrack::NetnsRef;
use conntrack::Tracker;
use conntrack_core::Config;
use nix::unistd::geteuid;

use crate::args::GlobalArgs;
use crate::failure::Failure;
use crate::failure::program;
use crate::failure::say;
use crate::terminal::clean;

/// Wins over the configuration's `state_dir`; empty: bans are not kept.
const STATE_DIR: &str = "CONNTRACK_STATE_DIR";

/// The configuration, and which tracker is meant.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    /// It was read from a file.
    pub(crate) configured: bool,
    pub(crate) instance: String,
    /// More was asked for.
    pub(crate) verbose: bool,
    /// It was named, on the command line or in a file.
    meant: bool,
    pub(crate) netns: NetnsRef,
}

impl Context {
    /// Reads the configuration file, if one is named.
    pub(crate) fn new(args: &GlobalArgs) -> Result<Self, Failure> {
        let mut config = match &args.config {
            Some(path) => read_config(path)?,
            None => Config::default(),
        };
        if let Some(dir) = std::env::var_os(STATE_DIR) {
            config.state_dir = Some(PathBuf::from(dir)).filter(|dir| !dir.as_os_str().is_empty());
        }
        Ok(Self {
            instance: args.instance.as_ref().unwrap_or(&config.instance).clone(),
            netns: args.netns.clone().unwrap_or_default(),
            verbose: args.verbose > 0,
            meant: args.instance.is_some() || args.config.is_some(),
            configured: args.config.is_some(),
            config,
        })
    }

    /// The running tracker. What its user may not expect of it is said on stderr.
    pub(crate) fn open(&self) -> Result<Tracker, Failure> {
        let tracker = self.open_silently()?;
        if tracker.is_dead() {
            say(self.dead());
        }
        if !self.meant && self.netns == NetnsRef::Current && !tracker.is_here() {
            let (instance, place) = (&self.instance, clean(&tracker.namespace().to_string()));
            say(format_args!(
                "instance {instance} is that of {place}, not of the namespace this runs in; \
                 --instance names another"
            ));
        }
        Ok(tracker)
    }

    /// The same for commands that promise that something is dropped: of a tracker with
    /// nothing left in the kernel's way that would not be true.
    pub(crate) fn open_attached(&self) -> Result<Tracker, Failure> {
        let tracker = self.open_silently()?;
        match tracker.is_dead() {
            true => Err(Failure::Runtime(self.dead())),
            false => self.open(),
        }
    }

    /// The same for commands that say more of it themselves.
    pub(crate) fn open_silently(&self) -> Result<Tracker, Failure> {
        Tracker::open_in(&self.instance, &self.netns).map_err(not_seen)
    }

    /// Why a tracker was not changed; `instead` is what to do with one that another process
    /// keeps, which only that one may change so.
    pub(crate) fn refused(
        &self,
        tracker: &Tracker,
        error: conntrack::Error,
        instead: &str,
    ) -> Failure {
        match error.kind() {
            ErrorKind::InUse if tracker.is_in_foreground() => Failure::Runtime(format!(
                "{error:#}: {instead}; one that `{} attach` leaves running, without --foreground, \
                 needs no new start",
                program()
            )),
            _ => error.into(),
        }
    }

    /// What to say of a tracker with nothing left in the kernel's way.
    fn dead(&self) -> String {
        format!(
            "instance {}: nothing is attached any more, the process that held it or its \
             interfaces are gone; `{} attach` starts anew",
            self.instance,
            program()
        )
    }

    /// For those who look again and again: a detached tracker can still be read,
    /// but nothing changes there any more.
    pub(crate) fn still_there(&self, tracker: &Tracker) -> Result<(), Failure> {
        match tracker.is_detached() {
            true => Err(self.detached()),
            false => Ok(()),
        }
    }

    /// What to say of a tracker that was detached meanwhile.
    pub(crate) fn detached(&self) -> Failure {
        Failure::Runtime(format!("instance {} was detached", self.instance))
    }
}

fn read_config(path: &Path) -> Result<Config, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::opening(format_args!("read configuration {name}"), &error))?;
    Config::from_yaml(&text).map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

/// Pins of root look to others as if they weren't there.
pub(super) fn not_seen(error: conntrack::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound if !geteuid().is_root() => Failure::Runtime(format!(
            "{error:#}, or this user has no permission to see it: try it as root"
        )),
        _ => error.into(),
    }
}
