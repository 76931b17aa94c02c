//! How many connections a source may begin, and what is done about more.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::lifetime::Lifetime;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::parse::shorten;
use crate::protocol::Protocol;
use crate::time::Timestamp;

/// What is done about connections that are too much.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
#[repr(u32)]
pub enum ThresholdAction {
    /// They are counted and pass.
    Count = 1,
    /// The packets that would begin them are dropped.
    #[default]
    Drop = 2,
    /// The source is banned, once it has shown that it is there: see [`BanOn`]. Until
    /// then what of its TCP connections is half-open and too much is dropped, and of other
    /// protocols what is too much.
    Ban = 3,
}

impl ThresholdAction {
    const ALL: [Self; 3] = [Self::Count, Self::Drop, Self::Ban];

    /// `count`, `drop` or `ban`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Drop => "drop",
            Self::Ban => "ban",
        }
    }

    /// By its number in the packet path.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u32 == number)
    }
}

impl fmt::Display for ThresholdAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ThresholdAction {
    type Err = ParseError;

    /// Takes the names.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|it| it.name() == text);
        found.ok_or_else(|| ParseError::new("action", text, "count, drop or ban"))
    }
}

/// What counts towards a ban by [`ThresholdAction::Ban`].
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub enum BanOn {
    /// Handshakes of TCP that have come through: whoever sends the last packet of one
    /// has received the second, unless he forges that one as well, or guesses its number.
    /// Other protocols have none, and nobody is banned for them; what is too much is
    /// dropped.
    #[default]
    Handshake,
    /// The packet that begins a connection. Its source can be forged: whoever sends
    /// such packets chooses who is banned.
    Syn,
}

impl BanOn {
    /// `handshake` or `syn`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Syn => "syn",
        }
    }
}

impl fmt::Display for BanOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BanOn {
    type Err = ParseError;

    /// Takes the names.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let all = [Self::Handshake, Self::Syn];
        let found = all.into_iter().find(|it| it.name() == text);
        found.ok_or_else(|| ParseError::new("ban_on", text, "handshake or syn"))
    }
}

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

/// Why a setting of [`Threshold`] cannot be. `Display` names it.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct ThresholdError {
    key: String,
    message: String,
    known: bool,
}

impl ThresholdError {
    fn of(key: &str, message: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            message: message.into(),
            known: true,
        }
    }

    /// The setting.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong with it, without its name.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether there is such a setting.
    pub fn is_known(&self) -> bool {
        self.known
    }
}

impl fmt::Display for ThresholdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for ThresholdError {}

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

    /// A setting as a text that [`Threshold::set`] takes.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn get(&self, key: &str) -> Result<String, ThresholdError> {
        Ok(match key {
            "action" => self.action.to_string(),
            "new" => self.new.to_string(),
            "new_per_prefix" => self.new_per_prefix.to_string(),
            "new_per_port" => self.new_per_port.to_string(),
            "half_open" => self.half_open.to_string(),
            "half_open_per_prefix" => self.half_open_per_prefix.to_string(),
            "half_open_per_port" => self.half_open_per_port.to_string(),
            "window" => span_text(self.window),
            "prefix_v4" => self.prefix_v4.to_string(),
            "prefix_v6" => self.prefix_v6.to_string(),
            "ban_on" => self.ban_on.to_string(),
            "ban_ttl" => {
                let times: Vec<_> = self.ban_ttl.iter().copied().map(span_text).collect();
                times.join(",")
            }
            "ban_forget" => span_text(self.ban_forget),
            _ => return Err(unknown(key)),
        })
    }

    /// Every setting, with its name, as a text.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, String)> {
        let text = |key| (key, self.get(key).unwrap_or_default());
        Self::KEYS.into_iter().map(text)
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// There is none of this name, or the text is no value of it; nothing changes then.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ThresholdError> {
        let wrong = |error: ParseError| ThresholdError::of(key, error.to_string());
        let limit = || number(key, value, 0, Self::MAX);
        let bits = |low, high| {
            let bits = number(key, value, low, high)?;
            Ok(u8::try_from(bits).unwrap_or(u8::MAX))
        };
        match key {
            "action" => self.action = value.parse().map_err(wrong)?,
            "new" => self.new = limit()?,
            "new_per_prefix" => self.new_per_prefix = limit()?,
            "new_per_port" => self.new_per_port = limit()?,
            "half_open" => self.half_open = limit()?,
            "half_open_per_prefix" => self.half_open_per_prefix = limit()?,
            "half_open_per_port" => self.half_open_per_port = limit()?,
            "window" => self.window = window(value)?,
            "prefix_v4" => self.prefix_v4 = bits(24, 32)?,
            "prefix_v6" => self.prefix_v6 = bits(64, 128)?,
            "ban_on" => self.ban_on = value.parse().map_err(wrong)?,
            "ban_ttl" => self.ban_ttl = ttls(value)?,
            "ban_forget" => {
                let time: Lifetime = value.parse().map_err(wrong)?;
                self.ban_forget = time.0;
            }
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self) -> Result<(), ThresholdError> {
        let mut copy = Self::default();
        self.iter()
            .try_for_each(|(key, value)| copy.set(key, &value))?;
        if self.limits() {
            return Ok(());
        }
        let message = "there is no limit: give new, half_open or one of their kinds";
        Err(ThresholdError::of("new", message))
    }
}

fn unknown(key: &str) -> ThresholdError {
    ThresholdError {
        key: shorten(key),
        message: "there is no such setting of threshold".to_owned(),
        known: false,
    }
}

fn number(key: &str, value: &str, low: u32, high: u32) -> Result<u32, ThresholdError> {
    let number = decimal(value).filter(|number| (low..=high).contains(number));
    number.ok_or_else(|| {
        let found = shorten(value);
        let message = format!("expected a number from {low} to {high}, found {found:?}");
        ThresholdError::of(key, message)
    })
}

/// Of a `Lifetime`, or with milliseconds.
fn span_text(span: Duration) -> String {
    match span.subsec_nanos() {
        0 => Lifetime(span).to_string(),
        _ => format!("{}ms", span.as_millis()),
    }
}

fn window(value: &str) -> Result<Duration, ThresholdError> {
    let millis = value.strip_suffix("ms").and_then(decimal::<u64>);
    let window = match millis {
        Some(millis) => Some(Duration::from_millis(millis)),
        None => value.parse::<Lifetime>().ok().map(|time| time.0),
    };
    let [low, high] = Threshold::WINDOWS;
    let window = window.filter(|window| (low..=high).contains(window));
    window.ok_or_else(|| {
        let found = shorten(value);
        let message = format!("expected a time from 100ms to 1h, found {found:?}");
        ThresholdError::of("window", message)
    })
}

fn ttls(value: &str) -> Result<Vec<Duration>, ThresholdError> {
    let times: Result<Vec<Lifetime>, _> = value.split(',').map(str::parse).collect();
    match times {
        Ok(times) if times.len() <= Threshold::MAX_TTLS => {
            Ok(times.into_iter().map(|time| time.0).collect())
        }
        _ => {
            let found = shorten(value);
            let message = format!("expected 1 to 4 times such as 10m,1h,24h, found {found:?}");
            Err(ThresholdError::of("ban_ttl", message))
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Threshold {
    /// A map from names to numbers and texts, as `threshold:` takes it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(Self::KEYS.len()))?;
        for (key, value) in self.iter() {
            match decimal::<u32>(&value) {
                Some(number) => map.serialize_entry(key, &number)?,
                None => map.serialize_entry(key, &value)?,
            }
        }
        map.end()
    }
}

/// The Count-Min Sketch that points at sources which may be beyond a limit. It is fixed
/// when a tracker is created.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SketchConfig {
    /// Cells of a row: a power of two from 1,024 to 16,777,216. A source's count is
    /// overstated by more than e / width of all connections that are begun in a window
    /// with probability e^-rows at most.
    pub width: u32,
    /// Rows, 1 to 8. A cell takes 8 bytes.
    pub rows: u32,
}

impl SketchConfig {
    /// Widths that can be.
    pub const WIDTHS: [u32; 2] = [1 << 10, 1 << 24];
    /// The most rows.
    pub const MAX_ROWS: u32 = 8;

    /// All of its cells; 2^27 at the most.
    pub fn cells(&self) -> u32 {
        self.width.saturating_mul(self.rows)
    }

    /// Kernel memory in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.cells()) * 8
    }

    /// Why it cannot be: the setting, and what is wrong with it.
    pub(crate) fn fault(&self) -> Option<(&'static str, String)> {
        let [low, high] = Self::WIDTHS;
        let (width, rows, most) = (self.width, self.rows, Self::MAX_ROWS);
        if !(low..=high).contains(&width) || !width.is_power_of_two() {
            let message = format!("expected a power of two from {low} to {high}, found {width}");
            return Some(("width", message));
        }
        if !(1..=most).contains(&rows) {
            let message = format!("expected a number from 1 to {most}, found {rows}");
            return Some(("rows", message));
        }
        None
    }
}

impl Default for SketchConfig {
    /// 2 MiB.
    fn default() -> Self {
        Self {
            width: 65_536,
            rows: 4,
        }
    }
}

/// What a suspect is counted for.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Measure {
    /// Connections begun.
    New,
    /// TCP connections begun whose handshake has not come through.
    HalfOpen,
    /// TCP connections whose handshake has come through.
    Established,
}

impl Measure {
    /// `new`, `half_open` or `established`.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::HalfOpen => "half_open",
            Self::Established => "established",
        }
    }
}

/// A source that the sketch has pointed at, counted exactly since.
#[derive(Clone, Eq, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Suspect {
    /// The address or the network.
    pub source: IpNet,
    /// The protocol and the port of this side, if it is about one.
    #[cfg_attr(feature = "serde", serde(serialize_with = "port_text"))]
    pub port: Option<(Protocol, u16)>,
    /// What is counted.
    #[cfg_attr(feature = "serde", serde(serialize_with = "measure_text"))]
    pub measure: Measure,
    /// How many of them in the window.
    pub count: u32,
    /// How many were too much, since it is a suspect.
    pub over: u64,
    /// When the last one came.
    pub last: Timestamp,
}

impl Suspect {
    /// Whether an address is meant.
    pub fn concerns(&self, addr: IpAddr) -> bool {
        self.source.contains(&addr)
    }
}

#[cfg(feature = "serde")]
fn port_text<S: serde::Serializer>(
    port: &Option<(Protocol, u16)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match port {
        Some((protocol, port)) => serializer.collect_str(&format_args!("{protocol}/{port}")),
        None => serializer.serialize_none(),
    }
}

#[cfg(feature = "serde")]
fn measure_text<S: serde::Serializer>(measure: &Measure, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(measure.name())
}

/// What came of limits.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LimitCounts {
    /// Packets that would have begun a connection too much, whatever was done about them;
    /// a SYN that comes again counts again.
    pub over: u64,
    /// Times that a source was banned.
    pub banned: u64,
    /// The same, but there was no room for the ban.
    pub no_room: u64,
}

impl From<[u64; 3]> for LimitCounts {
    /// In the order of the packet path's `enum ct_limited`.
    fn from([over, banned, no_room]: [u64; 3]) -> Self {
        Self {
            over,
            banned,
            no_room,
        }
    }
}

/// Settings as texts, checked, for who is given several at once.
///
/// # Errors
/// The first that cannot be.
pub fn apply(
    threshold: &mut Threshold,
    settings: &BTreeMap<String, String>,
) -> Result<(), ThresholdError> {
    let mut copy = threshold.clone();
    settings
        .iter()
        .try_for_each(|(key, value)| copy.set(key, value))?;
    copy.validate()?;
    *threshold = copy;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        let mut threshold = Threshold::new(50);
        for (key, value) in [
            ("action", "ban"),
            ("new_per_prefix", "500"),
            ("new_per_port", "7"),
            ("half_open", "20"),
            ("half_open_per_prefix", "200"),
            ("half_open_per_port", "1000000"),
            ("window", "1500ms"),
            ("prefix_v4", "25"),
            ("prefix_v6", "128"),
            ("ban_on", "syn"),
            ("ban_ttl", "90s,10m,1h,2d"),
            ("ban_forget", "1w"),
        ] {
            threshold.set(key, value).unwrap();
            assert_eq!(threshold.get(key).unwrap(), value);
        }
        assert_eq!(threshold.validate(), Ok(()));
        let mut copy = Threshold::default();
        for (key, value) in threshold.iter() {
            copy.set(key, &value).unwrap();
        }
        assert_eq!(copy, threshold);
    }

    #[test]
    fn what_cannot_be() {
        let mut threshold = Threshold::new(50);
        for (key, value) in [
            ("new", ""),
            ("new", "-1"),
            ("new", "+1"),
            ("new", "1000001"),
            ("new", "99999999999"),
            ("window", "99ms"),
            ("window", "0"),
            ("window", "3601s"),
            ("window", "1.5s"),
            ("prefix_v4", "23"),
            ("prefix_v4", "33"),
            ("prefix_v6", "63"),
            ("prefix_v6", "129"),
            ("action", "BAN"),
            ("ban_on", "ack"),
            ("ban_ttl", ""),
            ("ban_ttl", "1m,,1h"),
            ("ban_ttl", "1m,1m,1m,1m,1m"),
            ("ban_forget", "0"),
        ] {
            let error = threshold.set(key, value).unwrap_err();
            assert_eq!(error.key(), key, "{error}");
            assert!(error.is_known());
        }
        let error = threshold.set("news", "1").unwrap_err();
        assert!(!error.is_known());
        assert_eq!(threshold, Threshold::new(50), "nothing has changed");
        assert_eq!(Threshold::default().validate().unwrap_err().key(), "new");
        threshold.ban_ttl.clear();
        assert_eq!(threshold.validate().unwrap_err().key(), "ban_ttl");
        threshold = Threshold::new(50);
        threshold.window = Duration::from_nanos(100_500_000);
        assert_eq!(threshold.validate(), Ok(()), "100 ms and a half");
    }

    #[test]
    fn several_or_none() {
        let mut threshold = Threshold::default();
        let set = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        assert!(apply(&mut threshold, &set(&[("action", "ban")])).is_err());
        assert!(apply(&mut threshold, &set(&[("new", "5"), ("window", "0")])).is_err());
        assert_eq!(threshold, Threshold::default());
        apply(&mut threshold, &set(&[("new", "5"), ("window", "2s")])).unwrap();
        assert_eq!(threshold.new, 5);
    }

    #[test]
    fn sketches() {
        assert_eq!(SketchConfig::default().fault(), None);
        assert_eq!(SketchConfig::default().bytes(), 2 << 20);
        for (width, rows, key) in [
            (1 << 9, 4, "width"),
            (65_535, 4, "width"),
            (1 << 25, 1, "width"),
            (1 << 10, 0, "rows"),
            (1 << 10, 9, "rows"),
        ] {
            let fault = SketchConfig { width, rows }.fault();
            assert_eq!(fault.map(|(key, _)| key), Some(key));
        }
    }
}
