//! From names to interfaces that may be attached to, each with its plan: all
//! that can be refused is refused before anything is touched.

use std::collections::BTreeSet;

use conntrack_core::Mode;

use crate::attach;
use crate::clsact;
use crate::devices;
use crate::devices::Device;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::netns::NetnsRef;
use crate::plan::Plan;
use crate::probe::KernelSupport;
use crate::support::DeviceSupport;

/// An interface to attach to, and how.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) device: DeviceSupport,
    pub(crate) plan: Plan,
    /// It has a clsact qdisc, which is not ours then.
    pub(crate) has_clsact: bool,
}

impl Target {
    pub(crate) fn ifindex(&self) -> u32 {
        self.device.device.ifindex
    }
}

/// Looks the names up in the namespace; `attached` are the interfaces that the
/// instance has already.
///
/// # Errors
/// `NotFound` for a name that is not there, `InUse` for one that is attached,
/// `Invalid` for none, one named twice, or one stacked on another.
pub(crate) fn find(
    netns: &Netns,
    names: &[String],
    attached: &BTreeSet<u32>,
) -> Result<Vec<Device>> {
    if names.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "no interface is named"));
    }
    let all = attach::devices(netns)?;
    let found = by_name(netns, &all, names)?;
    if let Some(device) = found
        .iter()
        .find(|device| attached.contains(&device.ifindex))
    {
        let message = format!("{} is attached already", device.name);
        return Err(Error::new(ErrorKind::InUse, message));
    }
    let new: BTreeSet<u32> = found.iter().map(|device| device.ifindex).collect();
    one_layer_only(&all, attached, &new)?;
    Ok(found)
}

/// Finds the interfaces and decides about each, by what is on it at this moment.
///
/// # Errors
/// As [`find`]; what [`Plan`] says.
pub(crate) fn resolve(
    netns: &Netns,
    kernel: &KernelSupport,
    names: &[String],
    mode: Mode,
    attached: &BTreeSet<u32>,
) -> Result<Vec<Target>> {
    let found = find(netns, names, attached)?;
    netns.run(|| {
        let netlink = Netlink::open().context("open a netlink socket")?;
        let targets = found.into_iter().map(|device| {
            let device = DeviceSupport::probe(device, kernel);
            let plan = Plan::from_support(kernel, &device, mode)?;
            let has_clsact = clsact::present(&netlink, device.device.ifindex);
            Ok(Target {
                plan,
                has_clsact: has_clsact.context("list the qdiscs")?,
                device,
            })
        });
        targets.collect()
    })?
}

/// The devices of these names, or all of them if none is named.
pub(crate) fn named(netns: &Netns, names: &[String]) -> Result<Vec<Device>> {
    let all = attach::devices(netns)?;
    match names {
        [] => Ok(all),
        names => by_name(netns, &all, names),
    }
}

fn by_name(netns: &Netns, all: &[Device], names: &[String]) -> Result<Vec<Device>> {
    let mut found: Vec<Device> = Vec::new();
    for name in names {
        let device = all.iter().find(|device| device.name == *name);
        let device = device.ok_or_else(|| no_such(name, netns))?;
        if found.iter().any(|found| found.ifindex == device.ifindex) {
            let message = format!("{name} is named twice");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        found.push(device.clone());
    }
    Ok(found)
}

fn no_such(name: &str, netns: &Netns) -> Error {
    let place = match netns.named() {
        NetnsRef::Current => String::new(),
        NetnsRef::Pid(pid) => format!(" in the network namespace of process {pid}"),
        named => format!(" in network namespace {named}"),
    };
    Error::new(
        ErrorKind::NotFound,
        format!("there is no interface {name}{place}"),
    )
}

/// A packet that goes through two layers of a stack would be counted on both.
fn one_layer_only(all: &[Device], attached: &BTreeSet<u32>, new: &BTreeSet<u32>) -> Result<()> {
    let together: BTreeSet<u32> = attached.union(new).copied().collect();
    let name = |ifindex: u32| {
        let device = all.iter().find(|device| device.ifindex == ifindex);
        device.map_or_else(|| ifindex.to_string(), |device| device.name.clone())
    };
    for &lower in &together {
        for upper in devices::uppers(all, [lower]) {
            let concerns_us = new.contains(&lower) || new.contains(&upper);
            if upper == lower || !together.contains(&upper) || !concerns_us {
                continue;
            }
            let (upper, lower) = (name(upper), name(lower));
            let message = format!(
                "{upper} is stacked on {lower}: packets would be counted on both; \
                 attach to one of them only"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Framing;
    use crate::devices::XdpPresent;

    fn device(ifindex: u32, name: &str, master: Option<u32>) -> Device {
        Device {
            ifindex,
            name: name.to_owned(),
            framing: Framing::Ethernet,
            loopback: false,
            up: true,
            mtu: 1500,
            queues: (1, 1),
            kind: None,
            xdp: XdpPresent::default(),
            master,
            lower: None,
        }
    }

    #[test]
    fn ports_together_but_not_with_their_bridge() {
        let all = [
            device(1, "port1", Some(3)),
            device(2, "port2", Some(3)),
            device(3, "br0", None),
            device(4, "eth0", None),
        ];
        let check = |attached: &[u32], new: &[u32]| {
            let set = |ids: &[u32]| ids.iter().copied().collect();
            one_layer_only(&all, &set(attached), &set(new))
        };
        assert!(check(&[], &[1, 2, 4]).is_ok());
        assert!(check(&[3], &[4]).is_ok());
        for (attached, new) in [(vec![], vec![1, 3]), (vec![1], vec![3]), (vec![3], vec![2])] {
            let error = check(&attached, &new).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(
                error.to_string().contains("br0 is stacked on port"),
                "{error}"
            );
        }
        // Stacked after it was attached: no reason to refuse another one.
        assert!(check(&[1, 3], &[4]).is_ok());
    }
}
