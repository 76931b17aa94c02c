//! Single values.

use std::fmt;
use std::str::FromStr;

use serde::Deserializer;
use serde::de;
use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

use super::At;
use crate::config::check_range;
use crate::parse::shorten;

/// A value that is neither a list nor a map.
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Unsigned(u64),
    OtherNumber(String),
    Text(String),
}

impl Scalar {
    pub(super) fn number(self, low: u64, high: u64) -> Result<u64, Fault> {
        match self {
            Self::Unsigned(value) => Ok(check_range(value, low, high).map(|()| value)?),
            other => Err(format!("expected a number from {low} to {high}, found {other}").into()),
        }
    }

    /// 0, 1, false or true, as sysctl and YAML write it.
    pub(super) fn switch(self) -> Result<u64, Fault> {
        match self {
            Self::Bool(value) => Ok(u64::from(value)),
            Self::Unsigned(value @ 0..=1) => Ok(value),
            other => Err(format!("expected 0 or 1, found {other}").into()),
        }
    }

    pub(super) fn text(self, what: &str) -> Result<String, Fault> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("expected {what}, found {other}").into()),
        }
    }

    /// As a key: keys are texts, whatever they look like.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            other => other.to_string(),
        }
    }

    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(self, what: &str) -> Result<T, Fault> {
        let parsed = self.text(what)?.parse();
        parsed.map_err(|error: T::Err| error.to_string().into())
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::OtherNumber(text) => f.write_str(text),
            Self::Text(text) => write!(f, "{:?}", shorten(text)),
        }
    }
}

/// Why a scalar was refused.
pub(super) struct Fault {
    /// The key it is about, if it is about a key and not its value.
    pub(super) key: Option<String>,
    pub(super) message: String,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { key: None, message }
    }
}

/// Reads one scalar and checks it.
pub(super) struct Value<'a, F> {
    pub(super) at: At<'a>,
    pub(super) check: F,
}

impl<'de, T, F> DeserializeSeed<'de> for Value<'_, F>
where
    F: FnOnce(Scalar) -> Result<T, Fault>,
{
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T, F: FnOnce(Scalar) -> Result<T, Fault>> Value<'_, F> {
    fn take<E: de::Error>(self, scalar: Scalar) -> Result<T, E> {
        let Self { at, check } = self;
        check(scalar).map_err(|fault| at.fault(fault))
    }

    fn refuse<E: de::Error>(self, what: &str) -> Result<T, E> {
        let message = format!("expected a single value, found {what}");
        Err(self.at.fail(message))
    }
}

impl<'de, T, F> Visitor<'de> for Value<'_, F>
where
    F: FnOnce(Scalar) -> Result<T, Fault>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        self.take(Scalar::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        self.take(Scalar::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        self.take(match u64::try_from(value) {
            Ok(value) => Scalar::Unsigned(value),
            Err(_) => Scalar::OtherNumber(value.to_string()),
        })
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<T, E> {
        self.take(Scalar::OtherNumber(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<T, E> {
        self.take(Scalar::OtherNumber(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        self.take(Scalar::OtherNumber(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.take(Scalar::Text(text.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        self.take(Scalar::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<T, E> {
        self.take(Scalar::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        self.refuse("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        self.refuse("a map")
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        self.refuse("a tag")
    }
}
