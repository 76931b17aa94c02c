//! Bans as `nft -f` and `nft -j -f` read them.

use std::collections::BTreeMap;
use std::io;
use std::io::Write;

use ipnet::IpNet;
use serde_json::Value;
use serde_json::json;

use super::write::WriteOptions;
use super::write::Written;
use super::write::quotable;
use super::write::seconds;
use super::write::set_name;
use crate::ban::Ban;
use crate::ban::BanScope;
use crate::ban::Plain;

/// The table the sets are in.
const TABLE: &str = "conntrack";

/// nft takes longer names; this is enough.
const NAME_MAX: usize = 64;

/// Sets whose elements have the same type and do not overlap.
struct Set<'a> {
    name: String,
    types: Vec<&'static str>,
    bans: Vec<&'a Ban>,
}

impl Set<'_> {
    fn has_ttl(&self) -> bool {
        self.bans.iter().any(|ban| ban.ttl.is_some())
    }
}

/// What kind of set a scope belongs into: the end of its name, and its types.
fn kind(scope: BanScope) -> (&'static str, &'static [&'static str]) {
    match scope {
        BanScope::Any => ("", &[]),
        BanScope::Protocol(_) => ("_protocols", &["inet_proto"]),
        BanScope::Port(..) => ("_ports", &["inet_proto", "inet_service"]),
    }
}

/// Bans by sets. nft refuses an element within another one of the same set, so a
/// network that is in so many others goes into a set of that number.
fn sets<'a>(bans: &[&'a Ban], name: &str) -> Vec<Set<'a>> {
    let mut sets: Vec<Set<'a>> = Vec::new();
    let mut known = BTreeMap::new();
    let mut around: Vec<&Ban> = Vec::new();
    for ban in bans {
        let (net, scope) = (ban.target.net(), ban.target.scope);
        let holds = |outer: &&Ban| outer.target.scope == scope && contains(outer.target.net(), net);
        while around.last().is_some_and(|outer| !holds(outer)) {
            around.pop();
        }
        around.push(ban);
        let v6 = net.addr().is_ipv6();
        let (end, more) = kind(scope);
        let index = *known.entry((v6, end, around.len())).or_insert_with(|| {
            let number = match around.len() {
                1 => String::new(),
                number => format!("_{number}"),
            };
            let mut types = vec![if v6 { "ipv6_addr" } else { "ipv4_addr" }];
            types.extend(more);
            sets.push(Set {
                name: format!("{name}_{}{end}{number}", if v6 { "v6" } else { "v4" }),
                types,
                bans: Vec::new(),
            });
            sets.len() - 1
        });
        sets[index].bans.push(ban);
    }
    sets
}

fn contains(outer: IpNet, inner: IpNet) -> bool {
    outer.addr().is_ipv4() == inner.addr().is_ipv4() && outer.contains(&inner)
}

/// Writes a table as `nft list table` does. Bans are sorted.
pub(super) fn text(
    out: &mut impl Write,
    bans: &[&Ban],
    options: &WriteOptions,
    mut written: Written,
) -> io::Result<Written> {
    let name = set_name(&options.name, NAME_MAX);
    writeln!(out, "table inet {TABLE} {{")?;
    for set in sets(bans, &name) {
        writeln!(out, "\tset {} {{", set.name)?;
        writeln!(out, "\t\ttype {}", set.types.join(" . "))?;
        let timeout = if set.has_ttl() { ",timeout" } else { "" };
        writeln!(out, "\t\tflags interval{timeout}")?;
        write!(out, "\t\telements = {{ ")?;
        for (index, ban) in set.bans.iter().enumerate() {
            if index != 0 {
                write!(out, ",\n\t\t\t     ")?;
            }
            element(out, ban)?;
            written.add(ban);
        }
        writeln!(out, " }}\n\t}}\n")?;
    }
    writeln!(out, "}}")?;
    Ok(written)
}

fn element(out: &mut impl Write, ban: &Ban) -> io::Result<()> {
    write!(out, "{}", Plain(ban.target.net()))?;
    // Numbers, because names depend on /etc/protocols.
    if let Some(protocol) = ban.target.scope.protocol() {
        write!(out, " . {}", protocol.0)?;
    }
    if let Some(port) = ban.target.scope.port() {
        write!(out, " . {port}")?;
    }
    if let Some(ttl) = ban.ttl {
        write!(out, " timeout {}s", seconds(ttl))?;
    }
    let reason = quotable(&ban.reason);
    if !reason.is_empty() {
        write!(out, " comment \"{reason}\"")?;
    }
    Ok(())
}

/// Writes the same as JSON. Bans are sorted.
pub(super) fn json(
    out: &mut impl Write,
    bans: &[&Ban],
    options: &WriteOptions,
    mut written: Written,
) -> io::Result<Written> {
    let name = set_name(&options.name, NAME_MAX);
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    write!(
        out,
        "{{\"nftables\": [{{\"metainfo\": {{\"json_schema_version\": 1}}}}, {table}"
    )?;
    for set in sets(bans, &name) {
        let types = match set.types.as_slice() {
            [one] => json!(one),
            types => json!(types),
        };
        let flags = match set.has_ttl() {
            true => json!(["interval", "timeout"]),
            false => json!(["interval"]),
        };
        let name = json!(set.name);
        write!(
            out,
            ", {{\"set\": {{\"family\": \"inet\", \"name\": {name}, "
        )?;
        write!(
            out,
            "\"table\": \"{TABLE}\", \"type\": {types}, \"flags\": {flags}, "
        )?;
        write!(out, "\"elem\": [")?;
        for (index, ban) in set.bans.iter().enumerate() {
            if index != 0 {
                out.write_all(b", ")?;
            }
            serde_json::to_writer(&mut *out, &json_element(ban))?;
            written.add(ban);
        }
        write!(out, "]}}}}")?;
    }
    writeln!(out, "]}}")?;
    Ok(written)
}

fn json_element(ban: &Ban) -> Value {
    let net = ban.target.net();
    let addr = match net.prefix_len() == net.max_prefix_len() {
        true => json!(net.addr().to_string()),
        false => json!({"prefix": {"addr": net.addr().to_string(), "len": net.prefix_len()}}),
    };
    let scope = ban.target.scope;
    let value = match (scope.protocol(), scope.port()) {
        (None, _) => addr,
        (Some(protocol), None) => json!({"concat": [addr, protocol.0]}),
        (Some(protocol), Some(port)) => json!({"concat": [addr, protocol.0, port]}),
    };
    let reason = quotable(&ban.reason);
    if ban.ttl.is_none() && reason.is_empty() {
        return value;
    }
    let mut element = json!({"val": value});
    if let Some(ttl) = ban.ttl {
        element["timeout"] = json!(seconds(ttl));
    }
    if !reason.is_empty() {
        element["comment"] = json!(reason);
    }
    json!({"elem": element})
}
