//! Limits on how many connections sources may begin: those in force, and who comes near
//! them. `bpf/limit.h` keeps them.

use std::mem::offset_of;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use conntrack_core::BanOn;
use conntrack_core::Measure;
use conntrack_core::Protocol;
use conntrack_core::SketchConfig;
use conntrack_core::Suspect;
use conntrack_core::Threshold;
use conntrack_core::ThresholdAction;
use conntrack_core::ban::REASON_MAX;
use conntrack_core::reference::sketch::Rate;
use ipnet::IpNet;

use crate::bans::net_of;
use crate::clock::Civil;
use crate::clock::Clock;
use crate::clock::nanos;
use crate::datapath::Maps;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::hash;
use crate::hash::Hash;
use crate::notes::Notes;
use crate::policy::Policy;
use crate::shared::SharedWords;
use crate::wire::bytes_of;
use crate::wire::ct_ban_key;
use crate::wire::ct_limit_key;
use crate::wire::ct_limit_kind;
use crate::wire::ct_limits;
use crate::wire::ct_measure;
use crate::wire::ct_suspect;
use crate::wire::from_bytes;

/// Longer than any packet is under way between asking what the limits are and acting
/// on it.
const PACKET: Duration = Duration::from_millis(20);

/// Scopes of the bans that packets make: `enum ct_scope`.
const ANY: u8 = 0;
const PORT: u8 = 2;

/// The limits of a data path, for whoever is alone in changing them.
#[derive(Debug)]
pub struct Limits<'a> {
    maps: &'a Maps,
    shared: SharedWords,
}

impl<'a> Limits<'a> {
    /// Maps them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn of(maps: &'a Maps) -> Result<Self> {
        let shared = SharedWords::map(&maps.limits)?;
        Ok(Self { maps, shared })
    }

    fn raw(&self) -> ct_limits {
        from_bytes(&self.shared.load())
    }

    /// Those in force; `None` if there are none.
    pub fn get(&self) -> Option<Threshold> {
        decode(&self.raw())
    }

    /// Where sources are counted.
    pub fn sketch(&self) -> SketchConfig {
        let raw = self.raw();
        let (width, rows) = (raw.width, raw.rows);
        SketchConfig { width, rows }
    }

    /// Puts others in their place, or none. What was counted so far goes on to count,
    /// unless the window is another.
    ///
    /// # Errors
    /// `Invalid` for limits that cannot be, or what the kernel says.
    pub fn set(&self, threshold: Option<&Threshold>) -> Result<()> {
        let policy = Policy::map(&self.maps.policy)?;
        let before = self.raw();
        let Some(threshold) = threshold else {
            self.word(offset_of!(ct_limits, action), &ct_limits::default());
            thread::sleep(PACKET);
            policy.keep(&[], &[]);
            return Ok(());
        };
        let valid = threshold.validate();
        valid.map_err(|error| Error::new(ErrorKind::Invalid, format!("threshold: {error}")))?;
        let note = Notes::of(self.maps).put(&reason(threshold))?;
        let civil = Civil::now()?;
        let another = nanos(threshold.window) / 2 != before.half_ns;
        let limits = ct_limits {
            width: before.width,
            rows: before.rows,
            room: before.room,
            epoch: before.epoch.wrapping_add(u32::from(another)),
            civil: civil.civil.0.cast_unsigned().wrapping_sub(civil.boot),
            note,
            ..encode(threshold)
        };
        // Counts of another window mean nothing in this one: they are left behind first, so
        // that none is held against a limit of the other window, and limits stay in force.
        self.word(offset_of!(ct_limits, epoch), &limits);
        let (nets, scopes) = banned_by(threshold);
        // Packets look for what they are going to make, before they do.
        let wider: Vec<_> = nets.iter().copied().chain(self.kept_now()).collect();
        policy.keep(&wider, &[ANY, PORT]);
        // What is done comes last: until then the rest is not whole.
        let mut rest = limits;
        let now = self.raw();
        (rest.action, rest.on_syn) = (now.action, now.on_syn);
        self.shared.store(bytes_of(&rest));
        self.word(offset_of!(ct_limits, action), &limits);
        thread::sleep(PACKET);
        policy.keep(&nets, &scopes);
        self.forget(limits.epoch)
    }

    /// What packets may be making at this moment.
    fn kept_now(&self) -> Vec<IpNet> {
        self.get()
            .map_or_else(Vec::new, |threshold| banned_by(&threshold).0)
    }

    /// Stores the word that a field is in.
    fn word(&self, offset: usize, limits: &ct_limits) {
        let at = offset / size_of::<u64>();
        let (words, _) = bytes_of(limits).as_chunks();
        let word = u64::from_ne_bytes(words[at]);
        self.shared.words()[at].store(word, Ordering::SeqCst);
    }

    fn hash(&self) -> Hash<'a, ct_limit_key, ct_suspect> {
        Hash::new(self.maps.suspects.as_fd())
    }

    /// Takes out suspects of other windows, which packets do not find any more.
    fn forget(&self, epoch: u32) -> Result<()> {
        hash::for_each(&self.hash(), |key, _| match is_of(&key, epoch) {
            true => Ok(()),
            false => self.hash().remove(&key).map(drop),
        })
        .context("forget suspects")
    }

    /// Sources that are counted exactly, in no order: those that began at least half of
    /// what a limit leaves, and what became of them in the window that ends now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn suspects(&self) -> Result<Vec<Suspect>> {
        let clock = Clock::live()?;
        let ct_limits { half_ns, epoch, .. } = self.raw();
        let half = clock.now().checked_div(half_ns).unwrap_or(0) as u32;
        let mut suspects = Vec::new();
        hash::for_each(&self.hash(), |key, value| {
            if !is_of(&key, epoch) {
                return Ok(());
            }
            suspects.push(suspect(&key, &value, half, &clock)?);
            Ok::<_, Error>(())
        })?;
        Ok(suspects)
    }
}

/// How many bans packets may have made at once, of room for so many: half, so that those of
/// commands always find room.
pub(crate) fn room(bans: u32) -> u32 {
    bans.div_ceil(2)
}

/// Whether a suspect is of the window that is counted in since limits had this number.
fn is_of(key: &ct_limit_key, epoch: u32) -> bool {
    key.epoch == epoch as u8
}

fn suspect(key: &ct_limit_key, value: &ct_suspect, half: u32, clock: &Clock) -> Result<Suspect> {
    let port = u16::from_be(key.port_be);
    let source = net_of(&ct_ban_key {
        family: key.family,
        prefix: key.prefix,
        addr: key.addr,
        ..ct_ban_key::default()
    })?;
    Ok(Suspect {
        source,
        port: (key.proto != 0).then_some((Protocol(key.proto), port)),
        measure: match ct_measure(key.measure.into()) {
            ct_measure::CT_MEASURE_HALF => Measure::HalfOpen,
            ct_measure::CT_MEASURE_DONE => Measure::Established,
            _ => Measure::New,
        },
        count: Rate::from_word(value.rate.word).at(half).sum(),
        over: value.over,
        last: clock.civil(value.last),
    })
}

/// Of what lengths and scopes the bans are that packets make.
fn banned_by(threshold: &Threshold) -> (Vec<IpNet>, Vec<u8>) {
    let net = |text: &str, length| {
        let addr: IpNet = text.parse().unwrap_or_default();
        IpNet::new(addr.addr(), length).unwrap_or(addr)
    };
    if threshold.action != ThresholdAction::Ban {
        return (Vec::new(), Vec::new());
    }
    let nets = [
        net("0.0.0.0/0", 32),
        net("0.0.0.0/0", threshold.prefix_v4),
        net("::/0", 128),
        net("::/0", threshold.prefix_v6),
    ];
    (nets.to_vec(), vec![ANY, PORT])
}

/// In the place of what a reason has no room for.
const MORE: &str = ", ...";

/// What `banned` says of them.
fn reason(threshold: &Threshold) -> String {
    let limits = [
        ("new", threshold.new),
        ("new_per_prefix", threshold.new_per_prefix),
        ("new_per_port", threshold.new_per_port),
        ("half_open", threshold.half_open),
        ("half_open_per_prefix", threshold.half_open_per_prefix),
        ("half_open_per_port", threshold.half_open_per_port),
    ];
    let limits = limits.into_iter().filter(|(_, limit)| *limit != 0);
    let limits: Vec<_> = limits
        .map(|(name, limit)| format!("{name} {limit}"))
        .collect();
    let window = threshold.get("window").unwrap_or_default();
    let mut text = format!("more connections in {window} than {}", limits.join(", "));
    while text.len() > REASON_MAX {
        // The last of them goes for those that were left out.
        let end = text.trim_end_matches(MORE).rfind(", ").unwrap_or(0);
        text.truncate(end);
        text += MORE;
    }
    text
}

fn encode(threshold: &Threshold) -> ct_limits {
    let mut limits = ct_limits {
        action: threshold.action as u32,
        on_syn: u32::from(threshold.ban_on == BanOn::Syn),
        half_ns: nanos(threshold.window) / 2,
        prefix: [threshold.prefix_v4.into(), threshold.prefix_v6.into()],
        forget_ns: nanos(threshold.ban_forget),
        ttls: threshold.ban_ttl.len() as u32,
        ..ct_limits::default()
    };
    let kinds = [
        (ADDR, threshold.new, threshold.half_open),
        (
            PREFIX,
            threshold.new_per_prefix,
            threshold.half_open_per_prefix,
        ),
        (
            TO_PORT,
            threshold.new_per_port,
            threshold.half_open_per_port,
        ),
    ];
    for (kind, most, half_open) in kinds {
        (limits.most[kind], limits.half_open[kind]) = (most, half_open);
    }
    for (to, time) in limits.ttl.iter_mut().zip(&threshold.ban_ttl) {
        *to = nanos(*time);
    }
    limits
}

const ADDR: usize = ct_limit_kind::CT_LIMIT_ADDR.0 as usize;
const PREFIX: usize = ct_limit_kind::CT_LIMIT_PREFIX.0 as usize;
const TO_PORT: usize = ct_limit_kind::CT_LIMIT_PORT.0 as usize;

fn decode(limits: &ct_limits) -> Option<Threshold> {
    let mut threshold = Threshold::default();
    threshold.action = ThresholdAction::from_number(limits.action)?;
    threshold.ban_on = match limits.on_syn {
        0 => BanOn::Handshake,
        _ => BanOn::Syn,
    };
    threshold.new = limits.most[ADDR];
    threshold.new_per_prefix = limits.most[PREFIX];
    threshold.new_per_port = limits.most[TO_PORT];
    threshold.half_open = limits.half_open[ADDR];
    threshold.half_open_per_prefix = limits.half_open[PREFIX];
    threshold.half_open_per_port = limits.half_open[TO_PORT];
    threshold.window = Duration::from_nanos(limits.half_ns * 2);
    [threshold.prefix_v4, threshold.prefix_v6] = limits.prefix.map(|bits| bits as u8);
    let times = limits.ttl.iter().take(limits.ttls as usize);
    threshold.ban_ttl = times.map(|time| Duration::from_nanos(*time)).collect();
    threshold.ban_forget = Duration::from_nanos(limits.forget_ns);
    Some(threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut threshold = Threshold::new(50);
        for (number, key) in (1..).zip(Threshold::KEYS) {
            let value = match key {
                "action" => "ban".to_owned(),
                "ban_on" => "syn".to_owned(),
                "window" => "1700ms".to_owned(),
                "ban_ttl" => "1m,2m,3h,4d".to_owned(),
                "ban_forget" => "5d".to_owned(),
                "prefix_v4" => "27".to_owned(),
                "prefix_v6" => "99".to_owned(),
                _ => number.to_string(),
            };
            threshold.set(key, &value).unwrap();
        }
        assert_eq!(decode(&encode(&threshold)), Some(threshold));
        assert_eq!(decode(&ct_limits::default()), None);
    }

    #[test]
    fn a_reason_fits() {
        let mut threshold = Threshold::new(Threshold::MAX);
        for key in Threshold::KEYS
            .into_iter()
            .filter(|key| key.contains("new") || key.contains("half"))
        {
            threshold.set(key, &Threshold::MAX.to_string()).unwrap();
        }
        let text = reason(&threshold);
        assert!(text.len() <= REASON_MAX, "{text}");
        assert!(text.ends_with("half_open 1000000, ..."), "{text}");
        let mut threshold = Threshold::new(0);
        threshold.half_open_per_port = 7;
        let text = reason(&threshold);
        assert_eq!(text, "more connections in 1s than half_open_per_port 7");
    }
}
