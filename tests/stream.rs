//! Events as an asynchronous stream.

mod support;

use std::future::Future;
use std::future::poll_fn;
use std::net::UdpSocket;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use async_io::Timer;
use async_io::block_on;
use conntrack::Event;
use conntrack::EventStream;
use conntrack::Mode;
use conntrack::Result;
use conntrack::What;
use futures_core::Stream;
use support::netns::Netns;
use support::tracked;

#[test]
#[ignore = "root"]
fn events_come_as_a_stream() {
    let host = Netns::new();
    host.sh("ip link set lo up");
    let tracker = tracked::track(&host, &["lo"], Mode::Auto);
    let send = || {
        host.run(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.send_to(b"?", "127.0.0.1:9").expect("send");
            socket.local_addr().expect("an address").port()
        })
    };
    block_on(async {
        let events = tracker.events().expect("listen");
        let mut stream = events.into_stream().expect("a stream");
        for _ in 0..3 {
            // Waits first: nothing has been sent.
            let nothing = within(Duration::from_millis(20), &mut stream).await;
            assert!(nothing.is_none(), "an event of nothing");
            let port = send();
            let event = within(support::PATIENCE, &mut stream).await;
            let event = event.expect("in time").expect("an event");
            let What::New(flow) = event.what else {
                panic!("{event:?}");
            };
            assert_eq!(flow.original.tuple.ports(), Some((port, 9)));
        }
    });
}

/// The next item, if it comes in time.
async fn within(time: Duration, stream: &mut EventStream) -> Option<Result<Event>> {
    let mut timer = Timer::after(time);
    poll_fn(|cx| match Pin::new(&mut *stream).poll_next(cx) {
        Poll::Ready(item) => Poll::Ready(item),
        Poll::Pending => Pin::new(&mut timer).poll(cx).map(|_| None),
    })
    .await
}
