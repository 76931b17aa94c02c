//! Flows taken out by command.

use conntrack_bpf::Clock;
use conntrack_bpf::remove;
use conntrack_core::FlowFilter;
use conntrack_core::FlowKey;

use crate::Result;
use crate::Tracker;

impl Tracker {
    /// Removes every flow that began before this call, assured ones too; how many
    /// there were. Each is told as an event (`destroy flushed`).
    ///
    /// Packets go on meanwhile, and none is lost: the next one of a removed flow
    /// begins it anew, if its protocol lets it (TCP in mid-stream with
    /// `nf_conntrack_tcp_loose`). A flow that begins during the call may be removed
    /// only in the first few milliseconds.
    ///
    /// # Errors
    /// What the kernel says; flows may have been removed by then.
    pub fn flush(&self) -> Result<u64> {
        let mut removed = 0;
        // Once: what begins while tables are replaced, and all is looked at again, stays.
        let moment = remove::now(&self.instance().datapath_now())?;
        self.reader().whole(self.instance(), |tables| {
            removed += remove::all(&self.instance().datapath_now(), tables, moment)?;
            Ok(removed)
        })
    }

    /// Removes one flow by its name, whoever opened it; whether it was there.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracker = conntrack::Tracker::open("default")?;
    /// if !tracker.delete(&"tcp 10.0.0.1:40000 10.0.0.2:80".parse()?)? {
    ///     println!("no such flow");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the kernel says; `Other` if its row makes no sense.
    pub fn delete(&self, name: &FlowKey) -> Result<bool> {
        let mut removed = false;
        self.reader().whole(self.instance(), |tables| {
            let datapath = self.instance().datapath_now();
            removed = removed || remove::named(&datapath, tables, name, &Clock::live()?)?;
            Ok(removed)
        })
    }

    /// Removes the flows that meet all conditions of the filter when their turn
    /// comes, which for the default one is all; how many. One that ends by itself
    /// meanwhile is not counted, and the next flow in its place is not touched.
    ///
    /// # Errors
    /// What the kernel says; `Other` if a row makes no sense, after all others
    /// have been looked at.
    pub fn delete_matching(&self, filter: FlowFilter) -> Result<u64> {
        let mut removed = 0;
        self.reader().whole(self.instance(), |tables| {
            let datapath = self.instance().datapath_now();
            removed += remove::matching(&datapath, tables, filter.clone(), Clock::live()?)?;
            Ok(removed)
        })
    }
}
