//! Configuration from and to YAML.

use std::cell::RefCell;

use crate::config::Config;
use crate::config::ConfigError;
use crate::read;
use crate::read::Problem;

/// A configuration is small; what is larger is something else.
const MAX_BYTES: usize = 256 << 10;

/// The parser's time grows with the square of a line full of brackets: 65,536
/// bytes of `{?` took 4.7 s in a debug build, with lines of 4,096 bytes 0.3 s.
const MAX_LINE: usize = 4 << 10;

impl Config {
    /// Reads a configuration in the shape of `conntrack.example.yaml`. What it
    /// does not say keeps its default, an empty text is the default.
    ///
    /// # Errors
    /// Bad YAML, unknown and repeated keys, values of the wrong kind or out of
    /// range: with line, column and the full path of the key. Also texts of more
    /// than 256 KiB or with a line of more than 4 KiB.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        check_size(text)?;
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

fn check_size(text: &str) -> Result<(), ConfigError> {
    let bytes = text.len();
    if bytes > MAX_BYTES {
        let message = format!("{bytes} bytes are too many, {MAX_BYTES} is the limit");
        return Err(ConfigError::new("", message));
    }
    let mut lines = text.split(['\n', '\r']).zip(1..);
    match lines.find(|(line, _)| line.len() > MAX_LINE) {
        None => Ok(()),
        Some((line, number)) => {
            let bytes = line.len();
            let message = format!("{bytes} bytes in a line are too many, {MAX_LINE} is the limit");
            let position = Some((number, 1));
            Err(ConfigError {
                position,
                ..ConfigError::new("", message)
            })
        }
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

/// The parser's message repeats the position; said once is enough.
fn without_position(message: String, position: Option<(usize, usize)>) -> String {
    match position {
        Some((line, column)) => {
            message.replacen(&format!(" at line {line} column {column}"), "", 1)
        }
        None => message,
    }
}
