//! libbpf's own words go to `tracing` instead of stderr, and into the error if
//! a load fails.

use std::cell::RefCell;
use std::sync::Once;

use libbpf_rs::PrintLevel;

thread_local! {
    /// What libbpf warned of on this thread, while somebody listens.
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Redirects what libbpf prints, for the whole process; only the first call
/// does anything.
pub(crate) fn redirect_libbpf() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Debug, print)));
    });
}

/// What `work` says, and what libbpf warned of meanwhile.
pub(crate) fn listen<T>(work: impl FnOnce() -> T) -> (T, String) {
    HEARD.set(Some(String::new()));
    let result = work();
    (result, HEARD.take().unwrap_or_default())
}

/// The verifier's reason in the log of a failed load: the last line before its
/// statistics.
pub(crate) fn verifier_reason(log: &str) -> Option<&str> {
    let mut lines = log.lines();
    let statistics = lines.by_ref().position(|line| {
        let mut words = line.split(' ');
        words.next() == Some("processed") && words.nth(1) == Some("insns")
    })?;
    let reason = log.lines().nth(statistics.checked_sub(1)?)?.trim();
    Some(reason).filter(|reason| !reason.is_empty())
}

fn print(level: PrintLevel, message: String) {
    let message = message.trim_end();
    match level {
        PrintLevel::Warn => {
            HEARD.with_borrow_mut(|heard| {
                if let Some(heard) = heard {
                    heard.push_str(message);
                    heard.push('\n');
                }
            });
            tracing::warn!(target: "libbpf", "{message}");
        }
        PrintLevel::Info => tracing::debug!(target: "libbpf", "{message}"),
        PrintLevel::Debug => tracing::trace!(target: "libbpf", "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_before_the_statistics() {
        let log = "prog 'ct_xdp': -- BEGIN PROG LOAD LOG --\n\
                   ; if (kind == CT_CHUNK_INIT)\n\
                   infinite loop detected at insn 4143\n\
                   processed 88548 insns (limit 1000000) max_states_per_insn 25\n\
                   -- END PROG LOAD LOG --\n";
        let reason = verifier_reason(log);
        assert_eq!(reason, Some("infinite loop detected at insn 4143"));
        assert_eq!(verifier_reason("libbpf: out of memory"), None);
        assert_eq!(verifier_reason("processed 1 insns (limit 1)"), None);
        assert_eq!(verifier_reason(""), None);
    }

    #[test]
    fn warnings_are_heard_while_somebody_listens() {
        print(PrintLevel::Warn, "before".to_owned());
        let (answer, heard) = listen(|| {
            print(PrintLevel::Warn, "one\n".to_owned());
            print(PrintLevel::Debug, "not this".to_owned());
            42
        });
        assert_eq!((answer, heard.as_str()), (42, "one\n"));
        print(PrintLevel::Warn, "after".to_owned());
        assert_eq!(listen(|| ()).1, "");
    }
}
