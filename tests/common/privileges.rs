//! Doing something as an ordinary user, on a thread of its own: the system call
//! changes that thread only, unlike the C library's function.

use std::thread;

/// What `f` says without root's privileges.
pub(crate) fn as_nobody<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    const NOBODY: i64 = 65534;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only numbers are passed; it changes the credentials of
            // this thread, which ends with `f`.
            let code =
                unsafe { nix::libc::syscall(nix::libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            assert_eq!(code, 0, "become nobody (root is needed)");
            f()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
