//! What a tracker counts, and the rates between two readings.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::GoneReason;
use crate::event::PressureLevel;
use crate::flow::Flow;
use crate::flow::FlowState;
use crate::hook::Hooks;
use crate::icmp::IcmpCounts;
use crate::protocol::Protocol;
use crate::threshold::LimitCounts;

/// Why a packet passed without touching a flow, in the order of the packet
/// path's `enum ct_pass`; a test of `conntrack-bpf` compares the two.
pub const PASS_REASONS: [&str; 13] = [
    "not_ip",
    "truncated",
    "bad_header",
    "vlan_depth",
    "ext_depth",
    "fragment",
    "untracked",
    "invalid",
    "checksum",
    "table_full",
    "busy",
    "duplicate",
    "internal",
];

/// Why a packet was dropped, in the order of the packet path's `enum ct_drop`;
/// a test of `conntrack-bpf` compares the two.
pub const DROP_REASONS: [&str; 4] = ["ban", "threshold", "filter", "fingerprint"];

/// Whose bans dropped packets, in the order of the packet path's `enum ct_ban_origin`; a
/// test of `conntrack-bpf` compares the two.
pub const BAN_ORIGINS: [&str; 4] = ["manual", "api", "threshold", "list"];

/// What was new among fingerprints and was not recorded, because too much of it came at once,
/// in the order of the packet path's `enum ct_unprinted`; a test of `conntrack-bpf` compares
/// the two.
pub const UNRECORDED: [&str; 2] = ["signature", "source"];

/// Counts by reason; every reason is present, zero or not.
pub type ReasonCounts = BTreeMap<&'static str, u64>;

/// Names and counts together. Reasons without a count are zero, counts without
/// a name are left out.
pub fn by_reason(names: &[&'static str], counts: &[u64]) -> ReasonCounts {
    let counts = counts.iter().copied().chain(std::iter::repeat(0));
    names.iter().copied().zip(counts).collect()
}

/// Packets by what nf_conntrack would say of them.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ClassCounts {
    /// They opened a flow, or tried to.
    pub new: u64,
    /// They belong to a flow.
    pub established: u64,
    /// ICMP errors about a flow.
    pub related: u64,
    /// They belong to no valid flow.
    pub invalid: u64,
    /// nf_conntrack leaves them alone.
    pub untracked: u64,
}

impl ClassCounts {
    /// The sum of two counts, class by class.
    pub fn plus(self, other: Self) -> Self {
        Self {
            new: self.new.wrapping_add(other.new),
            established: self.established.wrapping_add(other.established),
            related: self.related.wrapping_add(other.related),
            invalid: self.invalid.wrapping_add(other.invalid),
            untracked: self.untracked.wrapping_add(other.untracked),
        }
    }
}

impl From<[u64; 5]> for ClassCounts {
    /// In the order of the packet path's `enum ct_class`.
    fn from([new, established, related, invalid, untracked]: [u64; 5]) -> Self {
        Self {
            new,
            established,
            related,
            invalid,
            untracked,
        }
    }
}

/// [`ClassCounts`] by direction.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct CtState {
    /// Packets of the original direction, and those of no flow.
    pub original: ClassCounts,
    /// Packets of the reply direction.
    pub reply: ClassCounts,
}

impl CtState {
    /// Both directions.
    pub fn total(&self) -> ClassCounts {
        self.original.plus(self.reply)
    }
}

/// What the tables hold at the moment of reading.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FlowCounts {
    /// Flows whose time is not up.
    pub active: u64,
    /// Those of them that are assured.
    pub assured: u64,
    /// Active flows by protocol: its name, or its number where it has none.
    pub by_protocol: BTreeMap<String, u64>,
    /// Active flows by state; TCP's and SCTP's states of one name together.
    pub by_state: BTreeMap<&'static str, u64>,
    /// Flows the tables are sized for, both families.
    pub max: u64,
    /// Flows whose time is up and whose slots were not taken back yet.
    pub expired_pending: u64,
}

impl FlowCounts {
    /// Counts an active flow.
    pub fn add(&mut self, flow: &Flow) {
        self.add_many(flow.protocol, flow.state, flow.assured, 1);
    }

    /// Counts several active flows of a kind, for readers that do not decode
    /// each.
    pub fn add_many(&mut self, protocol: Protocol, state: FlowState, assured: bool, flows: u64) {
        if flows == 0 {
            return;
        }
        self.active += flows;
        if assured {
            self.assured += flows;
        }
        *self.by_protocol.entry(protocol.to_string()).or_default() += flows;
        if let Some(name) = state.name() {
            *self.by_state.entry(name).or_default() += flows;
        }
    }
}

/// What became of flows.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct TableCounts {
    /// Flows created.
    pub created: u64,
    /// Times that two CPUs created one flow and one gave way.
    pub conflicts: u64,
    /// Flows that are no more, by [`GoneReason`].
    pub removed: ReasonCounts,
}

impl TableCounts {
    /// Counts in the order of the packet path's `enum ct_table_event` and `enum
    /// ct_gone`.
    pub fn new([created, conflicts]: [u64; 2], gone: &[u64]) -> Self {
        Self {
            created,
            conflicts,
            removed: by_reason(&GoneReason::NAMES, gone),
        }
    }

    /// Flows that ended in this way.
    pub fn gone(&self, reason: GoneReason) -> u64 {
        self.removed.get(reason.name()).copied().unwrap_or(0)
    }

    /// Unassured flows that were pushed out by new ones.
    pub fn evicted(&self) -> u64 {
        self.gone(GoneReason::Evicted)
    }

    /// All flows that are no more.
    pub fn gone_total(&self) -> u64 {
        self.removed.values().sum()
    }
}

/// What the background sweep has done since the tracker was set up.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SweepStats {
    /// Times round both tables.
    pub runs: u64,
    /// Slices, one a tick.
    pub slices: u64,
    /// Slots looked at.
    pub scanned: u64,
    /// Flows taken out whose time was up. Others are taken out by packets that
    /// need their slot.
    pub removed: SweptFlows,
    /// Time spent, in nanoseconds.
    pub time_ns: u64,
    /// The longest slice, in nanoseconds.
    pub worst_slice_ns: u64,
    /// How long the last time round took, in nanoseconds.
    pub last_round_ns: u64,
}

/// Flows whose time was up, by what the end of each is called.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SweptFlows {
    /// [`GoneReason::Timeout`].
    pub timeout: u64,
    /// [`GoneReason::Fin`].
    pub fin: u64,
    /// [`GoneReason::Rst`].
    pub rst: u64,
}

impl SweptFlows {
    /// All of them.
    pub fn total(self) -> u64 {
        self.timeout + self.fin + self.rst
    }
}

/// What one CPU saw.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CpuCounts {
    /// Its number.
    pub cpu: u32,
    /// IP packets.
    pub packets: u64,
    /// Their IP total lengths.
    pub bytes: u64,
}

/// What was seen on one interface.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct InterfaceCounts {
    /// Its name.
    pub name: String,
    /// The hooks in use.
    pub hooks: Hooks,
    /// IP packets, both ways.
    pub packets: u64,
    /// Their IP total lengths.
    pub bytes: u64,
}

/// One reading of a tracker: all counts are since it was set up.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Counters {
    /// IP packets seen; a super-packet counts as its segments.
    pub packets: u64,
    /// Their IP total lengths.
    pub bytes: u64,
    /// What the tables hold.
    pub flows: FlowCounts,
    /// Packets by class and direction.
    pub ct_state: CtState,
    /// Packets dropped because the operator asked for it, see [`DROP_REASONS`].
    pub drops: ReasonCounts,
    /// Packets passed without touching a flow, see [`PASS_REASONS`].
    pub passed_untracked: ReasonCounts,
    /// What became of flows.
    pub table: TableCounts,
    /// `drops["ban"]` by whose the ban was, see [`BAN_ORIGINS`].
    pub banned: ReasonCounts,
    /// Segments whose signature or source was not recorded, see [`UNRECORDED`].
    pub fingerprints_left_out: ReasonCounts,
    /// What came of the limits on new connections.
    pub limits: LimitCounts,
    /// ICMP by kind of message.
    pub icmp: IcmpCounts,
    /// What the background sweep has done; `None` where there is none.
    pub sweep: Option<SweepStats>,
    /// How full the tables are, IPv4 and IPv6, as of the last tick of the sweep.
    pub pressure: [PressureLevel; 2],
    /// By CPU, those that saw nothing included.
    pub per_cpu: Vec<CpuCounts>,
    /// By interface.
    pub interfaces: Vec<InterfaceCounts>,
    /// Kernel memory of all maps, in bytes.
    pub memory_bytes: u64,
}

/// A reading with rates.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Stats {
    /// The reading.
    pub counters: Counters,
    /// Mean packets per second since the reading before.
    pub packets_per_sec: f64,
    /// Mean bytes per second since the reading before.
    pub bytes_per_sec: f64,
}

impl Stats {
    /// The later reading with the rates since the earlier one, `interval`
    /// apart. A count that went back (the tracker was set up anew) and an empty
    /// interval give a rate of 0.
    pub fn from_counters(now: Counters, earlier: &Counters, interval: Duration) -> Self {
        let rate = |now: u64, before: u64| {
            let seconds = interval.as_secs_f64();
            if seconds > 0.0 {
                now.saturating_sub(before) as f64 / seconds
            } else {
                0.0
            }
        };
        Self {
            packets_per_sec: rate(now.packets, earlier.packets),
            bytes_per_sec: rate(now.bytes, earlier.bytes),
            counters: now,
        }
    }
}

#[cfg(feature = "serde")]
mod json {
    use serde::Serialize;
    use serde::Serializer;
    use serde::ser::SerializeStruct;

    use super::CtState;
    use super::PressureLevel;
    use super::Stats;

    impl Serialize for CtState {
        /// The two directions and their `total`.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut out = serializer.serialize_struct("CtState", 3)?;
            out.serialize_field("original", &self.original)?;
            out.serialize_field("reply", &self.reply)?;
            out.serialize_field("total", &self.total())?;
            out.end()
        }
    }

    /// The two tables' levels, by family.
    struct Levels([PressureLevel; 2]);

    impl Serialize for Levels {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let Self([v4, v6]) = self;
            serializer.collect_map([("ipv4", v4.name()), ("ipv6", v6.name())])
        }
    }

    impl Serialize for Stats {
        /// The object of `stats -o json`, see `schemas/stats.schema.json`.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let counters = &self.counters;
            let mut out = serializer.serialize_struct("Stats", 20)?;
            out.serialize_field("packets", &counters.packets)?;
            out.serialize_field("bytes", &counters.bytes)?;
            out.serialize_field("packets_per_sec", &self.packets_per_sec)?;
            out.serialize_field("bytes_per_sec", &self.bytes_per_sec)?;
            out.serialize_field("flows", &counters.flows)?;
            out.serialize_field("ct_state", &counters.ct_state)?;
            out.serialize_field("drops", &counters.drops)?;
            out.serialize_field("passed_untracked", &counters.passed_untracked)?;
            out.serialize_field("created", &counters.table.created)?;
            out.serialize_field("removed", &counters.table.removed)?;
            out.serialize_field("evicted", &counters.table.evicted())?;
            out.serialize_field("banned", &counters.banned)?;
            out.serialize_field("threshold", &counters.limits)?;
            out.serialize_field("icmp", &counters.icmp)?;
            out.serialize_field("fingerprints_left_out", &counters.fingerprints_left_out)?;
            out.serialize_field("pressure", &Levels(counters.pressure))?;
            out.serialize_field("sweep", &counters.sweep)?;
            out.serialize_field("per_cpu", &counters.per_cpu)?;
            out.serialize_field("interfaces", &counters.interfaces)?;
            out.serialize_field("memory_bytes", &counters.memory_bytes)?;
            out.end()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::TcpState;

    #[test]
    fn rates_are_means_over_the_interval() {
        let reading = |packets, bytes| Counters {
            packets,
            bytes,
            ..Counters::default()
        };
        let rates = |now, interval| {
            let stats = Stats::from_counters(now, &reading(100, 5_000), interval);
            (stats.packets_per_sec, stats.bytes_per_sec)
        };
        let two = Duration::from_secs(2);
        assert_eq!(rates(reading(300, 6_000), two), (100.0, 500.0));
        assert_eq!(rates(reading(0, 0), two), (0.0, 0.0));
        assert_eq!(rates(reading(300, 6_000), Duration::ZERO), (0.0, 0.0));
    }

    #[test]
    fn reasons_are_all_present() {
        let drops = by_reason(&DROP_REASONS, &[0, 7]);
        let want = [
            ("ban", 0),
            ("filter", 0),
            ("fingerprint", 0),
            ("threshold", 7),
        ];
        assert_eq!(drops.into_iter().collect::<Vec<_>>(), want);
        assert_eq!(by_reason(&PASS_REASONS, &[]).len(), PASS_REASONS.len());
    }

    #[test]
    fn flows_are_counted_by_kind() {
        let mut counts = FlowCounts::default();
        let established = FlowState::Tcp(TcpState::Established);
        counts.add_many(Protocol::TCP, established, true, 3);
        counts.add_many(Protocol(253), FlowState::None, false, 2);
        counts.add_many(Protocol::UDP, FlowState::None, false, 0);
        assert_eq!((counts.active, counts.assured), (5, 3));
        assert_eq!(counts.by_protocol["253"], 2);
        assert!(!counts.by_protocol.contains_key("udp"));
        assert_eq!(counts.by_state, BTreeMap::from([("ESTABLISHED", 3)]));
    }
}
