//! Links between namespaces, their offloads and their counters.

use super::netns::Netns;

/// One interface of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Where it is.
    pub(crate) ns: Netns,
    /// Its name there.
    pub(crate) name: String,
}

/// What an interface counts, frames and bytes with their Ethernet headers. A
/// super-packet is one frame to veth and lo.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct LinkCounters {
    pub(crate) rx_packets: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_bytes: u64,
}

/// The offloads that make or keep super-packets.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Offloads {
    /// Neither GSO nor GRO: every frame is a packet.
    Off,
    /// TSO and GSO on the way out, GRO on the way in.
    On,
    /// The same without TSO: the kernel cuts what GSO made before it is put on
    /// the wire, behind the hooks.
    Software,
}

/// Two ends of a new veth pair, up.
pub(crate) fn veth(a: (&Netns, &str), b: (&Netns, &str)) -> (Link, Link) {
    let (name_a, name_b) = (a.1, b.1);
    let there = b.0.path();
    a.0.sh(&format!(
        "ip link add name {name_a} type veth peer name {name_b} netns {}",
        there.display()
    ));
    (Link::up(a.0, name_a), Link::up(b.0, name_b))
}

impl Link {
    /// An interface that is there already, set up.
    pub(crate) fn up(ns: &Netns, name: &str) -> Self {
        ns.sh(&format!("ip link set dev {name} up"));
        Self {
            ns: ns.clone(),
            name: name.to_owned(),
        }
    }

    /// Adds an address with its prefix length.
    pub(crate) fn addr(&self, addr: &str) -> &Self {
        let nodad = if addr.contains(':') { "nodad" } else { "" };
        self.ns
            .sh(&format!("ip addr add {addr} dev {} {nodad}", self.name));
        self
    }

    /// Sets the MTU.
    pub(crate) fn mtu(&self, mtu: u32) -> &Self {
        self.ns
            .sh(&format!("ip link set dev {} mtu {mtu}", self.name));
        self
    }

    /// Switches all of them. TCP makes super-packets whatever the features are,
    /// and they are cut behind the hooks; only a limit stops it.
    pub(crate) fn offloads(&self, offloads: Offloads) -> &Self {
        let (tso, gso, gro, segments) = match offloads {
            Offloads::Off => ("off", "off", "off", 1),
            Offloads::On => ("on", "on", "on", 65535),
            Offloads::Software => ("off", "on", "on", 65535),
        };
        let name = &self.name;
        self.ns
            .sh(&format!("ip link set dev {name} gso_max_segs {segments}"));
        self.ns.sh(&format!(
            "ethtool -K {name} tso {tso} tx-udp-segmentation {tso} gso {gso} gro {gro}"
        ));
        self
    }

    /// No checksum is left for a device to fill in: whoever takes a frame off the
    /// link sees it whole.
    pub(crate) fn checksums_by_stack(&self) -> &Self {
        let name = &self.name;
        self.ns.sh(&format!("ethtool -K {name} tx off"));
        self
    }

    /// Its hardware address.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let shown = self.json();
        let text = shown["address"].as_str().expect("an address");
        let mut mac = [0; 6];
        for (byte, digits) in mac.iter_mut().zip(text.split(':')) {
            *byte = u8::from_str_radix(digits, 16).expect("a byte");
        }
        mac
    }

    /// What it has counted so far.
    pub(crate) fn counters(&self) -> LinkCounters {
        let shown = self.json();
        let stats = &shown["stats64"];
        let number = |way: &str, name: &str| stats[way][name].as_u64().expect("a counter");
        LinkCounters {
            rx_packets: number("rx", "packets"),
            rx_bytes: number("rx", "bytes"),
            tx_packets: number("tx", "packets"),
            tx_bytes: number("tx", "bytes"),
        }
    }

    fn json(&self) -> serde_json::Value {
        let text = self.ns.sh(&format!("ip -s -j link show dev {}", self.name));
        let list: serde_json::Value = serde_json::from_str(&text).expect("JSON of ip");
        list[0].clone()
    }
}
