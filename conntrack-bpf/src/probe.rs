//! What this host can do.

use nix::errno::Errno;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::sys;

/// Whether this process may load programs of our kinds at all, so that a later
/// refusal can only be the verifier's.
pub(crate) fn may_load() -> Result<()> {
    match sys::load_trivial(libbpf_sys::BPF_PROG_TYPE_XDP, 0) {
        Ok(_) => Ok(()),
        Err(errno @ (Errno::EPERM | Errno::EACCES)) => Err(Error::from(errno)
            .context("loading BPF programs takes root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")),
        Err(errno @ (Errno::ENOSYS | Errno::EINVAL)) => Err(Error::from(errno)
            .context("this kernel has no BPF, or no XDP programs")
            .with_kind(ErrorKind::Unsupported)),
        Err(errno) => Err(Error::from(errno).context("load a BPF program")),
    }
}

/// Whether the kernel knows multi-buffer XDP (5.18).
pub(crate) fn xdp_frags() -> bool {
    sys::load_trivial(
        libbpf_sys::BPF_PROG_TYPE_XDP,
        libbpf_sys::BPF_F_XDP_HAS_FRAGS,
    )
    .is_ok()
}
