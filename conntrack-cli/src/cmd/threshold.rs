//! `threshold`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use conntrack_core::Suspect;
use conntrack_core::Threshold;
use conntrack_core::ThresholdAction;
use conntrack_core::threshold;

use super::Context;
use crate::args::SuspectsArgs;
use crate::args::ThresholdArgs;
use crate::args::ThresholdCommand;
use crate::args::ThresholdGetArgs;
use crate::args::ThresholdSetArgs;
use crate::failure::Failure;
use crate::failure::say;
use crate::output;

/// Shows or changes the limits of a running tracker.
pub(crate) fn run(args: &ThresholdArgs, context: &Context) -> Result<ExitCode, Failure> {
    match &args.command {
        ThresholdCommand::Get(args) => get(args, context),
        ThresholdCommand::Set(args) => set(args, context),
        ThresholdCommand::Off => off(context),
        ThresholdCommand::Suspects(args) => suspects(args, context),
    }
}

fn get(args: &ThresholdGetArgs, context: &Context) -> Result<ExitCode, Failure> {
    let tracker = context.open()?;
    let (threshold, sketch) = (tracker.threshold()?, tracker.sketch()?);
    let counts = tracker.stats()?.limits;
    let mut out = output::stdout();
    output::threshold::limits(threshold.as_ref(), sketch, counts, args.output, &mut out)
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

fn set(args: &ThresholdSetArgs, context: &Context) -> Result<ExitCode, Failure> {
    let given = settings(&args.settings)?;
    let mut before = Threshold::default();
    let limits = context.open_attached()?.update_threshold(|in_force| {
        before = in_force.filter(|_| !args.anew).unwrap_or_default();
        let mut limits = before.clone();
        threshold::apply(&mut limits, &given).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok::<_, Failure>(Some(limits))
    })?;
    let kept = kept(&before, &given);
    if !kept.is_empty() {
        let kept = kept.join(" ");
        say(format_args!(
            "kept from before: {kept}; --anew begins with the defaults"
        ));
    }
    let mut out = output::stdout();
    if let Some(limits) = &limits {
        warn(limits);
        output::threshold::settings(limits, &mut out).map_err(Failure::output)?;
    }
    out.flush().map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// What a change does not name, where it is not as it would be without limits before.
fn kept(before: &Threshold, given: &BTreeMap<String, String>) -> Vec<String> {
    let defaults = Threshold::default();
    before
        .iter()
        .zip(defaults.iter())
        .filter(|((key, value), (_, default))| value != default && !given.contains_key(*key))
        .map(|((key, value), _)| format!("{key}={value}"))
        .collect()
}

fn off(context: &Context) -> Result<ExitCode, Failure> {
    context
        .open()?
        .update_threshold(|in_force| match in_force {
            None => Err(Failure::Nothing("there is no limit".to_owned())),
            Some(_) => Ok(None),
        })?;
    say("there is no limit any more");
    Ok(ExitCode::SUCCESS)
}

fn suspects(args: &SuspectsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut suspects = context.open()?.suspects()?;
    if let Some(addr) = args.whom {
        suspects.retain(|suspect| suspect.concerns(addr));
    }
    suspects.sort_by_key(|it: &Suspect| (Reverse((it.count, it.over)), it.source, it.measure));
    suspects.truncate(args.limit.unwrap_or(usize::MAX));
    let mut out = output::stdout();
    output::threshold::suspects(&suspects, args.output, &mut out)
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// `KEY=VALUE`, any number of them; a number alone is how many an address may begin.
fn settings(words: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut settings = BTreeMap::new();
    for word in words {
        let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let (key, value) = match word.split_once('=') {
            Some(pair) => pair,
            None if digits => ("new", word.as_str()),
            None => {
                let text = format!("{word:?} is no limit: expected a number, or KEY=VALUE");
                return Err(Failure::Usage(text));
            }
        };
        if settings.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::Usage(format!("{key} is given twice")));
        }
    }
    Ok(settings)
}

/// Limits as `attach` is given them, over those of a configuration.
pub(super) fn over(
    configured: Option<Threshold>,
    words: &[String],
) -> Result<Option<Threshold>, Failure> {
    if words.is_empty() {
        return Ok(configured);
    }
    let mut limits = configured.unwrap_or_default();
    threshold::apply(&mut limits, &settings(words)?)
        .map_err(|error| Failure::Usage(format!("--threshold: {error}")))?;
    Ok(Some(limits))
}

/// Says what one may not expect of limits.
pub(super) fn warn(limits: &Threshold) {
    if limits.action != ThresholdAction::Ban {
        return;
    }
    match limits.ban_on.name() {
        "syn" => say(
            "ban_on=syn: whoever sends packets with forged sources chooses who is banned; what \
             must not be, `allow` keeps out",
        ),
        _ if limits.new == 0 && limits.new_per_prefix == 0 && limits.new_per_port == 0 => say(
            "nobody is banned by half_open alone, for nothing has shown that its sources are \
             there: the excess is dropped",
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Threshold, String> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        match over(None, &words) {
            Ok(limits) => Ok(limits.unwrap()),
            Err(Failure::Usage(text)) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_and_settings() {
        assert_eq!(parse(&["50"]).unwrap(), Threshold::new(50));
        let ban = parse(&["50", "action=ban", "ban_ttl=1m,2m"]).unwrap();
        assert_eq!(ban.action, ThresholdAction::Ban);
        assert_eq!(ban.ban_ttl.len(), 2);
        let mut configured = Threshold::new(7);
        configured.half_open = 3;
        let words = ["new=8".to_owned()];
        let both = over(Some(configured), &words).unwrap().unwrap();
        assert_eq!((both.new, both.half_open), (8, 3));
    }

    #[test]
    fn what_is_kept_is_what_is_not_named() {
        let mut before = Threshold::new(7);
        before.window = std::time::Duration::from_secs(5);
        let kept = |word: &str| kept(&before, &settings(&[word.to_owned()]).unwrap());
        assert_eq!(kept("50"), ["window=5s"]);
        assert_eq!(kept("window=1s"), ["new=7"]);
        assert_eq!(kept("action=count"), ["new=7", "window=5s"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, says) in [
            (&["many"][..], "many"),
            (&["50", "new=50"], "new is given twice"),
            (&["news=1"], "news"),
            (&["new=0"], "there is no limit"),
            (&["action=ban"], "there is no limit"),
            (&["5", "window=1.5s"], "window"),
            (&[""], "expected a number"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(says), "{words:?}: {error}");
        }
    }
}
