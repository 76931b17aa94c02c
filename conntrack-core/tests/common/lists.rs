//! Reading a list, with entries as texts.
#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use conntrack_core::banlist::BadItem;
use conntrack_core::banlist::Expiry;
use conntrack_core::banlist::Found;
use conntrack_core::banlist::ListEntry;
use conntrack_core::banlist::ReadOptions;
use conntrack_core::banlist::Summary;
use conntrack_core::banlist::read;

/// An entry as one text: what differs from a plain ban of addresses.
pub(crate) fn shown(entry: &ListEntry) -> String {
    let mut text = match entry.bare {
        true => entry.net.addr().to_string(),
        false => entry.net.to_string(),
    };
    if entry.scope.protocol().is_some() {
        text.push_str(&format!(" {}", entry.scope));
    }
    match entry.expiry {
        Expiry::Never => {}
        Expiry::After(ttl) => text.push_str(&format!(" +{}s", ttl.as_secs())),
        Expiry::At(until) => text.push_str(&format!(" @{until}")),
    }
    if entry.except {
        text.push_str(" except");
    }
    if entry.dry_run {
        text.push_str(" dry");
    }
    if !entry.reason.is_empty() {
        text.push_str(&format!(" ({})", entry.reason));
    }
    text
}

pub(crate) fn options() -> ReadOptions {
    ReadOptions::default()
}

pub(crate) fn run(
    list: impl AsRef<[u8]>,
    options: &ReadOptions,
) -> (Vec<String>, Vec<BadItem>, Summary) {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    let summary = read(list.as_ref(), options, &mut |found| match found {
        Found::Entry(entry) => entries.push(shown(&entry)),
        Found::Bad(item) => bad.push(item),
    });
    let summary = summary.unwrap();
    assert_eq!(summary.entries, entries.len() as u64);
    assert_eq!(summary.bad, bad.len() as u64);
    (entries, bad, summary)
}

pub(crate) fn texts(bad: &[BadItem]) -> Vec<String> {
    bad.iter().map(ToString::to_string).collect()
}
