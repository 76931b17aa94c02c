//! `config`.

use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use conntrack_core::Sysctls;

use super::Context;
use crate::args::ConfigArgs;
use crate::args::ConfigCommand;
use crate::args::ConfigGetArgs;
use crate::args::ConfigSetArgs;
use crate::args::TextFormat;
use crate::failure::Failure;
use crate::failure::say;
use crate::output;

/// Which the kernel has switched on, and this tracker for good reasons not.
const CHECKSUM: &str = "nf_conntrack_checksum";

/// Settings by their full names.
type Settings = BTreeMap<&'static str, u32>;

/// Shows or changes the settings of a running tracker.
pub(crate) fn run(args: &ConfigArgs, context: &Context) -> Result<ExitCode, Failure> {
    match &args.command {
        ConfigCommand::Get(args) => get(args, context),
        ConfigCommand::Set(args) => set(args, context),
    }
}

fn get(args: &ConfigGetArgs, context: &Context) -> Result<ExitCode, Failure> {
    let keys: Result<Vec<_>, _> = args.keys.iter().map(|key| full_name(key)).collect();
    let keys = keys?;
    let mut settings: Settings = context.open()?.sysctls()?.iter().collect();
    if !keys.is_empty() {
        settings.retain(|name, _| keys.contains(name));
    }
    show(&settings, args.output)
}

fn set(args: &ConfigSetArgs, context: &Context) -> Result<ExitCode, Failure> {
    let given = assignments(&args.settings)?;
    let tracker = context.open()?;
    let mut changes = Settings::new();
    let mut missing = Vec::new();
    if args.from_kernel {
        let kernel = tracker.kernel_sysctls()?;
        changes.extend(kernel.values);
        missing = kernel.missing;
    }
    if changes.get(CHECKSUM) == Some(&1) && !given.contains_key(CHECKSUM) {
        say(format_args!(
            "{CHECKSUM}=1 is copied, too: every byte of every packet is read then, and tunnels \
             over UDP are INVALID where they arrive by veth; add checksum=0 to leave it off"
        ));
    }
    changes.extend(given);
    let in_force = tracker.update_sysctls(|sysctls| {
        for (name, value) in &changes {
            // Names and values have been checked.
            let _ = sysctls.set(name, (*value).into());
        }
    })?;
    for name in missing {
        if let (false, Ok(value)) = (changes.contains_key(name), in_force.get(name)) {
            say(format_args!(
                "kept {name}={value}: this kernel has no such setting"
            ));
        }
    }
    show(&changes, args.output)
}

fn show(settings: &Settings, format: TextFormat) -> Result<ExitCode, Failure> {
    let mut out = output::stdout();
    match format {
        TextFormat::Text => text(settings, &mut out),
        TextFormat::Json => output::json(&mut out, settings),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// A line each, as `config set` takes it.
fn text(settings: &Settings, out: &mut impl Write) -> io::Result<()> {
    let mut lines = settings.iter();
    lines.try_for_each(|(name, value)| writeln!(out, "{name}={value}"))
}

fn full_name(key: &str) -> Result<&'static str, Failure> {
    Sysctls::full_name(key).ok_or_else(|| {
        // Says how an unknown key is named.
        let error = Sysctls::default().get(key).err();
        let text = error.map_or_else(String::new, |error| error.to_string());
        Failure::Usage(match Sysctls::similar(key) {
            Some(meant) => format!("{text}: did you mean {meant}?"),
            None => format!("{text}: `config get` shows those there are"),
        })
    })
}

/// `KEY=VALUE`, any number of them, or one `KEY VALUE`.
fn assignments(words: &[String]) -> Result<Settings, Failure> {
    if let [key, value] = words
        && !key.contains('=')
    {
        return Ok([assignment(key, value)?].into());
    }
    let mut settings = Settings::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            let text = format!("{word:?} is no setting: expected KEY=VALUE, such as tcp_loose=0");
            return Err(Failure::Usage(text));
        };
        let (name, value) = assignment(key, value)?;
        if settings.insert(name, value).is_some() {
            return Err(Failure::Usage(format!("{name} is given twice")));
        }
    }
    Ok(settings)
}

fn assignment(key: &str, value: &str) -> Result<(&'static str, u32), Failure> {
    let name = full_name(key)?;
    let max = Sysctls::max(name).unwrap_or_default();
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse::<u32>().ok();
    match number.filter(|number| digits && *number <= max) {
        Some(number) => Ok((name, number)),
        None => Err(Failure::Usage(format!(
            "{name} is a number from 0 to {max}, not {value:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Settings, String> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        assignments(&words).map_err(|failure| match failure {
            Failure::Usage(text) => text,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn both_forms_and_both_names() {
        let loose = Settings::from([("nf_conntrack_tcp_loose", 0)]);
        for words in [
            &["tcp_loose=0"][..],
            &["nf_conntrack_tcp_loose=0"],
            &["tcp_loose", "0"],
        ] {
            assert_eq!(parse(words).unwrap(), loose);
        }
        let two = parse(&["udp_timeout=2147483647", "tcp_max_retrans=255"]).unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(two["nf_conntrack_udp_timeout"], 2_147_483_647);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, says) in [
            (&["tcp_loos=0"][..], "tcp_loos"),
            (&["tcp_loos", "0"], "tcp_loos"),
            (&["tcp_loose"], "tcp_loose"),
            (&["tcp_loose", "udp_timeout=1"], "tcp_loose"),
            (&["udp_timeout=1", "tcp_loose"], "tcp_loose"),
            (&["tcp_loose", "0", "udp_timeout", "1"], "tcp_loose"),
            (&["tcp_loose=2"], "from 0 to 1, not \"2\""),
            (&["tcp_loose="], "not \"\""),
            (&["tcp_loose=yes"], "yes"),
            (&["udp_timeout=-1"], "-1"),
            (&["udp_timeout=+1"], "+1"),
            (&["udp_timeout=2147483648"], "2147483648"),
            (
                &["udp_timeout=99999999999999999999"],
                "99999999999999999999",
            ),
            (&["tcp_max_retrans=256"], "256"),
            (&["udp_timeout=1", "nf_conntrack_udp_timeout=1"], "twice"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(says), "{words:?}: {error}");
        }
    }
}
