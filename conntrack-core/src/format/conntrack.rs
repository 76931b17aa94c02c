//! The lines of conntrack-tools, which scripts parse.

use std::fmt;

use crate::flow::Flow;
use crate::flow::Side;
use crate::format::line::Line;

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

fn side(line: &mut Line, side: &Side) -> fmt::Result {
    line.tuple(&side.tuple)?;
    line.field(" packets=", side.packets)?;
    line.field(" bytes=", side.bytes)?;
    line.text(" ")
}

impl ConntrackLine<'_> {
    fn line(self) -> Result<Line, fmt::Error> {
        let flow = self.flow;
        let mut line = Line::new();
        if self.with_family {
            line.padded(flow.family.name(), 8)?;
            line.field(" ", flow.family.number())?;
            line.text(" ")?;
        }
        line.padded(flow.protocol.name().unwrap_or("unknown"), 8)?;
        line.field(" ", flow.protocol.0)?;
        line.field(" ", flow.timeout.as_secs())?;
        line.text(" ")?;
        if let Some(state) = flow.state.name() {
            line.text(state)?;
            line.text(" ")?;
        }
        side(&mut line, &flow.original)?;
        if !flow.seen_reply {
            line.text("[UNREPLIED] ")?;
        }
        side(&mut line, &flow.reply)?;
        if flow.assured {
            line.text("[ASSURED] ")?;
        }
        line.text("mark=0 use=1")?;
        Ok(line)
    }
}

impl fmt::Display for ConntrackLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.line()?.as_str())
    }
}
