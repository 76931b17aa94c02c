//! Where readers put what they find.

use std::borrow::Cow;
use std::fmt;

use super::Format;
use super::ReadOptions;
use super::entry::BadItem;
use super::entry::Expiry;
use super::entry::Found;
use super::entry::ListEntry;
use super::entry::Place;
use super::entry::Summary;
use crate::ban::BanDirection;
use crate::ban::BanScope;
use crate::ban::REASON_MAX;
use crate::cidr::Block;
use crate::parse::shorten;

/// What a reader made of an item.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) block: Block,
    /// An address without a prefix means exactly itself.
    pub(crate) exact: bool,
    pub(crate) except: bool,
    pub(crate) expiry: Expiry,
    pub(crate) reason: Cow<'a, str>,
    pub(crate) direction: BanDirection,
    pub(crate) dry_run: bool,
}

impl Draft<'_> {
    pub(crate) fn new(block: Block) -> Self {
        Self {
            block,
            exact: false,
            except: false,
            expiry: Expiry::Never,
            reason: Cow::Borrowed(""),
            direction: BanDirection::default(),
            dry_run: false,
        }
    }
}

/// Counts and passes on.
pub(crate) struct Sink<'a> {
    pub(crate) options: &'a ReadOptions,
    pub(crate) summary: Summary,
    found: &'a mut dyn FnMut(Found),
}

impl<'a> Sink<'a> {
    pub(crate) fn new(
        format: Format,
        options: &'a ReadOptions,
        found: &'a mut dyn FnMut(Found),
    ) -> Self {
        let summary = Summary {
            format,
            lines: 0,
            items: 0,
            entries: 0,
            bad: 0,
            unselected: 0,
            masked: 0,
            ignored: 0,
            declared: None,
            cut_off: None,
        };
        Self {
            options,
            summary,
            found,
        }
    }

    /// Whether entries of this set are wanted; a set without a name is taken if none
    /// is asked for.
    pub(crate) fn wants(&self, set: &str) -> bool {
        let wanted = self.options.set.as_deref();
        wanted.is_none_or(|wanted| wanted == set)
    }

    /// An item of a set that is not wanted.
    pub(crate) fn unselected(&mut self) {
        self.summary.items += 1;
        self.summary.unselected += 1;
    }

    /// An item that is no entry.
    pub(crate) fn bad(&mut self, place: Place, text: &[u8], why: impl fmt::Display) {
        self.summary.items += 1;
        self.summary.bad += 1;
        // Enough for what is kept of it: a character has at most 4 bytes.
        let head = String::from_utf8_lossy(&text[..text.len().min(260)]);
        let bad = BadItem {
            place,
            text: shorten(head.trim()),
            why: why.to_string(),
        };
        (self.found)(Found::Bad(bad));
    }

    /// An item of which a reader made one entry, or several if it is a range or has
    /// several scopes, or which it cannot read. The text is for a report.
    pub(crate) fn item<'t, S: Iterator<Item = BanScope> + Clone>(
        &mut self,
        place: Place,
        made: Result<(Draft<'_>, S), Cow<'static, str>>,
        text: impl FnOnce() -> Cow<'t, [u8]>,
    ) {
        let (draft, scopes) = match made {
            Ok(made) => made,
            Err(why) => return self.bad(place, &text(), why),
        };
        let everything = draft.block.nets().any(|net| net.prefix_len() == 0);
        if everything && !self.options.everything && !draft.except {
            return self.bad(place, &text(), "it holds every address there is");
        }
        self.summary.items += 1;
        self.summary.masked += u64::from(draft.block.is_masked());
        let bare = !draft.exact && draft.block.addr().is_some();
        let reason = one_line(&draft.reason);
        for net in draft.block.nets() {
            for scope in scopes.clone() {
                self.summary.entries += 1;
                (self.found)(Found::Entry(ListEntry {
                    place,
                    net,
                    bare,
                    scope,
                    except: draft.except,
                    expiry: draft.expiry,
                    reason: reason.clone(),
                    direction: draft.direction,
                    dry_run: draft.dry_run,
                }));
            }
        }
    }

    /// The list cannot be understood from here on.
    pub(crate) fn cut_off(&mut self, why: impl fmt::Display) {
        self.summary.cut_off = Some(why.to_string());
    }
}

/// A reason without what would break a line, and not too long.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.trim();
    if text.len() <= REASON_MAX && !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut kept = String::new();
    for char in text.chars() {
        let char = if char.is_control() { ' ' } else { char };
        if kept.len() + char.len_utf8() > REASON_MAX {
            break;
        }
        kept.push(char);
    }
    kept
}
