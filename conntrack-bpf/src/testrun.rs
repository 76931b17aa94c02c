//! Packets through our programs without a network: `BPF_PROG_TEST_RUN`.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::ptr;

use nix::errno::Errno;

use crate::datapath::Datapath;
use crate::datapath::Entry;
use crate::error::Context;
use crate::error::Result;
use crate::shared::SharedWords;
use crate::wire::bytes_of;
use crate::wire::ct_replay;

/// The kernel wants at least an Ethernet header.
const MIN_FRAME: usize = 14;

/// Bytes of a frame that are handed over. Headers are within; how long the
/// frame was on the wire is told separately. A page less the head and tail
/// rooms that XDP reserves must hold it.
const MAX_FRAME: usize = 2048;

/// Runs a program once on a frame; what it returns. Ethernet comes first, also
/// for TC programs.
///
/// # Errors
/// The frame is shorter than an Ethernet header or longer than the kernel takes
/// in one piece; the kernel refuses for lack of privileges.
pub fn run(program: BorrowedFd<'_>, frame: &[u8]) -> Result<u32> {
    run_in(program, frame, &[], 1)
}

/// As [`run`], so many times in a row; what it returned last.
///
/// # Errors
/// As [`run`]; a signal came in between.
pub fn repeat(program: BorrowedFd<'_>, frame: &[u8], times: u32) -> Result<u32> {
    run_in(program, frame, &[], times)
}

/// The same in a context: a `struct __sk_buff`, of which the kernel takes some
/// fields over, or nothing.
fn run_in(program: BorrowedFd<'_>, frame: &[u8], context: &[u8], times: u32) -> Result<u32> {
    let context_size = u32::try_from(context.len()).unwrap_or(u32::MAX);
    let mut opts = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: frame.as_ptr().cast(),
        data_size_in: u32::try_from(frame.len()).unwrap_or(u32::MAX),
        repeat: i32::try_from(times).unwrap_or(i32::MAX),
        ctx_in: match context {
            [] => ptr::null(),
            context => context.as_ptr().cast(),
        },
        ctx_size_in: context_size,
        ..Default::default()
    };
    // SAFETY: `data_in` and its size describe `frame`, `ctx_in` and its
    // size `context`; there is no output buffer; the descriptor is open for the call.
    let status = unsafe {
        libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), ptr::from_mut(&mut opts))
    };
    if status < 0 {
        return Err(Errno::from_raw(-status)).context("run a BPF program on a frame");
    }
    Ok(opts.retval)
}

/// Runs a TC program that wants no packet, with `skb->mark` as its argument; what
/// it returns.
///
/// # Errors
/// The kernel refuses for lack of privileges.
pub(crate) fn call(program: BorrowedFd<'_>, mark: u32) -> Result<u32> {
    const MARK: usize = 8;
    run_in(program, &[0; MIN_FRAME], &sk_buff(MARK, mark), 1)
}

/// As [`run`], for a TC program and a frame that came in on the interface with this
/// index. Without one it is a packet of this host's own.
///
/// # Errors
/// As [`run`].
pub fn run_received(program: BorrowedFd<'_>, frame: &[u8], ifindex: u32) -> Result<u32> {
    const INGRESS_IFINDEX: usize = 36;
    run_in(program, frame, &sk_buff(INGRESS_IFINDEX, ifindex), 1)
}

/// As [`run`], for a TC program at the interface with this index, which the calling
/// thread's network namespace must have. Without one it is the loopback.
///
/// # Errors
/// As [`run`]; there is no such interface.
pub fn run_at(program: BorrowedFd<'_>, frame: &[u8], ifindex: u32) -> Result<u32> {
    const IFINDEX: usize = 40;
    run_in(program, frame, &sk_buff(IFINDEX, ifindex), 1)
}

/// As [`run`], for a TC program and a super-packet, as a guest sends it by a tap: its
/// segments are so long, and nobody has counted them yet.
///
/// # Errors
/// As [`run`].
pub fn run_uncut(program: BorrowedFd<'_>, frame: &[u8], gso_size: u32) -> Result<u32> {
    const GSO_SIZE: usize = 176;
    run_in(program, frame, &sk_buff(GSO_SIZE, gso_size), 1)
}

/// A `struct __sk_buff` with one field that is not 0.
fn sk_buff(offset: usize, value: u32) -> [u8; 192] {
    let mut context = [0; 192];
    context[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    context
}

/// Runs `ct_xdp` of a data path loaded for replay on packets of a capture, at
/// the capture's time.
#[derive(Debug)]
pub struct Replayer {
    program: OwnedFd,
    replay: SharedWords,
}

impl Replayer {
    /// Takes over the program and the replay map of a data path.
    ///
    /// # Errors
    /// `ct_xdp` is not loaded; the kernel refuses to map the map.
    pub fn new(datapath: &Datapath) -> Result<Self> {
        let program = datapath.programs.entry(Entry::Xdp)?.as_fd();
        let program = program.try_clone_to_owned();
        Ok(Self {
            program: program.context("take over ct_xdp")?,
            replay: SharedWords::map(&datapath.maps.replay)?,
        })
    }

    /// Sets the time, nanoseconds since the Unix epoch, and the length that
    /// frames have on the wire from the Ethernet header on.
    pub fn set(&mut self, epoch: i64, wire_len: u32) {
        let replay = ct_replay {
            now: epoch.cast_unsigned(),
            wire_len,
            pad: 0,
        };
        self.replay.store(bytes_of(&replay));
    }

    /// Sends a frame as it was captured, perhaps cut.
    ///
    /// # Errors
    /// The kernel refuses for lack of privileges.
    pub fn packet(&mut self, epoch: i64, frame: &[u8], wire_len: u32) -> Result<()> {
        self.set(epoch, wire_len);
        let frame = &frame[..frame.len().min(MAX_FRAME)];
        let padded;
        let frame = if frame.len() < MIN_FRAME {
            padded = pad(frame);
            &padded
        } else {
            frame
        };
        run(self.program.as_fd(), frame).map(drop)
    }
}

/// A frame that ends within its Ethernet header, which the kernel would refuse,
/// as one that ends behind it: IPv4 without a header. The packet path counts
/// either as truncated.
fn pad(frame: &[u8]) -> [u8; MIN_FRAME] {
    let mut padded = [0; MIN_FRAME];
    padded[..frame.len()].copy_from_slice(frame);
    padded[12..].copy_from_slice(&[0x08, 0x00]);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_frames_look_cut_behind_ethernet() {
        let padded = pad(&[0xff; 13]);
        assert_eq!(padded[..12], [0xff; 12]);
        assert_eq!(padded[12..], [0x08, 0x00]);
        assert_eq!(pad(&[]).len(), MIN_FRAME);
    }
}
