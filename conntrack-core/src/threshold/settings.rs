//! Limits as settings with names: read, checked, shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Threshold;
use crate::lifetime::Lifetime;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::parse::shorten;

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
        let message =
            "there is no limit: give new, half_open or one of their kinds, or switch limits off";
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
