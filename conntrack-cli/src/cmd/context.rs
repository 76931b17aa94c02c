//! What all commands start from.

use std::fs;
use std::path::Path;

use conntrack::NetnsRef;
use conntrack::Tracker;
use conntrack_core::Config;

use crate::args::GlobalArgs;
use crate::failure::Failure;

/// The configuration, and which tracker is meant.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) instance: String,
    pub(crate) netns: NetnsRef,
}

impl Context {
    /// Reads the configuration file, if one is named.
    pub(crate) fn new(args: &GlobalArgs) -> Result<Self, Failure> {
        let config = match &args.config {
            Some(path) => read_config(path)?,
            None => Config::default(),
        };
        Ok(Self {
            instance: args.instance.as_ref().unwrap_or(&config.instance).clone(),
            netns: args.netns.as_deref().map_or(NetnsRef::Current, netns),
            config,
        })
    }

    /// The running tracker.
    pub(crate) fn open(&self) -> Result<Tracker, Failure> {
        Ok(Tracker::open_in(&self.instance, &self.netns)?)
    }
}

fn read_config(path: &Path) -> Result<Config, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("read configuration {name}: {error}")))?;
    Config::from_yaml(&text).map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

/// Digits are a process, what has a slash a path, everything else a name.
fn netns(text: &str) -> NetnsRef {
    match text.parse() {
        Ok(pid) => NetnsRef::Pid(pid),
        Err(_) if text.contains('/') => NetnsRef::Path(text.into()),
        Err(_) => NetnsRef::Name(text.to_owned()),
    }
}
