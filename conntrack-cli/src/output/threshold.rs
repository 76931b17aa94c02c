//! Limits on new connections, and who comes near them.

use std::io;
use std::io::Write;

use conntrack_core::LimitCounts;
use conntrack_core::SketchConfig;
use conntrack_core::Suspect;
use conntrack_core::Threshold;
use conntrack_core::format::human_bytes;
use conntrack_core::reference::sketch::overstated_by;
use serde_json::json;

use super::json;
use crate::args::TextFormat;

/// What the error bound is told for.
const EXAMPLE: u64 = 100_000;

/// The limits in force, where sources are counted, and what came of it.
pub(crate) fn limits(
    threshold: Option<&Threshold>,
    sketch: SketchConfig,
    counts: LimitCounts,
    format: TextFormat,
    out: &mut impl Write,
) -> io::Result<()> {
    let (width, rows) = (sketch.width, sketch.rows);
    let wrong = (-f64::from(rows)).exp();
    if format == TextFormat::Json {
        let sketch = json!({
            "width": width,
            "rows": rows,
            "memory_bytes": sketch.bytes(),
            "overstated_per_connection": overstated_by(1, width),
            "overstated_more_with_probability": wrong,
        });
        return json(
            out,
            &json!({"limits": threshold, "sketch": sketch, "counts": counts}),
        );
    }
    match threshold {
        None => writeln!(out, "# no limit")?,
        Some(threshold) => settings(threshold, out)?,
    }
    let memory = human_bytes(sketch.bytes());
    let (bound, percent) = (overstated_by(EXAMPLE, width), wrong * 100.0);
    writeln!(
        out,
        "# sketch: {width} cells by {rows} rows, {memory}; of {EXAMPLE} connections in a window it \
         overstates a source's by more than {bound:.1} with a probability of {percent:.1} % (they \
         are counted exactly before anything is done)"
    )?;
    let LimitCounts {
        over,
        banned,
        no_room,
    } = counts;
    writeln!(
        out,
        "# too much: {over} connections; banned: {banned} times; no room for the ban: {no_room}"
    )
}

/// Limits, a setting a line, as `threshold set` takes it.
pub(crate) fn settings(threshold: &Threshold, out: &mut impl Write) -> io::Result<()> {
    let mut settings = threshold.iter();
    settings.try_for_each(|(key, value)| writeln!(out, "{key}={value}"))
}

/// Sources, one a line.
pub(crate) fn suspects(
    suspects: &[Suspect],
    format: TextFormat,
    out: &mut impl Write,
) -> io::Result<()> {
    if format == TextFormat::Json {
        return json(out, &suspects);
    }
    if suspects.is_empty() {
        return Ok(());
    }
    let [source, port, measure, count, over, last] =
        ["SOURCE", "PORT", "COUNTED", "NOW", "TOO MUCH", "LAST"];
    writeln!(
        out,
        "{source:<43} {port:<10} {measure:<11} {count:>7} {over:>10}  {last}"
    )?;
    suspects.iter().try_for_each(|suspect| {
        let source = match suspect.source.prefix_len() == suspect.source.max_prefix_len() {
            true => suspect.source.addr().to_string(),
            false => suspect.source.to_string(),
        };
        let port = match suspect.port {
            Some((protocol, port)) => format!("{protocol}/{port}"),
            None => "any".to_owned(),
        };
        let Suspect {
            count, over, last, ..
        } = suspect;
        let measure = suspect.measure.name();
        writeln!(
            out,
            "{source:<43} {port:<10} {measure:<11} {count:>7} {over:>10}  {last}"
        )
    })
}
