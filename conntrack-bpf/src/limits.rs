//! Limits on how many connections sources may begin: those in force, and who comes near
//! them. `bpf/limit.h` keeps them.

mod codec;
mod strikes;
mod suspects;

use std::mem::offset_of;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use conntrack_core::SketchConfig;
use conntrack_core::Threshold;
use conntrack_core::ThresholdAction;
use ipnet::IpNet;

use self::codec::decode;
use self::codec::encode;
use self::codec::reason;
use crate::clock::Civil;
use crate::clock::nanos;
use crate::datapath::Maps;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::notes::Notes;
use crate::policy::Policy;
use crate::shared::SharedWords;
use crate::wire::bytes_of;
use crate::wire::ct_limits;
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

    /// The number of the reason that packets give their bans.
    pub(crate) fn note(&self) -> u32 {
        self.raw().note
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
}

/// How many bans packets may have made at once, of room for so many: half, so that those of
/// commands always find room.
pub(crate) fn room(bans: u32) -> u32 {
    bans.div_ceil(2)
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
