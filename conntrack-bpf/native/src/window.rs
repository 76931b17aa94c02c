//! The windows of a TCP flow: `tcp_window.h`, a segment in two halves.

/// `struct ct_flow`, of which only the ends matter here.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[repr(C, align(64))]
pub struct Ends([u64; 16]);

/// An ACK with or without data: `struct ct_native_segment`.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[repr(C)]
pub struct Segment {
    /// 0 original, 1 reply.
    pub dir: u32,
    /// Its sequence number.
    pub seq: u32,
    /// What it acknowledges.
    pub ack: u32,
    /// Bytes of data.
    pub payload: u32,
    /// What it grants.
    pub window: u16,
    /// Nothing.
    pub pad: u16,
}
const _: () = assert!(size_of::<Segment>() == 20);

/// What a segment makes of both ends, not yet stored: `struct ct_tcp_view`.
#[derive(Copy, Clone, Debug)]
pub struct Judged {
    view: [u64; 8],
    dir: u32,
    verdict: u32,
}

unsafe extern "C" {
    fn ct_native_window_open(flow: *mut Ends, end: *const u32, window: u32);
    fn ct_native_window_judge(flow: *const Ends, segment: *const Segment, view: *mut u64) -> u32;
    fn ct_native_window_store(flow: *mut Ends, dir: u32, view: *const u64);
}

impl Ends {
    /// An established flow whose ends have sent up to `end` and granted `window`
    /// more.
    pub fn new(end: [u32; 2], window: u32) -> Self {
        let mut ends = Self([0; 16]);
        // SAFETY: the C writes one flow, whose size it asserts, and reads two words.
        unsafe { ct_native_window_open(&raw mut ends, end.as_ptr(), window) };
        ends
    }

    /// First half: what the segment makes of the ends as they are now.
    pub fn judge(&self, segment: Segment) -> Judged {
        let mut view = [0; 8];
        // SAFETY: the C reads one flow and one segment, and writes a view, which
        // it asserts to fit.
        let verdict = unsafe {
            ct_native_window_judge(&raw const *self, &raw const segment, view.as_mut_ptr())
        };
        Judged {
            view,
            dir: segment.dir,
            verdict,
        }
    }

    /// Second half: stores it.
    pub fn store(&mut self, judged: &Judged) {
        // SAFETY: the C reads a view that it wrote, and writes one flow.
        unsafe { ct_native_window_store(&raw mut *self, judged.dir, judged.view.as_ptr()) };
    }

    /// Both halves, nothing in between.
    pub fn take(&mut self, segment: Segment) -> Judged {
        let judged = self.judge(segment);
        self.store(&judged);
        judged
    }
}

impl Judged {
    /// Is the segment inside the window?
    pub fn is_inside(&self) -> bool {
        self.verdict == 0
    }
}
