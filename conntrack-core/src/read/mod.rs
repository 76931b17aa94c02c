//! Reading a configuration key by key, so that every error knows its key.
//!
//! Serde's errors carry a message only. Here each value is read by a seed that
//! knows the path to it and notes the first problem beside the error; the parser
//! below adds the position. Values are read straight into their types: what an
//! alias or deep nesting could blow up is refused before it grows.

mod keys;
mod list;
mod ports;
mod scalar;
mod section;

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de;

use self::scalar::Fault;
use crate::config::Config;
use crate::config::ConfigError;

/// What is wrong, and with which key.
pub(crate) struct Problem {
    pub(crate) key: String,
    pub(crate) message: String,
}

/// A place in the configuration: a path that ends in a key or an index.
#[derive(Copy, Clone)]
struct At<'a> {
    problem: &'a RefCell<Option<Problem>>,
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Copy, Clone)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    fn root(problem: &'a RefCell<Option<Problem>>) -> Self {
        Self {
            problem,
            parent: None,
            step: Step::Root,
        }
    }

    fn child(&'a self, step: Step<'a>) -> Self {
        Self {
            problem: self.problem,
            parent: Some(self),
            step,
        }
    }

    /// An error here. The first one noted is the cause of all that follow.
    fn fail<E: de::Error>(&self, message: impl fmt::Display) -> E {
        let message = message.to_string();
        let error = E::custom(&message);
        let key = self.to_string();
        self.problem
            .borrow_mut()
            .get_or_insert(Problem { key, message });
        error
    }

    /// An error here, or in a key of here.
    fn fault<E: de::Error>(&self, fault: Fault) -> E {
        match fault.key {
            Some(key) => self.child(Step::Key(&key)).fail(fault.message),
            None => self.fail(fault.message),
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.step, self.parent.map(|parent| parent.step)) {
            (Step::Root, _) => Ok(()),
            (Step::Key(key), None | Some(Step::Root)) => f.write_str(key),
            (Step::Key(key), Some(_)) => write!(f, ".{key}"),
            (Step::Index(index), _) => write!(f, "[{index}]"),
        }
    }
}

/// Reads a configuration; what is wrong with it is in `problem` then.
pub(crate) fn config<'de, D: Deserializer<'de>>(
    deserializer: D,
    problem: &RefCell<Option<Problem>>,
) -> Result<Config, D::Error> {
    section::read(At::root(problem), keys::Root::default(), deserializer)
}

impl<'de> Deserialize<'de> for Config {
    /// Reads the shape of `conntrack.example.yaml` from any format. Errors name
    /// the key and what was expected; `Config::from_yaml` adds where.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let problem = RefCell::new(None);
        let config = config(deserializer, &problem).map_err(|error| match problem.take() {
            Some(Problem { key, message }) => de::Error::custom(ConfigError::new(key, message)),
            None => error,
        })?;
        config.validate().map_err(de::Error::custom)?;
        Ok(config)
    }
}
