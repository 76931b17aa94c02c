//! Records of the events' rings, decoded.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use conntrack_core::Ban;
use conntrack_core::Event;
use conntrack_core::Family;
use conntrack_core::Flow;
use conntrack_core::FlowFilter;
use conntrack_core::GoneReason;
use conntrack_core::LostCounts;
use conntrack_core::Pressure;
use conntrack_core::PressureLevel;
use conntrack_core::What;

use crate::bans;
use crate::clock::Clock;
use crate::clock::age;
use crate::datapath::Datapath;
use crate::datapath::Maps;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::mapped::Mapped;
use crate::row::Row;
use crate::wire::Word;
use crate::wire::ct_ban;
use crate::wire::ct_ban_key;
use crate::wire::ct_event;
use crate::wire::ct_event_type;
use crate::wire::data_settings;
use crate::wire::from_bytes;

/// `seen` is by the coarse clock, which is so many nanoseconds behind at most: a jiffy where
/// there are a hundred a second.
const TICK: u64 = 10_000_000;

/// Knows what records do not say: the timeouts, and the time of day.
#[derive(Debug)]
pub(crate) struct Decoder {
    settings: Mapped<data_settings>,
    /// Reasons of bans are there.
    maps: Arc<Maps>,
    clock: Clock,
    /// When the clock was set; `None`: it stays.
    set: Option<Instant>,
}

/// The time of day may be set while somebody listens for hours.
const CLOCK_HOLDS: Duration = Duration::from_secs(60);

impl Decoder {
    pub(crate) fn new(datapath: &Datapath) -> Result<Self> {
        Ok(Self {
            settings: Mapped::read_only(&datapath.maps.settings, 1).context("map the settings")?,
            maps: Arc::clone(&datapath.maps),
            clock: Clock::live()?,
            set: Some(Instant::now()),
        })
    }

    pub(crate) fn fix_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.set = None;
    }

    /// Decodes a record.
    pub(crate) fn event(&mut self, record: &[u8]) -> Result<Event> {
        self.set_clock();
        let raw: ct_event = from_bytes(record);
        let what = self.what(&raw).ok_or_else(|| {
            let kind = raw.r#type;
            let message = format!("an event of type {kind} makes no sense");
            Error::new(ErrorKind::Other, message)
        })?;
        Ok(Event::new(raw.seq, self.clock.civil(raw.time), what))
    }

    /// The notice of a loss, after so many events.
    pub(crate) fn lost(&mut self, seq: u64, lost: LostCounts) -> Event {
        self.set_clock();
        let now = self.clock.civil(self.clock.now());
        Event::new(seq, now, What::Lost(lost))
    }

    fn set_clock(&mut self) {
        if self.set.is_some_and(|set| set.elapsed() > CLOCK_HOLDS)
            && let Ok(clock) = Clock::live()
        {
            self.clock = clock;
            self.set = Some(Instant::now());
        }
    }

    fn what(&self, raw: &ct_event) -> Option<What> {
        Some(match ct_event_type(raw.r#type.into()) {
            ct_event_type::CT_EVENT_NEW => What::New(self.flow(raw)?),
            ct_event_type::CT_EVENT_UPDATE => What::Update(self.flow(raw)?),
            ct_event_type::CT_EVENT_DESTROY => {
                What::Destroy(self.flow(raw)?, GoneReason::from_index(raw.reason)?)
            }
            ct_event_type::CT_EVENT_INVALID => {
                let mut flow = self.flow(raw)?;
                flow.timeout = Duration::ZERO;
                What::Invalid(flow)
            }
            ct_event_type::CT_EVENT_PRESSURE => What::Pressure(Pressure {
                family: family(raw)?,
                level: PressureLevel::from_index(raw.reason)?,
                flows: raw.packets[0],
                max: raw.packets[1],
            }),
            ct_event_type::CT_EVENT_BAN => What::Ban(Box::new(self.ban(raw)?)),
            ct_event_type::CT_EVENT_UNBAN => What::Unban(Box::new(self.ban(raw)?)),
            _ => return None,
        })
    }

    /// As `bpf/ban_event.h` has it.
    fn ban(&self, raw: &ct_event) -> Option<Ban> {
        let flow = &raw.flow.flow;
        let v4 = [flow.lo, 0, 0, 0];
        let [_, prefix, ..] = flow.proto_if.to_le_bytes();
        let key = ct_ban_key {
            family: raw.family,
            prefix,
            proto: flow.proto_if as u8,
            port_be: flow.lo_port_be,
            addr: if raw.family == 4 { v4 } else { raw.flow.lo },
            ..ct_ban_key::default()
        };
        let value = ct_ban {
            until: flow.bytes[0],
            since: flow.start,
            hits: raw.packets[0],
            bytes: raw.packets[1],
            last: flow.seen,
            note: flow.word as u32,
            flags: (flow.word >> 32) as u16,
            origin: raw.reason.into(),
            ..ct_ban::default()
        };
        bans::told(&self.maps, &key, &value).ok()
    }

    fn flow(&self, raw: &ct_event) -> Option<Flow> {
        let word = Word(raw.flow.flow.word);
        let passed = age(raw.time, raw.flow.flow.seen);
        // Of what a packet told, all is left, as nf_conntrack says it then.
        let passed = if passed < TICK { 0 } else { passed };
        let left = Duration::from_nanos(self.timeout(word).saturating_sub(passed));
        let any = FlowFilter::default();
        let decoded = match family(raw)? {
            Family::Ipv4 => Row::told(raw.flow.flow, raw.packets).decode(&any, &self.clock, left),
            Family::Ipv6 => Row::told6(raw.flow, raw.packets).decode(&any, &self.clock, left),
        };
        decoded.unwrap_or_default()
    }

    fn timeout(&self, word: Word) -> u64 {
        let timeouts: &[AtomicU64] = self.settings.words(0).unwrap_or_default();
        let timeout = timeouts.get(word.timeout());
        timeout.map_or(0, |timeout| timeout.load(Ordering::Relaxed))
    }
}

fn family(raw: &ct_event) -> Option<Family> {
    match raw.family {
        4 => Some(Family::Ipv4),
        6 => Some(Family::Ipv6),
        _ => None,
    }
}
