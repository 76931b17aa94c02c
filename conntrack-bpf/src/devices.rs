//! The network devices of a namespace, as rtnetlink lists them, and which of
//! them are stacked on which.

use std::collections::BTreeSet;

use nix::errno::Errno;

use crate::netlink::Attrs;
use crate::netlink::Message;
use crate::netlink::Netlink;

const IFINFO: usize = 16; // struct ifinfomsg
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_IP6GRE: u16 = 823;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;

/// Kinds whose `link` is the device they are stacked on, and whose packets were
/// seen on that device with the same addresses. Not tunnels: their packets were
/// seen there inside other ones; not veth, whose `link` is the other end.
const STACKED_KINDS: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "dsa"];

/// How frames of a device begin.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum Framing {
    /// With an Ethernet header.
    Ethernet,
    /// With the IP header: tun, wireguard, IP tunnels, PPP.
    RawIp,
    /// With something else; the number is `ARPHRD_*`.
    Other(u16),
}

impl Framing {
    /// The kernel's own list of link types without a header
    /// (`dev_is_mac_header_xmit`).
    fn from_link_type(link_type: u16) -> Self {
        match link_type {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Self::Ethernet,
            libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_IPGRE
            | ARPHRD_IP6GRE
            | libc::ARPHRD_VOID
            | libc::ARPHRD_NONE
            | ARPHRD_RAWIP
            | libc::ARPHRD_PPP => Self::RawIp,
            other => Self::Other(other),
        }
    }
}

/// XDP programs on a device, by their ids.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct XdpPresent {
    /// In the driver.
    pub native: Option<u32>,
    /// Behind the driver.
    pub generic: Option<u32>,
    /// On the card.
    pub offload: Option<u32>,
}

/// A network device.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Device {
    /// Its index in its namespace.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// How its frames begin.
    pub framing: Framing,
    /// It is the loopback device.
    pub loopback: bool,
    /// It is set up.
    pub up: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Receive and transmit queues.
    pub queues: (u32, u32),
    /// What kind of virtual device, such as `veth`; `None` for hardware.
    pub kind: Option<String>,
    /// XDP programs on it, ours or others'.
    pub xdp: XdpPresent,
    /// The bridge, bond, team or VRF it belongs to.
    pub master: Option<u32>,
    /// The device it is stacked on, in the same namespace.
    pub lower: Option<u32>,
}

/// Every device of the calling thread's network namespace.
pub(crate) fn list() -> Result<Vec<Device>, Errno> {
    let netlink = Netlink::open()?;
    netlink.dump(|| Message::new(libc::RTM_GETLINK, &[0; IFINFO]), parse)
}

fn parse(body: &[u8]) -> Option<Device> {
    let link_type = u16::from_ne_bytes(*body.get(2..)?.first_chunk()?);
    let ifindex = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
    let flags = u32::from_ne_bytes(*body.get(8..)?.first_chunk()?);
    let attrs = Attrs::new(body.get(IFINFO..)?);
    let has = |flag: i32| flags & flag.cast_unsigned() != 0;
    let info = attrs.nested(libc::IFLA_LINKINFO);
    let kind = info.and_then(|info| info.text(IFLA_INFO_KIND));
    let stacked = kind
        .as_deref()
        .is_some_and(|kind| STACKED_KINDS.contains(&kind));
    let elsewhere = attrs.find(libc::IFLA_LINK_NETNSID).is_some();
    let lower = attrs.u32(libc::IFLA_LINK).filter(|&lower| lower != 0);
    let xdp = attrs.nested(libc::IFLA_XDP);
    let program = |kind| xdp?.u32(kind).filter(|&id| id != 0);
    Some(Device {
        ifindex,
        name: attrs.text(libc::IFLA_IFNAME)?,
        framing: Framing::from_link_type(link_type),
        loopback: has(libc::IFF_LOOPBACK),
        up: has(libc::IFF_UP),
        mtu: attrs.u32(libc::IFLA_MTU).unwrap_or(0),
        queues: (
            attrs.u32(libc::IFLA_NUM_RX_QUEUES).unwrap_or(1),
            attrs.u32(libc::IFLA_NUM_TX_QUEUES).unwrap_or(1),
        ),
        kind,
        xdp: XdpPresent {
            native: program(IFLA_XDP_DRV_PROG_ID),
            generic: program(IFLA_XDP_SKB_PROG_ID),
            offload: program(IFLA_XDP_HW_PROG_ID),
        },
        master: attrs.u32(libc::IFLA_MASTER),
        lower: lower.filter(|_| stacked && !elsewhere),
    })
}

/// The devices stacked on one of `of`, however many layers up; without `of`
/// itself unless it is stacked on another of them.
pub(crate) fn uppers(devices: &[Device], of: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut next: Vec<u32> = of.into_iter().collect();
    while let Some(lower) = next.pop() {
        let master = devices
            .iter()
            .filter(|device| device.ifindex == lower)
            .filter_map(|device| device.master);
        let stacked = devices
            .iter()
            .filter(|device| device.lower == Some(lower))
            .map(|device| device.ifindex);
        for upper in master.chain(stacked) {
            if found.insert(upper) {
                next.push(upper);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(ifindex: u32, master: Option<u32>, lower: Option<u32>) -> Device {
        Device {
            ifindex,
            name: format!("d{ifindex}"),
            framing: Framing::Ethernet,
            loopback: false,
            up: true,
            mtu: 1500,
            queues: (1, 1),
            kind: None,
            xdp: XdpPresent::default(),
            master,
            lower,
        }
    }

    #[test]
    fn uppers_go_all_the_way_up() {
        // 1 and 2 in bond 3; VLANs 4 and 5 on it, 4 in bridge 6; 7 apart.
        let devices = [
            device(1, Some(3), None),
            device(2, Some(3), None),
            device(3, None, None),
            device(4, Some(6), Some(3)),
            device(5, None, Some(3)),
            device(6, None, None),
            device(7, None, None),
        ];
        let of = |ids: &[u32]| -> Vec<u32> {
            uppers(&devices, ids.iter().copied()).into_iter().collect()
        };
        assert_eq!(of(&[1]), [3, 4, 5, 6]);
        assert_eq!(of(&[1, 2]), [3, 4, 5, 6]);
        assert_eq!(of(&[4]), [6]);
        assert_eq!(of(&[5, 6, 7, 99]), [0; 0]);
    }

    #[test]
    fn a_circle_ends() {
        let devices = [device(1, Some(2), None), device(2, Some(1), None)];
        assert_eq!(uppers(&devices, [1]), BTreeSet::from([1, 2]));
    }

    #[test]
    fn link_types() {
        let framing = Framing::from_link_type;
        assert_eq!(framing(libc::ARPHRD_LOOPBACK), Framing::Ethernet);
        assert_eq!(framing(libc::ARPHRD_NONE), Framing::RawIp);
        assert_eq!(
            framing(libc::ARPHRD_INFINIBAND),
            Framing::Other(libc::ARPHRD_INFINIBAND)
        );
    }

    #[test]
    fn loopback_is_listed() {
        let devices = list().unwrap();
        let lo = devices.iter().find(|device| device.name == "lo").unwrap();
        assert!(lo.loopback);
        assert_eq!((lo.ifindex, lo.framing), (1, Framing::Ethernet));
        assert_eq!((lo.master, lo.lower), (None, None));
    }
}
