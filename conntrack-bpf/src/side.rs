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
use crate::defines::SIDE_SHAKEN;
use crate::defines::SIDE_THROUGH;
use crate::defines::SIDE_WAYS;
use crate::defines::SIDE_ZERO;
use crate::error::Context;
use crate::error::Result;
use crate::key::Seed;
use crate::key::mix;
use crate::mapped::Mapped;
use crate::row::Row;
use crate::row::Slot;
use crate::wire::Word;
use crate::wire::bytes_of;
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

/// What was asked for where the tables of a tracker were made.
pub(crate) fn config(datapath: &Datapath) -> HealthConfig {
    let on = |group| datapath.meta.health & group != 0;
    HealthConfig {
        enabled: datapath.meta.health != 0,
        max_flows: Some(datapath.maps.side.max_entries().saturating_mul(SIDE_WAYS)),
        rtt: on(HEALTH_RTT),
        loss: on(HEALTH_LOSS),
        window: on(HEALTH_WINDOW),
    }
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
        if self.rows.is_some() {
            flow.fingerprint_ids[0] = row.opener().unwrap_or(0);
        }
        let (_, start) = row.life();
        let Some(side) = self.find(row.key().hash(seed), start) else {
            return;
        };
        if row.opener().is_none() {
            flow.fingerprint_ids = side.print;
        }
        if is_untold(&side) {
            return;
        }
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
        // An entry that begins behind the handshake does not have all of its flow.
        let late = side.flags & (SIDE_THROUGH | SIDE_SHAKEN) == SIDE_THROUGH;
        let mut groups = self.groups;
        if late || Word(flow.word).is_lost() {
            groups &= !(HEALTH_LOSS | HEALTH_WINDOW);
        }
        health.original = end(side, flow, 0, groups, clock);
        health.reply = end(side, flow, 1, groups, clock);
        health
    }
}

/// What it says of one end, of these groups of measures.
fn end(side: &ct_side, flow: &ct_flow, dir: usize, groups: u32, clock: &Clock) -> HealthSide {
    let raw = &side.health.end[dir];
    let flag = |shift: u32| side.flags & (1 << (shift + dir as u32)) != 0;
    let mut end = HealthSide::default();
    end.reset = flag(SIDE_RST);
    if groups & HEALTH_RTT != 0 {
        end.srtt = known(raw.srtt.into());
    }
    if groups & HEALTH_LOSS != 0 {
        end.retransmits = Some(raw.retrans);
        end.retransmitted_bytes = Some(raw.retrans_bytes);
        end.out_of_order = Some(raw.reordered);
        end.duplicate_acks = Some(raw.dup_acks);
    }
    if groups & HEALTH_WINDOW != 0 {
        let closed = closed(raw.zero_ms, flag(SIDE_ZERO), clock.now(), flow.start);
        end.zero_windows = Some(raw.zeros);
        end.zero_window_time = Some(closed);
        end.window_min = Some(raw.win_min).filter(|&bytes| bytes != 0);
        end.window_max = Some(flow.tcp[dir].maxwin).filter(|&bytes| bytes != 0);
    }
    end
}

/// How long a window was closed until now: `ct_health_end.zero_ms`, from which the time it
/// was closed at is missing while it is. The two change one after the other, and our clock
/// is a tick behind that of who closed it: what cannot be is 0.
fn closed(zero_ms: u32, is_closed: bool, now: u64, start: u64) -> Duration {
    const MS: u64 = 1_000_000;
    let since = if is_closed { now / MS } else { 0 };
    let closed = u64::from(zero_ms.wrapping_add(since as u32));
    let most = (age(now, start) / MS + 1).min(u64::from(u32::MAX / 2));
    Duration::from_millis(if closed > most { 0 } else { closed })
}

/// Whether nothing was noted of a connection's health: it has an entry because its SYN was
/// answered.
fn is_untold(side: &ct_side) -> bool {
    side.flags == 0 && bytes_of(&side.health).iter().all(|byte| *byte == 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn no_window_is_closed_for_longer_than_its_flow_lives() {
        let (start, now) = (5_000 * MS, 9_000 * MS);
        let ms = |zero_ms, is_closed| closed(zero_ms, is_closed, now, start).as_millis();
        let since = 7_000_u32.wrapping_neg();
        assert_eq!(ms(since, true), 2_000);
        assert_eq!(ms(500, false), 500);
        assert_eq!(ms(since.wrapping_add(300), true), 2_300);
        // One of the two has changed and the other has not.
        assert_eq!(ms(since, false), 0);
        assert_eq!(ms(500, true), 0);
        // Closed by a clock that is ahead of ours.
        assert_eq!(ms(9_004_u32.wrapping_neg(), true), 0);
    }
}
