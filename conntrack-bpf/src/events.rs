//! Listening to events: a ring buffer of one's own, and what comes out of it.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use conntrack_core::Event;
use conntrack_core::EventType;
use conntrack_core::FlowFilter;
use conntrack_core::LostCounts;
use libbpf_rs::MapHandle;
use libbpf_rs::MapType;
use libbpf_rs::RingBuffer;
use libbpf_rs::RingBufferBuilder;

use crate::clock::Clock;
use crate::datapath::Datapath;
use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::listeners::Place;
use crate::record::Decoder;
use crate::sys;

/// What to listen for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Types of events.
    pub types: Vec<EventType>,
    /// Conditions on the flow. Family, protocol, addresses, ports and interface
    /// are looked at in the kernel, the rest when the event is read.
    pub filter: FlowFilter,
    /// Bytes of the ring buffer, rounded up to a power of two of at least 64 KiB.
    /// An event takes 176 bytes (IPv4) or 240 (IPv6).
    pub buffer: u32,
}

impl Wish {
    /// Bytes of the ring buffer unless said: for 47,000 IPv4 events.
    pub const BUFFER: u32 = 8 << 20;
    /// The largest ring buffer, in bytes.
    pub const MAX_BUFFER: u32 = 1 << 30;
    const MIN_BUFFER: u32 = 64 << 10;
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            types: EventType::DEFAULT.to_vec(),
            filter: FlowFilter::default(),
            buffer: Self::BUFFER,
        }
    }
}

/// Records taken out of the ring and not yet decoded.
type Queue = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// Records taken out at a time.
const BATCH: usize = 256;

/// Somebody who listens. Dropping it ends that.
#[derive(Debug)]
pub struct Listener {
    ring: RingBuffer<'static>,
    queue: Queue,
    place: Place,
    told: LostCounts,
    /// Something was lost that is told before the event of this number.
    due: Option<u64>,
    filter: FlowFilter,
    decoder: Decoder,
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// `InUse` if as many listen as there is room for; `Invalid` for a buffer
    /// that is too large; what the kernel says.
    pub fn new(datapath: &Datapath, wish: &Wish) -> Result<Self> {
        if wish.buffer > Wish::MAX_BUFFER {
            let message = format!("a buffer of more than {} bytes", Wish::MAX_BUFFER);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let queue = Queue::default();
        let place = Place::take(datapath)?;
        let map = new_ring(wish.buffer)?;
        let filled = Arc::clone(&queue);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&map, move |bytes| {
                lock(&filled).push_back(bytes.to_vec());
                0
            })
            .context("read a ring buffer")?;
        let ring = builder.build().context("read a ring buffer")?;
        let decoder = Decoder::new(datapath)?;
        place.listen(&map, wish)?;
        Ok(Self {
            ring,
            queue,
            place,
            told: LostCounts::default(),
            due: None,
            filter: wish.filter.clone(),
            decoder,
        })
    }

    /// Tells times by this clock instead of the system's: for a data path that
    /// replays a capture.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.decoder.fix_clock(clock);
        self
    }

    /// The next event, if one is there. What was lost is told once what was
    /// there before has been read, though more may have come by then.
    ///
    /// # Errors
    /// A record that makes no sense; the next one may still be fine.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            let record = lock(&self.queue).pop_front();
            if let Some(record) = record {
                let event = self.decoder.event(&record)?;
                if self.due.is_some_and(|first| event.seq >= first) {
                    lock(&self.queue).push_front(record);
                    return Ok(self.newly_lost());
                }
                if event.flow().is_none_or(|flow| self.filter.matches(flow)) {
                    return Ok(Some(event));
                }
                continue;
            }
            if self.due.is_none() && self.place.lost() != self.told {
                self.due = Some(self.place.wished());
            }
            // It stops at the first record that is still being written.
            self.ring.consume_raw_n(BATCH);
            if lock(&self.queue).is_empty() {
                return Ok(self.newly_lost());
            }
        }
    }

    /// Waits until there may be an event, or the time is up; whether there may
    /// be one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        sys::readable(self.as_fd(), timeout).context("wait for events")
    }

    /// All that was lost so far, by type.
    pub fn lost(&self) -> LostCounts {
        self.place.lost()
    }

    /// Events that met the wish in the kernel so far, those lost included.
    pub fn wished(&self) -> u64 {
        self.place.wished()
    }

    fn newly_lost(&mut self) -> Option<Event> {
        let now = self.place.lost();
        let lost = now - self.told;
        self.told = now;
        self.due = None;
        (lost.total() > 0).then(|| self.decoder.lost(self.place.wished(), lost))
    }
}

impl AsFd for Listener {
    /// Readable when there are events; for poll and epoll.
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(self.ring.epoll_fd(), self)
    }
}

fn lock(queue: &Queue) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
    // Nothing panics while it is held.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn new_ring(bytes: u32) -> Result<MapHandle> {
    let size = bytes.max(Wish::MIN_BUFFER).next_power_of_two();
    let opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    MapHandle::create(MapType::RingBuf, Some("ct_ring"), 0, 0, size, &opts)
        .context("create a ring buffer")
}
