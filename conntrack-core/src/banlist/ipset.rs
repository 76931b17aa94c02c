//! What `ipset save` writes and `ipset restore` reads.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::HashSet;
use std::io::BufRead;
use std::time::Duration;

use super::ReadError;
use super::element;
use super::element::Scopes;
use super::entry::Expiry;
use super::entry::Place;
use super::plain::TOO_LONG;
use super::sink::Draft;
use super::sink::Sink;
use crate::cidr::Block;
use crate::cidr::around;
use crate::lines::Line;
use crate::lines::Lines;
use crate::parse::decimal;

/// The most sets of one file; what is more is read as if they were not made.
const SETS: usize = 65_536;

/// What elements of a set are.
#[derive(Clone, Eq, PartialEq, Debug)]
enum Kind {
    /// It was not made in this file.
    Unknown,
    Addresses,
    /// Addresses with a protocol and a port.
    Ports,
    Other(String),
}

#[derive(Clone, Debug)]
struct Set {
    kind: Kind,
    /// How long an element lasts that does not say.
    ttl: Option<Duration>,
    /// Of each address, the network with this prefix.
    netmask: Option<u8>,
}

const UNKNOWN: Set = Set {
    kind: Kind::Unknown,
    ttl: None,
    netmask: None,
};

pub(crate) fn read(input: impl BufRead, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    let mut lines = Lines::new(input);
    let mut file = File::default();
    loop {
        let read = lines.count();
        let line = lines.next().map_err(|error| ReadError::Io(read, error))?;
        let Some(line) = line else { break };
        sink.summary.lines = line.number;
        if line.cut {
            sink.bad(Place::Line(line.number), line.bytes, TOO_LONG);
        } else {
            file.line(&line, sink);
        }
    }
    Ok(())
}

#[derive(Default)]
struct File {
    sets: HashMap<String, Set>,
    /// Those that have elements in this file.
    filled: HashSet<String>,
}

impl File {
    fn line(&mut self, line: &Line<'_>, sink: &mut Sink<'_>) {
        let text = String::from_utf8_lossy(line.bytes.trim_ascii());
        let place = Place::Line(line.number);
        let mut words = Words(&text);
        let mut next = || words.find(|word| !matches!(*word, "-exist" | "-!"));
        let command = next().unwrap_or("");
        if command.is_empty() || command.starts_with('#') || command == "COMMIT" {
            sink.summary.ignored += 1;
            return;
        }
        let set = next().unwrap_or("");
        match command {
            "create" | "-N" | "--create" | "n" => {
                self.create(set, words);
                sink.summary.ignored += 1;
            }
            "add" | "-A" | "--add" => {
                if !sink.wants(set) {
                    return sink.unselected();
                }
                self.note_filled(set);
                let known = self.sets.get(set).unwrap_or(&UNKNOWN);
                let made = add(known, words, sink).map(|(draft, scopes)| (draft, scopes.iter()));
                sink.item(place, made, || line.bytes.into());
            }
            // Of the ways to fill a set at once, the one that empties it again.
            "flush" | "-F" | "destroy" | "-X" if self.is_filled(set) => {
                sink.bad(place, line.bytes, "it takes away what was added before");
            }
            "flush" | "-F" | "destroy" | "-X" | "swap" | "-W" => sink.summary.ignored += 1,
            "del" | "-D" => sink.bad(place, line.bytes, "a list takes nothing away"),
            _ => sink.bad(place, line.bytes, "it is no command of ipset save"),
        }
    }

    fn note_filled(&mut self, set: &str) {
        if !self.filled.contains(set) && self.filled.len() < SETS {
            self.filled.insert(set.to_owned());
        }
    }

    /// Whether it has elements in this file; all of them, without a name.
    fn is_filled(&self, set: &str) -> bool {
        self.filled.contains(set) || set.is_empty() && !self.filled.is_empty()
    }

    fn create(&mut self, name: &str, mut words: Words<'_>) {
        let kind = match words.next().unwrap_or("") {
            "hash:ip" | "hash:net" | "bitmap:ip" | "iphash" | "nethash" | "ipmap" | "iptree"
            | "iptreemap" => Kind::Addresses,
            "hash:ip,port" | "hash:net,port" | "ipporthash" => Kind::Ports,
            other => Kind::Other(other.to_owned()),
        };
        let mut set = Set { kind, ..UNKNOWN };
        while let Some(word) = words.next() {
            match word.trim_start_matches("--") {
                "timeout" => {
                    let seconds = words.next().and_then(decimal).filter(|it| *it != 0);
                    set.ttl = seconds.map(Duration::from_secs);
                }
                "netmask" => set.netmask = words.next().and_then(decimal),
                _ => {}
            }
        }
        if self.sets.len() < SETS {
            self.sets.insert(name.to_owned(), set);
        }
    }
}

/// The element that a line adds to a set.
fn add<'a>(
    set: &Set,
    mut words: Words<'a>,
    sink: &Sink<'_>,
) -> Result<(Draft<'a>, Scopes), Cow<'static, str>> {
    let element = words.next().ok_or("it adds nothing")?;
    let (addresses, scopes) = match (&set.kind, element.split_once(',')) {
        (Kind::Addresses | Kind::Unknown, None) => (element, Scopes::default()),
        (Kind::Ports | Kind::Unknown, Some((addresses, scope))) if !scope.contains(',') => {
            (addresses, element::ipset_scopes(scope)?)
        }
        (Kind::Other(kind), _) => {
            let text = crate::parse::shorten(kind);
            return Err(format!("sets of type {text} hold other things than sources").into());
        }
        (Kind::Ports, None) => return Err("it has no port".into()),
        _ => return Err("it is more than an address".into()),
    };
    let problem = |error: crate::cidr::CidrError| Cow::from(error.problem().to_string());
    let mut block = Block::parse(addresses, sink.options.host_bits).map_err(problem)?;
    if let (Some(netmask), Some(addr)) = (set.netmask, block.addr())
        && let Some(net) = around(addr, netmask)
    {
        block = Block::parse(&net.to_string(), sink.options.host_bits).map_err(problem)?;
    }
    let mut draft = Draft {
        exact: true,
        expiry: set.ttl.map_or(Expiry::Never, Expiry::After),
        ..Draft::new(block)
    };
    options(words, &mut draft)?;
    Ok((draft, scopes))
}

/// What follows an element.
fn options<'a>(mut words: Words<'a>, draft: &mut Draft<'a>) -> Result<(), Cow<'static, str>> {
    while let Some(word) = words.next() {
        match word.trim_start_matches("--") {
            "nomatch" => draft.except = true,
            "timeout" => {
                let seconds: Option<u64> = words.next().and_then(decimal);
                draft.expiry = match seconds {
                    None => return Err("its timeout is no number of seconds".into()),
                    Some(0) => Expiry::Never,
                    Some(seconds) => Expiry::After(Duration::from_secs(seconds)),
                };
            }
            "comment" => match words.next() {
                Some(comment) => draft.reason = Cow::Borrowed(comment),
                None => return Err("its comment is missing".into()),
            },
            "packets" | "bytes" | "skbmark" | "skbprio" | "skbqueue" => {
                words.next();
            }
            "exist" | "-exist" | "-!" => {}
            _ => return Err("what follows the address is not known".into()),
        }
    }
    Ok(())
}

/// Words between blanks; quotes keep blanks within one.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_ascii_start();
        if text.is_empty() {
            return None;
        }
        let (word, rest) = match text.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => text.split_once([' ', '\t']).unwrap_or((text, "")),
        };
        self.0 = rest;
        Some(word)
    }
}
