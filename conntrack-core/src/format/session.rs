//! A flow as a session: who with whom, how much.

use std::fmt;

use crate::flow::Flow;
use crate::format::human_bytes;
use crate::key::Endpoint;
use crate::tuple::L4;
use crate::tuple::Tuple;

/// A tuple as `from -> to`; made by [`arrow`].
#[derive(Copy, Clone, Debug)]
pub struct Arrow<'a>(&'a Tuple);

/// A tuple as `10.0.0.1:40000 -> 10.0.0.2:80`; without ports
/// `10.0.0.1 -> 10.0.0.2`, for ICMP with ` type 8 code 0 id 77` after it.
pub fn arrow(tuple: &Tuple) -> Arrow<'_> {
    Arrow(tuple)
}

impl fmt::Display for Arrow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuple { src, dst, l4, .. } = *self.0;
        match l4 {
            L4::Ports {
                src: sport,
                dst: dport,
            } => {
                let (from, to) = (Endpoint::new(src, sport), Endpoint::new(dst, dport));
                write!(f, "{from} -> {to}")
            }
            L4::Icmp { kind, code, id } => {
                write!(f, "{src} -> {dst} type {kind} code {code} id {id}")
            }
            L4::Gre { .. } | L4::None => write!(f, "{src} -> {dst}"),
        }
    }
}

/// A session line; made by [`session_line`].
#[derive(Copy, Clone, Debug)]
pub struct SessionLine<'a>(&'a Flow);

/// `192.168.143.246:45812 -> 142.250.184.83:443 | 3.44 KB 23 packets`: both
/// directions together, from who opened the flow.
pub fn session_line(flow: &Flow) -> SessionLine<'_> {
    SessionLine(flow)
}

impl fmt::Display for SessionLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flow = self.0;
        write!(
            f,
            "{} | {} {} packets",
            arrow(&flow.original.tuple),
            human_bytes(flow.bytes()),
            flow.packets()
        )
    }
}
