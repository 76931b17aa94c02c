//! From names to interfaces that may be attached to, each with its plan: all
//! that can be refused is refused before anything is touched.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use conntrack_core::Hook;
use conntrack_core::Mode;

use crate::attach;
use crate::choose;
use crate::choose::NotAttached;
use crate::choose::Wanted;
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
    /// If it cannot be attached to, the others are all the same.
    pub(crate) optional: bool,
}

impl Target {
    pub(crate) fn ifindex(&self) -> u32 {
        self.device.device.ifindex
    }

    /// What was chosen, for the log.
    fn tell(&self) {
        let names = self.plan.ingress.iter().map(|hook| hook.name());
        let ingress: Vec<&str> = names.collect();
        let (name, ingress) = (&self.device.device.name, ingress.join(", else "));
        let egress = self.plan.egress.map_or("none", Hook::name);
        tracing::info!("chosen for {name}: {ingress} on ingress, {egress} on egress");
        tracing::debug!("{name}: {:?}", self.device);
    }
}

/// Why interfaces cannot be attached to.
pub(crate) type Refused = BTreeMap<u32, String>;

/// The interfaces that a request stands for.
#[derive(Debug)]
pub(crate) struct Found {
    /// To be attached to.
    pub(crate) targets: Vec<Target>,
    /// Attached already, and rightly so.
    pub(crate) kept: BTreeSet<u32>,
    pub(crate) skipped: Vec<NotAttached>,
}

/// Looks for interfaces to attach to, again and again.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) netns: Arc<Netns>,
    pub(crate) kernel: KernelSupport,
    pub(crate) wanted: Wanted,
    pub(crate) mode: Mode,
    /// Attached, and open to another decision.
    pub(crate) known: BTreeSet<u32>,
    /// Not attached, and not to be.
    pub(crate) except: BTreeSet<u32>,
    /// Those that refused, but for a named one, on which the search ends.
    pub(crate) refused: Refused,
}

impl Search {
    pub(crate) fn new(
        netns: &Arc<Netns>,
        kernel: KernelSupport,
        wanted: Wanted,
        mode: Mode,
    ) -> Self {
        Self {
            netns: Arc::clone(netns),
            kernel,
            wanted,
            mode,
            known: BTreeSet::new(),
            except: BTreeSet::new(),
            refused: Refused::new(),
        }
    }

    /// Finds them and decides about each, by what is on it at this moment;
    /// `attached` are the interfaces that the instance has already.
    ///
    /// # Errors
    /// As [`check`]; what [`Plan`] says to one that is named.
    pub(crate) fn find(&mut self, attached: &BTreeSet<u32>) -> Result<Found> {
        let all = attach::devices(&self.netns)?;
        check(&self.netns, &all, &self.wanted, attached)?;
        let taken = attached.difference(&self.known).chain(&self.except);
        let taken: BTreeSet<u32> = taken.copied().collect();
        let mut targets = BTreeMap::new();
        loop {
            let choice = choose::choose(&all, &self.wanted, &taken, &self.refused);
            let (kept, mut news): (Vec<_>, Vec<_>) = choice
                .chosen
                .iter()
                .partition(|device| attached.contains(&device.ifindex));
            news.retain(|device| !targets.contains_key(&device.ifindex));
            if news.is_empty() {
                let chosen = choice.chosen.iter();
                let chosen = chosen.filter_map(|device| targets.remove(&device.ifindex));
                return Ok(Found {
                    targets: chosen.collect(),
                    kept: kept.iter().map(|device| device.ifindex).collect(),
                    skipped: choice.skipped,
                });
            }
            let planned = self
                .netns
                .run(|| plan_each(&news, &self.kernel, self.mode))?;
            for (device, target) in planned? {
                let optional = self.wanted.lenient || !self.wanted.names_it(device);
                match target {
                    Ok(target) => {
                        target.tell();
                        targets.insert(device.ifindex, Target { optional, ..target });
                    }
                    Err(error) if optional => {
                        let why = format!("{error:#}");
                        self.refused.insert(device.ifindex, why);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Looks whether what a request names, and what its patterns shall match, is there
/// and may be attached to; `attached` are the interfaces that the instance has
/// already. There is nothing to say against a lenient request.
///
/// # Errors
/// `NotFound` for a name that is not there or a pattern that matches nothing,
/// `InUse` for a name that is attached, `Invalid` for one named twice, or one
/// stacked on another.
pub(crate) fn check(
    netns: &Netns,
    all: &[Device],
    wanted: &Wanted,
    attached: &BTreeSet<u32>,
) -> Result<()> {
    if wanted.lenient {
        return Ok(());
    }
    let found = by_name(netns, all, wanted.names())?;
    if let Some(device) = found
        .iter()
        .find(|device| attached.contains(&device.ifindex))
    {
        let message = format!("{} is attached already", device.name);
        return Err(Error::new(ErrorKind::InUse, message));
    }
    all_match(netns, all, wanted)?;
    let new: BTreeSet<u32> = found.iter().map(|device| device.ifindex).collect();
    one_layer_only(all, attached, &new)
}

/// Each device with what is to be done about it, from a thread in its namespace.
fn plan_each<'a>(
    devices: &[&'a Device],
    kernel: &KernelSupport,
    mode: Mode,
) -> Result<Vec<(&'a Device, Result<Target>)>> {
    let netlink = Netlink::open().context("open a netlink socket")?;
    let plan = |device: &Device| {
        let device = DeviceSupport::probe(device.clone(), kernel);
        let plan = Plan::from_support(kernel, &device, mode)?;
        let has_clsact = clsact::present(&netlink, device.device.ifindex);
        Ok(Target {
            plan,
            has_clsact: has_clsact.context("list the qdiscs")?,
            device,
            optional: false,
        })
    };
    let devices = devices.iter().map(|&device| (device, plan(device)));
    Ok(devices.collect())
}

/// The devices of these names and patterns, or all of them if there are none.
pub(crate) fn named(netns: &Netns, names: &[String]) -> Result<Vec<Device>> {
    let all = attach::devices(netns)?;
    if names.is_empty() {
        return Ok(all);
    }
    let wanted = Wanted::new(names)?;
    let mut found = by_name(netns, &all, wanted.names())?;
    all_match(netns, &all, &wanted)?;
    let matched = all.iter().filter(|device| wanted.matches(device));
    let matched = matched.filter(|device| !wanted.names_it(device));
    found.extend(matched.cloned());
    Ok(found)
}

fn by_name<'a>(
    netns: &Netns,
    all: &[Device],
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<Device>> {
    let mut found: Vec<Device> = Vec::new();
    for name in names {
        let device = all.iter().find(|device| device.name == name);
        let device = device.ok_or_else(|| no_such(name, netns))?;
        if found.iter().any(|found| found.ifindex == device.ifindex) {
            let message = format!("{name} is named twice");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        found.push(device.clone());
    }
    Ok(found)
}

/// Refuses patterns that match nothing.
fn all_match(netns: &Netns, all: &[Device], wanted: &Wanted) -> Result<()> {
    match wanted.idle_globs(all).next() {
        Some(glob) => Err(no_such(&format!("like {glob}"), netns)),
        None => Ok(()),
    }
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
