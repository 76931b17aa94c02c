//! One error for everything that touches the kernel: a kind to decide by, a
//! sentence to read, and the chain of causes.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use conntrack_core::ConfigError;
use nix::errno::Errno;

/// What went wrong, in one word.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The process lacks a privilege.
    NotPermitted,
    /// This kernel, driver or device cannot do it.
    Unsupported,
    /// Somebody else, or an earlier call, holds what was asked for.
    InUse,
    /// What is pinned was made by another version, or by something else.
    AbiMismatch,
    /// The instance, interface, namespace or flow is not there.
    NotFound,
    /// The instance belongs to another network namespace than the one named.
    OtherNamespace,
    /// The arguments or the configuration make no sense.
    Invalid,
    /// It would cut off this host, its operator, or what is allowed.
    Guarded,
    /// Anything else the kernel said.
    Other,
}

/// Why something failed. `{e}` is the top of the chain, `{e:#}` all of it.
///
/// ```
/// # use conntrack_bpf::{Error, ErrorKind};
/// let cause = std::io::Error::from_raw_os_error(1);
/// let error = Error::from(cause).context("attach to eth0");
/// assert_eq!(error.kind(), ErrorKind::NotPermitted);
/// assert_eq!(error.to_string(), "attach to eth0");
/// assert_eq!(format!("{error:#}"), "attach to eth0: EPERM: Operation not permitted");
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: String,
    errno: Option<Errno>,
    source: Option<Error>,
}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with nothing beneath it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::build(kind, message.into(), None, None)
    }

    /// What to decide by.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Puts what was being done on top of the chain; the kind stays.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self::build(self.inner.kind, message.into(), None, Some(self))
    }

    /// The same chain under another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        self
    }

    /// The system's error number at the bottom of the chain, if one is there.
    pub fn os_error(&self) -> Option<i32> {
        self.errno().map(|errno| errno as i32)
    }

    pub(crate) fn errno(&self) -> Option<Errno> {
        let below = self.inner.source.as_ref();
        self.inner.errno.or_else(|| below.and_then(Self::errno))
    }

    fn build(kind: ErrorKind, message: String, errno: Option<Errno>, source: Option<Self>) -> Self {
        let inner = Inner {
            kind,
            message,
            errno,
            source,
        };
        Self {
            inner: Box::new(inner),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        match &self.inner.source {
            Some(source) if f.alternate() => write!(f, ": {source:#}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.inner.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.inner.source.as_ref()?;
        Some(source)
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        let kind = match errno {
            Errno::EPERM | Errno::EACCES => ErrorKind::NotPermitted,
            Errno::ENOENT | Errno::ENODEV | Errno::ESRCH => ErrorKind::NotFound,
            Errno::EBUSY | Errno::EEXIST => ErrorKind::InUse,
            Errno::EOPNOTSUPP | Errno::ENOSYS => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        };
        Self::build(kind, errno.to_string(), Some(errno), None)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::from(Errno::from_raw(errno)),
            None => Self::new(ErrorKind::Other, error.to_string()),
        }
    }
}

impl From<libbpf_rs::Error> for Error {
    /// Its error number is out of reach; the kind is what is left of it.
    fn from(error: libbpf_rs::Error) -> Self {
        let kind = match error.kind() {
            libbpf_rs::ErrorKind::PermissionDenied => ErrorKind::NotPermitted,
            libbpf_rs::ErrorKind::NotFound => ErrorKind::NotFound,
            libbpf_rs::ErrorKind::AlreadyExists => ErrorKind::InUse,
            libbpf_rs::ErrorKind::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        };
        Self::new(kind, format!("{error:#}"))
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string())
    }
}

/// Puts what was being done on top of any error that becomes an [`Error`].
pub(crate) trait Context<T> {
    fn context(self, message: &str) -> Result<T>;
    fn with_context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context(self, message: &str) -> Result<T> {
        self.map_err(|error| error.into().context(message))
    }

    fn with_context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_and_number() {
        let error = Error::from(Errno::EBUSY).context("inner").context("outer");
        assert_eq!(error.to_string(), "outer");
        assert_eq!(
            format!("{error:#}"),
            "outer: inner: EBUSY: Device or resource busy"
        );
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert_eq!(error.os_error(), Some(libc::EBUSY));
        let below = error.source().and_then(StdError::source);
        assert_eq!(
            below.map(ToString::to_string).as_deref(),
            Some("EBUSY: Device or resource busy")
        );
    }

    #[test]
    fn kind_can_be_overruled() {
        let error = Error::from(Errno::EINVAL).with_kind(ErrorKind::Unsupported);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.context("x").kind(), ErrorKind::Unsupported);
    }
}
