//! What `nft list set` and `nft list ruleset` write, and scripts for `nft -f`.
//!
//! Elements of sets are taken, of rules and of maps not: a map may say that its
//! addresses are accepted.

use std::borrow::Cow;
use std::io::Read;
use std::time::Duration;

use super::ReadError;
use super::element;
use super::element::Kind;
use super::element::Scopes;
use super::entry::Expiry;
use super::entry::Place;
use super::nft_token::Token;
use super::nft_token::Tokens;
use super::record::span;
use super::sink::Draft;
use super::sink::Sink;
use crate::cidr::Block;
use crate::cidr::HostBits;

/// The deepest nesting of braces, and the most words of an element or a statement.
const DEPTH: usize = 32;
const WORDS: usize = 64;

pub(crate) fn read(input: impl Read, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    let mut tokens = Tokens::new(input);
    let mut parser = Parser::default();
    loop {
        let next = tokens.next();
        sink.summary.lines = tokens.lines();
        let token = next.map_err(|error| ReadError::Io(tokens.newlines, error))?;
        if token == Token::End {
            parser.end(&tokens, sink);
            return Ok(());
        }
        if !parser.token(token, &tokens, sink) {
            sink.cut_off(format!(
                "line {}: braces are nested too deeply",
                tokens.lines()
            ));
            return Ok(());
        }
    }
}

/// Something between braces.
enum Frame {
    Set(Set),
    Elements(Set),
    /// Of a table, a chain, a rule.
    Other,
}

#[derive(Clone, Default)]
struct Set {
    name: String,
    /// Nothing if its type was not seen.
    kinds: Option<Vec<Kind>>,
    ttl: Option<Duration>,
    /// Why its elements are no bans.
    refuse: Option<&'static str>,
}

/// A word, and whether it is quoted.
type Word<'a> = (&'a str, bool);

/// The words of a statement or an element, one blank between them.
#[derive(Default)]
struct Words {
    text: String,
    /// Where each begins and ends, and whether it is quoted.
    places: Vec<(usize, usize, bool)>,
    /// There were more.
    too_many: bool,
}

impl Words {
    fn push(&mut self, word: &str, quoted: bool) {
        if self.places.len() == WORDS {
            self.too_many = true;
            return;
        }
        if !self.places.is_empty() {
            self.text.push(' ');
        }
        let start = self.text.len();
        self.text.push_str(word);
        self.places.push((start, self.text.len(), quoted));
    }

    fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
        self.too_many = false;
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn all(&self) -> Vec<Word<'_>> {
        let places = self.places.iter();
        places
            .map(|(start, end, quoted)| (&self.text[*start..*end], *quoted))
            .collect()
    }

    fn texts(&self) -> Vec<&str> {
        self.all().into_iter().map(|(word, _)| word).collect()
    }
}

#[derive(Default)]
struct Parser {
    stack: Vec<Frame>,
    /// Of the statement or the element that was begun.
    words: Words,
    /// The line in which it began.
    line: u64,
}

impl Parser {
    /// Takes a token; false if there is no sense in going on.
    fn token(&mut self, token: Token, tokens: &Tokens<impl Read>, sink: &mut Sink<'_>) -> bool {
        let in_elements = matches!(self.stack.last(), Some(Frame::Elements(_)));
        match token {
            Token::Word | Token::Quoted => self.word(token, tokens),
            Token::Comma if in_elements => self.element(sink),
            Token::Open if in_elements => {
                self.push("{", false, tokens);
                self.stack.push(Frame::Other);
            }
            Token::Close if in_elements => {
                self.element(sink);
                self.stack.pop();
            }
            Token::Newline | Token::Semi if in_elements => {}
            Token::Comma => self.push(",", false, tokens),
            // `elements =` may end a line.
            Token::Newline if self.words.text.ends_with('=') => {}
            Token::Newline | Token::Semi => self.statement(sink),
            Token::Open => {
                let frame = self.frame();
                self.words.clear();
                self.stack.push(frame);
            }
            Token::Close => {
                self.statement(sink);
                self.stack.pop();
            }
            Token::End => {}
        }
        self.stack.len() <= DEPTH
    }

    fn word(&mut self, token: Token, tokens: &Tokens<impl Read>) {
        let text = String::from_utf8_lossy(&tokens.text);
        // `elements={` and `elements = {` are the same.
        match text.strip_suffix('=') {
            Some(name) if token == Token::Word && !name.is_empty() => {
                self.push(name, false, tokens);
                self.push("=", false, tokens);
            }
            _ => self.push(&text, token == Token::Quoted, tokens),
        }
    }

    fn push(&mut self, word: &str, quoted: bool, tokens: &Tokens<impl Read>) {
        if self.words.is_empty() {
            self.line = tokens.lines();
        }
        self.words.push(word, quoted);
    }

    /// What a brace begins, by the words before it.
    fn frame(&self) -> Frame {
        let words = self.words.texts();
        let last = || {
            words
                .iter()
                .rfind(|word| **word != "=")
                .copied()
                .unwrap_or_default()
        };
        let named = |refuse| Set {
            name: last().to_owned(),
            refuse,
            ..Set::default()
        };
        let of_map = Some("it is an element of a map");
        match words.as_slice() {
            ["elements", ..] => match self.stack.last() {
                Some(Frame::Set(set)) => Frame::Elements(set.clone()),
                _ => Frame::Elements(Set::default()),
            },
            ["delete" | "destroy" | "get" | "reset", "element", ..] => {
                Frame::Elements(named(Some("a list takes nothing away")))
            }
            ["add" | "create", "element", ..] | ["element", ..] => Frame::Elements(named(None)),
            ["define", ..] => Frame::Elements(named(None)),
            ["add" | "create", "set", ..] | ["set", ..] => Frame::Set(named(None)),
            ["add" | "create", "map", ..] | ["map", ..] => Frame::Set(named(of_map)),
            _ => Frame::Other,
        }
    }

    /// A statement ends: what it says of the set it is in.
    fn statement(&mut self, sink: &mut Sink<'_>) {
        let words = self.words.texts();
        if let Some(Frame::Set(set)) = self.stack.last_mut() {
            match words.as_slice() {
                ["type", types @ ..] => {
                    let types = types.iter().filter(|word| **word != ".");
                    set.kinds = Some(types.map(|name| Kind::of_type(name)).collect());
                }
                ["typeof", fields @ ..] => {
                    let fields = fields.split(|word| *word == ".");
                    let kind = |field: &[&str]| match field {
                        [header, field] => Kind::of_field(header, field),
                        _ => Kind::Other,
                    };
                    set.kinds = Some(fields.map(kind).collect());
                }
                ["timeout", ttl] => set.ttl = span(ttl),
                _ => {}
            }
        }
        // An address alone is no statement: it is not passed over in silence. In rules
        // there are such, and they are none of ours.
        let of_rule = matches!(self.stack.last(), Some(Frame::Other));
        let block = words.first().map(|word| Block::parse(word, HostBits::Mask));
        if let (Some(Ok(_)), false) = (block, of_rule) {
            let text = self.words.text.as_bytes();
            sink.bad(Place::Line(self.line), text, "it is in no set");
        }
        self.words.clear();
    }

    /// An element ends.
    fn element(&mut self, sink: &mut Sink<'_>) {
        let (Some(Frame::Elements(set)), false) = (self.stack.last(), self.words.is_empty()) else {
            return;
        };
        if !sink.wants(&set.name) {
            sink.unselected();
            return self.words.clear();
        }
        let place = Place::Line(self.line);
        let words = self.words.all();
        let made = match (set.refuse, self.words.too_many) {
            (Some(why), _) => Err(why.into()),
            (None, true) => Err("it has too many words".into()),
            (None, false) => one(&words, set, sink.options.host_bits),
        };
        let made = made.map(|(draft, scopes)| (draft, scopes.iter()));
        sink.item(place, made, || self.words.text.as_bytes().into());
        self.words.clear();
    }

    /// The input ends.
    fn end(&mut self, tokens: &Tokens<impl Read>, sink: &mut Sink<'_>) {
        if !self.stack.is_empty() {
            // What is left may be the half of an address.
            if let (Some(Frame::Elements(_)), false) = (self.stack.last(), self.words.is_empty()) {
                let why = "the list ends within it, or before the next comma";
                sink.bad(Place::Line(self.line), self.words.text.as_bytes(), why);
            }
            let lines = tokens.lines();
            sink.cut_off(format!("line {lines}: the list ends before its last brace"));
        } else {
            self.statement(sink);
        }
    }
}

/// The entry of an element's words.
fn one<'a>(
    words: &[Word<'a>],
    set: &Set,
    host_bits: HostBits,
) -> Result<(Draft<'a>, Scopes), Cow<'static, str>> {
    // `10.0.0.0/8 . tcp . 80 timeout 1h expires 59m comment "why"`
    let mut parts = Vec::new();
    let mut rest = words;
    loop {
        let [(part, false), after @ ..] = rest else {
            return Err("an address is missing".into());
        };
        parts.push(Cow::Borrowed(*part));
        match after {
            [(".", false), after @ ..] => rest = after,
            _ => {
                rest = after;
                break;
            }
        }
    }
    let (block, scopes) = element::of_nft(&parts, set.kinds.as_deref(), host_bits)?;
    let mut draft = Draft {
        exact: true,
        expiry: set.ttl.map_or(Expiry::Never, Expiry::After),
        ..Draft::new(block)
    };
    options(rest, &mut draft)?;
    Ok((draft, scopes))
}

/// What follows the address.
fn options<'a>(words: &[Word<'a>], draft: &mut Draft<'a>) -> Result<(), Cow<'static, str>> {
    let mut left = None;
    let mut index = 0;
    let first = words.first().map(|(word, _)| *word);
    let known = [
        "timeout", "expires", "comment", "counter", "quota", "limit", "ct", "last",
    ];
    if first.is_some_and(|word| !known.contains(&word)) {
        return Err(match first {
            Some(":") => "it is an element of a map".into(),
            _ => "something follows the address".into(),
        });
    }
    while let Some((word, quoted)) = words.get(index) {
        index += 1;
        let value = || words.get(index).map(|(value, _)| *value);
        match *word {
            ":" if !quoted => return Err("it is an element of a map".into()),
            "comment" if !quoted => {
                draft.reason = Cow::Borrowed(value().unwrap_or_default());
                index += 1;
            }
            name @ ("timeout" | "expires") if !quoted => {
                let text = value().unwrap_or_default();
                let time = match text {
                    "never" => None,
                    text => Some(span(text).ok_or("its time is none")?),
                };
                match name {
                    "expires" => left = time,
                    _ => draft.expiry = time.map_or(Expiry::Never, Expiry::After),
                }
                index += 1;
            }
            // Counters and limits are not for us.
            _ => {}
        }
    }
    // What is left counts, not how long it was in all.
    if let Some(left) = left {
        draft.expiry = Expiry::After(left);
    }
    Ok(())
}
