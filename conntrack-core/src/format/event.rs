//! The lines of `conntrack -E -o timestamp`, which scripts parse.

use std::fmt;

use crate::ban::Ban;
use crate::ban::BanDirection;
use crate::event::Event;
use crate::event::EventType;
use crate::event::What;
use crate::flow::Flow;
use crate::flow::Side;

/// A line of conntrack-tools; made by [`event_line`].
#[derive(Copy, Clone, Debug)]
pub struct EventLine<'a>(&'a Event);

/// The line that `conntrack -E -o timestamp` prints for an event:
/// `[1795197057.184187]` and a tab, `    [NEW] tcp      6 120 SYN_SENT src=…`.
/// Counters are in DESTROY only, with its reason at the end. What
/// conntrack-tools does not have looks alike: `[INVALID]`, `[PRESSURE]`, `[BAN]`, `[UNBAN]`,
/// `[LOST]`.
pub fn event_line(event: &Event) -> EventLine<'_> {
    EventLine(event)
}

impl fmt::Display for EventLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { time, what, .. } = self.0;
        let (seconds, nanos) = (
            time.0.div_euclid(1_000_000_000),
            time.0.rem_euclid(1_000_000_000),
        );
        write!(f, "[{seconds}.{:06}]\t", nanos / 1000)?;
        let word = format!("[{}]", what.name().to_uppercase());
        write!(f, "{word:>9} ")?;
        match what {
            What::New(flow) | What::Update(flow) => write_flow(f, flow, false),
            What::Invalid(flow) => write_flow(f, flow, true),
            What::Destroy(flow, reason) => {
                write_flow(f, flow, true)?;
                write!(f, " reason={reason}")
            }
            What::Pressure(pressure) => {
                let (family, level) = (pressure.family, pressure.level);
                let (flows, max) = (pressure.flows, pressure.max);
                write!(f, "{family} {level} flows={flows} max={max}")
            }
            What::Ban(ban) | What::Unban(ban) => write_ban(f, ban),
            What::Lost(lost) => {
                write!(f, "{} events", lost.total())?;
                let types = EventType::ALL.into_iter().filter(|kind| lost.of(*kind) > 0);
                types
                    .into_iter()
                    .try_for_each(|kind| write!(f, " {kind}={}", lost.of(kind)))
            }
        }
    }
}

fn write_ban(f: &mut fmt::Formatter<'_>, ban: &Ban) -> fmt::Result {
    write!(f, "{} origin={}", ban.target, ban.origin)?;
    if let Some(until) = ban.until {
        write!(f, " until={until}")?;
    }
    for (note, is) in [
        (" both-ways", ban.direction == BanDirection::Both),
        (" dry-run", ban.dry_run),
        (" unconfirmed", ban.unconfirmed),
    ] {
        f.write_str(if is { note } else { "" })?;
    }
    write!(f, " packets={} bytes={}", ban.hits, ban.bytes)?;
    match ban.reason.as_str() {
        "" => Ok(()),
        reason => write!(f, " reason={reason:?}"),
    }
}

fn write_flow(f: &mut fmt::Formatter<'_>, flow: &Flow, counters: bool) -> fmt::Result {
    let name = flow.protocol.name().unwrap_or("unknown");
    write!(f, "{name:<8} {} ", flow.protocol.0)?;
    // The kernel leaves a timeout out that is over.
    if !flow.timeout.is_zero() {
        write!(f, "{} ", flow.timeout.as_secs())?;
    }
    if let Some(state) = flow.state.name() {
        write!(f, "{state} ")?;
    }
    write_side(f, &flow.original, counters)?;
    if !flow.seen_reply {
        f.write_str(" [UNREPLIED]")?;
    }
    f.write_str(" ")?;
    write_side(f, &flow.reply, counters)?;
    if flow.assured {
        f.write_str(" [ASSURED]")?;
    }
    Ok(())
}

fn write_side(f: &mut fmt::Formatter<'_>, side: &Side, counters: bool) -> fmt::Result {
    write!(f, "{}", side.tuple)?;
    if counters {
        write!(f, " packets={} bytes={}", side.packets, side.bytes)?;
    }
    Ok(())
}
