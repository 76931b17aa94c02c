//! The scenarios by name, in the order of the headings in which nf_conntrack's
//! behaviour is usually told.

mod checksum;
mod fragment;
mod headers;
mod icmp;
mod other;
mod quoted;
mod sctp;
mod sctp_bundle;
mod tcp_close;
mod tcp_memory;
mod tcp_numbers;
mod tcp_open;
mod tcp_table;
mod tcp_window;
mod udp;

use crate::script::Catalogue;

/// All of them.
pub(crate) fn all() -> Catalogue {
    let mut catalogue = Catalogue::default();
    tcp_table::add(&mut catalogue);
    tcp_open::add(&mut catalogue);
    tcp_window::add(&mut catalogue);
    tcp_close::add(&mut catalogue);
    tcp_memory::add(&mut catalogue);
    tcp_numbers::add(&mut catalogue);
    udp::add(&mut catalogue);
    icmp::add(&mut catalogue);
    quoted::add(&mut catalogue);
    sctp::add(&mut catalogue);
    sctp_bundle::add(&mut catalogue);
    checksum::add(&mut catalogue);
    fragment::add(&mut catalogue);
    other::add(&mut catalogue);
    headers::add(&mut catalogue);
    catalogue
}
