//! The lines of conntrack-tools, which scripts parse.

use std::fmt;

use crate::flow::Flow;
use crate::flow::Side;

/// A line of conntrack-tools; made by [`conntrack_line`] and [`extended_line`].
#[derive(Copy, Clone, Debug)]
pub struct ConntrackLine<'a> {
    flow: &'a Flow,
    with_family: bool,
}

/// The line that `conntrack -L` prints for a flow, with counters:
/// `tcp      6 431999 ESTABLISHED src=… packets=4 bytes=217 src=… [ASSURED] mark=0 use=1`.
pub fn conntrack_line(flow: &Flow) -> ConntrackLine<'_> {
    ConntrackLine {
        flow,
        with_family: false,
    }
}

/// The line that `conntrack -L -o extended` prints: the same after
/// `ipv4     2 ` or `ipv6     10 `.
pub fn extended_line(flow: &Flow) -> ConntrackLine<'_> {
    ConntrackLine {
        flow,
        with_family: true,
    }
}

fn write_side(f: &mut fmt::Formatter<'_>, side: &Side) -> fmt::Result {
    let Side {
        tuple,
        packets,
        bytes,
        ..
    } = side;
    write!(f, "{tuple} packets={packets} bytes={bytes} ")
}

impl fmt::Display for ConntrackLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flow = self.flow;
        if self.with_family {
            write!(f, "{:<8} {} ", flow.family, flow.family.number())?;
        }
        let name = flow.protocol.name().unwrap_or("unknown");
        write!(
            f,
            "{name:<8} {} {} ",
            flow.protocol.0,
            flow.timeout.as_secs()
        )?;
        if let Some(state) = flow.state.name() {
            write!(f, "{state} ")?;
        }
        write_side(f, &flow.original)?;
        if !flow.seen_reply {
            f.write_str("[UNREPLIED] ")?;
        }
        write_side(f, &flow.reply)?;
        if flow.assured {
            f.write_str("[ASSURED] ")?;
        }
        f.write_str("mark=0 use=1")
    }
}
