//! Equal tuples in two namespaces are two connections, each in its own
//! instance.

mod support;

use std::net::UdpSocket;

use conntrack::Mode;
use support::link::Offloads;
use support::pair::HOST4;
use support::pair::PEER4;
use support::pair::Pair;
use support::pair::at;
use support::peer::Server;
use support::peer::query_from;

#[test]
#[ignore = "root"]
fn one_tuple_in_two_namespaces() {
    let pairs = [3, 5].map(|queries| (queries, Pair::new(Mode::Auto, Offloads::Off, 1500)));
    for (queries, pair) in &pairs {
        let _dns = Server::dns(&pair.host, at(HOST4, 53), 100);
        pair.peer.run(|| {
            let socket = UdpSocket::bind(at(PEER4, 40_000)).expect("bind");
            query_from(&socket, at(HOST4, 53), *queries, 40);
        });
    }
    let [first, second] = pairs.each_ref().map(|(queries, pair)| {
        let rows = pair.assert_agreement();
        let [row] = rows.as_slice() else {
            panic!("one flow: {rows:#?}")
        };
        assert_eq!(
            row.counts().map(|(packets, _)| packets),
            [u64::from(*queries); 2]
        );
        row.without_counts()
    });
    assert_eq!(first.original, second.original);
    assert_eq!(first.reply, second.reply);
}
