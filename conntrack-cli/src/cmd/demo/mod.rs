//! `demo`: real traffic in namespaces of its own, and what the tracker sees.

mod checks;
mod net;
mod ping;
mod screen;
mod story;
mod traffic;

use std::process;
use std::process::ExitCode;
use std::time::Duration;

use conntrack::NetnsRef;
use conntrack::Tracker;

use self::checks::Checks;
use self::net::Net;
use self::net::ROUTER;
use self::screen::Screen;
use self::story::Story;
use crate::args::DemoArgs;
use crate::failure::Failure;
use crate::signals::Signals;

/// Runs it; success only if all was seen that should have been.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    // Before any thread: those of the servers must not take the signals.
    let signals = Signals::catch()?;
    let mut screen = Screen::new();
    screen.say(
        "Three network namespaces are made, client - router - server, joined by veth\n\
         pairs. Nothing of this host is touched. The tracker watches the router.",
    )?;
    let net = Net::new()?;
    let tracker = Tracker::builder()
        .interfaces(ROUTER)
        .instance(format!("demo-{}", process::id()))
        .netns(NetnsRef::Path(net.router.path()))
        .max_flows(4096)
        .attach()?;
    screen.attached(&tracker.status()?)?;

    let mut checks = Checks::new(&tracker);
    let length = Duration::from_secs(u64::from(args.seconds));
    Story::new(&net, &tracker, &signals, length).tell(&mut screen, &mut checks)?;
    checks.counted_once()?;
    screen.lines(&checks.lines())?;
    let missing = checks.missing();

    // Detaches; the namespaces go when the process does, whatever happens.
    tracker.detach()?;
    match missing {
        0 => {
            screen.say("All of it was seen as it should be. Everything is taken down again.")?;
            Ok(ExitCode::SUCCESS)
        }
        missing => Err(Failure::Runtime(format!(
            "{missing} of what should have been seen is missing: see the lines above"
        ))),
    }
}
