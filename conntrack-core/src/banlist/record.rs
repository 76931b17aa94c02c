//! A row of a table or an object of JSON: fields by name.

use std::borrow::Cow;
use std::iter;
use std::iter::Once;
use std::time::Duration;

use super::entry::Expiry;
use super::sink::Draft;
use crate::ban::BanScope;
use crate::cidr::Block;
use crate::cidr::HostBits;
use crate::parse::decimal;
use crate::time::Timestamp;

/// What is known by its name.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Field {
    Addr,
    /// The first and the last address of a range.
    First,
    Last,
    Prefix,
    Scope,
    Reason,
    Ttl,
    Until,
    DryRun,
    Direction,
}

/// Names of fields, in small letters. Of those for addresses the first that is
/// there is taken.
const NAMES: [(&str, Field); 40] = [
    ("addr", Field::Addr),
    ("address", Field::Addr),
    ("ip", Field::Addr),
    ("ip_address", Field::Addr),
    ("ip address", Field::Addr),
    ("ipaddress", Field::Addr),
    ("ip_addr", Field::Addr),
    ("src_ip", Field::Addr),
    ("source_ip", Field::Addr),
    ("source", Field::Addr),
    ("src", Field::Addr),
    ("dst_ip", Field::Addr),
    ("network", Field::Addr),
    ("net", Field::Addr),
    ("cidr", Field::Addr),
    ("subnet", Field::Addr),
    ("range", Field::Addr),
    ("ip_range", Field::Addr),
    ("value", Field::Addr),
    ("indicator", Field::Addr),
    ("start", Field::First),
    ("start_ip", Field::First),
    ("first", Field::First),
    ("end", Field::Last),
    ("end_ip", Field::Last),
    ("last", Field::Last),
    ("prefix", Field::Prefix),
    ("prefix_len", Field::Prefix),
    ("scope", Field::Scope),
    ("reason", Field::Reason),
    ("comment", Field::Reason),
    ("description", Field::Reason),
    ("ttl_s", Field::Ttl),
    ("ttl", Field::Ttl),
    ("timeout", Field::Ttl),
    ("until", Field::Until),
    ("expires", Field::Until),
    ("expires_at", Field::Until),
    ("dry_run", Field::DryRun),
    ("direction", Field::Direction),
];

/// What a field of this name is, and which of several is taken: the smallest.
pub(crate) fn field(name: &str) -> Option<(usize, Field)> {
    let name = name.trim().trim_start_matches('#').trim_start();
    let mut names = NAMES.iter().enumerate();
    let (rank, (_, field)) = names.find(|(_, (known, _))| name.eq_ignore_ascii_case(known))?;
    Some((rank, *field))
}

/// The known name of this rank.
pub(crate) fn name(rank: usize) -> &'static str {
    NAMES[rank].0
}

/// The fields of one row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record<'a> {
    fields: [Option<Cow<'a, str>>; 10],
}

impl<'a> Record<'a> {
    pub(crate) fn set(&mut self, field: Field, value: Cow<'a, str>) {
        if !value.trim_ascii().is_empty() {
            self.fields[field as usize] = Some(value);
        }
    }

    fn get(&self, field: Field) -> Option<&str> {
        self.fields[field as usize].as_deref().map(str::trim_ascii)
    }

    /// The entry it stands for, and its scope.
    ///
    /// # Errors
    /// A field cannot be read; why.
    pub(crate) fn draft(
        mut self,
        host_bits: HostBits,
    ) -> Result<(Draft<'a>, Once<BanScope>), Cow<'static, str>> {
        let block = self.block(host_bits)?;
        let scope = match self.get(Field::Scope) {
            Some(scope) => scope.parse().map_err(wrong("scope"))?,
            None => BanScope::Any,
        };
        let direction = match self.get(Field::Direction) {
            Some(direction) => direction.parse().map_err(wrong("direction"))?,
            None => Default::default(),
        };
        let dry_run = match self.get(Field::DryRun) {
            Some("true" | "1") => true,
            Some("false" | "0") | None => false,
            Some(_) => return Err("dry_run is neither true nor false".into()),
        };
        let expiry = self.expiry()?;
        let reason = self.fields[Field::Reason as usize].take();
        let draft = Draft {
            expiry,
            reason: reason.unwrap_or_default(),
            direction,
            dry_run,
            ..Draft::new(block)
        };
        Ok((draft, iter::once(scope)))
    }

    fn block(&self, host_bits: HostBits) -> Result<Block, Cow<'static, str>> {
        let parse = |text: &str| {
            Block::parse(text, host_bits).map_err(|error| Cow::from(error.problem().to_string()))
        };
        let prefix = self.get(Field::Prefix);
        match (
            self.get(Field::Addr),
            self.get(Field::First),
            self.get(Field::Last),
        ) {
            (Some(addr), ..) => match prefix {
                Some(prefix) if !addr.contains(['/', '-']) => parse(&format!("{addr}/{prefix}")),
                _ => parse(addr),
            },
            (None, Some(first), Some(last)) => parse(&format!("{first}-{last}")),
            // `prefix` alone is a network.
            _ => prefix.map_or(Err("there is no address".into()), parse),
        }
    }

    fn expiry(&self) -> Result<Expiry, Cow<'static, str>> {
        if let Some(until) = self.get(Field::Until) {
            let seconds = decimal::<i64>(until).and_then(|it| it.checked_mul(1_000_000_000));
            let until = match seconds {
                Some(nanos) => Timestamp(nanos),
                None => until.parse().map_err(wrong("until"))?,
            };
            return Ok(Expiry::At(until));
        }
        match self.get(Field::Ttl) {
            None => Ok(Expiry::Never),
            Some(ttl) => match span(ttl) {
                Some(ttl) => Ok(Expiry::After(ttl)),
                None => Err("the time it lasts is neither seconds nor such as 1h30m".into()),
            },
        }
    }
}

fn wrong<E: ToString>(what: &'static str) -> impl Fn(E) -> Cow<'static, str> {
    move |error| format!("{what}: {}", error.to_string()).into()
}

/// A time as nft writes it, `1d2h3m4s5ms`, or seconds.
pub(crate) fn span(text: &str) -> Option<Duration> {
    if let Some(seconds) = decimal(text) {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = decimal(&rest[..digits])?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let part = match &rest[..end] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            "w" => Duration::from_secs(number.checked_mul(604_800)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(total)
}
