//! Events as an asynchronous stream.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use async_io::Async;
use conntrack_core::Event;
use futures_core::Stream;

use crate::Events;
use crate::Result;

/// A stream of events that does not end; see [`Events::into_stream`].
#[derive(Debug)]
pub struct EventStream {
    events: Events,
    readable: Async<OwnedFd>,
}

impl Events {
    /// The same events as a stream, for any executor. Feature `async`. Waiting is
    /// done by a thread of the crate `async-io`.
    ///
    /// # Errors
    /// The descriptor cannot be duplicated or waited for.
    pub fn into_stream(self) -> Result<EventStream> {
        let fd = self.as_fd().try_clone_to_owned()?;
        Ok(EventStream {
            readable: Async::new_nonblocking(fd)?,
            events: self,
        })
    }
}

impl Stream for EventStream {
    type Item = Result<Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.events.try_next().transpose() {
                return Poll::Ready(Some(event));
            }
            ready!(this.readable.poll_readable(cx))?;
        }
    }
}
