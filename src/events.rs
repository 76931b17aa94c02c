//! What becomes of flows, as it happens.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::RawFd;
use std::time::Duration;
use std::time::Instant;

use conntrack_bpf::events::Listener;
use conntrack_bpf::events::Wish;
use conntrack_bpf::names::Names;
use conntrack_core::Event;
use conntrack_core::EventType;
use conntrack_core::FlowFilter;
use conntrack_core::LostCounts;

use crate::Result;
use crate::Tracker;

/// Describes what to listen for; [`listen`](EventsBuilder::listen) begins.
#[must_use = "nothing is listened to before `listen`"]
#[derive(Clone)]
pub struct EventsBuilder<'a> {
    tracker: &'a Tracker,
    wish: Wish,
}

impl fmt::Debug for EventsBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsBuilder")
            .field("tracker", &self.tracker.name())
            .field("wish", &self.wish)
            .finish()
    }
}

impl EventsBuilder<'_> {
    /// These types only. All but [`EventType::Invalid`] by default. Types that
    /// nobody listens for cost the packet path nothing.
    pub fn types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.wish.types = types.into_iter().collect();
        self
    }

    /// Only of flows that meet the filter. Family, protocol, addresses, ports
    /// and interface are looked at in the kernel, before anything is copied.
    pub fn filter(mut self, filter: FlowFilter) -> Self {
        self.wish.filter = filter;
        self
    }

    /// Bytes of the buffer between kernel and listener; 8 MiB by default, room
    /// for 47,000 IPv4 events. Rounded up to a power of two.
    pub fn buffer(mut self, bytes: u32) -> Self {
        self.wish.buffer = bytes;
        self
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// `InUse` if eight listen already, which is all there is room for;
    /// `Invalid` for a buffer of more than a GiB; what the kernel says.
    pub fn listen(self) -> Result<Events> {
        let instance = self.tracker.instance();
        Ok(Events {
            names: Names::of(instance)?,
            listener: Listener::new(&instance.datapath(), &self.wish)?,
        })
    }
}

/// Events of a tracker, from when it was made until it is dropped.
///
/// Up to eight listeners, of one process or of several, each get all they asked
/// for and take nothing from each other. The kernel never waits for a listener:
/// what its buffer has no room for is lost to it and counted, and an
/// [`What::Lost`](crate::What::Lost) event says how much, after what was in the
/// buffer before. What comes later comes as usual.
///
/// It goes on, silently, after the tracker was detached.
///
/// ```no_run
/// use std::time::Duration;
/// use conntrack::{Tracker, What};
///
/// # fn main() -> Result<(), conntrack::Error> {
/// let tracker = Tracker::open("default")?;
/// let mut events = tracker.events()?;
/// while let Some(event) = events.next_timeout(Duration::from_secs(10))? {
///     match event.what {
///         What::Destroy(flow, why) => println!("{flow} is gone: {why}"),
///         What::Lost(lost) => eprintln!("{} events were lost", lost.total()),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Events {
    listener: Listener,
    names: Names,
}

impl Events {
    /// The next event if there is one by now. It never waits.
    ///
    /// # Errors
    /// A record that makes no sense; the next one may still be fine.
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        let mut event = self.listener.next_event()?;
        if let Some(flow) = event.as_mut().and_then(Event::flow_mut) {
            flow.interface = self.names.get(flow.ifindex);
        }
        Ok(event)
    }

    /// The next event; waits for it as long as said. `None`: there was none.
    ///
    /// # Errors
    /// As [`Events::try_next`]; what the kernel says to waiting.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        // None: so long that it never ends.
        let end = Instant::now().checked_add(timeout);
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(Some(event));
            }
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            self.listener.wait(left)?;
        }
    }

    /// Events lost so far, by type, whether [`What::Lost`](crate::What::Lost) has
    /// told of them yet or not.
    pub fn lost(&self) -> LostCounts {
        self.listener.lost()
    }

    /// Events so far that met types and filter, as far as the kernel looks at
    /// it; those lost and those not read yet included.
    pub fn total(&self) -> u64 {
        self.listener.wished()
    }
}

impl AsFd for Events {
    /// Readable when there is something to read, for poll and epoll; read until
    /// [`Events::try_next`] says `None` before waiting again.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Tracker {
    /// Listens to what becomes of flows: new, changed and ended ones, and tables
    /// that fill up. It takes the privileges to change BPF maps.
    ///
    /// # Errors
    /// As [`EventsBuilder::listen`].
    pub fn events(&self) -> Result<Events> {
        self.events_builder().listen()
    }

    /// The same with a choice of types and flows.
    pub fn events_builder(&self) -> EventsBuilder<'_> {
        EventsBuilder {
            tracker: self,
            wish: Wish::default(),
        }
    }

    /// Goes round the tables at once and takes out flows whose time is up, rather
    /// than within the sweep's interval; how many that were.
    ///
    /// # Errors
    /// `Unsupported` on kernels without `bpf_loop` (5.17); what the kernel says.
    pub fn sweep(&self) -> Result<u64> {
        self.instance().sweep()
    }
}
