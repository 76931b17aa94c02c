//! What bans would cut, before they are made.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use conntrack_core::BanScope;
use conntrack_core::BanTarget;
use conntrack_core::Flow;
use conntrack_core::FlowKey;
use conntrack_core::L4;
use ipnet::IpNet;

use crate::Result;
use crate::Tracker;

/// What bans would cut; see [`Tracker::preview`].
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Preview {
    /// Flows with an end that would be banned, and that nobody bans yet.
    pub flows: u64,
    /// Addresses of such ends.
    pub sources: u64,
    /// What these flows carry, both ways: IP total lengths.
    pub bytes_per_sec: f64,
}

/// Targets, to look addresses up in.
#[derive(Debug, Default)]
struct Index {
    targets: HashSet<(IpNet, BanScope)>,
    lengths: BTreeSet<(bool, u8)>,
}

impl Index {
    fn add(&mut self, target: &BanTarget) {
        let net = target.net();
        self.lengths
            .insert((net.addr().is_ipv6(), net.prefix_len()));
        self.targets.insert((net, target.scope));
    }

    /// Whether packets of these scopes from an address are concerned.
    fn has(&self, addr: IpAddr, scopes: &[BanScope]) -> bool {
        let mut lengths = self.lengths.iter().filter(|(v6, _)| *v6 == addr.is_ipv6());
        lengths.any(|(_, length)| {
            let net = IpNet::new(addr, *length).map(|net| net.trunc());
            let has = |net: IpNet| scopes.iter().any(|it| self.targets.contains(&(net, *it)));
            net.is_ok_and(has)
        })
    }
}

/// An end of a flow, as the source of its packets, and which bans concern those: the
/// port is the other end's, on this side.
fn ends(flow: &Flow) -> [(IpAddr, Vec<BanScope>); 2] {
    let tuple = &flow.original.tuple;
    let (sport, dport) = match tuple.l4 {
        L4::Ports { src, dst } => (Some(src), Some(dst)),
        _ => (None, None),
    };
    let scopes = |port: Option<u16>| {
        let mut scopes = vec![BanScope::Any, BanScope::Protocol(flow.protocol)];
        scopes.extend(port.map(|port| BanScope::Port(flow.protocol, port)));
        scopes
    };
    [(tuple.src, scopes(dport)), (tuple.dst, scopes(sport))]
}

impl Tracker {
    /// What bans of these would cut if they were made now: flows of theirs that no ban
    /// concerns and that are not [allowed](Tracker::allowed), and what these carry, by
    /// two looks at the table, so far apart.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if the tracker's network namespace is gone.
    pub fn preview<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a BanTarget>,
        apart: Duration,
    ) -> Result<Preview> {
        let [mut wanted, mut banned, mut allowed] = [(); 3].map(|()| Index::default());
        targets.into_iter().for_each(|target| wanted.add(target));
        for ban in self.bans() {
            let ban = ban?;
            if !ban.dry_run {
                banned.add(&ban.target);
            }
        }
        for it in self.allowed()? {
            allowed.add(&BanTarget::new(it.net));
        }
        let cut = |flow: &Flow| -> Vec<IpAddr> {
            let ends = ends(flow);
            let passes = |(addr, scopes): &(IpAddr, Vec<BanScope>)| {
                allowed.has(*addr, &[BanScope::Any]) || !banned.has(*addr, scopes)
            };
            if !ends.iter().all(passes) {
                return Vec::new();
            }
            let ends = ends.into_iter();
            let ends = ends.filter(|(addr, scopes)| {
                wanted.has(*addr, scopes) && !allowed.has(*addr, &[BanScope::Any])
            });
            ends.map(|(addr, _)| addr).collect()
        };
        let mut before = HashMap::new();
        let mut sources = HashSet::new();
        for flow in self.flows() {
            let flow = flow?;
            let of = cut(&flow);
            if !of.is_empty() {
                before.insert(
                    (FlowKey::from(&flow.original.tuple), flow.start),
                    bytes(&flow),
                );
            }
            sources.extend(of);
        }
        thread::sleep(apart);
        let mut carried = 0;
        for flow in self.flows() {
            let flow = flow?;
            let key = (FlowKey::from(&flow.original.tuple), flow.start);
            if let Some(before) = before.get(&key) {
                carried += bytes(&flow).saturating_sub(*before);
            }
        }
        Ok(Preview {
            flows: before.len() as u64,
            sources: sources.len() as u64,
            bytes_per_sec: carried as f64 / apart.as_secs_f64(),
        })
    }
}

fn bytes(flow: &Flow) -> u64 {
    flow.original.bytes + flow.reply.bytes
}
