//! libbpf's own words go to `tracing` instead of stderr.

use std::sync::Once;

use libbpf_rs::PrintLevel;

/// Redirects what libbpf prints, for the whole process; only the first call
/// does anything.
pub(crate) fn redirect_libbpf() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Debug, print)));
    });
}

fn print(level: PrintLevel, message: String) {
    let message = message.trim_end();
    match level {
        PrintLevel::Warn => tracing::warn!(target: "libbpf", "{message}"),
        PrintLevel::Info => tracing::debug!(target: "libbpf", "{message}"),
        PrintLevel::Debug => tracing::trace!(target: "libbpf", "{message}"),
    }
}
