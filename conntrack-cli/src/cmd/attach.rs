//! `attach`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use conntrack::Attached;
use conntrack::ErrorKind;
use conntrack::Keep;
use conntrack::Tracker;
use conntrack_core::AttachConfig;
use conntrack_core::Config;
use conntrack_core::Family;
use conntrack_core::Mode;
use conntrack_core::p0f::Database;

use super::Context;
use super::fingerprints;
use super::follow::Following;
use super::follow::left_out;
use super::keeper::Keeper;
use super::now;
use super::p0f_socket::Socket;
use super::stats::Readings;
use super::threshold;
use crate::args::AttachArgs;
use crate::failure::Failure;
use crate::failure::in_words;
use crate::failure::program;
use crate::failure::say;
use crate::output;
use crate::signals::Signals;

/// How often bans are looked after.
const KEEP: Duration = Duration::from_secs(1);

/// What is to be attached beyond the configuration, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// Instead of the configuration's, if there are any.
    pub(crate) interfaces: Vec<String>,
    /// Instead of the configuration's.
    pub(crate) mode: Option<Mode>,
    /// As long as this process lives, with a line of statistics so often.
    pub(crate) foreground: Option<Duration>,
    /// In the foreground, interfaces are followed as they come and go.
    pub(crate) follow: bool,
    /// In the foreground, p0f's queries are answered at this socket, by this file.
    pub(crate) p0f: Option<(PathBuf, Database)>,
    /// A table size was asked for on the command line.
    pub(crate) sized: bool,
    /// A threshold was.
    pub(crate) limited: bool,
}

/// Attaches, as the command line says.
pub(crate) fn run(args: &AttachArgs, mut context: Context) -> Result<ExitCode, Failure> {
    args.size.apply(&mut context.config.table);
    context.config.threshold = threshold::over(context.config.threshold.take(), &args.threshold)?;
    if args.no_persist {
        context.config.state_dir = None;
    }
    let p0f = match &args.p0f_socket {
        Some(path) => Some((path.clone(), fingerprints::database(&args.database)?)),
        None => None,
    };
    let wish = Wish {
        p0f,
        interfaces: args.which.names(),
        mode: args.mode,
        foreground: args.foreground.then_some(args.interval.0),
        follow: args.follow,
        sized: args.size.given(),
        limited: !args.threshold.is_empty(),
    };
    start(context, wish)
}

/// Attaches.
pub(crate) fn start(mut context: Context, wish: Wish) -> Result<ExitCode, Failure> {
    // Before anything starts a thread.
    let foreground = match wish.foreground {
        Some(interval) => Some((interval, Signals::catch()?)),
        None => None,
    };
    choose(&mut context, wish.interfaces.clone(), wish.mode)?;
    say_what_comes_later(&context.config);
    context.config.threshold.iter().for_each(threshold::warn);
    let builder = || {
        Tracker::builder()
            .config(context.config.clone())
            .instance(&context.instance)
            .netns(context.netns.clone())
            .allow_absent(wish.follow)
    };
    match (running(&context)?, foreground) {
        (None, None) => {
            let tracker = builder().keep(Keep::Pinned).attach()?;
            report(&tracker, tracker.attached())?;
            tracker.attached().skipped.iter().for_each(left_out);
            say_what_is_banned(&tracker);
        }
        (None, Some((interval, signals))) => {
            let socket = match &wish.p0f {
                Some((path, database)) => Some((Socket::open(path)?, database)),
                None => None,
            };
            let tracker = builder().keep(Keep::Visible).attach()?;
            let follow = wish.follow.then_some(&context.config.attach);
            say_what_is_banned(&tracker);
            let keep = || keep(&tracker, follow, interval, &signals);
            let kept = report(&tracker, tracker.attached()).and_then(|()| match &socket {
                Some((socket, database)) => socket
                    .during(&tracker, database, keep)
                    .map_err(|error| Failure::doing("--p0f-socket", in_words(&error)))?,
                None => keep(),
            });
            tracker.detach()?;
            kept?;
        }
        (Some(tracker), None) => {
            let attached = add(&tracker, &context, &wish)?;
            report(&tracker, &attached)?;
            attached.skipped.iter().for_each(left_out);
            if attached.interfaces.is_empty() {
                say(format_args!(
                    "instance {} is running, and attached to all there is of these: nothing is new",
                    context.instance
                ));
            }
        }
        (Some(_), Some(_)) => {
            return Err(Failure::Runtime(format!(
                "instance {} is running already, and --foreground makes its own: detach it first, \
                 or choose another name by --instance",
                context.instance
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is in a configuration and not acted on yet.
fn say_what_comes_later(config: &Config) {
    if !config.ips.is_empty() {
        say(format_args!(
            "forwarding to the {} entries of ips: is not done yet: packets take their usual way",
            config.ips.len()
        ));
    }
}

/// The tracker that runs under this name already. One whose hooks are all gone
/// was left by a process that died; attaching starts it anew.
fn running(context: &Context) -> Result<Option<Tracker>, Failure> {
    let tracker = match Tracker::open_in(&context.instance, &context.netns) {
        Ok(tracker) => tracker,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(tracker).filter(|tracker| !tracker.is_dead()))
}

/// Puts the interfaces and the mode of the command line over the configuration's,
/// and checks the whole.
pub(super) fn choose(
    context: &mut Context,
    interfaces: Vec<String>,
    mode: Option<Mode>,
) -> Result<(), Failure> {
    let config = &mut context.config.attach;
    config.mode = mode.unwrap_or(config.mode);
    let given = !interfaces.is_empty();
    if given {
        config.interfaces = interfaces;
    }
    if config.interfaces.is_empty() {
        let text = "no interface to attach to: name one, or some in the configuration";
        return Err(Failure::Usage(text.to_owned()));
    }
    let valid = context.config.validate();
    valid.map_err(|error| {
        // Not by its place in a configuration that does not have it.
        let on_command_line = given && error.key().starts_with("interfaces");
        Failure::Usage(match on_command_line {
            true => error.message().to_owned(),
            false => error.to_string(),
        })
    })
}

/// Adds interfaces to a running tracker: all that are named, or none.
fn add(tracker: &Tracker, context: &Context, wish: &Wish) -> Result<Attached, Failure> {
    let instance = &context.instance;
    if wish.sized {
        let text = format!(
            "instance {instance} is running: `{} resize` gives its tables another size",
            program()
        );
        return Err(Failure::Runtime(text));
    }
    if wish.limited {
        let text = format!(
            "instance {instance} is running: `{} threshold set` limits new connections",
            program()
        );
        return Err(Failure::Runtime(text));
    }
    let attach = &context.config.attach;
    let attached = tracker.add_interfaces(attach.interfaces.iter().cloned(), attach.mode)?;
    if context.configured && differs(tracker, &context.config)? {
        say(format_args!(
            "instance {instance} was running: it keeps its settings, limits and table sizes"
        ));
    }
    Ok(attached)
}

/// Whether a running tracker has other settings or sizes than these.
fn differs(tracker: &Tracker, config: &Config) -> Result<bool, Failure> {
    let sysctls = tracker.sysctls()?;
    let (health, fingerprints, ports) = (config.health, config.fingerprints, config.ports);
    let [v4, v6] =
        conntrack::table_flows(&config.table, config.sketch, health, fingerprints, ports)?;
    let sizes = tracker.status()?.tables;
    let mut sizes = sizes.iter().map(|table| (table.family, table.max_flows));
    let resized = sizes.any(|(family, flows)| {
        let wanted = match family {
            Family::Ipv4 => v4,
            Family::Ipv6 => v6,
        };
        flows != u64::from(wanted)
    });
    let limits = tracker.threshold()?;
    Ok(resized || sysctls != config.conntrack || limits != config.threshold)
}

/// Says what each interface got, and why.
fn report(tracker: &Tracker, attached: &Attached) -> Result<(), Failure> {
    let status = tracker.status()?;
    let mut out = output::stdout();
    for report in &attached.interfaces {
        let mut all = status.interfaces.iter();
        let found = all.find(|it| it.ifindex == report.ifindex);
        if let Some(interface) = found {
            writeln!(out, "{}", output::status::on_interface(interface))
                .map_err(Failure::output)?;
        }
    }
    out.flush().map_err(Failure::output)
}

/// Of a tracker that has just begun: what it drops already is of an earlier run, and who
/// has forgotten that would look for another reason. It runs, whether that can be told or
/// not.
fn say_what_is_banned(tracker: &Tracker) {
    let mut bans = tracker.bans();
    match bans.try_fold(0_u64, |sum, ban| ban.map(|_| sum + 1)) {
        Ok(0) => (),
        Ok(bans) => say(format_args!(
            "bans of an earlier run are in force again, {bans}: `banned` shows them"
        )),
        Err(error) => say(format_args!("look for bans of an earlier run: {error:#}")),
    }
    match tracker.fingerprint_bans().map(|bans| bans.len()) {
        Ok(0) => (),
        Ok(bans) => say(format_args!(
            "bans of fingerprints of an earlier run are in force again, {bans}: `fingerprints \
             --banned` shows them"
        )),
        Err(error) => say(format_args!("look for bans of fingerprints: {error:#}")),
    }
}

/// Prints a line of statistics now and then, until it is asked to end; follows
/// these interfaces meanwhile, or looks only for devices stacked on ours.
fn keep(
    tracker: &Tracker,
    follow: Option<&AttachConfig>,
    interval: Duration,
    signals: &Signals,
) -> Result<(), Failure> {
    let following = follow.map(|attach| Following::begin(tracker, attach));
    let mut following = following.transpose()?;
    let mut readings = Readings::begin(tracker)?;
    let mut next = Instant::now() + interval;
    let mut keeper = Keeper::begin(tracker)?;
    loop {
        keeper.keep();
        let left = next.saturating_duration_since(Instant::now()).min(KEEP);
        let ended = match &mut following {
            Some(following) => {
                following.tell(tracker)?;
                signals.wait_with(following, left)?
            }
            None => signals.wait(left)?,
        };
        if ended {
            return Ok(());
        }
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + interval;
        if following.is_none()
            && let Err(error) = tracker.refresh()
        {
            say(format_args!("look for stacked devices: {error:#}"));
        }
        let stats = readings.next()?;
        let line = output::stats::one_line(now(), &stats);
        output::put_line(line).map_err(Failure::output)?;
    }
}
