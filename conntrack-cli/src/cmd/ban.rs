//! `ban`, `unban`, `banned`, `confirm`.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use conntrack::Tracker;
use conntrack::Unbanned;
use conntrack_core::Ban;
use conntrack_core::BanOrigin;
use conntrack_core::BanSpec;
use conntrack_core::BanTarget;
use conntrack_core::banlist;
use conntrack_core::banlist::Format;
use conntrack_core::banlist::WriteOptions;
use ipnet::IpNet;

use super::Context;
use super::ban_list;
use super::fingerprints;
use crate::args::BanArgs;
use crate::args::BannedArgs;
use crate::args::BannedFormat;
use crate::args::Network;
use crate::args::UnbanArgs;
use crate::failure::Failure;
use crate::failure::program;
use crate::failure::say;
use crate::output;
use crate::output::bans::Table;
use crate::output::counted;

/// Bans.
pub(crate) fn ban(args: &BanArgs, context: &Context) -> Result<ExitCode, Failure> {
    if let Some(file) = &args.list.file {
        return ban_list::ban(args, file, context);
    }
    if let Some(pattern) = &args.fingerprint {
        let ttl = args.ttl.map(|ttl| ttl.0);
        return fingerprints::ban(pattern, ttl, args.dry_run, context);
    }
    // clap demands one or the other.
    let whom = args
        .whom
        .ok_or_else(|| Failure::Usage("whom?".to_owned()))?;
    let target = match (whom, args.exact) {
        (Network::Addr(addr), true) => BanTarget::new(addr.into()),
        (Network::Addr(addr), false) => BanTarget::of(addr),
        (Network::Net(net), _) => BanTarget::new(net),
    };
    let mut spec = BanSpec::new(target)
        .scope(args.scope)
        .reason(&args.reason)
        .direction(args.direction)
        .dry_run(args.dry_run)
        .force(args.force);
    spec.origin = BanOrigin::Manual;
    spec.ttl = args.ttl.map(|ttl| ttl.0);
    spec.confirm = args.confirm.map(|within| within.0);
    let tracker = context.open_attached()?;
    let ban = tracker.ban(spec)?;
    say(answer(args, whom, &ban));
    if args.force {
        say_what_passes(&tracker, &ban)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was done, in a line.
fn answer(args: &BanArgs, whom: Network, ban: &Ban) -> String {
    let target = ban.target;
    let done = match ban.dry_run {
        true => "packets are counted, not dropped,",
        false => "banned",
    };
    let ttl = args
        .ttl
        .map_or("for ever".to_owned(), |ttl| format!("for {ttl}"));
    let mut text = format!("{target}: {done} {ttl}");
    if let (Network::Addr(addr), true) = (whom, target.net().prefix_len() == 64)
        && addr.is_ipv6()
    {
        text += &format!(" (the /64 of {addr}; --exact is for it alone)");
    }
    if let Some(within) = args.confirm {
        let program = program();
        text += &format!(", if `{program} confirm` comes within {within}");
    }
    text
}

/// Of a forced ban.
fn say_what_passes(tracker: &Tracker, ban: &Ban) -> Result<(), Failure> {
    let net = ban.target.net();
    let allowed = tracker.allowed()?.into_iter();
    let touched = allowed.filter(|it| it.net.contains(&net) || net.contains(&it.net));
    for allowed in touched {
        let passes = output::bans::shown(&allowed.net);
        say(format_args!("{passes} passes all the same"));
    }
    Ok(())
}

/// Ends bans.
pub(crate) fn unban(args: &UnbanArgs, context: &Context) -> Result<ExitCode, Failure> {
    if let Some(name) = &args.list {
        return ban_list::unban(name, context);
    }
    if let Some(pattern) = &args.fingerprint {
        return fingerprints::unban(pattern, context);
    }
    let tracker = context.open()?;
    let Some(whom) = args.whom else {
        let count = tracker.unban_all()?;
        say(format_args!("{} ended", counted(count, "ban")));
        return Ok(ExitCode::from(u8::from(count == 0)));
    };
    let mut unbanned = Unbanned::default();
    let nets = nets(whom, args.exact);
    for net in &nets {
        let of_net = tracker.unban(*net, args.scope)?;
        unbanned.removed.extend(of_net.removed);
        // What covers the largest covers them all.
        unbanned.covered = of_net.covered;
    }
    for ban in &unbanned.removed {
        say(format_args!("{} is no longer banned", ban.target));
    }
    // The smallest of them: an address rather than its /64.
    let net = nets[0];
    let name = output::bans::shown(&net);
    if args.except {
        tracker.except(net)?;
        say(format_args!("{name} passes, whatever bans it"));
        return Ok(ExitCode::SUCCESS);
    }
    match unbanned.covered {
        Some(cover) if cover.target.net() == net => Err(Failure::Nothing(format!(
            "{name} is banned still, by the list {}: `unban --list` ends that, `unban --except \
             {name}` makes an exception",
            cover.lists.join(", ")
        ))),
        Some(cover) => Err(Failure::Nothing(format!(
            "{name} is banned still, by {}: `unban {}` ends that, `unban --except {name}` makes \
             an exception",
            cover.target,
            cover.target.net()
        ))),
        None if unbanned.removed.is_empty() => {
            Err(Failure::Nothing(format!("{name} is not banned")))
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// What may be meant, the smallest first.
fn nets(whom: Network, exact: bool) -> Vec<IpNet> {
    match whom {
        Network::Net(net) => vec![net],
        Network::Addr(addr) => {
            let usual = BanTarget::of(addr).net();
            let mut nets = vec![IpNet::from(addr), usual];
            nets.truncate(if exact || usual == nets[0] { 1 } else { 2 });
            nets
        }
    }
}

/// Shows the bans.
pub(crate) fn banned(args: &BannedArgs, context: &Context) -> Result<ExitCode, Failure> {
    if args.lists {
        return ban_list::lists(args, context);
    }
    let tracker = context.open()?;
    let wanted = |ban: &Ban| {
        let net = ban.target.net();
        let touches = |wanted: IpNet| wanted.contains(&net) || net.contains(&wanted);
        let of = |origin: &BanOrigin| match origin {
            BanOrigin::List(name) => ban.lists.contains(name),
            origin => *origin == ban.origin,
        };
        args.whom.is_none_or(touches) && args.origin.as_ref().is_none_or(of)
    };
    let mut unread = None;
    let bans = tracker.bans().filter_map(|ban| match ban {
        Ok(ban) => Some(ban).filter(wanted),
        Err(error) => {
            unread = Some(error);
            None
        }
    });
    print(bans, args).map_err(Failure::output)?;
    say_of_fingerprints(&tracker, args)?;
    match unread {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Who looks at all that is banned is told of what stands elsewhere.
fn say_of_fingerprints(tracker: &Tracker, args: &BannedArgs) -> Result<(), Failure> {
    if args.output != BannedFormat::Table || args.whom.is_some() || args.origin.is_some() {
        return Ok(());
    }
    match tracker.fingerprint_bans()?.len() {
        0 => {}
        bans => say(format_args!(
            "and {}: `fingerprints --banned` shows",
            output::counted(bans as u64, "banned fingerprint")
        )),
    }
    Ok(())
}

fn print(bans: impl Iterator<Item = Ban>, args: &BannedArgs) -> io::Result<()> {
    let mut out = output::stdout();
    match args.output {
        BannedFormat::Table => {
            let mut table = Table::new(!args.no_header);
            for ban in bans {
                table.row(&ban, &mut out)?;
            }
            table.finish(&mut out)?;
        }
        BannedFormat::Json => output::bans::array(bans, &mut out)?,
        BannedFormat::Jsonl => {
            for ban in bans {
                serde_json::to_writer(&mut out, &ban)?;
                out.write_all(b"\n")?;
            }
        }
        BannedFormat::Plain => export(bans, Format::Plain, &mut out)?,
        BannedFormat::Csv => export(bans, Format::Csv, &mut out)?,
        BannedFormat::Ipset => export(bans, Format::Ipset, &mut out)?,
        BannedFormat::Nft => export(bans, Format::Nft, &mut out)?,
    }
    out.flush()
}

/// As other programs read them, with what these have no place for on stderr.
fn export(bans: impl Iterator<Item = Ban>, format: Format, out: &mut impl Write) -> io::Result<()> {
    let bans: Vec<Ban> = bans.collect();
    let written = banlist::write(out, format, bans.iter(), &WriteOptions::default())?;
    let notes = [
        (written.dry_run, "left out that only count"),
        (written.scoped, "left out that concern only some packets"),
        (written.twice, "left out that another one outlasts"),
        (
            written.one_way,
            "written without the way out, which they drop, too",
        ),
    ];
    for (count, what) in notes.into_iter().filter(|(count, _)| *count > 0) {
        say(format_args!("{} {what}", counted(count, "ban")));
    }
    Ok(())
}

/// Confirms what waits for it.
pub(crate) fn confirm(context: &Context) -> Result<ExitCode, Failure> {
    match context.open()?.confirm()? {
        0 => Err(Failure::Nothing("nothing waits to be confirmed".to_owned())),
        count => {
            say(format_args!("{} confirmed", counted(count, "ban")));
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_net_first() {
        let texts = |text: &str, exact| -> Vec<String> {
            let nets = nets(text.parse().unwrap(), exact);
            nets.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts("10.0.0.1", false), ["10.0.0.1/32"]);
        assert_eq!(texts("10.0.0.0/8", false), ["10.0.0.0/8"]);
        let both = ["2001:db8::7/128", "2001:db8::/64"];
        assert_eq!(texts("2001:db8::7", false), both);
        assert_eq!(texts("2001:db8::7", true), both[..1]);
        assert_eq!(texts("2001:db8::/48", false), ["2001:db8::/48"]);
    }
}
