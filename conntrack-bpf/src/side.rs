//! What is known of flows beside their slots: `bpf/side.h` keeps it.

use std::sync::atomic::Ordering;
use std::sync::atomic::fence;
use std::time::Duration;

use conntrack_core::Flow;
use conntrack_core::Health;
use conntrack_core::HealthConfig;
use conntrack_core::HealthSide;
use conntrack_core::Protocol;
use libbpf_rs::MapCore;

use crate::clock::Clock;
use crate::clock::age;
use crate::datapath::Datapath;
use crate::defines::HEALTH_LOSS;
use crate::defines::HEALTH_ON;
use crate::defines::HEALTH_RTT;
use crate::defines::HEALTH_WINDOW;
use crate::defines::SIDE_RST;
use crate::defines::SIDE_WAYS;
use crate::defines::SIDE_ZERO;
use crate::error::Context;
use crate::error::Result;
use crate::key::Seed;
use crate::key::mix;
use crate::mapped::Mapped;
use crate::row::Row;
use crate::row::Slot;
use crate::wire::copy;
use crate::wire::ct_flow;
use crate::wire::ct_side;
use crate::wire::ct_side_row;
use crate::wire::words_of;

/// `cfg_health` for what was asked for.
pub(crate) fn groups(health: HealthConfig) -> u32 {
    let groups = [
        (true, HEALTH_ON),
        (health.rtt, HEALTH_RTT),
        (health.loss, HEALTH_LOSS),
        (health.window, HEALTH_WINDOW),
    ];
    let on = groups.into_iter().filter(|(on, _)| health.enabled && *on);
    on.fold(0, |all, (_, group)| all | group)
}

/// The table, mapped for reading.
#[derive(Debug)]
pub(crate) struct Sides {
    /// `None`: it is off.
    rows: Option<Mapped<ct_side_row>>,
    /// Groups of what is measured.
    groups: u32,
}

impl Sides {
    /// Maps it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn map(datapath: &Datapath) -> Result<Self> {
        let (map, groups) = (&datapath.maps.side, datapath.meta.health);
        let rows = (groups != 0)
            .then(|| Mapped::read_only(map, map.max_entries() as usize))
            .transpose()
            .context("map what is known beside the flows")?;
        Ok(Self { rows, groups })
    }

    /// Puts into a flow what is known of it beside its slot, which was read as `row`.
    #[inline]
    pub(crate) fn look<S: Slot>(&self, row: &Row<S>, seed: &Seed, clock: &Clock, flow: &mut Flow) {
        if flow.protocol != Protocol::TCP {
            return;
        }
        let (_, start) = row.life();
        let Some(side) = self.find(row.key().hash(seed), start) else {
            return;
        };
        let mut health = self.health(&side, row.raw(), clock);
        health.original.loss_ppm = loss(&health.original, flow.original.packets);
        health.reply.loss_ppm = loss(&health.reply, flow.reply.packets);
        flow.health = Some(health);
    }

    /// A copy of the entry of a flow, by its key's hash and its beginning as its slot has
    /// it. All of it is of that flow; packets may have been writing to it meanwhile.
    fn find(&self, hash: u64, start: u64) -> Option<ct_side> {
        let rows = self.rows.as_ref()?;
        let row = ((hash >> 32) * rows.len() as u64) >> 32;
        let words = rows.words(row as usize)?;
        let tag = tag(hash, start);
        let mut ways = words.chunks_exact(words_of::<ct_side>());
        ways.find_map(|way| {
            if way[0].load(Ordering::Acquire) != tag {
                return None;
            }
            let side = copy::<ct_side>(way);
            fence(Ordering::Acquire);
            (way[0].load(Ordering::Relaxed) == tag).then_some(side)
        })
    }

    /// What an entry says of its flow's health.
    fn health(&self, side: &ct_side, flow: &ct_flow, clock: &Clock) -> Health {
        let raw = &side.health;
        let rtt = self.groups & HEALTH_RTT != 0;
        let ended = (raw.ended != 0).then(|| Duration::from_nanos(age(raw.ended, flow.start)));
        let [to_server, to_client] = raw.rtt.map(|rtt| known(rtt.into()));
        let mut health = Health::default();
        health.duration = ended;
        health.rtt_to_server = to_server.filter(|_| rtt);
        health.rtt_to_client = to_client.filter(|_| rtt);
        health.first_byte = known(u64::from(raw.first_byte) * 1000).filter(|_| rtt);
        health.original = self.end(side, flow, 0, clock);
        health.reply = self.end(side, flow, 1, clock);
        health
    }

    /// What it says of one end.
    fn end(&self, side: &ct_side, flow: &ct_flow, dir: usize, clock: &Clock) -> HealthSide {
        let raw = &side.health.end[dir];
        let flag = |shift: u32| side.flags & (1 << (shift + dir as u32)) != 0;
        let mut end = HealthSide::default();
        end.reset = flag(SIDE_RST);
        if self.groups & HEALTH_RTT != 0 {
            end.srtt = known(raw.srtt.into());
        }
        if self.groups & HEALTH_LOSS != 0 {
            end.retransmits = Some(raw.retrans);
            end.retransmitted_bytes = Some(raw.retrans_bytes);
            end.out_of_order = Some(raw.reordered);
            end.duplicate_acks = Some(raw.dup_acks);
        }
        if self.groups & HEALTH_WINDOW != 0 {
            let mut closed = raw.zero_ms;
            if flag(SIDE_ZERO) {
                closed = closed.wrapping_add((clock.now() / 1_000_000) as u32);
            }
            // The reader's clock is a tick behind that of who closed it.
            let closed = if closed > u32::MAX / 2 { 0 } else { closed };
            end.zero_windows = Some(raw.zeros);
            end.zero_window_time = Some(Duration::from_millis(closed.into()));
            end.window_min = Some(raw.win_min).filter(|&bytes| bytes != 0);
            end.window_max = Some(flow.tcp[dir].maxwin).filter(|&bytes| bytes != 0);
        }
        end
    }
}

/// What was sent again of so many packets, parts per million.
fn loss(end: &HealthSide, packets: u64) -> Option<u32> {
    let again = end.retransmits.filter(|_| packets > 0)?;
    u32::try_from(u64::from(again) * 1_000_000 / packets).ok()
}

/// Nanoseconds; 0 are none.
fn known(ns: u64) -> Option<Duration> {
    (ns != 0).then(|| Duration::from_nanos(ns))
}

/// `ct_side_begin()`.
fn tag(hash: u64, start: u64) -> u64 {
    match mix(hash ^ mix(start)) {
        0 | u64::MAX => 1,
        tag => tag,
    }
}

/// Rows for so many entries.
pub(crate) fn rows(entries: u64) -> u32 {
    let rows = entries.div_ceil(SIDE_WAYS.into()).max(1);
    u32::try_from(rows).unwrap_or(u32::MAX)
}
