//! What `nft -j` writes: objects, of which sets have elements.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de;
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde_json::Value;
use serde_json::json;

use super::element;
use super::element::Kind;
use super::element::Scopes;
use super::entry::Expiry;
use super::entry::Place;
use super::sink::Draft;
use super::sink::Sink;
use crate::cidr::HostBits;

/// The array of `nftables`.
pub(crate) struct Objects<'s, 'a>(pub(crate) &'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for Objects<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> de::Visitor<'de> for Objects<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the array of nft's objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<(), A::Error> {
        while objects.next_element_seed(Object(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

/// One of them: its kind, and what is said of it.
struct Object<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> de::Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of nft")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let refuse = match key.as_str() {
                "set" | "element" => None,
                "map" => Some("it is an element of a map"),
                // A command, with an object in it.
                "add" | "create" => {
                    map.next_value_seed(Object(&mut *self.0))?;
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            map.next_value_seed(Set {
                sink: &mut *self.0,
                about: About::default(),
                refuse,
            })?;
        }
        Ok(())
    }
}

/// A set.
struct Set<'s, 'a> {
    sink: &'s mut Sink<'a>,
    about: About,
    /// Why its elements are no bans.
    refuse: Option<&'static str>,
}

/// What is known of a set when its elements come.
#[derive(Default)]
struct About {
    name: String,
    kinds: Option<Vec<Kind>>,
    ttl: Option<Duration>,
}

impl<'de> DeserializeSeed<'de> for Set<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> de::Visitor<'de> for Set<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => self.about.name = map.next_value()?,
                "type" => self.about.kinds = kinds(&map.next_value()?),
                "timeout" => {
                    let seconds = map.next_value::<Value>()?.as_u64();
                    self.about.ttl = seconds.map(Duration::from_secs);
                }
                // nft writes it last: what is above is known by then.
                "elem" => map.next_value_seed(Elements {
                    sink: &mut *self.sink,
                    about: &self.about,
                    refuse: self.refuse,
                })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// `"ipv4_addr"`, `["ipv4_addr", "inet_service"]`; other things say nothing.
fn kinds(types: &Value) -> Option<Vec<Kind>> {
    match types {
        Value::String(name) => Some(vec![Kind::of_type(name)]),
        Value::Array(names) => {
            let kind = |name: &Value| name.as_str().map_or(Kind::Other, Kind::of_type);
            Some(names.iter().map(kind).collect())
        }
        _ => None,
    }
}

struct Elements<'s, 'a> {
    sink: &'s mut Sink<'a>,
    about: &'s About,
    refuse: Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> de::Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the elements of a set")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<Element>()? {
            if !self.sink.wants(&self.about.name) {
                self.sink.unselected();
                continue;
            }
            let place = Place::Item(self.sink.summary.items + 1);
            let made = match self.refuse {
                Some(why) => Err(why.into()),
                None => one(&element, self.about, self.sink.options.host_bits),
            };
            let made = made.map(|(draft, scopes)| (draft, scopes.iter()));
            self.sink.item(place, made, || {
                Cow::Owned(element.0.to_string().into_bytes())
            });
        }
        Ok(())
    }
}

/// An element: its value, and what is said of it if something is.
struct Element(Value, Option<More>);

/// What is said of an element.
#[derive(Default, Deserialize)]
#[serde(default)]
struct More {
    val: Value,
    timeout: Value,
    expires: Value,
    comment: Value,
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> de::Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of a set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
        let mut element = Element(Value::Null, None);
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "elem" {
                let mut more: More = map.next_value()?;
                element = Element(more.val.take(), Some(more));
            } else {
                element = Element(json!({ key: map.next_value::<Value>()? }), None);
            }
        }
        Ok(element)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Element, E> {
        Ok(Element(text.into(), None))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Element, E> {
        Ok(Element(number.into(), None))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Element, E> {
        Ok(Element(number.into(), None))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Element, E> {
        Ok(Element(number.into(), None))
    }

    fn visit_bool<E: de::Error>(self, is: bool) -> Result<Element, E> {
        Ok(Element(is.into(), None))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Element, E> {
        Ok(Element(Value::Null, None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Element, A::Error> {
        let mut all = Vec::new();
        while let Some(part) = parts.next_element()? {
            all.push(part);
        }
        Ok(Element(Value::Array(all), None))
    }
}

/// The entry of an element.
fn one<'a>(
    element: &'a Element,
    about: &About,
    host_bits: HostBits,
) -> Result<(Draft<'a>, Scopes), Cow<'static, str>> {
    let Element(key, more) = element;
    let parts = match key.get("concat").and_then(Value::as_array) {
        Some(parts) => parts.iter().map(part).collect::<Option<Vec<_>>>(),
        None => part(key).map(|part| vec![part]),
    };
    let parts = parts.ok_or("it is no address, network or range")?;
    let (block, scopes) = element::of_nft(&parts, about.kinds.as_deref(), host_bits)?;
    let seconds = |value: fn(&More) -> &Value| more.as_ref().and_then(|it| value(it).as_u64());
    // What is left counts, not how long it was in all.
    let ttl = seconds(|more| &more.expires).or_else(|| seconds(|more| &more.timeout));
    let ttl = ttl.map(Duration::from_secs).or(about.ttl);
    let comment = more.as_ref().and_then(|more| more.comment.as_str());
    let draft = Draft {
        exact: true,
        expiry: ttl.map_or(Expiry::Never, Expiry::After),
        reason: comment.unwrap_or_default().into(),
        ..Draft::new(block)
    };
    Ok((draft, scopes))
}

/// A part of an element as nft would write it without JSON.
fn part(value: &Value) -> Option<Cow<'_, str>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Object(object) => {
            let (name, inner) = object.iter().next()?;
            let written = match name.as_str() {
                "prefix" => format!("{}/{}", text(inner.get("addr")?)?, text(inner.get("len")?)?),
                "range" => format!("{}-{}", text(inner.get(0)?)?, text(inner.get(1)?)?),
                _ => return None,
            };
            Some(Cow::Owned(written))
        }
        _ => None,
    }
}
