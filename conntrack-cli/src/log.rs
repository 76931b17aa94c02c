//! What goes on inside, on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::stream::stderr;

/// Starts logging: RUST_LOG if it is set, otherwise by how much was asked for
/// (0 is warnings). What RUST_LOG says and makes no sense is left out.
pub(crate) fn start(verbose: i32) {
    let level = match verbose {
        ..0 => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_env_filter(filter)
        .with_ansi(crate::terminal::can_show_progress())
        .with_target(verbose > 1)
        .init();
}
