//! Configuration from and to YAML.

use std::cell::RefCell;

use crate::config::Config;
use crate::config::ConfigError;
use crate::read;
use crate::read::Problem;

/// A configuration is small; what is larger is something else.
const MAX_BYTES: usize = 1 << 20;

impl Config {
    /// Reads a configuration in the shape of `conntrack.example.yaml`. What it
    /// does not say keeps its default, an empty text is the default.
    ///
    /// # Errors
    /// Bad YAML, unknown and repeated keys, values of the wrong kind or out of
    /// range, more than 1 MiB: with line, column and the full path of the key.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_BYTES {
            let message = format!("{} bytes are too many, 1 MiB is the limit", text.len());
            return Err(ConfigError::new("", message));
        }
        let problem = RefCell::new(None);
        let read = read::config(serde_yaml::Deserializer::from_str(text), &problem);
        let config = read.map_err(|error| locate(&error, problem.take()))?;
        config.validate()?;
        Ok(config)
    }

    /// The whole configuration as YAML, defaults included; reads back equal.
    ///
    /// # Errors
    /// None in practice: everything in a configuration has a YAML form.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        serde_yaml::to_string(self).map_err(|error| ConfigError::new("", error.to_string()))
    }
}

/// The parser knows where, the reader knows what.
fn locate(error: &serde_yaml::Error, problem: Option<Problem>) -> ConfigError {
    let position = error.location().map(|at| (at.line(), at.column()));
    let Problem { key, message } = problem.unwrap_or_else(|| Problem {
        key: String::new(),
        message: without_position(error.to_string(), position),
    });
    ConfigError {
        position,
        key,
        message,
    }
}

/// serde_yaml repeats the position in its message.
fn without_position(message: String, position: Option<(usize, usize)>) -> String {
    match position {
        Some((line, column)) => {
            message.replacen(&format!(" at line {line} column {column}"), "", 1)
        }
        None => message,
    }
}
