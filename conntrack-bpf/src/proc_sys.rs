//! nf_conntrack's settings as the kernel has them in a network namespace.

use std::fs;
use std::io;
use std::path::Path;

use conntrack_core::Sysctls;

use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::netns::Netns;
use crate::netns::NetnsRef;

const DIR: &str = "/proc/sys/net/netfilter";

/// The kernel's own settings of nf_conntrack in one network namespace, those
/// that are ours as well: `/proc/sys/net/netfilter/nf_conntrack_*`.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct KernelSysctls {
    /// Full names and values of those that the kernel has, in alphabetical
    /// order.
    pub values: Vec<(&'static str, u32)>,
    /// Full names of those that it does not have: it is older, or was built
    /// without the protocol.
    pub missing: Vec<&'static str>,
}

impl KernelSysctls {
    /// Reads those of a namespace.
    ///
    /// # Errors
    /// `Unsupported` if the kernel has none of them, because nf_conntrack is not
    /// loaded; `NotFound` if there is no such namespace; `NotPermitted` if it
    /// must not be entered.
    pub fn of(netns: &NetnsRef) -> Result<Self> {
        Self::read(&Netns::open(netns)?)
    }

    /// The same, of a namespace that is open.
    pub(crate) fn read(netns: &Netns) -> Result<Self> {
        // The files are those of the namespace of the thread that opens them.
        netns.run(|| Self::read_from(Path::new(DIR)))?
    }

    fn read_from(dir: &Path) -> Result<Self> {
        let mut found = Self::default();
        for (name, _) in Sysctls::default().iter() {
            match read(&dir.join(name), name)? {
                Some(value) => found.values.push((name, value)),
                None => found.missing.push(name),
            }
        }
        if found.values.is_empty() {
            let dir = dir.display();
            let message =
                format!("this kernel has no nf_conntrack settings in {dir}: is it loaded?");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(found)
    }

    /// Puts the kernel's values over those in `sysctls`; what the kernel does
    /// not have stays.
    pub fn apply(&self, sysctls: &mut Sysctls) {
        for (name, value) in &self.values {
            // Name and range were checked as it was read.
            let _ = sysctls.set(name, (*value).into());
        }
    }
}

/// The value in a file; `None` if there is no such file. Older kernels take any
/// number for a switch: all but 0 is on.
fn read(path: &Path, name: &str) -> Result<Option<u32>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let max = Sysctls::max(name).unwrap_or(u32::MAX);
    let value = text.trim().parse::<u32>().map_err(|_| {
        let (path, text) = (path.display(), text.trim());
        let message = format!("{path} has {text:?}, which is no number");
        Error::new(ErrorKind::Other, message)
    })?;
    Ok(Some(value.min(max)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_the_rest_named() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        put("nf_conntrack_tcp_loose", "3\n");
        put("nf_conntrack_udp_timeout", "17\n");
        put("nf_conntrack_max", "262144\n");
        let found = KernelSysctls::read_from(dir.path()).unwrap();
        let want = [
            ("nf_conntrack_tcp_loose", 1),
            ("nf_conntrack_udp_timeout", 17),
        ];
        assert_eq!(found.values, want);
        assert_eq!(found.missing.len(), Sysctls::default().iter().count() - 2);
        assert!(found.missing.contains(&"nf_conntrack_checksum"));

        let mut sysctls = Sysctls::default();
        (sysctls.tcp_loose, sysctls.gre_timeout) = (false, 5);
        found.apply(&mut sysctls);
        assert!(sysctls.tcp_loose);
        assert_eq!((sysctls.udp_timeout, sysctls.gre_timeout), (17, 5));

        put("nf_conntrack_udp_timeout", "-1\n");
        let error = KernelSysctls::read_from(dir.path()).unwrap_err();
        assert!(error.to_string().contains("udp_timeout"), "{error:#}");
    }

    #[test]
    fn a_kernel_without_nf_conntrack() {
        let dir = tempfile::tempdir().unwrap();
        let error = KernelSysctls::read_from(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
