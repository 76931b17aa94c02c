//! Tracks one interface for a few seconds and prints what it saw.
//!
//! ```sh
//! sudo cargo run --example quickstart -- eth0
//! ```

use std::env;
use std::thread;
use std::time::Duration;

use conntrack::Tracker;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let interface = env::args().nth(1).ok_or("usage: quickstart INTERFACE")?;
    // Detaches when it is dropped.
    let tracker = Tracker::attach(&interface)?;
    thread::sleep(Duration::from_secs(5));
    for flow in tracker.flows() {
        println!("{}", flow?);
    }
    Ok(())
}
