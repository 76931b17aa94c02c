//! Values by network, and the longest match of an address.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::around;

/// Values by network. Bits beyond a prefix are left out. A lookup asks only for
/// the prefix lengths that are in use, as the packet path does.
///
/// ```
/// use conntrack_core::cidr::NetMap;
///
/// let mut map = NetMap::new();
/// map.insert("10.0.0.0/8".parse().unwrap(), "eight");
/// map.insert("10.1.0.0/16".parse().unwrap(), "sixteen");
/// let found = map.longest("10.1.2.3".parse().unwrap());
/// assert_eq!(found, Some(("10.1.0.0/16".parse().unwrap(), &"sixteen")));
/// ```
#[derive(Clone)]
pub struct NetMap<V> {
    /// In order: IPv4 first, a network before what is in it.
    nets: BTreeMap<IpNet, V>,
    /// How many there are of each length, by family.
    v4: [usize; 33],
    v6: [usize; 129],
}

impl<V> NetMap<V> {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            nets: BTreeMap::new(),
            v4: [0; 33],
            v6: [0; 129],
        }
    }

    /// How many networks there are.
    pub fn len(&self) -> usize {
        self.nets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty()
    }

    fn counter(&mut self, net: IpNet) -> &mut usize {
        let len = usize::from(net.prefix_len());
        match net {
            IpNet::V4(_) => &mut self.v4[len],
            IpNet::V6(_) => &mut self.v6[len],
        }
    }

    fn counters(&self, of_v4: bool) -> &[usize] {
        if of_v4 { &self.v4 } else { &self.v6 }
    }

    /// Sets the value of a network; the one before, if there was one.
    pub fn insert(&mut self, net: IpNet, value: V) -> Option<V> {
        let net = net.trunc();
        let before = self.nets.insert(net, value);
        if before.is_none() {
            *self.counter(net) += 1;
        }
        before
    }

    /// Removes a network, not what is in it or around it.
    pub fn remove(&mut self, net: IpNet) -> Option<V> {
        let net = net.trunc();
        let value = self.nets.remove(&net)?;
        *self.counter(net) -= 1;
        Some(value)
    }

    /// The value of exactly this network.
    pub fn get(&self, net: IpNet) -> Option<&V> {
        self.nets.get(&net.trunc())
    }

    /// The value of exactly this network, to be changed.
    pub fn get_mut(&mut self, net: IpNet) -> Option<&mut V> {
        self.nets.get_mut(&net.trunc())
    }

    /// Every network that holds all of `net`, itself too, the longest prefix first.
    pub fn covering(&self, net: IpNet) -> impl Iterator<Item = (IpNet, &V)> {
        let counters = self.counters(net.addr().is_ipv4());
        let lens = (0..=net.prefix_len()).rev();
        lens.filter(|len| counters[usize::from(*len)] != 0)
            .filter_map(move |len| {
                let key = around(net.addr(), len)?;
                self.nets.get(&key).map(|value| (key, value))
            })
    }

    /// Every network that is within `net`, itself too, in order.
    pub fn within(&self, net: IpNet) -> impl Iterator<Item = (IpNet, &V)> {
        let net = net.trunc();
        let last = IpNet::from(net.broadcast());
        self.nets
            .range(net..=last)
            .map(|(net, value)| (*net, value))
    }

    /// The network with the longest prefix that holds the address.
    pub fn longest(&self, addr: IpAddr) -> Option<(IpNet, &V)> {
        self.covering(addr.into()).next()
    }

    /// The network with the longest prefix that holds the address, of those whose
    /// value is wanted: an expired one does not hide one that is not.
    pub fn longest_where(&self, addr: IpAddr, wanted: impl Fn(&V) -> bool) -> Option<(IpNet, &V)> {
        self.covering(addr.into()).find(|(_, value)| wanted(value))
    }

    /// Whether a network of it holds the address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.longest(addr).is_some()
    }

    /// All of them in order: IPv4 first, a network before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &V)> {
        self.nets.iter().map(|(net, value)| (*net, value))
    }
}

impl<V> Default for NetMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: fmt::Debug> fmt::Debug for NetMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.nets).finish()
    }
}

impl<V: PartialEq> PartialEq for NetMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.nets == other.nets
    }
}

impl<V> FromIterator<(IpNet, V)> for NetMap<V> {
    /// Of a network that comes twice, the last value stays.
    fn from_iter<I: IntoIterator<Item = (IpNet, V)>>(nets: I) -> Self {
        let mut map = Self::new();
        for (net, value) in nets {
            map.insert(net, value);
        }
        map
    }
}
