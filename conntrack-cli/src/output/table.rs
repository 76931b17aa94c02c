//! Flows in columns.

use std::io;
use std::io::Write;
use std::time::Duration;

use conntrack_core::Flow;
use conntrack_core::FlowState;
use conntrack_core::Health;
use conntrack_core::HealthSide;
use conntrack_core::L4;
use conntrack_core::SctpState;
use conntrack_core::Side;
use conntrack_core::TcpState;
use conntrack_core::format::human_bytes;
use conntrack_core::format::human_duration;

use crate::terminal::Terminal;
use crate::terminal::clean;

/// Rows that the widths of columns are taken from. Later ones that don't fit
/// are cut on a terminal, and out of line elsewhere.
const SAMPLE: usize = 512;
/// Between two columns.
const GAP: usize = 2;
/// The least that is left of an address column.
const LEAST: usize = 12;

/// Columns that are always there, and with those of `--wide`.
const NARROW: usize = 12;
const COLUMNS: usize = 18;
const PROTO: usize = 0;
const SOURCE: usize = 1;
const DESTINATION: usize = 2;
const STATE: usize = 3;
const HEADINGS: [&str; COLUMNS] = [
    "PROTO",
    "SOURCE",
    "DESTINATION",
    "STATE",
    "STATUS",
    "SENT",
    "PACKETS",
    "RECEIVED",
    "PACKETS",
    "DURATION",
    "TIMEOUT",
    "IFACE",
    "RTT",
    "1ST BYTE",
    "RETRANS",
    "LOSS",
    "REORDER",
    "ZERO WIN",
];
/// Numbers stand to the right.
const RIGHT: [bool; COLUMNS] = [
    false, false, false, false, false, true, true, true, true, true, true, false, true, true, true,
    true, true, true,
];
/// What goes first when the terminal is narrow: interface, duration, packet
/// counts, status, timeout, then what is wide. Who, what, state and bytes stay.
const EXPENDABLE: [usize; 12] = [11, 9, 8, 6, 4, 10, 16, 13, 17, 15, 14, 12];

type Row = [String; COLUMNS];

/// Writes rows as soon as it knows how wide the columns are.
#[derive(Debug)]
pub(super) struct Table {
    header: bool,
    wide: bool,
    terminal: Terminal,
    sample: Vec<(Row, FlowState)>,
    layout: Option<Layout>,
}

/// Columns in use and their widths.
#[derive(Debug)]
struct Layout {
    columns: Vec<(usize, usize)>,
}

impl Table {
    pub(super) fn new(header: bool, wide: bool, terminal: Terminal) -> Self {
        Self {
            header,
            wide,
            terminal,
            sample: Vec::new(),
            layout: None,
        }
    }

    /// Takes a flow.
    pub(super) fn row(&mut self, flow: &Flow, out: &mut impl Write) -> io::Result<()> {
        let row = cells(flow);
        match &self.layout {
            Some(layout) => self.write(layout, &row, Some(flow.state), out),
            None => {
                self.sample.push((row, flow.state));
                if self.sample.len() == SAMPLE {
                    self.begin(out)?;
                }
                Ok(())
            }
        }
    }

    /// Writes what was held back.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.layout.is_none() {
            self.begin(out)?;
        }
        Ok(())
    }

    fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        let headings = HEADINGS.map(str::to_owned);
        let sample = std::mem::take(&mut self.sample);
        let mut rows: Vec<&Row> = sample.iter().map(|(row, _)| row).collect();
        if self.header {
            rows.push(&headings);
        }
        let layout = Layout::new(&rows, self.wide, self.terminal.width);
        if self.header {
            self.write(&layout, &headings, None, out)?;
        }
        for (row, state) in &sample {
            self.write(&layout, row, Some(*state), out)?;
        }
        self.layout = Some(layout);
        Ok(())
    }

    /// One line; the heading has no state.
    fn write(
        &self,
        layout: &Layout,
        row: &Row,
        state: Option<FlowState>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut line = String::new();
        let last = layout.columns.last().map(|(column, _)| *column);
        for (column, width) in &layout.columns {
            let cell = match self.terminal.width {
                Some(_) => fit(&row[*column], *width),
                None => row[*column].clone(),
            };
            let padding = width.saturating_sub(cell.chars().count());
            let padding = " ".repeat(padding);
            let color = state.filter(|_| *column == STATE && self.terminal.color);
            if RIGHT[*column] {
                line.push_str(&padding);
            }
            line.push_str(&paint(&cell, color));
            if !RIGHT[*column] && Some(*column) != last {
                line.push_str(&padding);
            }
            if Some(*column) != last {
                line.push_str(&" ".repeat(GAP));
            }
        }
        let line = line.trim_end();
        if state.is_none() && self.terminal.color {
            writeln!(out, "\x1b[1m{line}\x1b[0m")
        } else {
            writeln!(out, "{line}")
        }
    }
}

impl Layout {
    /// The widest cells, then fewer columns, then narrower addresses, until
    /// it fits.
    fn new(rows: &[&Row], wide: bool, limit: Option<usize>) -> Self {
        let widest = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let mut columns: Vec<(usize, usize)> = (0..if wide { COLUMNS } else { NARROW })
            .map(|column| (column, widest(column)))
            .collect();
        let Some(limit) = limit else {
            return Self { columns };
        };
        for expendable in EXPENDABLE {
            if total(&columns) <= limit {
                break;
            }
            columns.retain(|(column, _)| *column != expendable);
        }
        // Addresses give way, the wider one first.
        for _ in limit..total(&columns) {
            let wider = columns
                .iter_mut()
                .filter(|(column, width)| [SOURCE, DESTINATION].contains(column) && *width > LEAST)
                .max_by_key(|(_, width)| *width);
            if let Some((_, width)) = wider {
                *width -= 1;
            }
        }
        Self { columns }
    }
}

fn total(columns: &[(usize, usize)]) -> usize {
    let widths: usize = columns.iter().map(|(_, width)| width).sum();
    widths + GAP * columns.len().saturating_sub(1)
}

/// A cell cut in the middle: an address tells most at its two ends.
fn fit(cell: &str, width: usize) -> String {
    let length = cell.chars().count();
    if length <= width {
        return cell.to_owned();
    }
    let tail = width.saturating_sub(1) / 2;
    let head = width.saturating_sub(1) - tail;
    let mut text: String = cell.chars().take(head).collect();
    text.push('…');
    text.extend(cell.chars().skip(length - tail));
    text
}

/// A state in its colour: going on green, opening yellow, closing dim.
fn paint(cell: &str, state: Option<FlowState>) -> String {
    let color = match state {
        None | Some(FlowState::None) => return cell.to_owned(),
        Some(FlowState::Tcp(state)) => match state {
            TcpState::Established => "32",
            TcpState::SynSent | TcpState::SynRecv | TcpState::SynSent2 => "33",
            _ => "2",
        },
        Some(FlowState::Sctp(state)) => match state {
            SctpState::Established => "32",
            SctpState::CookieWait | SctpState::CookieEchoed => "33",
            _ => "2",
        },
    };
    format!("\x1b[{color}m{cell}\x1b[0m")
}

fn cells(flow: &Flow) -> Row {
    let proto = match flow.protocol.name() {
        Some(name) => name.to_owned(),
        None => flow.protocol.0.to_string(),
    };
    let (source, destination) = ends(&flow.original);
    let state = flow.state.name().unwrap_or("-").to_owned();
    let status = match (flow.seen_reply, flow.assured) {
        (_, true) => "assured",
        (true, false) => "replied",
        (false, false) => "unreplied",
    };
    let mut row = [const { String::new() }; COLUMNS];
    row[PROTO] = proto;
    row[SOURCE] = source;
    row[DESTINATION] = destination;
    row[STATE] = state;
    row[4] = status.to_owned();
    row[5] = human_bytes(flow.original.bytes).to_string();
    row[6] = flow.original.packets.to_string();
    row[7] = human_bytes(flow.reply.bytes).to_string();
    row[8] = flow.reply.packets.to_string();
    row[9] = human_duration(flow.duration).to_string();
    row[10] = human_duration(flow.timeout).to_string();
    row[11] = clean(flow.interface.as_deref().unwrap_or("-"));
    let health = health(flow.health.as_ref());
    row[NARROW..].clone_from_slice(&health);
    row
}

/// How it is doing; of both directions: sent/received.
fn health(health: Option<&Health>) -> [String; COLUMNS - NARROW] {
    let unknown = || "-".to_owned();
    let Some(health) = health else {
        return [(); COLUMNS - NARROW].map(|()| unknown());
    };
    let time = |time: Option<Duration>| time.map_or_else(unknown, millis);
    let both = |of: fn(&HealthSide) -> Option<u32>| {
        let sides = of(&health.original).zip(of(&health.reply));
        sides.map_or_else(unknown, |(sent, received)| format!("{sent}/{received}"))
    };
    let percent = |end: &HealthSide| end.loss_ppm.map(|ppm| f64::from(ppm) / 10_000.0);
    let loss = percent(&health.original).zip(percent(&health.reply));
    let zero = health
        .original
        .zero_window_time
        .zip(health.reply.zero_window_time);
    [
        time(health.rtt()),
        time(health.first_byte),
        both(|end| end.retransmits),
        loss.map_or_else(unknown, |(sent, back)| format!("{sent:.1}/{back:.1} %")),
        both(|end| end.out_of_order),
        zero.map_or_else(unknown, |(sent, received)| millis(sent + received)),
    ]
}

/// As many digits as tell something.
pub(super) fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    let digits = match ms {
        ms if ms >= 100.0 => 0,
        ms if ms >= 10.0 => 1,
        ms if ms > 0.0 => 2,
        _ => 0,
    };
    format!("{ms:.digits$}ms")
}

/// Who and whom. What ICMP has instead of ports stands with the receiver.
fn ends(side: &Side) -> (String, String) {
    let (src, dst) = (side.tuple.src, side.tuple.dst);
    match side.tuple.l4 {
        L4::Ports {
            src: sport,
            dst: dport,
        } => {
            let end = |addr, port| conntrack_core::Endpoint::new(addr, port).to_string();
            (end(src, sport), end(dst, dport))
        }
        // An echo needs no more than its identifier.
        L4::Icmp {
            kind: 8 | 128,
            code: 0,
            id,
        } => (src.to_string(), format!("{dst} id={id}")),
        L4::Icmp { kind, code, id } => {
            let dst = format!("{dst} type={kind} code={code} id={id}");
            (src.to_string(), dst)
        }
        L4::Gre { .. } | L4::None => (src.to_string(), dst.to_string()),
    }
}

#[cfg(test)]
mod tests;
