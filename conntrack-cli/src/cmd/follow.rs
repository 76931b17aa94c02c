//! `follow`, and what `attach --follow` does after attaching.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::time::Duration;

use conntrack::Change;
use conntrack::Follow;
use conntrack::InterfacePattern;
use conntrack::NotAttached;
use conntrack::Tracker;
use conntrack_core::AttachConfig;

use super::Context;
use super::attach;
use super::keeper::Keeper;
use crate::args::FollowArgs;
use crate::failure::Failure;
use crate::failure::say;
use crate::output;
use crate::signals::Signals;
use crate::terminal::clean;

/// How often it is looked whether there is still a tracker.
const ALIVE: Duration = Duration::from_secs(1);

/// Follows interfaces until it is interrupted, or the tracker is detached.
pub(crate) fn run(args: &FollowArgs, mut context: Context) -> Result<ExitCode, Failure> {
    let signals = Signals::catch()?;
    attach::choose(&mut context, args.which.names(), args.mode)?;
    let tracker = context.open()?;
    let mut following = Following::begin(&tracker, &context.config.attach)?;
    let mut keeper = Keeper::begin(&tracker)?;
    loop {
        keeper.keep();
        let told = following.tell(&tracker);
        if told.is_ok() && signals.wait_with(&following, ALIVE)? {
            return Ok(ExitCode::SUCCESS);
        }
        // Which is one of the two ends it has.
        if tracker.is_detached() {
            say(format_args!("instance {} was detached", context.instance));
            return Ok(ExitCode::SUCCESS);
        }
        told?;
    }
}

/// Follows interfaces and tells what becomes of them: what is attached to and
/// detached from on stdout, what is left out on stderr.
pub(crate) struct Following {
    follow: Follow,
    /// The last error, which is said once.
    said: Option<String>,
}

impl Following {
    /// Attaches to what is there, and says which of those named is not.
    pub(crate) fn begin(tracker: &Tracker, attach: &AttachConfig) -> Result<Self, Failure> {
        let mut follow = tracker.follow(attach.interfaces.iter().cloned(), attach.mode)?;
        let mut known = BTreeSet::new();
        while let Some(change) = follow.try_next()? {
            if let Change::Skipped(NotAttached { interface, .. }) = &change {
                known.insert(interface.clone());
            }
            tell(&change)?;
        }
        let attached = tracker.status()?.interfaces.into_iter();
        known.extend(attached.map(|interface| interface.name));
        for name in &attach.interfaces {
            let is_glob = name.parse().is_ok_and(|it: InterfacePattern| it.is_glob());
            if !is_glob && !known.contains(name) {
                say(format_args!("{name} is not there yet"));
            }
        }
        Ok(Self { follow, said: None })
    }

    /// Does what is to be done by now, and tells of it. What fails is said, and
    /// tried again the next time.
    pub(crate) fn tell(&mut self, tracker: &Tracker) -> Result<(), Failure> {
        loop {
            match self.follow.try_next() {
                Ok(Some(change)) => tell(&change)?,
                Ok(None) => {
                    self.said = None;
                    return Ok(());
                }
                Err(error) if tracker.is_detached() => return Err(error.into()),
                Err(error) => {
                    let text = format!("follow interfaces: {error:#}");
                    if self.said.as_ref() != Some(&text) {
                        say(&text);
                    }
                    self.said = Some(text);
                    return Ok(());
                }
            }
        }
    }
}

impl AsFd for Following {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follow.as_fd()
    }
}

fn tell(change: &Change) -> Result<(), Failure> {
    let line = match change {
        Change::Attached(to) => {
            output::status::attached(&to.interface, to.hooks, to.why.as_deref())
        }
        Change::Detached(from) => {
            let (name, why) = (clean(&from.interface), clean(&from.why));
            format!("{name}: detached: {why}")
        }
        Change::Skipped(interface) => {
            left_out(interface);
            return Ok(());
        }
        _ => return Ok(()),
    };
    output::put_line(line).map_err(Failure::output)
}

/// Says why an interface was left out.
pub(crate) fn left_out(interface: &NotAttached) {
    let (name, why) = (clean(&interface.interface), clean(&interface.why));
    say(format_args!("{name} is left out: {why}"));
}
