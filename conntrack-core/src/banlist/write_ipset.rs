//! Bans as `ipset restore` reads them.

use std::io;
use std::io::Write;

use super::write::WriteOptions;
use super::write::Written;
use super::write::quotable;
use super::write::seconds;
use super::write::set_name;
use crate::ban::Ban;
use crate::ban::BanScope;
use crate::ban::Plain;

/// ipset's longest timeout in seconds, 24 days; a longer ban ends then.
const TIMEOUT_MAX: u64 = 2_147_483;

/// The longest name of a set is 31 bytes; ours end in `_v4_ports`.
const NAME_MAX: usize = 31 - "_v4_ports".len();

/// Writes one set for each family, and one for those with ports. Bans are sorted.
pub(super) fn write(
    out: &mut impl Write,
    bans: &[&Ban],
    options: &WriteOptions,
    mut written: Written,
) -> io::Result<Written> {
    let name = set_name(&options.name, NAME_MAX);
    for (v6, ports) in [(false, false), (false, true), (true, false), (true, true)] {
        let of_set: Vec<&Ban> = bans
            .iter()
            .filter(|ban| ban.target.net().addr().is_ipv6() == v6)
            .filter(|ban| match ban.target.scope {
                BanScope::Any => !ports,
                BanScope::Port(..) => ports,
                BanScope::Protocol(_) => false,
            })
            .copied()
            .collect();
        if of_set.is_empty() {
            continue;
        }
        let family = if v6 { "v6" } else { "v4" };
        let set = format!("{name}_{family}{}", if ports { "_ports" } else { "" });
        create(out, &set, v6, ports, &of_set)?;
        for ban in of_set {
            add(out, &set, ban)?;
            written.add(ban);
        }
    }
    // ipset has sets of protocols with ports only.
    let of_protocol = |ban: &&&Ban| matches!(ban.target.scope, BanScope::Protocol(_));
    written.scoped += bans.iter().filter(of_protocol).count() as u64;
    Ok(written)
}

fn create(out: &mut impl Write, set: &str, v6: bool, ports: bool, bans: &[&Ban]) -> io::Result<()> {
    let kind = if ports { "hash:net,port" } else { "hash:net" };
    let family = if v6 { "inet6" } else { "inet" };
    // A network of everything is two.
    let size = (bans.len() + 1).next_power_of_two();
    let (hash, max) = (size.clamp(1024, 1 << 20), size.max(65_536));
    write!(
        out,
        "create {set} {kind} family {family} hashsize {hash} maxelem {max}"
    )?;
    if bans.iter().any(|ban| ban.ttl.is_some()) {
        out.write_all(b" timeout 0")?;
    }
    if bans.iter().any(|ban| !ban.reason.is_empty()) {
        out.write_all(b" comment")?;
    }
    out.write_all(b"\n")
}

fn add(out: &mut impl Write, set: &str, ban: &Ban) -> io::Result<()> {
    let net = ban.target.net();
    let nets = match (net.prefix_len(), net.addr().is_ipv6()) {
        // ipset has no network of everything.
        (0, false) => vec!["0.0.0.0/1".to_owned(), "128.0.0.0/1".to_owned()],
        (0, true) => vec!["::/1".to_owned(), "8000::/1".to_owned()],
        _ => vec![Plain(net).to_string()],
    };
    for net in nets {
        write!(out, "add {set} {net}")?;
        if let BanScope::Port(protocol, port) = ban.target.scope {
            write!(out, ",{protocol}:{port}")?;
        }
        if let Some(ttl) = ban.ttl {
            write!(out, " timeout {}", seconds(ttl).min(TIMEOUT_MAX))?;
        }
        let reason = quotable(&ban.reason);
        if !reason.is_empty() {
            write!(out, " comment \"{reason}\"")?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}
