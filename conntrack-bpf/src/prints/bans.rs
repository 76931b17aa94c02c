//! Bans of fingerprints: `bpf/print_ban.h` acts on them.

use std::thread;
use std::time::Duration;

use conntrack_core::Family;
use conntrack_core::FingerprintBan;
use conntrack_core::Timestamp;
use conntrack_core::p0f::Multiple;
use conntrack_core::p0f::Pattern;
use conntrack_core::p0f::Quirks;
use conntrack_core::p0f::Raw;
use conntrack_core::p0f::Size;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;

use super::are_kept;
use crate::clock::Civil;
use crate::datapath::Maps;
use crate::defines::PRINT_BANS;
use crate::defines::PRINT_TEXT;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::settings;
use crate::wire::bytes_of;
use crate::wire::ct_print_ban;
use crate::wire::ct_print_window;
use crate::wire::from_bytes;

/// Longer than any packet is under way between looking at an entry and acting on it.
const PACKET: Duration = Duration::from_millis(20);

/// The bans of a data path, for whoever is alone in changing them.
#[derive(Debug)]
pub struct PrintBans<'a> {
    maps: &'a Maps,
    civil: Civil,
}

impl<'a> PrintBans<'a> {
    /// Reads the clocks.
    ///
    /// # Errors
    /// The kernel does not know one of them.
    pub fn of(maps: &'a Maps) -> Result<Self> {
        let civil = Civil::now()?;
        Ok(Self { maps, civil })
    }

    fn read(&self, index: u32) -> Result<ct_print_ban> {
        let found = self
            .maps
            .print_bans
            .lookup(&index.to_ne_bytes(), MapFlags::ANY);
        let found = found.context("read a ban of a fingerprint")?;
        Ok(from_bytes(&found.unwrap_or_default()))
    }

    fn write(&self, index: u32, ban: &ct_print_ban) -> Result<()> {
        let key = index.to_ne_bytes();
        let wrote = self
            .maps
            .print_bans
            .update(&key, bytes_of(ban), MapFlags::ANY);
        wrote.context("write a ban of a fingerprint")
    }

    fn is_in_force(&self, ban: &ct_print_ban) -> bool {
        ban.live != 0 && (ban.until == 0 || ban.until > self.civil.boot)
    }

    /// Those in force, and where they are.
    fn all(&self) -> Result<Vec<(u32, ct_print_ban)>> {
        let mut all = Vec::new();
        for index in 0..PRINT_BANS {
            let ban = self.read(index)?;
            if self.is_in_force(&ban) {
                all.push((index, ban));
            }
        }
        Ok(all)
    }

    fn find(&self, pattern: &Pattern) -> Result<Option<(u32, ct_print_ban)>> {
        let mut all = self.all()?.into_iter();
        Ok(all.find(|(_, ban)| text_of(ban).parse().is_ok_and(|it: Pattern| it == *pattern)))
    }

    /// Those in force.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn list(&self) -> Result<Vec<FingerprintBan>> {
        let all = self.all()?;
        Ok(all.iter().map(|(_, ban)| self.decode(ban)).collect())
    }

    fn decode(&self, raw: &ct_print_ban) -> FingerprintBan {
        let civil = |instant| (instant != 0).then(|| self.civil.of_boot(instant));
        let since = Timestamp(raw.since.cast_signed());
        let mut ban = FingerprintBan::new(text_of(raw), since, civil(raw.until));
        (ban.hits, ban.bytes) = (raw.hits, raw.bytes);
        ban.last_hit = civil(raw.last);
        ban.dry_run = raw.dry_run != 0;
        ban
    }

    /// Bans a pattern; what is banned already begins anew.
    ///
    /// # Errors
    /// `Invalid` for what is no pattern; `Unsupported` where no fingerprints are kept; `Other`
    /// if there is no room for more; what the kernel says.
    pub fn put(&self, text: &str, ttl: Option<Duration>, dry_run: bool) -> Result<FingerprintBan> {
        are_wanted(self.maps)?;
        let pattern = parse(text)?;
        let found = self.find(&pattern)?;
        let ban = self.encode(&pattern, text, self.civil.civil, ttl, dry_run);
        self.enter(ban, found)
    }

    /// Puts in what was saved, unless the pattern is banned by now.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(crate) fn restore(&self, ban: &FingerprintBan) -> Result<()> {
        are_wanted(self.maps)?;
        let pattern = parse(&ban.pattern)?;
        if self.find(&pattern)?.is_some() {
            return Ok(());
        }
        let left = ban.until.map(|until| until.since(self.civil.civil));
        let raw = self.encode(&pattern, &ban.pattern, ban.since, left, ban.dry_run);
        self.enter(raw, None).map(drop)
    }

    fn encode(
        &self,
        pattern: &Pattern,
        text: &str,
        since: Timestamp,
        ttl: Option<Duration>,
        dry_run: bool,
    ) -> ct_print_ban {
        let mut ban = encode(pattern, text);
        ban.since = since.0.cast_unsigned();
        ban.until = ttl.map_or(0, |ttl| {
            let ttl = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
            self.civil.boot.saturating_add(ttl).max(1)
        });
        ban.dry_run = dry_run.into();
        ban
    }

    /// In the place of `found`, or in one that is free.
    fn enter(
        &self,
        mut ban: ct_print_ban,
        found: Option<(u32, ct_print_ban)>,
    ) -> Result<FingerprintBan> {
        let index = match found {
            Some((index, _)) => index,
            None => {
                let index = self.free()?;
                // Its pattern first; only then is it looked at.
                self.write(index, &ban)?;
                index
            }
        };
        ban.live = 1;
        self.write(index, &ban)?;
        self.publish()?;
        Ok(self.decode(&ban))
    }

    /// An entry that no packet looks at.
    fn free(&self) -> Result<u32> {
        for index in 0..PRINT_BANS {
            let ban = self.read(index)?;
            // One that was never anybody's no packet can have met.
            if ban.families == 0 {
                return Ok(index);
            }
            if !self.is_in_force(&ban) {
                self.write(index, &ct_print_ban::default())?;
                thread::sleep(PACKET);
                return Ok(index);
            }
        }
        let message = format!("there are {PRINT_BANS} bans of fingerprints, and no room for more");
        Err(Error::new(ErrorKind::Other, message))
    }

    /// Ends the ban of a pattern; whether there was one.
    ///
    /// # Errors
    /// `Invalid` for what is no pattern; what the kernel says.
    pub fn remove(&self, text: &str) -> Result<bool> {
        let Some((index, mut ban)) = self.find(&parse(text)?)? else {
            return Ok(false);
        };
        ban.live = 0;
        self.write(index, &ban)?;
        self.publish()?;
        Ok(true)
    }

    /// Ends all; how many there were.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn clear(&self) -> Result<u64> {
        let all = self.all()?;
        for (index, ban) in &all {
            let ended = ct_print_ban { live: 0, ..*ban };
            self.write(*index, &ended)?;
        }
        self.publish()?;
        Ok(all.len() as u64)
    }

    /// Tells packets how many entries to look at.
    fn publish(&self) -> Result<()> {
        let last = self.all()?.iter().map(|(index, _)| index + 1).max();
        settings::set_print_bans(self.maps, last.unwrap_or(0))
    }
}

fn are_wanted(maps: &Maps) -> Result<()> {
    let message = "fingerprints are switched off in this tracker (fingerprints.enabled)";
    match are_kept(maps) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Unsupported, message)),
    }
}

fn parse(text: &str) -> Result<Pattern> {
    let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
    if text.len() >= PRINT_TEXT {
        return Err(invalid(format!(
            "a pattern of a fingerprint has at most {} bytes here",
            PRINT_TEXT - 1
        )));
    }
    text.parse().map_err(|error| invalid(format!("{error}")))
}

fn text_of(ban: &ct_print_ban) -> String {
    let bytes = ban.text.map(|byte| byte.cast_unsigned());
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// A pattern as packets look at it; nobody's yet.
fn encode(pattern: &Pattern, text: &str) -> ct_print_ban {
    const ALL_QUIRKS: u32 = 0x1_ffff;
    let mut ban = ct_print_ban {
        text: [0; PRINT_TEXT],
        ..ct_print_ban::default()
    };
    for (to, byte) in ban.text.iter_mut().zip(text.bytes()) {
        *to = byte.cast_signed();
    }
    ban.bits = pattern.quirks.bits();
    let payload = pattern.payload.map_or(0, |_| Raw::PAYLOAD);
    if pattern.payload == Some(true) {
        ban.bits |= Raw::PAYLOAD;
    }
    for (mask, family) in ban.mask.iter_mut().zip([Family::Ipv4, Family::Ipv6]) {
        let foreign: Quirks = Quirks::foreign_to(family);
        *mask = ALL_QUIRKS & !foreign.bits() | payload;
    }
    ban.families = match pattern.family {
        None => 3,
        Some(Family::Ipv4) => 1,
        Some(Family::Ipv6) => 2,
    };
    [ban.ttl_min, ban.ttl_max] = pattern.ttls();
    ban.ip_options = pattern.ip_options;
    (ban.any_mss, ban.mss) = any(pattern.mss);
    (ban.any_scale, ban.scale) = any(pattern.scale);
    let (kind, window) = match pattern.window {
        Size::Any => (ct_print_window::CT_WINDOW_ANY, 0),
        Size::Bytes(bytes) => (ct_print_window::CT_WINDOW_BYTES, bytes),
        Size::Modulo(by) => (ct_print_window::CT_WINDOW_MODULO, by),
        Size::Multiple(Multiple::Mss(times)) => (ct_print_window::CT_WINDOW_MSS, times),
        Size::Multiple(Multiple::Mtu(times)) => (ct_print_window::CT_WINDOW_MTU, times),
    };
    (ban.window_kind, ban.window) = (kind.0 as u8, window);
    let kinds = pattern.options.kinds();
    ban.options = kinds.len() as u8;
    ban.padding = pattern.options.padding();
    ban.layout[..kinds.len()].copy_from_slice(kinds);
    ban
}

fn any<T: Default>(value: Option<T>) -> (u8, T) {
    (u8::from(value.is_none()), value.unwrap_or_default())
}
