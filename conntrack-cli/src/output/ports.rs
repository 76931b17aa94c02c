//! Who reaches which port.

use std::io;
use std::io::Write;

use conntrack_core::ports::PortName;
use conntrack_core::ports::PortRow;
use conntrack_core::ports::PortSource;
use conntrack_core::ports::Ports;
use conntrack_core::ports::Precision;

use super::columns::columns;
use super::columns::or_dash;
use super::csv::quoted;
use super::icmp::lines;
use super::json;
use crate::args::ListFormat;
use crate::terminal::clean;

/// How many have reached which.
pub(crate) fn rows(
    ports: &Ports,
    format: ListFormat,
    header: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        ListFormat::Json => json(out, &ports.rows),
        ListFormat::Jsonl => lines(&ports.rows, out),
        ListFormat::Csv => {
            if header {
                writeln!(
                    out,
                    "family,protocol,port,sources,precision,standard_error,last"
                )?;
            }
            ports.rows.iter().try_for_each(|row| {
                let error = match row.precision {
                    Precision::Exact => "0".to_owned(),
                    Precision::Estimated(error) => format!("{error:.4}"),
                    Precision::AtLeast => String::new(),
                };
                let (name, sources, last) = (name_csv(row.name), row.sources, row.last);
                let precision = row.precision.name();
                writeln!(out, "{name},{sources},{precision},{error},{last}")
            })
        }
        ListFormat::Table => {
            let heads = [
                ("FAMILY", false),
                ("PROTO", false),
                ("PORT", true),
                ("SOURCES", true),
                ("PRECISION", false),
                ("LAST", false),
            ];
            let rows: Vec<_> = ports.rows.iter().map(row).collect();
            columns(heads, &rows, header, out)?;
            notes(ports, out)
        }
    }
}

fn row(row: &PortRow) -> [String; 6] {
    let name = row.name;
    [
        name.family.to_string(),
        name.protocol.to_string(),
        name.port.to_string(),
        row.sources.to_string(),
        match row.precision {
            Precision::Exact => "exact".to_owned(),
            Precision::Estimated(error) => format!("± {:.1} %", error * 100.0),
            Precision::AtLeast => "at least".to_owned(),
        },
        row.last.to_string(),
    ]
}

/// What was not entered since the tracker was set up.
fn notes(ports: &Ports, out: &mut impl Write) -> io::Result<()> {
    for (count, what) in [
        (
            ports.scans,
            "connections of sources that scan were not entered",
        ),
        (
            ports.without_registers,
            "connections to more busy ports than there are registers for were not entered",
        ),
        (ports.evicted, "sources had to give way to later ones"),
    ] {
        if count > 0 {
            writeln!(out, "# {count} {what}")?;
        }
    }
    Ok(())
}

fn name_csv(name: PortName) -> String {
    format!("{},{},{}", name.family, name.protocol, name.port)
}

/// Who has reached them.
pub(crate) fn sources(
    sources: &[PortSource],
    format: ListFormat,
    header: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        ListFormat::Json => json(out, &sources),
        ListFormat::Jsonl => lines(sources, out),
        ListFormat::Csv => {
            if header {
                writeln!(
                    out,
                    "family,protocol,port,addr,first,last,connections,interface"
                )?;
            }
            sources.iter().try_for_each(|source| {
                let (name, addr) = (name_csv(source.name), source.addr);
                let (first, last, count) = (source.first, source.last, source.connections);
                let interface = quoted(source.interface.as_deref().unwrap_or(""));
                writeln!(out, "{name},{addr},{first},{last},{count},{interface}")
            })
        }
        ListFormat::Table => {
            let heads = [
                ("PROTO", false),
                ("PORT", true),
                ("SOURCE", false),
                ("CONNECTIONS", true),
                ("FIRST", false),
                ("LAST", false),
                ("IFACE", false),
            ];
            let rows: Vec<_> = sources.iter().map(source).collect();
            columns(heads, &rows, header, out)
        }
    }
}

fn source(source: &PortSource) -> [String; 7] {
    let name = source.name;
    [
        name.protocol.to_string(),
        name.port.to_string(),
        source.addr.to_string(),
        source.connections.to_string(),
        source.first.to_string(),
        source.last.to_string(),
        or_dash(source.interface.as_deref().map(clean)),
    ]
}
