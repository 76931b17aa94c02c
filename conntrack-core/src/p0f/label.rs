//! Who is meant by the signatures of p0f's file.

use std::fmt;

/// What the file says of the signatures that follow. The text is what p0f prints:
/// the name and the flavour, `Linux 3.11 and newer`.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
#[non_exhaustive]
pub struct Label {
    /// Whether its signatures are a last resort.
    pub generic: bool,
    /// The family of operating systems, such as `unix`; `None` for a program that
    /// makes its own packets, such as a scanner.
    pub class: Option<String>,
    /// The operating system or program.
    pub name: String,
    /// Its version, or what else qualifies it; may be empty.
    pub flavour: String,
    /// The systems that such a program runs on.
    pub systems: Vec<System>,
}

/// Where a program runs.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
pub enum System {
    /// On all of a class.
    Class(String),
    /// On the one with this name.
    Name(String),
}

impl Label {
    /// Whether it is a program that makes its own packets: these tell nothing of
    /// the system.
    pub fn is_tool(&self) -> bool {
        self.class.is_none()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.flavour.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.flavour)
    }
}
