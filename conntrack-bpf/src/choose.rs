//! Which interfaces names and patterns stand for. A name stands for its
//! interface; a pattern for those of its matches that make sense: one layer of
//! each stack, the lowest, and not loopback.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use conntrack_core::InterfacePattern;
use conntrack_core::PatternError;

use crate::devices;
use crate::devices::Device;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;

/// Kinds that pass on the packets of their ports.
const MASTER_KINDS: [&str; 4] = ["bridge", "bond", "team", "openvswitch"];

/// An interface that is not attached to, or not any more.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct NotAttached {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Why not.
    pub why: String,
}

impl NotAttached {
    pub(crate) fn new(device: &Device, why: impl Into<String>) -> Self {
        Self {
            interface: device.name.clone(),
            ifindex: device.ifindex,
            why: why.into(),
        }
    }
}

/// The names and patterns of a request.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    patterns: Vec<InterfacePattern>,
    /// What is not there, or cannot be attached to, is left out.
    pub(crate) lenient: bool,
    /// Somebody goes on looking for them, so what makes sense later can wait.
    followed: bool,
}

impl Wanted {
    /// # Errors
    /// `Invalid` for none at all, or one that is no name and no pattern.
    pub(crate) fn new(names: &[String]) -> Result<Self> {
        if names.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "no interface is named"));
        }
        let patterns = names.iter().map(|name| name.parse());
        let patterns: Result<_, PatternError> = patterns.collect();
        let invalid = |error: PatternError| Error::new(ErrorKind::Invalid, error.to_string());
        Ok(Self {
            patterns: patterns.map_err(invalid)?,
            lenient: false,
            followed: false,
        })
    }

    /// The same for who leaves out what is not there.
    pub(crate) fn lenient(self) -> Self {
        Self {
            lenient: true,
            ..self
        }
    }

    /// The same for who goes on looking.
    pub(crate) fn followed(self) -> Self {
        Self {
            followed: true,
            ..self.lenient()
        }
    }

    /// Its plain names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.patterns.iter().filter(|pattern| !pattern.is_glob());
        names.map(InterfacePattern::as_str)
    }

    /// Whether the device is meant, by its name or by a pattern.
    pub(crate) fn matches(&self, device: &Device) -> bool {
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| pattern.matches(&device.name))
    }

    /// Whether it is meant by its very name.
    pub(crate) fn names_it(&self, device: &Device) -> bool {
        self.names().any(|name| name == device.name)
    }

    /// The patterns, but no names, that match none of these devices.
    pub(crate) fn idle_globs(&self, devices: &[Device]) -> impl Iterator<Item = &str> {
        let globs = self.patterns.iter().filter(|pattern| pattern.is_glob());
        let idle = globs.filter(|glob| !devices.iter().any(|it| glob.matches(&it.name)));
        idle.map(InterfacePattern::as_str)
    }
}

/// What a request stands for.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) chosen: Vec<Device>,
    pub(crate) skipped: Vec<NotAttached>,
}

/// Chooses among `devices`. `taken` are the interfaces that are attached already,
/// which are neither chosen nor skipped; `refused` has those that cannot be
/// attached to, with reasons. What is named goes before what a pattern matches.
pub(crate) fn choose(
    devices: &[Device],
    wanted: &Wanted,
    taken: &BTreeSet<u32>,
    refused: &BTreeMap<u32, String>,
) -> Choice {
    let mut skipped = Vec::new();
    let (mut named, mut matched) = (Vec::new(), Vec::new());
    for device in devices {
        if taken.contains(&device.ifindex) || !wanted.matches(device) {
            continue;
        }
        let is_named = wanted.names_it(device);
        let refusal = refused.get(&device.ifindex).cloned();
        let refusal = refusal.or_else(|| match is_named {
            true => None,
            false => in_itself(devices, device, wanted.followed),
        });
        match (refusal, is_named) {
            (Some(why), _) => skipped.push(NotAttached::new(device, why)),
            (None, true) => named.push(device.clone()),
            (None, false) => matched.push(device.clone()),
        }
    }
    skipped.extend(one_layer(devices, &mut named, taken));
    let named_too = named.iter().map(|device| device.ifindex);
    let taken = taken.iter().copied().chain(named_too).collect();
    skipped.extend(one_layer(devices, &mut matched, &taken));
    skipped.sort_by_key(|skipped| skipped.ifindex);
    named.append(&mut matched);
    Choice {
        chosen: named,
        skipped,
    }
}

/// Why a pattern does not stand for a device, whatever the others are.
fn in_itself(devices: &[Device], device: &Device, followed: bool) -> Option<String> {
    if device.loopback {
        return Some("it is the loopback device, which must be named".to_owned());
    }
    let is_port = |upper: &&Device| {
        upper.kind.as_deref() == Some("dsa") && upper.lower == Some(device.ifindex)
    };
    if let Some(Device { name, .. }) = devices.iter().find(is_port) {
        return Some(format!(
            "its packets bear the tags of a switch; {name} is one of its ports"
        ));
    }
    let kind = device.kind.as_deref().unwrap_or_default();
    let mut ports = devices.iter();
    let empty = !ports.any(|port| port.master == Some(device.ifindex));
    (followed && empty && MASTER_KINDS.contains(&kind))
        .then(|| format!("it is a {kind} without ports so far"))
}

/// Takes those out that would count again what another one, or one of `taken`,
/// has counted.
fn one_layer(
    devices: &[Device],
    chosen: &mut Vec<Device>,
    taken: &BTreeSet<u32>,
) -> Vec<NotAttached> {
    let name = |ifindex: u32| {
        let found = devices.iter().find(|device| device.ifindex == ifindex);
        found.map_or_else(|| ifindex.to_string(), |found| found.name.clone())
    };
    let together = chosen.iter().map(|device| device.ifindex);
    let together: BTreeSet<u32> = together.chain(taken.iter().copied()).collect();
    let stacked = devices::uppers(devices, together.iter().copied());
    let mut skipped = Vec::new();
    chosen.retain(|device| {
        let this = device.ifindex;
        let uppers = devices::uppers(devices, [this]);
        let why = if stacked.contains(&this) {
            let mut others = together.iter().filter(|&&other| other != this);
            let lower = others.find(|&&other| devices::uppers(devices, [other]).contains(&this));
            lower.map(|&lower| format!("it is stacked on {}", name(lower)))
        } else {
            let mut above = uppers.intersection(taken);
            let upper = above.next();
            upper.map(|&upper| format!("{}, which is stacked on it, goes first", name(upper)))
        };
        skipped.extend(why.iter().map(|why| NotAttached::new(device, why)));
        why.is_none()
    });
    skipped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Framing;
    use crate::devices::XdpPresent;

    fn device(ifindex: u32, name: &str, kind: Option<&str>) -> Device {
        Device {
            ifindex,
            name: name.to_owned(),
            framing: Framing::Ethernet,
            loopback: name == "lo",
            up: true,
            mtu: 1500,
            queues: (1, 1),
            kind: kind.map(str::to_owned),
            xdp: XdpPresent::default(),
            master: None,
            lower: None,
        }
    }

    /// eth0 and eth1 in bond0, VLAN bond0.5 on it and in bridge br0 with veth7;
    /// br1 is empty.
    fn host() -> Vec<Device> {
        let mut host = vec![
            device(1, "lo", None),
            device(2, "eth0", None),
            device(3, "eth1", None),
            device(4, "bond0", Some("bond")),
            device(5, "bond0.5", Some("vlan")),
            device(6, "br0", Some("bridge")),
            device(7, "veth7", Some("veth")),
            device(8, "br1", Some("bridge")),
        ];
        (host[1].master, host[2].master) = (Some(4), Some(4));
        (host[4].master, host[6].master) = (Some(6), Some(6));
        host[4].lower = Some(4);
        host
    }

    fn wanted(patterns: &[&str]) -> Wanted {
        let patterns: Vec<String> = patterns.iter().map(|&it| it.to_owned()).collect();
        Wanted::new(&patterns).unwrap()
    }

    fn chosen(choice: &Choice) -> Vec<&str> {
        choice.chosen.iter().map(|it| it.name.as_str()).collect()
    }

    fn why<'a>(choice: &'a Choice, name: &str) -> &'a str {
        let mut skipped = choice.skipped.iter();
        let found = skipped.find(|it| it.interface == name);
        found.map_or("", |it| it.why.as_str())
    }

    fn with(patterns: &[&str], taken: &[u32]) -> Choice {
        let taken = taken.iter().copied().collect();
        choose(&host(), &wanted(patterns), &taken, &[].into())
    }

    #[test]
    fn the_lowest_layer_of_each_stack() {
        let all = with(&["*"], &[]);
        assert_eq!(chosen(&all), ["eth0", "eth1", "veth7", "br1"]);
        assert_eq!(all.skipped.len(), 4);
        assert!(why(&all, "lo").contains("loopback"));
        assert_eq!(why(&all, "bond0"), "it is stacked on eth0");
        assert_eq!(why(&all, "bond0.5"), "it is stacked on eth0");
        assert_eq!(why(&all, "br0"), "it is stacked on eth0");
        // Of what matches, not of what there is.
        assert_eq!(chosen(&with(&["bo*", "br0*"], &[])), ["bond0"]);
        assert_eq!(chosen(&with(&["br*"], &[])), ["br0", "br1"]);
        assert_eq!(chosen(&with(&["x*"], &[])), [""; 0]);
    }

    #[test]
    fn what_is_taken_comes_first() {
        let above = with(&["*"], &[6]);
        assert_eq!(chosen(&above), ["br1"]);
        assert_eq!(
            why(&above, "eth0"),
            "br0, which is stacked on it, goes first"
        );
        assert_eq!(why(&above, "br0"), "", "neither chosen nor skipped");
        let beneath = with(&["b*"], &[2]);
        assert_eq!(chosen(&beneath), ["br1"]);
        assert_eq!(why(&beneath, "bond0"), "it is stacked on eth0");
    }

    #[test]
    fn where_the_lowest_cannot_the_next_one_does() {
        let refused = [(2, "no".to_owned()), (3, "no".to_owned())].into();
        let choice = choose(&host(), &wanted(&["*"]), &[].into(), &refused);
        assert_eq!(chosen(&choice), ["bond0", "veth7", "br1"]);
        assert_eq!(why(&choice, "eth0"), "no");
    }

    #[test]
    fn who_follows_waits_for_ports() {
        let choice = choose(
            &host(),
            &wanted(&["br*"]).followed(),
            &[].into(),
            &[].into(),
        );
        assert_eq!(chosen(&choice), ["br0"]);
        assert_eq!(why(&choice, "br1"), "it is a bridge without ports so far");
    }

    #[test]
    fn the_ports_of_a_switch_rather_than_its_tags() {
        let mut host = vec![device(2, "eth0", None), device(3, "lan1", Some("dsa"))];
        host[1].lower = Some(2);
        let choice = choose(&host, &wanted(&["*"]), &[].into(), &[].into());
        assert_eq!(chosen(&choice), ["lan1"]);
        assert!(why(&choice, "eth0").contains("tags of a switch; lan1"));
    }

    #[test]
    fn a_name_goes_before_patterns() {
        let choice = with(&["lo", "br0", "*"], &[]);
        assert_eq!(chosen(&choice), ["lo", "br0", "br1"]);
        assert_eq!(
            why(&choice, "veth7"),
            "br0, which is stacked on it, goes first"
        );
        // Of two that are named, too, the lower one.
        assert_eq!(chosen(&with(&["bond0", "eth0"], &[])), ["eth0"]);
        let waits = wanted(&["br1"]).followed();
        let choice = choose(&host(), &waits, &[].into(), &[].into());
        assert_eq!(chosen(&choice), ["br1"], "it was asked for by name");
    }

    #[test]
    fn names_and_globs_are_told_apart() {
        let both = wanted(&["eth0", "v*", "x*"]);
        assert_eq!(both.names().collect::<Vec<_>>(), ["eth0"]);
        assert_eq!(both.idle_globs(&host()).collect::<Vec<_>>(), ["x*"]);
        assert!(both.matches(&host()[1]) && both.names_it(&host()[1]));
        assert!(both.matches(&host()[6]) && !both.names_it(&host()[6]));
        for bad in [&[][..], &["a/b".to_owned()]] {
            assert_eq!(Wanted::new(bad).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
