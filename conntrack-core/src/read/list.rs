//! Lists.

use std::fmt;

use serde::Deserializer;
use serde::de;
use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

use super::At;
use super::Step;
use crate::parse::shorten;

/// Reads a list item by item. Nothing at all stands for an empty one.
pub(super) struct List<'a, I> {
    pub(super) at: At<'a>,
    pub(super) item: I,
}

/// How one item is read.
pub(super) trait Item {
    /// What it becomes.
    type Output;

    /// Reads the next item, which has that place; `None` at the end.
    fn next<'de, A: SeqAccess<'de>>(
        &self,
        at: At<'_>,
        items: &mut A,
    ) -> Result<Option<Self::Output>, A::Error>;
}

impl<'de, I: Item> DeserializeSeed<'de> for List<'_, I> {
    type Value = Vec<I::Output>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<I: Item> List<'_, I> {
    fn refuse<E: de::Error>(self, found: impl fmt::Display) -> Result<Vec<I::Output>, E> {
        Err(self.at.fail(format!("expected a list, found {found}")))
    }
}

impl<'de, I: Item> Visitor<'de> for List<'_, I> {
    type Value = Vec<I::Output>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = {
            let at = self.at.child(Step::Index(list.len()));
            self.item.next(at, &mut items)?
        } {
            list.push(item);
        }
        Ok(list)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        self.refuse(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.refuse(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.refuse(value)
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Self::Value, E> {
        self.refuse(value)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Self::Value, E> {
        self.refuse(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.refuse(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.refuse(format_args!("{:?}", shorten(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        self.refuse("keys with values")
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        self.refuse("a tag")
    }
}
