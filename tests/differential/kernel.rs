//! nf_conntrack's side: its table by ctnetlink, its classes by NFLOG.

use std::time::Duration;

use crate::ctnetlink;
use crate::lab::Lab;
use crate::lab::in_netns;
use crate::netlink::ACK;
use crate::netlink::Netlink;
use crate::netlink::REQUEST;
use crate::netlink::attribute;
use crate::netlink::put;
use crate::view::Class;
use crate::view::Table;

const LOG_PACKET: u16 = 4 << 8;
const LOG_CONFIG: u16 = 4 << 8 | 1;
const GROUP: u16 = 7;
const PREFIX: u16 = 10;

/// Every packet that arrives is logged with the class nf_conntrack gave it.
/// Markers are logged as they leave, when all that came before them is done
/// with.
const RULES: &str = "\
table inet differential {
    chain judge {
        ct state untracked log prefix \"untracked\" group 7 accept
        ct state invalid log prefix \"invalid\" group 7 accept
        ct state new log prefix \"new\" group 7 accept
        ct state established ct direction original log prefix \"established\" group 7 accept
        ct state established ct direction reply log prefix \"established reply\" group 7 accept
        ct state related ct direction original log prefix \"related\" group 7 accept
        ct state related ct direction reply log prefix \"related reply\" group 7 accept
    }
    chain arrive {
        type filter hook prerouting priority -100; policy accept;
        ip saddr { 10.1.0.1, 10.2.0.1 } accept
        jump judge
    }
    chain leave {
        type filter hook postrouting priority 0; policy accept;
        ip saddr { 10.1.0.1, 10.2.0.1 } log prefix \"marker\" group 7
    }
}
";

/// The tracker of the router's kernel.
pub(crate) struct Kernel {
    table: Netlink,
    log: Netlink,
}

impl Kernel {
    /// Turns tracking on in the router.
    pub(crate) fn new(lab: &Lab) -> Self {
        lab.nft(RULES);
        lab.sysctl("net.netfilter.nf_conntrack_acct", "1");
        lab.sysctl("net.netfilter.nf_conntrack_timestamp", "1");
        let open = || in_netns(lab.router(), Netlink::open);
        let mut log = open();
        // Bind to the group; send no payload; send at once.
        for attributes in [
            put(1, &[1]),
            put(2, &[0, 0, 0, 0, 1, 0]),
            put(5, &1_u32.to_be_bytes()),
        ] {
            log.request(LOG_CONFIG, REQUEST | ACK, 0, GROUP, &attributes);
            while log.receive(|_| ()) {}
        }
        Self { table: open(), log }
    }

    /// Forgets all flows.
    pub(crate) fn flush(&mut self) {
        ctnetlink::flush(&mut self.table);
    }

    /// Classes of the packets since the last call, up to the next marker.
    pub(crate) fn classes(&mut self) -> Vec<Class> {
        let mut classes = Vec::new();
        let mut marked = false;
        while !marked {
            let came = self.log.receive_within(Duration::from_secs(2), |message| {
                if message.kind != LOG_PACKET {
                    return;
                }
                let prefix = attribute(message.body, PREFIX).unwrap_or_default();
                match prefix.strip_suffix(&[0]).unwrap_or(prefix) {
                    b"marker" => marked = true,
                    other => classes.push(class(other)),
                }
            });
            assert!(came, "a marker got lost");
        }
        classes
    }

    /// All flows.
    pub(crate) fn flows(&mut self) -> Table {
        ctnetlink::flows(&mut self.table)
    }
}

fn class(prefix: &[u8]) -> Class {
    match prefix {
        b"untracked" => Class::Untracked,
        b"invalid" => Class::Invalid,
        b"new" => Class::New,
        b"established" => Class::Established(false),
        b"established reply" => Class::Established(true),
        b"related" => Class::Related(false),
        b"related reply" => Class::Related(true),
        other => panic!("unknown log prefix {:?}", String::from_utf8_lossy(other)),
    }
}
