//! Connection tracking in eBPF: nf_conntrack's states, flags and timeouts at XDP
//! speed.
//!
//! ```no_run
//! use conntrack::Tracker;
//!
//! fn main() -> Result<(), conntrack::Error> {
//!     let tracker = Tracker::attach("eth0")?; // detaches when dropped
//!     for flow in tracker.flows() {
//!         println!("{}", flow?);
//!     }
//!     tracker.persist() // runs on without us
//! }
//! ```
//!
//! [`Tracker`] attaches the packet path to interfaces, or opens one that runs
//! already. [`doctor()`] says beforehand what would happen and why. Attaching
//! takes root, or `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`, and
//! `CAP_SYS_ADMIN` for other namespaces.
//!
//! The types that describe flows, settings and statistics are those of the crate
//! `conntrack-core`, which needs no kernel; all that is needed with a tracker is
//! found here as well.

#![forbid(unsafe_code)]

mod bans;
mod builder;
mod counters;
mod doctor;
mod events;
mod fingerprints;
mod flows;
mod follow;
mod guard;
mod icmp_report;
mod limits;
mod port_report;
mod preview;
mod reader;
mod remove;
mod replay;
#[cfg(feature = "async")]
mod stream;
mod tracker;

pub use bans::Bans;
pub use builder::TrackerBuilder;
pub use conntrack_bpf::Allowed;
pub use conntrack_bpf::AllowedBy;
pub use conntrack_bpf::BanList;
pub use conntrack_bpf::Error;
pub use conntrack_bpf::ErrorKind;
pub use conntrack_bpf::ForcedReport;
pub use conntrack_bpf::KernelSysctls;
pub use conntrack_bpf::ListReport;
pub use conntrack_bpf::ListSpec;
pub use conntrack_bpf::Listed;
pub use conntrack_bpf::NetnsRef;
pub use conntrack_bpf::NotAttached;
pub use conntrack_bpf::Result;
pub use conntrack_bpf::Unbanned;
pub use conntrack_bpf::detach;
pub use conntrack_bpf::force_detach;
pub use conntrack_bpf::instance::AttachReport;
pub use conntrack_bpf::instance::Attached;
pub use conntrack_bpf::instance::Change;
pub use conntrack_bpf::instance::Keep;
pub use conntrack_bpf::instance::ResizeReport;
pub use conntrack_bpf::instance::UpgradeReport;
pub use conntrack_bpf::table_flows;
pub use conntrack_core::AttachConfig;
pub use conntrack_core::Ban;
pub use conntrack_core::BanDirection;
pub use conntrack_core::BanOn;
pub use conntrack_core::BanOrigin;
pub use conntrack_core::BanScope;
pub use conntrack_core::BanSpec;
pub use conntrack_core::BanTarget;
pub use conntrack_core::BansConfig;
pub use conntrack_core::ByteSize;
pub use conntrack_core::Config;
pub use conntrack_core::ConfigError;
pub use conntrack_core::Counters;
pub use conntrack_core::Direction;
pub use conntrack_core::Endpoint;
pub use conntrack_core::Event;
pub use conntrack_core::EventType;
pub use conntrack_core::Family;
pub use conntrack_core::Fingerprint;
pub use conntrack_core::FingerprintBan;
pub use conntrack_core::FingerprintsConfig;
pub use conntrack_core::Flow;
pub use conntrack_core::FlowFilter;
pub use conntrack_core::FlowFingerprint;
pub use conntrack_core::FlowKey;
pub use conntrack_core::FlowState;
pub use conntrack_core::GoneReason;
pub use conntrack_core::Health;
pub use conntrack_core::HealthConfig;
pub use conntrack_core::HealthCounts;
pub use conntrack_core::HealthSide;
pub use conntrack_core::HealthStats;
pub use conntrack_core::Histogram;
pub use conntrack_core::Hook;
pub use conntrack_core::Hooks;
pub use conntrack_core::InterfaceHealth;
pub use conntrack_core::InterfacePattern;
pub use conntrack_core::L4;
pub use conntrack_core::LegacyIp;
pub use conntrack_core::Lifetime;
pub use conntrack_core::LimitCounts;
pub use conntrack_core::LostCounts;
pub use conntrack_core::MacAddr;
pub use conntrack_core::Measure;
pub use conntrack_core::Mode;
pub use conntrack_core::MonoTime;
pub use conntrack_core::ParseError;
pub use conntrack_core::PatternError;
pub use conntrack_core::PortRange;
pub use conntrack_core::Pressure;
pub use conntrack_core::PressureLevel;
pub use conntrack_core::Protocol;
pub use conntrack_core::SctpState;
pub use conntrack_core::Segment;
pub use conntrack_core::ServiceHealth;
pub use conntrack_core::Side;
pub use conntrack_core::SketchConfig;
pub use conntrack_core::SourceFingerprint;
pub use conntrack_core::StateName;
pub use conntrack_core::Stats;
pub use conntrack_core::Status;
pub use conntrack_core::Suspect;
pub use conntrack_core::SweepConfig;
pub use conntrack_core::SysctlError;
pub use conntrack_core::Sysctls;
pub use conntrack_core::TableConfig;
pub use conntrack_core::TcpLast;
pub use conntrack_core::TcpState;
pub use conntrack_core::Threshold;
pub use conntrack_core::ThresholdAction;
pub use conntrack_core::ThresholdError;
pub use conntrack_core::Timeout;
pub use conntrack_core::Timestamp;
pub use conntrack_core::Tuple;
pub use conntrack_core::What;
pub use conntrack_core::ban;
pub use conntrack_core::format;
pub use conntrack_core::icmp;
pub use conntrack_core::icmp::Icmp;
pub use conntrack_core::icmp::IcmpCount;
pub use conntrack_core::icmp::IcmpCounts;
pub use conntrack_core::icmp::IcmpError;
pub use conntrack_core::icmp::IcmpFilter;
pub use conntrack_core::icmp::IcmpKind;
pub use conntrack_core::p0f;
pub use conntrack_core::ports;
pub use conntrack_core::ports::PortDst;
pub use conntrack_core::ports::PortName;
pub use conntrack_core::ports::PortQuery;
pub use conntrack_core::ports::PortRow;
pub use conntrack_core::ports::PortSource;
pub use conntrack_core::ports::Ports;
pub use conntrack_core::ports::PortsConfig;
pub use conntrack_core::ports::Precision;
pub use conntrack_core::sctp;
pub use conntrack_core::stats;
pub use conntrack_core::status;
pub use conntrack_core::tcp;
pub use conntrack_core::threshold;
pub use doctor::Doctor;
pub use doctor::Fact;
pub use doctor::InterfaceReport;
pub use doctor::KernelReport;
pub use doctor::PlanReport;
pub use doctor::PresentReport;
pub use doctor::Verdict;
pub use doctor::doctor;
pub use doctor::doctor_in;
pub use events::Events;
pub use events::EventsBuilder;
pub use fingerprints::FingerprintNames;
pub use fingerprints::FingerprintSources;
pub use fingerprints::Fingerprints;
pub use flows::Flows;
pub use follow::Follow;
pub use guard::GuardWatch;
pub use preview::Preview;
pub use replay::Replay;
#[cfg(feature = "async")]
pub use stream::EventStream;
pub use tracker::Tracker;

/// Upgrades the instance of this name: [`Tracker::open`] and
/// [`Tracker::upgrade`].
///
/// ```no_run
/// # fn main() -> Result<(), conntrack::Error> {
/// let report = conntrack::upgrade("default")?;
/// println!("version {} has taken over from {}", report.to, report.from);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As both. `AbiMismatch` if the instance's maps have another layout: its flows
/// cannot be taken over, and it has to be detached.
pub fn upgrade(instance: &str) -> Result<UpgradeReport> {
    Tracker::open(instance)?.upgrade()
}

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
