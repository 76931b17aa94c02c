//! nf_conntrack's TCP machine: states, kinds of segments and the table between
//! them. The C of the packet path is tested against this.

use std::fmt;
use std::str::FromStr;

use crate::flow::Direction;
use crate::parse::ParseError;

/// States of a TCP flow, nf_conntrack's names and numbers
/// (include/uapi/linux/netfilter/nf_conntrack_tcp.h).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
#[repr(u8)]
pub enum TcpState {
    /// No packet seen yet; no flow is ever shown in it.
    None,
    /// A SYN was seen.
    SynSent,
    /// A SYN/ACK was seen.
    SynRecv,
    /// The ACK of the SYN/ACK was seen, or the flow was picked up mid-stream.
    Established,
    /// One end sent a FIN.
    FinWait,
    /// The FIN was acknowledged.
    CloseWait,
    /// The other end sent its FIN, too.
    LastAck,
    /// The last FIN was acknowledged.
    TimeWait,
    /// An RST ended it.
    Close,
    /// A SYN came from the reply direction: simultaneous open.
    SynSent2,
}

impl TcpState {
    /// Every state, by its number.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// The state with this number; `None` from 10 on.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// Its number: `enum ct_tcp_state` of the packet path.
    pub fn index(self) -> u8 {
        self as u8
    }

    /// nf_conntrack's name, such as `SYN_SENT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for TcpState {
    type Err = ParseError;

    /// Takes a name in any case; `LISTEN` is the old name of `SYN_SENT2`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.eq_ignore_ascii_case("LISTEN") {
            return Ok(Self::SynSent2);
        }
        Self::ALL
            .into_iter()
            .find(|state| state.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                ParseError::new(
                    "TCP state",
                    text,
                    "SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, \
                     TIME_WAIT, CLOSE or SYN_SENT2",
                )
            })
    }
}

/// Bits of the TCP header's flags byte (RFC 9293, RFC 3168).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// What a segment is to the machine, by its flags.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
#[repr(u8)]
pub enum Segment {
    /// SYN without ACK.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// FIN and ACK.
    Fin,
    /// ACK alone, with data or without.
    Ack,
    /// RST, with or without ACK.
    Rst,
    /// None of these flags. [`Segment::from_flags`] never says so, because such
    /// a segment is invalid by its flags already.
    None,
}

impl Segment {
    /// Every kind, by its number.
    pub const ALL: [Self; 6] = [
        Self::Syn,
        Self::SynAck,
        Self::Fin,
        Self::Ack,
        Self::Rst,
        Self::None,
    ];

    /// Its number: `enum ct_tcp_segment` of the packet path.
    pub fn index(self) -> u8 {
        self as u8
    }

    /// The kind of a segment with these flags, or `None` if nf_conntrack calls
    /// the combination INVALID (`tcp_valid_flags`). PSH, ECE and CWR don't
    /// matter.
    pub fn from_flags(byte: u8) -> Option<Self> {
        use flags::ACK;
        use flags::CWR;
        use flags::ECE;
        use flags::FIN;
        use flags::PSH;
        use flags::RST;
        use flags::SYN;
        use flags::URG;
        const SYN_URG: u8 = SYN | URG;
        const SYN_ACK: u8 = SYN | ACK;
        const RST_ACK: u8 = RST | ACK;
        const FIN_ACK: u8 = FIN | ACK;
        const FIN_ACK_URG: u8 = FIN | ACK | URG;
        const ACK_URG: u8 = ACK | URG;
        match byte & !(PSH | ECE | CWR) {
            SYN | SYN_URG => Some(Self::Syn),
            SYN_ACK => Some(Self::SynAck),
            FIN_ACK | FIN_ACK_URG => Some(Self::Fin),
            ACK | ACK_URG => Some(Self::Ack),
            RST | RST_ACK => Some(Self::Rst),
            _ => None,
        }
    }
}

/// What the table answers.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Next {
    /// The flow goes to this state, or stays in it.
    State(TcpState),
    /// The packet passes but changes nothing: it may be valid or not, and the
    /// receiver's answer will tell.
    Ignore,
    /// The packet belongs to no valid connection.
    Invalid,
}

const SS: Next = Next::State(TcpState::SynSent);
const SR: Next = Next::State(TcpState::SynRecv);
const ES: Next = Next::State(TcpState::Established);
const FW: Next = Next::State(TcpState::FinWait);
const CW: Next = Next::State(TcpState::CloseWait);
const LA: Next = Next::State(TcpState::LastAck);
const TW: Next = Next::State(TcpState::TimeWait);
const CL: Next = Next::State(TcpState::Close);
const S2: Next = Next::State(TcpState::SynSent2);
const IG: Next = Next::Ignore;
const IV: Next = Next::Invalid;

/// `[direction][segment][state]`, as Linux 6.18 has it.
const TABLE: [[[Next; 10]; 6]; 2] = [ORIGINAL, REPLY];

#[rustfmt::skip]
const ORIGINAL: [[Next; 10]; 6] = [
    // from   NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
    /* SYN */
            [ SS, SS, IG, IG, IG, IG, IG, SS, SS, S2 ],
    // NO -> SS  a connection begins
    // SS -> SS  the SYN again
    // SR..LA -> IG  out of place; the receiver answers with a challenge ACK,
    //           an RST, or a SYN/ACK if we hold a dead connection
    // TW, CL -> SS  the tuple is opened anew (RFC 9293 3.6.1)
    // S2 -> S2  the SYN again, after the other end's
    /* SYN/ACK */
            [ IV, IV, SR, IV, IV, IV, IV, IV, IV, SR ],
    // NO -> IV  the SYN was not seen: too late
    // SS -> IV  who sent a SYN does not send a SYN/ACK next
    // SR -> SR  the SYN/ACK of a simultaneous open again
    // S2 -> SR  simultaneous open: the opener answers the other end's SYN
    // else  IV  clients send no SYN/ACK
    /* FIN */
            [ IV, IV, FW, FW, LA, LA, LA, TW, CL, IV ],
    // NO -> IV  too late
    // SS, S2 -> IV  nothing to close before a SYN/ACK
    // SR, ES -> FW  closing begins
    // FW, CW -> LA  both ends closed, or the FIN again
    // LA, TW, CL    the FIN again
    /* ACK */
            [ ES, IV, ES, ES, CW, CW, TW, TW, CL, IV ],
    // NO -> ES  picked up in mid-stream
    // SS, S2 -> IV  there is no SYN/ACK to acknowledge yet
    // SR -> ES  the handshake is complete
    // FW -> CW  the FIN is acknowledged
    // LA -> TW  the last FIN is acknowledged
    // TW, CL    the last ACK again
    /* RST */
            [ IV, CL, CL, CL, CL, CL, CL, CL, CL, CL ],
    /* none */
            [ IV, IV, IV, IV, IV, IV, IV, IV, IV, IV ],
];

#[rustfmt::skip]
const REPLY: [[Next; 10]; 6] = [
    // from   NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
    /* SYN */
            [ IV, S2, IV, IV, IV, IV, IV, SS, IV, S2 ],
    // NO -> IV  cannot happen: the first packet is the original direction's
    // SS -> S2  simultaneous open
    // TW -> SS  opened anew by the other end: a new flow, reversed
    // S2 -> S2  the SYN of the simultaneous open again
    // else  IV  servers send no SYN
    /* SYN/ACK */
            [ IV, SR, IG, IG, IG, IG, IG, IG, IG, SR ],
    // SS, S2 -> SR  the usual answer
    // SR..CL -> IG  the SYN/ACK again, or the answer to a SYN we ignored
    /* FIN */
            [ IV, IV, FW, FW, LA, LA, LA, TW, CL, IV ],
    // as in the original direction
    /* ACK */
            [ IV, IG, SR, ES, CW, CW, TW, TW, CL, IG ],
    // SS, S2 -> IG  may be a half-open connection's challenge
    // SR -> SR  answers a SYN sent again; only the opener's ACK establishes
    // FW -> CW, LA -> TW  the FIN is acknowledged
    /* RST */
            [ IV, CL, CL, CL, CL, CL, CL, CL, CL, CL ],
    /* none */
            [ IV, IV, IV, IV, IV, IV, IV, IV, IV, IV ],
];

/// Where a segment leads: `tcp_conntracks` of nf_conntrack_proto_tcp.c, Linux
/// 6.18. It is the table alone; what depends on windows, on earlier segments
/// or on flags (reopening, RST checks, SYN retransmissions) comes on top.
pub fn transition(direction: Direction, segment: Segment, state: TcpState) -> Next {
    TABLE[direction as usize][segment as usize][state as usize]
}
