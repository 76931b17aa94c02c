//! What a tracker has seen of ICMP.

use std::cmp::Reverse;

use conntrack_bpf::Clock;
use conntrack_bpf::icmp;
use conntrack_bpf::names::Names;
use conntrack_core::icmp::Icmp;

use crate::Result;
use crate::Tracker;

impl Tracker {
    /// How often each kind of ICMP and ICMPv6 message came, and the errors one by one: who
    /// sent them, about which packet, and whether that belongs to a flow that was known.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), conntrack::Error> {
    /// let icmp = conntrack::Tracker::open("default")?.icmp()?;
    /// for count in &icmp.counts.kinds {
    ///     println!("{}: {}", count.kind, count.packets);
    /// }
    /// for error in &icmp.errors {
    ///     println!("{} from {} about {}", error.kind, error.from, error.about);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the kernel says to reading the maps.
    pub fn icmp(&self) -> Result<Icmp> {
        let instance = self.instance();
        let datapath = instance.datapath_to_read()?;
        let mut names = Names::of(instance)?;
        let mut icmp = Icmp::default();
        icmp.counts = icmp::counts(&datapath.maps)?;
        icmp.errors = icmp::errors(&datapath.maps, &Clock::live()?)?;
        for error in &mut icmp.errors {
            error.interface = names.get(error.ifindex);
        }
        icmp.errors
            .sort_by_key(|error| (Reverse(error.last), error.from, error.about));
        Ok(icmp)
    }
}
