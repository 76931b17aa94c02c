//! The TCP machine of the packet path from any state: `machine.c`; and SCTP's
//! table.

/// One end: `struct ct_native_tcp_end`. Flags are 0 or 1.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[repr(C)]
pub struct TcpEnd {
    /// Behind the last byte it sent.
    pub end: u32,
    /// Behind the last byte it may send.
    pub maxend: u32,
    /// The largest window it granted; 0 before it is heard of.
    pub maxwin: u32,
    /// The highest number it acknowledged,
    pub maxack: u32,
    /// if it has.
    pub has_maxack: u8,
    /// Shift of its windows.
    pub scale: u8,
    /// It offered window scaling.
    pub scales: u8,
    /// It offered SACK.
    pub sacks: u8,
    /// It was the first to send a FIN.
    pub closed: u8,
    /// Its history is lost.
    pub liberal: u8,
    /// It has sent what is not acknowledged.
    pub unacked: u8,
    /// Nothing.
    pub pad: u8,
}
const _: () = assert!(size_of::<TcpEnd>() == 24);

/// A connection: `struct ct_native_tcp`. Flags are 0 or 1.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
#[repr(C)]
pub struct Tcp {
    /// Original, reply.
    pub end: [TcpEnd; 2],
    /// Of the remembered segment. An answer tells neither `seq` nor `ack`,
    pub seq: u32,
    /// see there,
    pub ack: u32,
    /// where it ended,
    pub rec_end: u32,
    /// and of its window whether it was 0.
    pub window: u16,
    /// `enum ct_tcp_state`.
    pub state: u8,
    /// A question only.
    pub seen_reply: u8,
    /// ASSURED.
    pub assured: u8,
    /// Kind of the last segment and one, or 0.
    pub last: u8,
    /// Its direction.
    pub last_dir: u8,
    /// How often the remembered segment came again.
    pub again: u8,
    /// What an ignored SYN offered.
    pub syn_scale: u8,
    /// It offered scaling,
    pub syn_scales: u8,
    /// and SACK.
    pub syn_sacks: u8,
    /// It may draw a challenge ACK.
    pub challenge: u8,
    /// Both ends sent a SYN.
    pub simopen: u8,
    /// The timeout in force: `enum ct_timeout`.
    pub timeout: u8,
    /// Nothing.
    pub pad: [u8; 2],
    /// Nanoseconds since the last packet that counted.
    pub age: u64,
}
const _: () = assert!(size_of::<Tcp>() == 88);

/// A segment, and the settings: `struct ct_native_question`.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct Question {
    /// By `enum ct_timeout`.
    pub timeout_ns: [u64; 64],
    /// `tcp_be_liberal`.
    pub be_liberal: u32,
    /// `tcp_ignore_invalid_rst`.
    pub ignore_invalid_rst: u32,
    /// `tcp_max_retrans`.
    pub max_retrans: u32,
    /// 0 original, 1 reply.
    pub dir: u32,
    /// The segment's number.
    pub seq: u32,
    /// What it acknowledges.
    pub ack: u32,
    /// Bytes of data.
    pub payload: u32,
    /// Highest right edge of a SACK block, or `ack`.
    pub sack: u32,
    /// As sent.
    pub window: u16,
    /// FIN 1 to CWR 128.
    pub flags: u8,
    /// `CT_OPT_*`.
    pub options: u8,
    /// The scale it offers.
    pub wscale: u8,
    /// Nothing.
    pub pad: [u8; 3],
}
const _: () = assert!(size_of::<Question>() == 552);

/// `enum ct_answer`, as far as TCP gives it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Answer {
    /// Counts and refreshes.
    Accept,
    /// Passes, changes nothing.
    Ignore,
    /// INVALID.
    Refuse,
    /// Begins the tuple's next flow.
    Reopen,
    /// Counts, and the flow is gone.
    End,
}

/// What the way for ordinary segments makes of one.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Fast {
    /// It leaves it to the whole machine.
    No,
    /// What the whole machine does.
    Same,
    /// Something else.
    Different,
}

unsafe extern "C" {
    fn ct_native_tcp_ask(
        tcp: *const Tcp,
        question: *const Question,
        out: *mut Tcp,
        fast: *mut u32,
    ) -> u32;
    fn ct_native_sctp_next(dir: u32, kind: u8, state: u8) -> u32;
}

/// What a segment makes of a connection.
pub fn ask(tcp: &Tcp, question: &Question) -> (Answer, Fast, Tcp) {
    let (mut out, mut fast) = (Tcp::default(), 0);
    // SAFETY: the C reads the first two and writes the others, all of them of the
    // sizes that both sides assert.
    let answer = unsafe {
        ct_native_tcp_ask(
            &raw const *tcp,
            &raw const *question,
            &raw mut out,
            &raw mut fast,
        )
    };
    let answer = match answer {
        0 => Answer::Accept,
        1 => Answer::Ignore,
        2 => Answer::Refuse,
        3 => Answer::Reopen,
        _ => Answer::End,
    };
    let fast = match fast {
        0 => Fast::No,
        1 => Fast::Same,
        _ => Fast::Different,
    };
    (answer, fast, out)
}

/// Where a chunk of this type leads: a state, or 15 for INVALID; `None` for one that
/// changes no state.
pub fn sctp_next(dir: u32, kind: u8, state: u8) -> Option<u8> {
    // SAFETY: a function of its arguments, which it bounds itself.
    let next = unsafe { ct_native_sctp_next(dir, kind, state) };
    u8::try_from(next).ok().filter(|next| *next < 16)
}
