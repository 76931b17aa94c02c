//! Maps with known keys.

use std::fmt;

use serde::Deserializer;
use serde::de;
use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

use super::At;
use super::Step;
use super::scalar::Fault;
use super::scalar::Scalar;
use super::scalar::Value;
use crate::parse::shorten;

/// A map with known keys. Nothing at all stands for an empty one, so that a
/// section whose entries are all commented out may stay.
pub(super) trait Section: Sized {
    /// What it becomes.
    type Output;

    /// The canonical name of a key, `None` if unknown.
    fn key(name: &str) -> Option<&'static str>;

    /// Reads the value of a key, given its canonical name.
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        at: At<'_>,
        map: &mut A,
    ) -> Result<(), A::Error>;

    /// The result, or what is missing.
    fn finish(self) -> Result<Self::Output, Fault>;

    /// The result if there is a number in its place; `None` if that means nothing.
    fn number(_number: u64) -> Option<Result<Self::Output, Fault>> {
        None
    }
}

/// Reads a section, beginning with what is in it already.
pub(super) fn read<'de, S: Section, D: Deserializer<'de>>(
    at: At<'_>,
    section: S,
    deserializer: D,
) -> Result<S::Output, D::Error> {
    Fields { at, section }.deserialize(deserializer)
}

/// The same, as a seed.
pub(super) struct Fields<'a, S> {
    pub(super) at: At<'a>,
    pub(super) section: S,
}

impl<'de, S: Section> DeserializeSeed<'de> for Fields<'_, S> {
    type Value = S::Output;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Output, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<S: Section> Fields<'_, S> {
    fn finish<E: de::Error>(self) -> Result<S::Output, E> {
        let Self { at, section } = self;
        section.finish().map_err(|fault| at.fault(fault))
    }

    fn refuse<E: de::Error>(self, found: impl fmt::Display) -> Result<S::Output, E> {
        let message = format!("expected keys with values, found {found}");
        Err(self.at.fail(message))
    }
}

/// A key as written and its canonical name, if it is known and new.
fn resolve<S: Section>(
    scalar: Scalar,
    seen: &[&'static str],
) -> Result<(String, &'static str), Fault> {
    let written = scalar.into_text();
    match S::key(&written) {
        Some(name) if seen.contains(&name) => Err(Fault {
            message: if written == name {
                "the key is there twice".to_owned()
            } else {
                format!("the key is there twice; it is short for {name}")
            },
            key: Some(written),
        }),
        Some(name) => Ok((written, name)),
        None => Err(Fault {
            key: Some(shorten(&written).escape_debug().to_string()),
            message: "unknown key".to_owned(),
        }),
    }
}

impl<'de, S: Section> Visitor<'de> for Fields<'_, S> {
    type Value = S::Output;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with values")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<S::Output, A::Error> {
        let at = self.at;
        let mut seen = Vec::new();
        loop {
            let check = |scalar: Scalar| resolve::<S>(scalar, &seen);
            let Some((written, name)) = map.next_key_seed(Value { at, check })? else {
                return self.finish();
            };
            seen.push(name);
            let child = at.child(Step::Key(&written));
            self.section.read(name, child, &mut map)?;
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<S::Output, E> {
        self.finish()
    }

    fn visit_none<E: de::Error>(self) -> Result<S::Output, E> {
        self.finish()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Output, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<S::Output, E> {
        self.refuse(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<S::Output, E> {
        self.refuse(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<S::Output, E> {
        let at = self.at;
        match S::number(value) {
            Some(read) => read.map_err(|fault| at.fault(fault)),
            None => self.refuse(value),
        }
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<S::Output, E> {
        self.refuse(value)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<S::Output, E> {
        self.refuse(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<S::Output, E> {
        self.refuse(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<S::Output, E> {
        self.refuse(Scalar::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<S::Output, A::Error> {
        self.refuse("a list")
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<S::Output, A::Error> {
        self.refuse("a tag")
    }
}
