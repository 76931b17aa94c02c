//! How long an instance lives: with its process, or until it is detached.

use conntrack_core::Config;

use super::Instance;
use super::Keep;
use super::State;
use super::warn_of;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::lock::FOREGROUND;
use crate::pins::PinDir;
use crate::records::Meta;
use crate::teardown;

/// Of the record's text, with the NUL.
const STATE_MAX: usize = 256;

impl Instance {
    /// The last step of a set-up: from here on others may use the pins.
    pub(super) fn set_ready(&self) -> Result<()> {
        let datapath = self.datapath();
        let mut meta = datapath.meta.clone();
        meta.ready = true;
        meta.write(&datapath.maps.meta)
    }

    fn set_foreground(&self, foreground: bool) -> Result<()> {
        let datapath = self.datapath();
        let mut meta = Meta::read(&datapath.maps.meta)?;
        meta.foreground = foreground;
        meta.write(&datapath.maps.meta)
    }

    /// Pins it, so that it lives until it is detached.
    ///
    /// # Errors
    /// `InUse` if an instance of that name is running; nothing is pinned then. `Other`
    /// if its bans could not be written for the time after a restart: it is pinned then.
    pub fn persist(&self) -> Result<()> {
        let mut state = self.state();
        if state.pinned {
            return Ok(());
        }
        if state.dir.is_none() {
            let dir = PinDir::find_or_mount(&self.name)?;
            let lock = teardown::claim(&dir, purpose(Keep::Pinned))?;
            self.restore()?;
            let pinned = dir.pin_datapath(&self.datapath());
            let pinned = pinned.and_then(|()| pin_links(&dir, &state));
            if let Err(error) = pinned.and_then(|()| self.set_ready()) {
                warn_of(dir.remove());
                return Err(error);
            }
            state.dir = Some(dir);
            drop(lock);
        } else if let Some(dir) = &state.dir {
            // First: links that are pinned are not of a process any more.
            self.set_foreground(false)?;
            pin_links(dir, &state).inspect_err(|_| warn_of(self.set_foreground(true)))?;
        }
        for (_, attachment) in std::mem::take(&mut state.attachments) {
            attachment.release();
        }
        state.pinned = true;
        state.lock = None;
        // Last: it is pinned, whatever becomes of this.
        self.keep_bans()
    }

    /// Detaches and unpins it.
    ///
    /// # Errors
    /// What the kernel refuses; `InUse` if another process keeps it in the
    /// foreground.
    pub fn detach(&self) -> Result<()> {
        let mut state = self.state();
        let _lock = self.lock(&state, "detaching")?;
        state.attachments.clear();
        if let Some(dir) = state.dir.take() {
            // Its programs are held here: nobody can tell what is left out of sight.
            drop(teardown::take_down(&dir)?);
        }
        state.pinned = false;
        state.lock = None;
        state.detached = true;
        Ok(())
    }

    /// Whether it ends with a process, this one or another, as it was when it was opened.
    pub fn is_in_foreground(&self) -> bool {
        self.datapath().meta.foreground
    }

    /// Whether it was to end with another process, if nobody holds its lock. Where its
    /// hooks are filters they stay when that is killed.
    pub(super) fn lost_its_process(&self, state: &State) -> bool {
        state.lock.is_none() && self.current(state).meta.foreground && teardown::may_ask()
    }
}

pub(super) fn purpose(keep: Keep) -> &'static str {
    match keep {
        Keep::Visible => FOREGROUND,
        Keep::Process | Keep::Pinned => "attaching",
    }
}

fn pin_links(dir: &PinDir, state: &State) -> Result<()> {
    for (ifindex, attachment) in &state.attachments {
        for (entry, link) in attachment.links() {
            dir.pin_link(*ifindex, entry, link)?;
        }
    }
    Ok(())
}

/// The folder in which bans are kept, as the record has it.
///
/// # Errors
/// `Invalid` if it is no whole path, or too long for the record.
pub(super) fn state_dir(config: &Config) -> Result<String> {
    let Some(dir) = &config.state_dir else {
        return Ok(String::new());
    };
    let fits = |text: &&str| dir.is_absolute() && text.len() < STATE_MAX;
    let text = dir.to_str().filter(fits).map(str::to_owned);
    text.ok_or_else(|| {
        let message = format!(
            "state_dir {}: expected a path from /, of less than {STATE_MAX} bytes",
            dir.display()
        );
        Error::new(ErrorKind::Invalid, message)
    })
}
