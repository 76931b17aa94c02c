//! What must never be banned, found out anew each time: what this host is, what it
//! reaches the world by, and where its operators sit.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::Path;

use ipnet::IpNet;
use nix::errno::Errno;

use crate::error::Context;
use crate::error::Result;
use crate::netlink::Attrs;
use crate::netlink::Message;
use crate::netlink::Netlink;
use crate::netns::Netns;

const IFADDR: usize = 8; // struct ifaddrmsg
const ROUTE: usize = 12; // struct rtmsg
const NEXTHOP: usize = 8; // struct rtnexthop
/// Names of processes that hold the sockets of remote shells; those of OpenSSH have
/// several, all beginning so.
const SHELLS: [&str; 2] = ["sshd", "dropbear"];
/// `TCP_ESTABLISHED` in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// A network that is never banned, and why.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Guarded {
    pub(crate) net: IpNet,
    pub(crate) why: &'static str,
}

/// Hears that addresses or routes of a network namespace have changed.
#[derive(Debug)]
pub struct GuardNews {
    netlink: Netlink,
}

impl GuardNews {
    const GROUPS: i32 = libc::RTMGRP_IPV4_IFADDR
        | libc::RTMGRP_IPV6_IFADDR
        | libc::RTMGRP_IPV4_ROUTE
        | libc::RTMGRP_IPV6_ROUTE;

    pub(crate) fn open(netns: &Netns) -> Result<Self> {
        let netlink = netns.run(|| Netlink::subscribe(Self::GROUPS))?;
        let netlink = netlink.context("listen to the addresses of a network namespace")?;
        Ok(Self { netlink })
    }

    /// Whether anything was heard since the last time. It does not wait.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn heard(&self) -> Result<bool> {
        let mut any = false;
        let whole = self.netlink.hear(|_, _| any = true);
        Ok(!whole.context("hear of addresses")? || any)
    }
}

/// All of them, for a network namespace and this process.
///
/// # Errors
/// The namespace cannot be entered, or does not tell its addresses and routes.
pub(crate) fn find(netns: &Netns) -> Result<Vec<Guarded>> {
    let sockets = shell_sockets(Path::new("/proc"));
    let found = netns.run(|| {
        let netlink = Netlink::open()?;
        let mut found = own_addresses(&netlink)?;
        for family in [libc::AF_INET, libc::AF_INET6] {
            found.extend(gateways(&netlink, family)?);
        }
        Ok::<_, Errno>((found, peers(&sockets)))
    })?;
    let (mut found, peers) = found.context("find out what must not be banned")?;
    for loopback in ["127.0.0.0/8", "::1/128"] {
        let net = loopback.parse::<IpNet>().ok();
        found.extend(net.map(|net| guarded(net, "loopback")));
    }
    let session = session().map(|addr| guarded(addr, "the other end of this SSH session"));
    found.extend(session);
    let peers = peers.into_iter();
    found.extend(peers.map(|addr| guarded(addr, "the other end of an SSH session")));
    Ok(found)
}

/// The other end of the SSH session that this process runs in.
pub(crate) fn session() -> Option<IpAddr> {
    let session = env::var("SSH_CONNECTION").ok();
    session.as_deref().and_then(peer_of_session)
}

/// The addresses of the interfaces of a network namespace.
///
/// # Errors
/// The namespace cannot be entered, or does not tell them.
pub(crate) fn addresses(netns: &Netns) -> Result<Vec<IpAddr>> {
    let found = netns.run(|| own_addresses(&Netlink::open()?))?;
    let found = found.context("find out the addresses of this host")?;
    Ok(found.into_iter().map(|own| own.net.addr()).collect())
}

fn guarded(net: impl Into<IpNet>, why: &'static str) -> Guarded {
    let net = net.into();
    Guarded { net, why }
}

fn own_addresses(netlink: &Netlink) -> Result<Vec<Guarded>, Errno> {
    let ask = || Message::new(libc::RTM_GETADDR, &[0; IFADDR]);
    netlink.dump(ask, |body| {
        let attrs = Attrs::new(body.get(IFADDR..)?);
        // Of a point-to-point link IFA_ADDRESS is the other end.
        let own = attrs.find(libc::IFA_LOCAL);
        let addr = address(own.or_else(|| attrs.find(libc::IFA_ADDRESS))?)?;
        Some(guarded(addr, "an address of this host"))
    })
}

fn gateways(netlink: &Netlink, family: i32) -> Result<Vec<Guarded>, Errno> {
    let mut fixed = [0; ROUTE];
    fixed[0] = family as u8;
    let ask = || Message::new(libc::RTM_GETROUTE, &fixed);
    let routes = netlink.dump(ask, |body| {
        let [_, prefix, ..] = body else { return None };
        let attrs = Attrs::new(body.get(ROUTE..)?);
        (*prefix == 0).then(|| next_hops(attrs))
    })?;
    let hops = routes.into_iter().flatten();
    Ok(hops
        .map(|addr| guarded(addr, "a default gateway"))
        .collect())
}

/// The gateways of a route, one or several.
fn next_hops(route: Attrs<'_>) -> Vec<IpAddr> {
    let mut hops = Vec::from_iter(gateway(route));
    let mut rest = route.find(libc::RTA_MULTIPATH).unwrap_or_default();
    while let Some(len) = rest
        .first_chunk()
        .map(|len| usize::from(u16::from_ne_bytes(*len)))
    {
        let Some(hop) = rest.get(NEXTHOP..len) else {
            break;
        };
        hops.extend(gateway(Attrs::new(hop)));
        rest = &rest[len.next_multiple_of(4).min(rest.len())..];
    }
    hops
}

/// `RTA_GATEWAY`, or `RTA_VIA` where it is of the other family.
fn gateway(route: Attrs<'_>) -> Option<IpAddr> {
    let via = || route.find(libc::RTA_VIA)?.get(2..);
    address(route.find(libc::RTA_GATEWAY).or_else(via)?)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes
            .first_chunk::<4>()
            .map(|it| Ipv4Addr::from(*it).into()),
        16 => bytes
            .first_chunk::<16>()
            .map(|it| Ipv6Addr::from(*it).into()),
        _ => None,
    }
}

/// `SSH_CONNECTION` is `client port server port`.
fn peer_of_session(text: &str) -> Option<IpAddr> {
    let addr = text.split_whitespace().next()?;
    // A link-local address has its interface behind it.
    let addr = addr.split('%').next()?;
    addr.parse().ok().map(|addr: IpAddr| addr.to_canonical())
}

/// Inodes of the sockets that remote shells hold. Processes that must not be looked
/// at, or go meanwhile, are left out.
fn shell_sockets(proc: &Path) -> HashSet<u64> {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let shells = processes.filter(|process| {
        let comm = fs::read_to_string(process.path().join("comm"));
        comm.is_ok_and(|comm| SHELLS.iter().any(|shell| comm.starts_with(shell)))
    });
    let files = shells.flat_map(|shell| fs::read_dir(shell.path().join("fd")));
    let links = files
        .flatten()
        .flatten()
        .map(|file| fs::read_link(file.path()));
    let inode = |link: &Path| {
        let inner = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inner.parse().ok()
    };
    links.flatten().filter_map(|link| inode(&link)).collect()
}

/// The other ends of these connections, in the calling thread's namespace.
fn peers(sockets: &HashSet<u64>) -> Vec<IpAddr> {
    if sockets.is_empty() {
        return Vec::new();
    }
    let tables = ["tcp", "tcp6"].map(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}"));
        text.unwrap_or_default()
    });
    let lines = tables.iter().flat_map(|table| table.lines());
    lines.filter_map(|line| peer(line, sockets)).collect()
}

/// The other end of a line of `/proc/net/tcp`, if it is one of these sockets.
fn peer(line: &str, sockets: &HashSet<u64>) -> Option<IpAddr> {
    let mut fields = line.split_whitespace();
    let remote = fields.nth(2)?;
    let state = fields.next()?;
    let inode = fields.nth(5)?.parse().ok()?;
    if state != ESTABLISHED || !sockets.contains(&inode) {
        return None;
    }
    let (hex, _) = remote.split_once(':')?;
    let mut bytes = Vec::new();
    // Words of 32 bits, as this host has them in memory.
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    address(&bytes).map(|addr| addr.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::NetnsRef;

    #[test]
    fn this_host_is_guarded() {
        let netns = Netns::open(&NetnsRef::Current).expect("this namespace");
        let found = find(&netns).expect("addresses and routes");
        let all: Vec<String> = found.iter().map(|it| it.net.to_string()).collect();
        for net in ["127.0.0.0/8", "127.0.0.1/32", "::1/128"] {
            assert!(all.contains(&net.to_owned()), "{net} in {all:?}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_other_end_of_a_socket() {
        const LINES: [&str; 4] = [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            "   1: 0100070A:0016 0200070A:C350 01 00000000:00000000 02:000A0000 00000000     0        0 77 2 0",
            "   2: 0100070A:0016 0300070A:C350 06 00000000:00000000 03:00000000 00000000     0        0 77 3 0",
            "   0: 0000000000000000FFFF00000100070A:0016 0000000000000000FFFF00000400070A:D431 01 \
             00000000:00000000 02:00000000 00000000 0 0 78 4 0",
        ];
        let sockets = [77, 78].into();
        let found: Vec<_> = LINES
            .iter()
            .filter_map(|line| peer(line, &sockets))
            .collect();
        assert_eq!(
            found,
            ["10.7.0.2", "10.7.0.4"].map(|it| it.parse::<IpAddr>().unwrap())
        );
        let six = "0: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:D431 01 \
                   0:0 02:0 0 0 0 77 4 0";
        assert_eq!(peer(six, &sockets), "2001:db8::2".parse().ok());
        assert_eq!(peer(six, &[1].into()), None);
        for bad in [
            "",
            "1: a b 01 c d e f g 77",
            "1: a 0200070:1 01 c d e f g 77",
        ] {
            assert_eq!(peer(bad, &sockets), None, "{bad}");
        }
    }

    #[test]
    fn where_a_session_comes_from() {
        let of = |text: &str| peer_of_session(text).map(|addr| addr.to_string());
        assert_eq!(of("10.0.0.1 5000 10.0.0.2 22").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("fe80::1%eth0 5 fe80::2 22").as_deref(), Some("fe80::1"));
        assert_eq!(of("::ffff:10.0.0.1 5 ::1 22").as_deref(), Some("10.0.0.1"));
        assert_eq!(of(""), None);
        assert_eq!(of("host 1 2 3"), None);
    }

    #[test]
    fn gateways_of_a_route() {
        let addr = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
        let attr = |kind: u16, value: &[u8]| {
            let len = (4 + value.len()) as u16;
            [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
        };
        let hop = |attrs: Vec<u8>| {
            let len = (NEXTHOP + attrs.len()) as u16;
            [&len.to_ne_bytes()[..], &[0; 6], &attrs].concat()
        };
        let one = attr(libc::RTA_GATEWAY, &addr("10.0.0.1"));
        let texts = |route: &[u8]| -> Vec<String> {
            let hops = next_hops(Attrs::new(route));
            hops.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&one), ["10.0.0.1"]);
        let other = attr(libc::RTA_VIA, &[&[10, 0][..], &[0xfe; 16]].concat());
        let several = [hop(one), hop(other), hop(Vec::new())].concat();
        let several = attr(libc::RTA_MULTIPATH, &several);
        assert_eq!(
            texts(&several),
            ["10.0.0.1", "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe"]
        );
        assert!(texts(&attr(libc::RTA_MULTIPATH, &[255; 9])).is_empty());
        assert!(texts(&[]).is_empty());
    }
}
