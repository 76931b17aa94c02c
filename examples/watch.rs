//! Follows an instance that `conntrack attach` left running: the busiest flows,
//! once a second.
//!
//! ```sh
//! sudo conntrack attach eth0
//! sudo cargo run --example watch -- default 10
//! ```

use std::cmp::Reverse;
use std::env;
use std::thread;
use std::time::Duration;

use conntrack::{Flow, Tracker};

fn bytes(flow: &Flow) -> u64 {
    flow.original.bytes + flow.reply.bytes
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let instance = args.next().unwrap_or_else(|| "default".to_owned());
    let seconds: u32 = args.next().map_or(Ok(10), |text| text.parse())?;
    let tracker = Tracker::open(&instance)?;

    for _ in 0..seconds {
        let mut flows = tracker.flows().collect::<Result<Vec<_>, _>>()?;
        flows.sort_unstable_by_key(|flow| Reverse(bytes(flow)));
        println!("{} flows", flows.len());
        for flow in flows.iter().take(10) {
            println!("{:>12}  {flow}", bytes(flow));
        }
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
