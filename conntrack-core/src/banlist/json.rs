//! JSON: our own lists of bans, arrays of addresses, and the way into nft's.
//!
//! The text is read as a stream: an array of a million is never in memory.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::io::Read;
use std::iter;

use serde::de;
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde_json::Value;

use super::ReadError;
use super::entry::Place;
use super::nft_json;
use super::record;
use super::record::Field;
use super::record::Record;
use super::sink::Draft;
use super::sink::Sink;
use crate::ban::BanScope;
use crate::cidr::Block;

/// The longest text without a quote, a comma or a brace, and the longest string.
const PIECE_MAX: usize = 1 << 20;

pub(crate) fn read(input: impl Read, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    let input = Bounded { input, plain: 0 };
    let mut json = serde_json::Deserializer::from_reader(io::BufReader::new(input));
    loop {
        // One document, or one a line.
        let read = Top(sink).deserialize(&mut json).and_then(|()| json.end());
        let Err(error) = read else { return Ok(()) };
        if error.is_io() {
            return Err(ReadError::Io(0, error.into()));
        }
        if !is_trailing(&error) {
            sink.cut_off(format!("after item {}: {error}", sink.summary.items));
            return Ok(());
        }
    }
}

/// Whether the document was sound and another one stands after it.
fn is_trailing(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("trailing characters")
}

/// An input whose pieces are not too long for memory.
struct Bounded<R> {
    input: R,
    /// How many bytes came without anything that ends a piece.
    plain: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let chunk = &buffer[..read];
        let ends = chunk.iter().rposition(|byte| b"\",{}[]".contains(byte));
        self.plain = match ends {
            Some(at) => read - at,
            None => self.plain + read,
        };
        match self.plain > PIECE_MAX {
            true => Err(io::Error::other(
                "a text of more than a megabyte in one piece",
            )),
            false => Ok(read),
        }
    }
}

/// A document: an array, nft's object, or one of our bans.
struct Top<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of bans or addresses, or what nft -j writes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Item(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut object, mut is_known) = (Object::default(), false);
        while let Some(key) = map.next_key::<String>()? {
            let is_list = match key.as_str() {
                "nftables" => {
                    map.next_value_seed(nft_json::Objects(&mut *self.0))?;
                    true
                }
                // Lists that have their array under a name.
                "bans" | "entries" | "data" => {
                    map.next_value_seed(Top(&mut *self.0))?;
                    true
                }
                key => {
                    object.field(record::field(key), &mut map)?;
                    false
                }
            };
            is_known |= is_list;
        }
        if !object.0.is_empty() {
            object.end(self.0);
        } else if !is_known {
            let place = Place::Item(self.0.summary.items + 1);
            let why = "it is no ban, and has no list under `bans`, `entries`, `data` or `nftables`";
            self.0.bad(place, b"{\xe2\x80\xa6}", why);
        }
        Ok(())
    }
}

/// An item of an array: an address as a text, or an object.
struct Item<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Item<'_, '_> {
    fn neither<E>(self, text: &str) -> Result<(), E> {
        let place = Place::Item(self.0.summary.items + 1);
        let why = "it is neither an address nor an object";
        self.0.bad(place, text.as_bytes(), why);
        Ok(())
    }
}

impl<'de> de::Visitor<'de> for Item<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or an object")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let place = Place::Item(self.0.summary.items + 1);
        let made = match Block::parse(text, self.0.options.host_bits) {
            Ok(block) => Ok((Draft::new(block), iter::once(BanScope::Any))),
            Err(error) => Err(error.problem().to_string().into()),
        };
        self.0.item(place, made, || text.as_bytes().into());
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut object = Object::default();
        while let Some(known) = map.next_key_seed(Name)? {
            object.field(known, &mut map)?;
        }
        object.end(self.0);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.neither("[…]")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.neither(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.neither(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.neither(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.neither(&value.to_string())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.neither("null")
    }
}

/// A name of a field, if it is known.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<(usize, Field)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl de::Visitor<'_> for Name {
    type Value = Option<(usize, Field)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(record::field(name))
    }
}

/// The known fields of an object such as our bans are: their ranks, and values.
#[derive(Default)]
struct Object(Vec<(usize, Field, String)>);

impl Object {
    /// Takes the value of a field.
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        known: Option<(usize, Field)>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let Some((rank, field)) = known else {
            return map.next_value::<IgnoredAny>().map(|_| ());
        };
        match map.next_value()? {
            Value::Null => {}
            Value::String(text) => self.0.push((rank, field, text)),
            other => self.0.push((rank, field, other.to_string())),
        }
        Ok(())
    }

    fn end(mut self, sink: &mut Sink<'_>) {
        // Of several names for one thing the first that is known is set last, and stays.
        self.0.sort_by_key(|(rank, ..)| std::cmp::Reverse(*rank));
        let mut record = Record::default();
        for (_, field, value) in &self.0 {
            record.set(*field, Cow::Borrowed(value));
        }
        let place = Place::Item(sink.summary.items + 1);
        let made = record.draft(sink.options.host_bits);
        sink.item(place, made, || {
            let known = self.0.iter().rev();
            let shown = known.map(|(rank, _, value)| format!("{}: {value}", record::name(*rank)));
            let shown: Vec<String> = shown.collect();
            Cow::Owned(format!("{{{}}}", shown.join(", ")).into_bytes())
        });
    }
}
