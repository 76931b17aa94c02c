//! Bans what another tool finds: an address or a network a line on stdin, until the
//! time given is over, by the tracker that `conntrack attach` left running.
//!
//! ```sh
//! sudo conntrack attach eth0
//! tail -F access.log | grep --line-buffered ' 401 ' | awk '{ print $1; fflush() }' |
//!     sudo cargo run --example ban -- default 600
//! ```

use std::env;
use std::io;
use std::time::Duration;

use conntrack::{BanSpec, Tracker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let instance = args.next().unwrap_or_else(|| "default".to_owned());
    let seconds: u64 = args.next().map_or(Ok(600), |text| text.parse())?;
    let tracker = Tracker::open(&instance)?;

    for line in io::stdin().lines() {
        let line = line?;
        // One that is none, or that must not be banned, is no reason to stop.
        let spec = match line.trim().parse::<BanSpec>() {
            Ok(spec) => spec,
            Err(error) => {
                eprintln!("{line}: {error}");
                continue;
            }
        };
        let ttl = Duration::from_secs(seconds);
        match tracker.ban(spec.ttl(ttl).reason("401")) {
            Ok(ban) => println!("{}: banned for {seconds} s", ban.target),
            Err(error) => eprintln!("{line}: {error}"),
        }
    }
    Ok(())
}
