//! Writing bans as lists that other programs read.

use std::cmp::Reverse;
use std::io;
use std::io::Write;
use std::time::Duration;

use super::Format;
use super::sink::one_line;
use super::write_ipset;
use super::write_nft;
use crate::ban::Ban;
use crate::ban::BanDirection;
use crate::ban::BanScope;
use crate::ban::Plain;

/// How a list is written.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct WriteOptions {
    /// What sets and tables are called: letters, digits, `_`, `-` and `.` of it.
    pub name: String,
}

impl Default for WriteOptions {
    fn default() -> Self {
        let name = "banned".to_owned();
        Self { name }
    }
}

/// What was written, and what the format has no place for. Nothing is written as
/// if it banned more than it does.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Written {
    /// Bans that were written.
    pub written: u64,
    /// Left out: they only count.
    pub dry_run: u64,
    /// Left out: they concern only some packets.
    pub scoped: u64,
    /// Left out: another ban of the same packets lasts longer.
    pub twice: u64,
    /// Written, but what goes to them is not said to be dropped, too.
    pub one_way: u64,
}

/// Writes bans in a format, to a buffered output.
///
/// CSV and JSON have all of a ban. The others have what drops packets: of plain
/// lists, the addresses; of ipset and nft, also how long it lasts, why, and where
/// they can, the scope.
///
/// # Errors
/// The output failed.
pub fn write<'a, I>(
    out: &mut impl Write,
    format: Format,
    bans: I,
    options: &WriteOptions,
) -> io::Result<Written>
where
    I: Iterator<Item = &'a Ban> + Clone,
{
    match format {
        Format::Csv => csv(out, bans),
        Format::Json => json(out, bans),
        Format::Plain => plain(out, bans),
        Format::Netset => netset(out, bans, options),
        Format::Ipset => {
            let (bans, written) = sorted(bans);
            write_ipset::write(out, &bans, options, written)
        }
        Format::Nft => {
            let (bans, written) = sorted(bans);
            write_nft::text(out, &bans, options, written)
        }
        Format::NftJson => {
            let (bans, written) = sorted(bans);
            write_nft::json(out, &bans, options, written)
        }
    }
}

/// The columns; those of JSON.
const COLUMNS: &str = "addr,prefix,scope,reason,origin,since,until,ttl_s,hits,bytes,last_hit,\
                       dry_run,direction,unconfirmed";

fn csv<'a>(out: &mut impl Write, bans: impl Iterator<Item = &'a Ban>) -> io::Result<Written> {
    let mut written = Written::default();
    writeln!(out, "{COLUMNS}")?;
    for ban in bans {
        let net = ban.target.net();
        let (addr, len, scope) = (net.addr(), net.prefix_len(), ban.target.scope);
        write!(out, "{addr},{len},{scope},")?;
        field(out, &one_line(&ban.reason))?;
        field(out, &ban.origin.to_string())?;
        write!(out, "{},", ban.since)?;
        optional(out, ban.until)?;
        optional(out, ban.ttl.map(|ttl| ttl.as_secs()))?;
        write!(out, "{},{},", ban.hits, ban.bytes)?;
        optional(out, ban.last_hit)?;
        writeln!(out, "{},{},{}", ban.dry_run, ban.direction, ban.unconfirmed)?;
        written.written += 1;
    }
    Ok(written)
}

/// A field that may need quotes, and the comma.
fn field(out: &mut impl Write, text: &str) -> io::Result<()> {
    match csv_core::Writer::new().should_quote(text.as_bytes()) {
        true => write!(out, "\"{}\",", text.replace('"', "\"\"")),
        false => write!(out, "{text},"),
    }
}

/// Nothing if there is none, and the comma.
fn optional<T: ToString>(out: &mut impl Write, value: Option<T>) -> io::Result<()> {
    write!(
        out,
        "{},",
        value.map(|value| value.to_string()).unwrap_or_default()
    )
}

fn json<'a>(out: &mut impl Write, bans: impl Iterator<Item = &'a Ban>) -> io::Result<Written> {
    let mut written = Written::default();
    for ban in bans {
        out.write_all(if written.written == 0 { b"[\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, ban)?;
        written.written += 1;
    }
    out.write_all(if written.written == 0 {
        b"[]\n"
    } else {
        b"\n]\n"
    })?;
    Ok(written)
}

/// An address, or a network; of IPv6 also a single one with its prefix, because
/// without it its /64 would be banned where it is read again.
fn address(out: &mut impl Write, ban: &Ban) -> io::Result<()> {
    let net = ban.target.net();
    match net.addr().is_ipv6() {
        true => writeln!(out, "{net}"),
        false => writeln!(out, "{}", Plain(net)),
    }
}

fn plain<'a>(out: &mut impl Write, bans: impl Iterator<Item = &'a Ban>) -> io::Result<Written> {
    let mut written = Written::default();
    for ban in bans {
        if !written.drops(ban) {
            continue;
        }
        if ban.target.scope != BanScope::Any {
            written.scoped += 1;
            continue;
        }
        written.add(ban);
        address(out, ban)?;
    }
    Ok(written)
}

fn netset<'a>(
    out: &mut impl Write,
    bans: impl Iterator<Item = &'a Ban> + Clone,
    options: &WriteOptions,
) -> io::Result<Written> {
    let counted = plain(&mut io::sink(), bans.clone())?;
    let name = one_line(&options.name);
    writeln!(out, "#\n# {name}\n#\n# hash:net ipset\n#")?;
    writeln!(out, "# Entries         : {} subnets\n#", counted.written)?;
    plain(out, bans)
}

impl Written {
    /// Whether a ban drops packets; counts it otherwise.
    fn drops(&mut self, ban: &Ban) -> bool {
        self.dry_run += u64::from(ban.dry_run);
        !ban.dry_run
    }

    /// Counts a ban that is written without its direction.
    pub(super) fn add(&mut self, ban: &Ban) {
        self.written += 1;
        self.one_way += u64::from(ban.direction == BanDirection::Both);
    }
}

/// Bans that drop packets, IPv4 first, by scope and network; of one target only the
/// one that lasts longest.
fn sorted<'a>(bans: impl Iterator<Item = &'a Ban>) -> (Vec<&'a Ban>, Written) {
    let mut written = Written::default();
    let mut bans: Vec<&Ban> = bans.filter(|ban| written.drops(ban)).collect();
    bans.sort_by_key(|ban| {
        let (net, scope) = (ban.target.net(), ban.target.scope);
        let lasts = Reverse(ban.ttl.unwrap_or(Duration::MAX));
        (net.addr().is_ipv6(), scope, net, lasts)
    });
    let before = bans.len();
    bans.dedup_by_key(|ban| ban.target);
    written.twice = (before - bans.len()) as u64;
    (bans, written)
}

/// What a set may be called, `length` bytes at most: after a letter, letters, digits,
/// `_`, `-` and `.`.
pub(super) fn set_name(name: &str, length: usize) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let kept = name.chars().map(|c| if fits(c) { c } else { '_' });
    let mut kept: String = kept.take(length).collect();
    if !kept.starts_with(|c: char| c.is_ascii_alphabetic()) {
        kept.insert(0, 's');
        kept.truncate(length);
    }
    kept
}

/// Seconds that are left, at least one: zero is for ever to other programs.
pub(super) fn seconds(ttl: Duration) -> u64 {
    let whole = ttl
        .as_secs()
        .saturating_add(u64::from(ttl.subsec_nanos() != 0));
    whole.max(1)
}

/// A reason that may stand between quotes, in a language without escapes.
pub(super) fn quotable(reason: &str) -> String {
    one_line(reason).replace('"', "'")
}
