//! Hearing of interfaces that come, change and go, by rtnetlink.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use crate::error::Context;
use crate::error::Result;
use crate::netlink::Netlink;
use crate::netns::Netns;

/// A listener to the links of a namespace.
#[derive(Debug)]
pub(crate) struct Links {
    netlink: Netlink,
}

/// What was heard.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Anything at all.
    pub(crate) any: bool,
    /// Interfaces that went, be it that there is one of that index again.
    pub(crate) gone: BTreeSet<u32>,
    /// There was more than the kernel could keep for us.
    pub(crate) lost: bool,
}

impl Links {
    /// Listens from now on.
    pub(crate) fn open(netns: &Netns) -> Result<Self> {
        let netlink = netns.run(|| Netlink::subscribe(libc::RTMGRP_LINK))?;
        let netlink = netlink.context("listen to the links of a network namespace")?;
        Ok(Self { netlink })
    }

    /// Adds what was heard since the last time. It does not wait.
    pub(crate) fn hear(&self, news: &mut News) -> Result<()> {
        let whole = self.netlink.hear(|kind, body| news.add(kind, body));
        if !whole.context("hear of links")? {
            news.any = true;
            news.lost = true;
        }
        Ok(())
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

impl News {
    fn add(&mut self, kind: u16, body: &[u8]) {
        self.any = true;
        // Of another family, it is a port that left its bridge.
        let whole = body.first().copied() == u8::try_from(libc::AF_UNSPEC).ok();
        let index = body.get(4..).and_then(|rest| rest.first_chunk());
        if let (libc::RTM_DELLINK, true, Some(index)) = (kind, whole, index) {
            self.gone.insert(u32::from_ne_bytes(*index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::NetnsRef;

    fn ifinfo(family: i32, ifindex: u32) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0] = u8::try_from(family).unwrap();
        bytes[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        bytes
    }

    #[test]
    fn who_went_and_who_left_a_bridge() {
        let mut news = News::default();
        assert!(!news.any);
        news.add(libc::RTM_NEWLINK, &ifinfo(libc::AF_UNSPEC, 5));
        assert!(news.any);
        news.add(libc::RTM_DELLINK, &ifinfo(libc::AF_UNSPEC, 6));
        news.add(libc::RTM_DELLINK, &ifinfo(libc::AF_BRIDGE, 7));
        news.add(libc::RTM_DELLINK, &[]);
        assert_eq!(news.gone, BTreeSet::from([6]));
        assert!(!news.lost);
    }

    #[test]
    fn silence_is_not_waited_for() {
        let links = Links::open(&Netns::open(&NetnsRef::Current).unwrap()).unwrap();
        let mut news = News::default();
        links.hear(&mut news).unwrap();
        assert!(!news.lost);
    }
}
