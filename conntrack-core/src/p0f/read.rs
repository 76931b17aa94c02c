//! p0f's file of signatures, `p0f.fp`.

use std::fmt;

use super::Database;
use super::Label;
use super::System;
use super::database::Record;
use super::pattern::Pattern;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::parse::shorten;

/// Debian's has 40 kilobytes.
const MAX_BYTES: usize = 4 << 20;
const MAX_LINE: usize = 4096;
const MAX_SIGNATURES: usize = 65_536;
const MAX_CLASSES: usize = 256;
const MAX_SYSTEMS: usize = 64;

/// What a name may have beside letters and digits.
const NAME_CHARACTERS: &str = " ./-_!?()";

/// What is wrong with p0f's file. `Display` says where, and what was expected.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct DatabaseError {
    line: usize,
    field: &'static str,
    problem: String,
}

impl DatabaseError {
    /// The line, from 1 on.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The part of the line: `section`, `classes`, `label`, `sys`, `sig`, the
    /// field of a signature such as `MSS`, or `line`.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for DatabaseError {}

/// A part of a line that is wrong, and why.
type Wrong = (&'static str, String);

fn wrong<T>(field: &'static str, text: &str, why: &str) -> Result<T, Wrong> {
    Err((field, format!("{field}: {:?}: {why}", shorten(text))))
}

/// What the lines below a section's name are.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Section {
    /// No section has begun.
    None,
    Links,
    Requests,
    Responses,
    /// Another module's.
    Other,
}

/// What a signature needs before it.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Need {
    Label,
    Systems,
    Nothing,
}

/// A file as far as it has been read.
struct Reader {
    database: Database,
    classes: Vec<String>,
    section: Section,
    need: Need,
    /// The last label of the section of links.
    link: String,
}

impl Database {
    /// Reads p0f's file. Sections of other modules than `mtu` and `tcp` are left
    /// out unread. Signatures that others before them cover are taken, and never
    /// found; p0f refuses them.
    ///
    /// # Errors
    ///
    /// The first line that is wrong, or that is too much: of more than 4 MiB,
    /// 65,536 signatures, 256 classes or 4096 bytes in a line.
    pub fn parse(file: &[u8]) -> Result<Self, DatabaseError> {
        let mut reader = Reader {
            database: Self::default(),
            classes: Vec::new(),
            section: Section::None,
            need: Need::Label,
            link: String::new(),
        };
        let mut read = 0;
        for (index, line) in file.split(|byte| *byte == b'\n').enumerate() {
            let at = |(field, problem)| DatabaseError {
                line: index + 1,
                field,
                problem,
            };
            read += line.len() + 1;
            if read > MAX_BYTES {
                return Err(at(("line", "the file has more than 4 MiB".to_owned())));
            }
            reader.line(line.trim_ascii(), index + 1).map_err(at)?;
        }
        Ok(reader.database)
    }
}

impl Reader {
    fn line(&mut self, line: &[u8], number: usize) -> Result<(), Wrong> {
        match line.first() {
            None | Some(b';') => return Ok(()),
            Some(b'[') => {}
            Some(_) if self.section == Section::Other => return Ok(()),
            Some(_) => {}
        }
        let Ok(line) = str::from_utf8(line) else {
            return wrong("line", &String::from_utf8_lossy(line), "it is not UTF-8");
        };
        if line.len() > MAX_LINE {
            return wrong("line", line, "it is longer than 4096 bytes");
        }
        if line.starts_with('[') {
            return self.begin(line);
        }
        let Some((key, value)) = line.split_once('=') else {
            return wrong("line", line, "it is neither [SECTION] nor NAME = VALUE");
        };
        let (key, value) = (key.trim_ascii_end(), value.trim_ascii_start());
        match (key, self.section, self.need) {
            ("classes", Section::None, _) => self.class_names(value),
            ("classes", ..) => wrong("classes", value, "it belongs before the first section"),
            ("label" | "sys" | "sig", Section::None, _) => {
                wrong("section", line, "there is none yet")
            }
            ("label", _, Need::Systems) => wrong("label", value, "sys is missing before it"),
            ("label", Section::Links, _) => self.link_label(value),
            ("label", ..) => self.label(value),
            ("sys", _, Need::Systems) => self.systems(value),
            ("sys", ..) => wrong(
                "sys",
                value,
                "it belongs after the label of a program (class !)",
            ),
            ("sig", _, Need::Label) => wrong("sig", value, "there is no label before it"),
            ("sig", _, Need::Systems) => wrong("sig", value, "sys is missing before it"),
            ("sig", ..) => self.signature(value, number),
            _ => wrong("line", key, "it is not one of classes, label, sys and sig"),
        }
    }

    fn begin(&mut self, line: &str) -> Result<(), Wrong> {
        let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        else {
            return wrong("section", line, "it does not end in ]");
        };
        if self.need == Need::Systems {
            return wrong("section", line, "sys is missing before it");
        }
        self.section = match name {
            "mtu" => Section::Links,
            "tcp:request" => Section::Requests,
            "tcp:response" => Section::Responses,
            _ if name == "tcp" || name.starts_with("tcp:") || name.starts_with("mtu:") => {
                return wrong(
                    "section",
                    line,
                    "not one of mtu, tcp:request and tcp:response",
                );
            }
            _ => Section::Other,
        };
        self.need = Need::Label;
        Ok(())
    }

    fn class_names(&mut self, value: &str) -> Result<(), Wrong> {
        for name in value.split(',').map(str::trim_ascii) {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return wrong("classes", name, "a class has letters and digits");
            }
            if self.classes.len() == MAX_CLASSES {
                return wrong("classes", name, "there are more than 256");
            }
            self.classes.push(name.to_owned());
        }
        Ok(())
    }

    /// A class as it was written first.
    fn class(&self, field: &'static str, name: &str) -> Result<String, Wrong> {
        let known = self
            .classes
            .iter()
            .find(|class| class.eq_ignore_ascii_case(name));
        match known {
            Some(class) => Ok(class.clone()),
            None => wrong(field, name, "classes does not have it"),
        }
    }

    fn link_label(&mut self, value: &str) -> Result<(), Wrong> {
        if value.is_empty() || value.contains(char::is_control) {
            return wrong("label", value, "a link has a name");
        }
        self.link = value.to_owned();
        self.need = Need::Nothing;
        Ok(())
    }

    fn label(&mut self, value: &str) -> Result<(), Wrong> {
        let parts: Vec<&str> = value.splitn(4, ':').collect();
        let [rank, class, name, flavour] = parts[..] else {
            return wrong("label", value, "it is not TYPE:CLASS:NAME:FLAVOUR");
        };
        let generic = match rank {
            "g" => true,
            "s" => false,
            _ => return wrong("label", rank, "a type is s or g"),
        };
        let class = match class {
            "!" => None,
            class => Some(self.class("label", class)?),
        };
        if flavour.contains(char::is_control) {
            return wrong("label", flavour, "there are control characters in it");
        }
        if self.database.labels.len() == MAX_SIGNATURES {
            return wrong("label", value, "there are more than 65536");
        }
        self.need = match class {
            Some(_) => Need::Nothing,
            None => Need::Systems,
        };
        self.database.labels.push(Label {
            generic,
            class,
            name: named("label", name)?,
            flavour: flavour.to_owned(),
            systems: Vec::new(),
        });
        Ok(())
    }

    fn systems(&mut self, value: &str) -> Result<(), Wrong> {
        let mut systems = Vec::new();
        for name in value.split(',').map(str::trim_ascii) {
            if systems.len() == MAX_SYSTEMS {
                return wrong("sys", name, "there are more than 64");
            }
            systems.push(match name.strip_prefix('@') {
                Some(class) => System::Class(self.class("sys", class)?),
                None => System::Name(named("sys", name)?),
            });
        }
        if let Some(label) = self.database.labels.last_mut() {
            label.systems = systems;
        }
        self.need = Need::Nothing;
        Ok(())
    }

    fn signature(&mut self, value: &str, line: usize) -> Result<(), Wrong> {
        if self.database.signatures == MAX_SIGNATURES {
            return wrong("sig", value, "there are more than 65536");
        }
        self.database.signatures += 1;
        let records = match self.section {
            Section::Requests => &mut self.database.requests,
            Section::Responses => &mut self.database.responses,
            _ => return self.link_signature(value),
        };
        let pattern: Pattern = value.parse().map_err(of_signature)?;
        let label = self.database.labels.len() - 1;
        records
            .entry(pattern.kinds().into())
            .or_default()
            .push(Record {
                pattern,
                label,
                line,
            });
        Ok(())
    }

    /// Of two links with one MTU the first counts.
    fn link_signature(&mut self, value: &str) -> Result<(), Wrong> {
        let mtu = decimal::<u16>(value).filter(|mtu| *mtu != 0);
        let Some(mtu) = mtu else {
            return wrong("sig", value, "an MTU has 1 to 65535 bytes");
        };
        let links = &mut self.database.links;
        links.entry(mtu.into()).or_insert_with(|| self.link.clone());
        Ok(())
    }
}

fn of_signature(error: ParseError) -> Wrong {
    (error.what(), error.to_string())
}

fn named(field: &'static str, name: &str) -> Result<String, Wrong> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || NAME_CHARACTERS.contains(c);
    if name.is_empty() || !name.chars().all(allowed) {
        return wrong(
            field,
            name,
            "a name has letters, digits and any of  ./-_!?()",
        );
    }
    Ok(name.to_owned())
}
