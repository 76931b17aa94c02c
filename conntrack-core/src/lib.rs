//! The pure part of `conntrack`: what a flow is, what it is called, how it is
//! written down, and nf_conntrack's rules as tables.
//!
//! Nothing here reads a clock or a map, starts a thread or prints; only
//! `banstate::BanFile` touches files, and only its own. The packet path in eBPF, the
//! library and the command line all share these types; [`tcp::transition`] and
//! [`Sysctls`] are the reference that the packet path is tested against.
//!
//! ```
//! use conntrack_core::FlowKey;
//! use conntrack_core::TcpState;
//! use conntrack_core::tcp::{Next, Segment, transition};
//! use conntrack_core::{Config, Direction};
//!
//! let key: FlowKey = "tcp 10.0.0.2:80 10.0.0.1:40000".parse()?;
//! assert_eq!(key.to_string(), "tcp 10.0.0.1:40000 10.0.0.2:80");
//!
//! let next = transition(Direction::Reply, Segment::SynAck, TcpState::SynSent);
//! assert_eq!(next, Next::State(TcpState::SynRecv));
//!
//! let mut config = Config::default();
//! config.conntrack.set("tcp_timeout_established", 7200)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Features: `serde` (the JSON shapes of flows, statistics and status), `yaml`
//! ([`Config::from_yaml`]), `bans` (lists of bans in files of other programs, and
//! the file that keeps bans); all are on by default.

#![forbid(unsafe_code)]

pub mod ban;
#[cfg(feature = "serde")]
mod ban_json;
#[cfg(feature = "bans")]
pub mod banlist;
#[cfg(feature = "bans")]
pub mod banstate;
mod bytes;
pub mod cidr;
mod config;
mod event;
mod fingerprint;
#[cfg(feature = "serde")]
mod fingerprint_json;
mod flow;
#[cfg(feature = "serde")]
mod flow_json;
pub mod format;
mod health;
mod health_stats;
pub mod histogram;
mod hook;
pub mod icmp;
mod key;
mod lifetime;
#[cfg(feature = "bans")]
mod lines;
pub mod p0f;
mod parse;
mod pattern;
pub mod ports;
mod protocol;
#[cfg(feature = "serde")]
mod read;
pub mod reference;
pub mod sctp;
mod select;
pub mod stats;
pub mod status;
mod sysctl;
pub mod tcp;
#[cfg(feature = "serde")]
mod text;
pub mod threshold;
mod time;
mod timeout;
mod tuple;
#[cfg(feature = "yaml")]
mod yaml;

pub use ban::Ban;
pub use ban::BanDirection;
pub use ban::BanOrigin;
pub use ban::BanScope;
pub use ban::BanSpec;
pub use ban::BanTarget;
pub use bytes::ByteSize;
pub use config::AttachConfig;
pub use config::BansConfig;
pub use config::Config;
pub use config::ConfigError;
pub use config::LegacyIp;
pub use config::MacAddr;
pub use config::SweepConfig;
pub use config::TableConfig;
pub use event::Event;
pub use event::EventType;
pub use event::GoneReason;
pub use event::LostCounts;
pub use event::Pressure;
pub use event::PressureLevel;
pub use event::What;
pub use fingerprint::Fingerprint;
pub use fingerprint::FingerprintBan;
pub use fingerprint::FingerprintsConfig;
pub use fingerprint::FlowFingerprint;
pub use fingerprint::Seen;
pub use fingerprint::SourceFingerprint;
pub use flow::Direction;
pub use flow::Flow;
pub use flow::FlowState;
pub use flow::Side;
pub use flow::TcpLast;
pub use health::Health;
pub use health::HealthConfig;
pub use health::HealthSide;
pub use health_stats::HealthCounts;
pub use health_stats::HealthStats;
pub use health_stats::InterfaceHealth;
pub use health_stats::ServiceHealth;
pub use histogram::Histogram;
pub use hook::Hook;
pub use hook::Hooks;
pub use hook::Mode;
pub use key::Endpoint;
pub use key::FlowKey;
pub use lifetime::Lifetime;
pub use parse::ParseError;
pub use pattern::InterfacePattern;
pub use pattern::PatternError;
pub use ports::PortsConfig;
pub use protocol::Family;
pub use protocol::Protocol;
pub use sctp::SctpState;
pub use select::FlowFilter;
pub use select::PortRange;
pub use select::StateName;
pub use stats::Counters;
pub use stats::Stats;
pub use status::Status;
pub use sysctl::SysctlError;
pub use sysctl::Sysctls;
pub use tcp::Segment;
pub use tcp::TcpState;
pub use threshold::BanOn;
pub use threshold::LimitCounts;
pub use threshold::Measure;
pub use threshold::SketchConfig;
pub use threshold::Suspect;
pub use threshold::Threshold;
pub use threshold::ThresholdAction;
pub use threshold::ThresholdError;
pub use time::MonoTime;
pub use time::Timestamp;
pub use timeout::Timeout;
pub use tuple::L4;
pub use tuple::Tuple;
