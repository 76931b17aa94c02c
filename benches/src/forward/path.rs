//! Client, router and server, and the frames between them.

use std::fmt;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::LinkAddr;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::bind;
use nix::sys::socket::socket;
use nix::unistd::write;

use super::frames::Talk;
use super::frames::Way;
use super::link::Link;
use super::link::Offloads;
use super::link::veth;
use super::netns::Netns;
use super::tracker;
use super::tracker::Kind;
use super::tracker::Watcher;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// The router's interfaces.
const INSIDE: &str = "inside";
const OUTSIDE: &str = "outside";

/// A way through a router, in namespaces of its own. Dropping it takes all of it away.
pub struct Path {
    watcher: Watcher,
    router: Netns,
    ends: [End; 2],
}

/// Who sends to an interface of the router.
struct End {
    link: Link,
    socket: OwnedFd,
    /// Ethernet addresses of a frame from here.
    addresses: [u8; 12],
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path")
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

impl Path {
    /// Builds it.
    ///
    /// # Errors
    /// If the kernel refuses a socket, a program or a map.
    ///
    /// # Panics
    /// If `ip`, `nft` or `ethtool` fail.
    pub fn new(kind: Kind) -> Result<Self> {
        let nets = [Netns::new(), Netns::new(), Netns::new()];
        for ns in &nets {
            ns.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
            ns.sysctl("net/ipv4/conf/all/rp_filter", "0");
            ns.sysctl("net/ipv4/conf/default/rp_filter", "0");
        }
        let [client, router, server] = nets;
        router.sysctl("net/ipv4/ip_forward", "1");
        let ends = [
            End::new((&client, "client"), (&router, INSIDE), 1, "10.0.0.0/8")?,
            End::new((&server, "server"), (&router, OUTSIDE), 2, "192.0.2.0/24")?,
        ];
        let watcher = Watcher::start(kind, &router, [INSIDE, OUTSIDE])?;
        Ok(Self {
            watcher,
            router,
            ends,
        })
    }

    /// What looks at its packets.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.watcher.kind
    }

    /// How many flows that knows; `None` if it knows of none ever.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn flows(&self) -> Result<Option<u64>> {
        self.watcher.flows(&self.router)
    }

    /// Has conntrack-tools print nf_conntrack's flows; how many they were, and the CPU
    /// time it took.
    ///
    /// # Errors
    /// If it is not installed, or refuses.
    pub fn list_by_tools(&self) -> Result<(u64, Duration)> {
        tracker::list(&self.router)
    }

    /// Sends the next packets; the time it took until all of them were through.
    ///
    /// # Errors
    /// If a frame cannot be sent, or one of a hundred does not arrive.
    pub fn send(&self, talk: &mut Talk, packets: u32) -> Result<Duration> {
        let before = self.arrived();
        let start = Instant::now();
        for _ in 0..packets {
            let (way, frame) = talk.next();
            let end = &self.ends[usize::from(way == Way::Back)];
            frame[..12].copy_from_slice(&end.addresses);
            write(&end.socket, frame).context("send a frame")?;
        }
        let spent = start.elapsed();
        let arrived = self.arrived() - before;
        if arrived + u64::from(packets / 100) < u64::from(packets) {
            return Err(Error::Wrong {
                row: format!("{:?}", self.kind()),
                what: format!("{packets} packets were sent, {arrived} arrived"),
            });
        }
        Ok(spent)
    }

    /// Packets that both ends have received.
    fn arrived(&self) -> u64 {
        let counts = self.ends.iter().map(|end| end.link.counters().rx_packets);
        counts.sum()
    }
}

impl End {
    /// An end, its link to the router, and the network behind it.
    fn new(end: (&Netns, &str), router: (&Netns, &str), number: u8, network: &str) -> Result<Self> {
        let (link, port) = veth(end, router);
        for link in [&link, &port] {
            link.offloads(Offloads::Off);
        }
        let mac = link.mac();
        let text = mac.map(|byte| format!("{byte:02x}")).join(":");
        let (ns, name) = router;
        port.addr(&format!("172.31.{number}.1/24"));
        ns.sh(&format!(
            "ip neigh replace 172.31.{number}.2 lladdr {text} dev {name} nud permanent"
        ));
        ns.sh(&format!(
            "ip route add {network} via 172.31.{number}.2 dev {name}"
        ));
        ns.sysctl(&format!("net/ipv4/conf/{name}/rp_filter"), "0");
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(&port.mac());
        addresses[6..].copy_from_slice(&mac);
        let socket = end.0.run(|| open(end.1))?;
        Ok(Self {
            link,
            socket,
            addresses,
        })
    }
}

/// A socket that sends frames through an interface of this thread's namespace.
fn open(interface: &str) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None);
    let fd = fd.context("open a packet socket")?;
    let address = link_address(interface)?;
    bind(fd.as_raw_fd(), &address).context("bind a packet socket")?;
    Ok(fd)
}

fn link_address(interface: &str) -> Result<LinkAddr> {
    let mut all = getifaddrs().context("list the interfaces")?;
    let found = all.find_map(|entry| {
        let address = entry.address?;
        let is_it = entry.interface_name == interface;
        address.as_link_addr().copied().filter(|_| is_it)
    });
    found.ok_or_else(|| Error::Wrong {
        row: interface.to_owned(),
        what: "the interface is not there".to_owned(),
    })
}
