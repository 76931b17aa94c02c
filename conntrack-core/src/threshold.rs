//! How many connections a source may begin, and what is done about more.

mod action;
mod settings;
mod sketch;
mod suspect;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::action::BanOn;
pub use self::action::ThresholdAction;
pub use self::settings::ThresholdError;
pub use self::settings::apply;
pub use self::sketch::SketchConfig;
pub use self::suspect::LimitCounts;
pub use self::suspect::Measure;
pub use self::suspect::Suspect;

/// Limits on the connections that come in, by their source. What this host begins is not
/// limited, nor is what is never banned: its own addresses, gateways, the other ends of
/// SSH sessions, and what is allowed.
///
/// A connection begins with a SYN of TCP, with the first packet of a flow of another
/// protocol. One of TCP that is picked up in mid-stream has begun before.
///
/// The window slides in two halves: a connection counts for half a window to a whole one,
/// so a source that stays within a limit in each window never loses a packet. One that
/// does not may begin twice as many in a window, and half as many more at first.
///
/// ```
/// use conntrack_core::Threshold;
///
/// let mut threshold = Threshold::default();
/// threshold.set("new", "50")?;
/// threshold.set("action", "ban")?;
/// threshold.set("ban_ttl", "10m,1h,24h")?;
/// assert_eq!(threshold.get("window")?, "1s");
/// # Ok::<(), conntrack_core::ThresholdError>(())
/// ```
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct Threshold {
    /// What is done about more.
    pub action: ThresholdAction,
    /// Connections that an address may begin in a window; 0: any number. So with all
    /// limits.
    pub new: u32,
    /// The same of all addresses of a network together, see `prefix_v4`.
    pub new_per_prefix: u32,
    /// The same of an address and a port of this side: TCP, UDP, UDP-Lite, SCTP.
    pub new_per_port: u32,
    /// TCP connections that an address may have begun in a window without their
    /// handshake having come through.
    pub half_open: u32,
    /// The same of all addresses of a network.
    pub half_open_per_prefix: u32,
    /// The same of an address and a port of this side.
    pub half_open_per_port: u32,
    /// The window, from 100 milliseconds to an hour.
    pub window: Duration,
    /// Length of the networks of IPv4 whose addresses are counted together: 24 to 32.
    pub prefix_v4: u8,
    /// The same of IPv6: 64 to 128.
    pub prefix_v6: u8,
    /// What counts towards a ban.
    pub ban_on: BanOn,
    /// How long the first ban of a source lasts, and the next ones: 1 to 4 times, the
    /// last of all that follow.
    pub ban_ttl: Vec<Duration>,
    /// A ban is the next one if it comes this soon after the end of the last.
    pub ban_forget: Duration,
}

impl Default for Threshold {
    /// No limit; 1 s, /24 and /64, 10 minutes, an hour, a day.
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self {
            action: ThresholdAction::default(),
            new: 0,
            new_per_prefix: 0,
            new_per_port: 0,
            half_open: 0,
            half_open_per_prefix: 0,
            half_open_per_port: 0,
            window: Duration::from_secs(1),
            prefix_v4: 24,
            prefix_v6: 64,
            ban_on: BanOn::default(),
            ban_ttl: vec![Duration::from_secs(600), hours(1), hours(24)],
            ban_forget: hours(24),
        }
    }
}

impl Threshold {
    /// The largest limit.
    pub const MAX: u32 = 1_000_000;
    /// The most times of `ban_ttl`.
    pub const MAX_TTLS: usize = 4;
    /// The shortest window, and the longest.
    pub const WINDOWS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3600)];

    /// The names of the settings, in order.
    pub const KEYS: [&str; 13] = [
        "action",
        "new",
        "new_per_prefix",
        "new_per_port",
        "half_open",
        "half_open_per_prefix",
        "half_open_per_port",
        "window",
        "prefix_v4",
        "prefix_v6",
        "ban_on",
        "ban_ttl",
        "ban_forget",
    ];

    /// A limit on the connections of an address in a second; the excess is dropped.
    pub fn new(new: u32) -> Self {
        Self {
            new,
            ..Self::default()
        }
    }

    /// Whether there is any limit.
    pub fn limits(&self) -> bool {
        let limits = [
            self.new,
            self.new_per_prefix,
            self.new_per_port,
            self.half_open,
            self.half_open_per_prefix,
            self.half_open_per_port,
        ];
        limits.iter().any(|limit| *limit != 0)
    }
}
