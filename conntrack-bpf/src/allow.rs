//! What is never banned, in the kernel: by the guard, by the operator's list, or as an
//! exception from a ban.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd;

use ipnet::IpNet;

use crate::bans::net_key;
use crate::bans::net_of;
use crate::datapath::Maps;
use crate::defines::ALLOW_EXCEPT;
use crate::defines::ALLOW_GUARD;
use crate::defines::ALLOW_LIST;
use crate::defines::ALLOW_SESSION;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::guard::Guarded;
use crate::hash;
use crate::hash::Hash;
use crate::policy::Kind;
use crate::policy::Policy;
use crate::wire::ct_allowed;
use crate::wire::ct_ban_key;

/// Who says that a network is never banned.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum AllowedBy {
    /// The operator's list.
    List,
    /// The operator, as an exception from a ban.
    Exception,
}

impl AllowedBy {
    fn bit(self) -> u32 {
        match self {
            Self::List => ALLOW_LIST,
            Self::Exception => ALLOW_EXCEPT,
        }
    }
}

/// A network that is never banned.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Allowed {
    /// The network.
    pub net: IpNet,
    /// This host needs it, or an operator's session does; kept up to date by itself, but for
    /// the other end of the SSH session that the instance was attached from, which stays.
    pub guard: bool,
    /// It is on the operator's list.
    pub listed: bool,
    /// It is an exception from a ban.
    pub exception: bool,
    /// How often it won over a ban: once a flow and change of policy, not once a packet.
    pub hits: u64,
}

impl Allowed {
    fn new(net: IpNet, value: ct_allowed) -> Self {
        let has = |bit| value.why & bit != 0;
        Self {
            net,
            guard: has(ALLOW_GUARD | ALLOW_SESSION),
            listed: has(ALLOW_LIST),
            exception: has(ALLOW_EXCEPT),
            hits: value.hits,
        }
    }
}

/// What a data path never bans, for whoever is alone in changing it.
#[derive(Debug)]
pub struct Allow<'a> {
    maps: &'a Maps,
    policy: Policy,
}

impl<'a> Allow<'a> {
    /// Maps what packets ask first.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn of(maps: &'a Maps) -> Result<Self> {
        let policy = Policy::map(&maps.policy)?;
        Ok(Self { maps, policy })
    }

    fn hash(&self) -> Hash<'a, ct_ban_key, ct_allowed> {
        Hash::new(self.maps.allow.as_fd())
    }

    /// Everything, by network.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn all(&self) -> Result<Vec<Allowed>> {
        let all = self.values()?.into_iter();
        Ok(all.map(|(net, value)| Allowed::new(net, value)).collect())
    }

    fn values(&self) -> Result<BTreeMap<IpNet, ct_allowed>> {
        let mut all = BTreeMap::new();
        hash::for_each(&self.hash(), |key, value| {
            all.insert(net_of(&key)?, value);
            Ok::<_, Error>(())
        })?;
        Ok(all)
    }

    /// Allows a network; whether that is new.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn put(&self, net: IpNet, by: AllowedBy) -> Result<bool> {
        self.add(net, by.bit())
    }

    /// No longer allows a network that was; whether it was. The guard's stay, but for the
    /// other end of the session that it was attached from.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, net: IpNet) -> Result<bool> {
        self.take(net, ALLOW_LIST | ALLOW_EXCEPT | ALLOW_SESSION)
    }

    /// Allows the other end of the session that it is attached from, for good. What is
    /// found out later may not know of it: some remote shells are of no process whose
    /// connections could be found, and who renews the guard need not sit at that end.
    pub(crate) fn session(&self, peer: IpAddr) -> Result<()> {
        self.add(peer.into(), ALLOW_SESSION).map(drop)
    }

    /// Makes these, and no others, the guard's.
    pub(crate) fn guard(&self, guarded: &[Guarded]) -> Result<()> {
        for Guarded { net, .. } in guarded {
            self.add(*net, ALLOW_GUARD)?;
        }
        for (net, value) in self.values()? {
            let needed = guarded.iter().any(|it| it.net.trunc() == net);
            if value.why & ALLOW_GUARD != 0 && !needed {
                self.take(net, ALLOW_GUARD)?;
            }
        }
        Ok(())
    }

    fn add(&self, net: IpNet, bit: u32) -> Result<bool> {
        let (net, key) = (net.trunc(), net_key(&net));
        let there = self.hash().get(&key).context("look at what is allowed")?;
        let mut value = there.unwrap_or_default();
        if value.why & bit != 0 {
            return Ok(false);
        }
        value.why |= bit;
        if there.is_none() {
            self.policy.enter(Kind::Allow, &net);
        }
        let put = self.hash().put(&key, &value);
        if put.is_err() && there.is_none() {
            self.policy.leave(Kind::Allow, &net);
        }
        put.with_context(|| format!("allow {net}"))?;
        self.policy.allowed();
        Ok(true)
    }

    fn take(&self, net: IpNet, bits: u32) -> Result<bool> {
        let (net, key) = (net.trunc(), net_key(&net));
        let there = self.hash().get(&key).context("look at what is allowed")?;
        let Some(mut value) = there.filter(|value| value.why & bits != 0) else {
            return Ok(false);
        };
        value.why &= !bits;
        if value.why == 0 {
            self.hash().remove(&key).context("no longer allow")?;
            self.policy.leave(Kind::Allow, &net);
            self.policy.bump(&net);
        } else {
            self.hash().put(&key, &value).context("no longer allow")?;
        }
        Ok(true)
    }

    /// Refuses a ban that touches what is never banned, and says why that is.
    pub(crate) fn check(&self, net: &IpNet, guarded: &[Guarded]) -> Result<()> {
        if let Some(touched) = guarded.iter().find(|it| touches(&it.net, net)) {
            return Err(refusal(net, &touched.net, touched.why));
        }
        for (allowed, value) in self.values()? {
            let has = |bit| value.why & bit != 0;
            let why = match () {
                () if has(ALLOW_SESSION) => "the other end of the SSH session that attached this",
                () if has(ALLOW_LIST) => "allowed by the operator",
                // Exceptions are made for the bans that contain them.
                () if has(ALLOW_EXCEPT) && allowed.contains(net) => "an exception from bans",
                () => continue,
            };
            if touches(&allowed, net) {
                return Err(refusal(net, &allowed, why));
            }
        }
        Ok(())
    }
}

/// Which networks touch any of those that are allowed, where many are asked about.
#[derive(Debug)]
pub(crate) struct Touching {
    /// Sorted; networks contain each other or have nothing in common, so what touches
    /// one begins in it, or has its beginning.
    nets: Vec<IpNet>,
}

impl Touching {
    pub(crate) fn new(allowed: Vec<Allowed>) -> Self {
        let mut nets: Vec<IpNet> = allowed.into_iter().map(|it| it.net.trunc()).collect();
        nets.sort_unstable_by_key(|net| (net.network(), net.prefix_len()));
        // Of those that contain each other the largest does.
        nets.dedup_by(|inner, outer| outer.contains(&*inner));
        Self { nets }
    }

    pub(crate) fn touches(&self, net: &IpNet) -> bool {
        let next = self
            .nets
            .partition_point(|it| it.network() <= net.network());
        let around = next.checked_sub(1).and_then(|at| self.nets.get(at));
        let behind = self.nets.get(next);
        [around, behind]
            .into_iter()
            .flatten()
            .any(|it| touches(it, net))
    }
}

fn touches(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

fn refusal(net: &IpNet, touched: &IpNet, why: &str) -> Error {
    let shown = |net: &IpNet| match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    };
    let (net_text, touched_text) = (shown(net), shown(touched));
    let message = match net == touched {
        true => format!("{net_text} is not banned: it is {why}"),
        false => format!("{net_text} is not banned: {touched_text} is {why}"),
    };
    Error::new(ErrorKind::Guarded, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_is_that_of_any() {
        let nets = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.7/32",
            "::1/128",
            "2001:db8::/32",
        ];
        let allowed = nets.map(|net| Allowed::new(net.parse().unwrap(), ct_allowed::default()));
        let touching = Touching::new(allowed.to_vec());
        for text in [
            "0.0.0.0/0",
            "9.0.0.0/8",
            "8.0.0.0/6",
            "10.0.0.0/8",
            "10.200.0.1/32",
            "11.0.0.0/8",
            "192.0.2.0/24",
            "192.0.2.6/32",
            "192.0.2.7/32",
            "192.0.2.8/32",
            "::/0",
            "::1/128",
            "::2/128",
            "2001:db8:7::/48",
            "2001:db9::/32",
        ] {
            let net: IpNet = text.parse().unwrap();
            let any = allowed.iter().any(|it| touches(&it.net, &net));
            assert_eq!(touching.touches(&net), any, "{text}");
        }
    }
}
