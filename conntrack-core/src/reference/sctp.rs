//! SCTP: `nf_conntrack_sctp_packet()` of nf_conntrack_proto_sctp.c. States, and
//! the verification tags of both ends (RFC 9260 8.5).
//!
//! The chunks of a packet go through the machine one by one; what the ones
//! before it have changed stays changed if one of them makes the packet
//! INVALID.

use super::packet::Bundle;
use super::packet::Chunk;
use super::sctp_table::chunk;
use super::sctp_table::matters;
use super::sctp_table::next;
use super::tracker::Answer;
use crate::flow::Direction;
use crate::sctp::SctpState;
use crate::timeout::Timeout;

/// An association.
#[derive(Clone, Debug)]
pub(super) struct Sctp {
    pub(super) state: SctpState,
    /// The tag that packets of a direction carry; 0: not known yet.
    tags: [u32; 2],
    /// The direction has sent an INIT that is not settled yet.
    init: [bool; 2],
    /// A HEARTBEAT of this direction with another tag awaits its answer.
    strange_beat: Option<Direction>,
    /// It was ESTABLISHED once.
    pub(super) assured: bool,
}

/// A packet while its chunks go through the machine.
struct Pass<'a> {
    bundle: &'a Bundle,
    direction: Direction,
    fresh: bool,
    ignore: bool,
}

impl Pass<'_> {
    fn own(&self) -> usize {
        self.direction as usize
    }

    fn peer(&self) -> usize {
        self.direction.opposite() as usize
    }
}

/// An INVALID packet.
struct Invalid;

impl Bundle {
    fn has(&self, kinds: &[u8]) -> bool {
        self.chunks.iter().any(|chunk| kinds.contains(&chunk.kind))
    }
}

impl Sctp {
    /// The first packet of a flow; `None` if it cannot begin one. It goes
    /// through [`Self::packet`] next, as all others do.
    pub(super) fn open(bundle: &Bundle) -> Option<Self> {
        let late = [chunk::ABORT, chunk::SHUTDOWN_COMPLETE, chunk::COOKIE_ACK];
        if bundle.has(&late) || bundle.chunks.iter().any(|chunk| !matters(chunk.kind)) {
            return None;
        }
        let mut tags = [0; 2];
        if let Some(init) = bundle.chunks.iter().find(|c| c.kind == chunk::INIT) {
            if bundle.tag != 0 {
                return None;
            }
            tags[1] = init.init_tag?;
        }
        if bundle.has(&[chunk::HEARTBEAT]) {
            tags[0] = bundle.tag;
        }
        // Out of the blue it is answered with its own tag (RFC 9260 8.4).
        if bundle.has(&[chunk::SHUTDOWN_ACK]) {
            tags[1] = bundle.tag;
        }
        Some(Self {
            state: SctpState::None,
            tags,
            init: [false; 2],
            strange_beat: None,
            assured: false,
        })
    }

    /// A packet of the association.
    pub(super) fn packet(&mut self, direction: Direction, bundle: &Bundle) -> Answer {
        let own_rules = [
            chunk::INIT,
            chunk::SHUTDOWN_COMPLETE,
            chunk::COOKIE_ECHO,
            chunk::ABORT,
            chunk::SHUTDOWN_ACK,
            chunk::HEARTBEAT,
            chunk::HEARTBEAT_ACK,
        ];
        if !bundle.has(&own_rules) && bundle.tag != self.tags[direction as usize] {
            return Answer::Invalid;
        }
        let mut pass = Pass {
            bundle,
            direction,
            fresh: self.state == SctpState::None,
            ignore: false,
        };
        for chunk in &bundle.chunks {
            if self.chunk(&mut pass, chunk).is_err() {
                return Answer::Invalid;
            }
        }
        if pass.ignore {
            return Answer::Ignore;
        }
        Answer::Accept {
            timeout: Timeout::Sctp(self.state),
            assured: self.assured,
        }
    }

    fn chunk(&mut self, pass: &mut Pass<'_>, chunk: &Chunk) -> Result<(), Invalid> {
        self.tag_fits(pass, chunk)?;
        match chunk.kind {
            chunk::COOKIE_ACK => self.init = [false; 2],
            chunk::HEARTBEAT if self.beat(pass)? => return Ok(()),
            chunk::HEARTBEAT_ACK => self.beat_ack(pass)?,
            _ => {}
        }
        let old = self.state;
        let next = next(pass.direction, chunk.kind, old).ok_or(Invalid)?;
        match chunk.kind {
            chunk::INIT => {
                let tag = chunk.init_tag.ok_or(Invalid)?;
                self.init_sent(pass, tag);
                // An INIT that comes again keeps nothing alive.
                if (old, next) == (SctpState::Closed, SctpState::Closed) && !pass.fresh {
                    pass.ignore = true;
                }
            }
            chunk::INIT_ACK => self.init_acked(pass, chunk.init_tag.ok_or(Invalid)?)?,
            _ => {}
        }
        self.state = next;
        if old != next && next == SctpState::Established {
            self.assured = true;
        }
        Ok(())
    }

    /// Who may carry which tag (RFC 9260 8.5.1).
    fn tag_fits(&self, pass: &Pass<'_>, chunk: &Chunk) -> Result<(), Invalid> {
        let peers = chunk.flags & 1 != 0;
        let fits = match chunk.kind {
            chunk::INIT => pass.bundle.tag == 0,
            chunk::ABORT | chunk::SHUTDOWN_COMPLETE if peers => {
                pass.bundle.tag == self.tags[pass.peer()]
            }
            chunk::ABORT | chunk::SHUTDOWN_COMPLETE | chunk::COOKIE_ECHO => {
                pass.bundle.tag == self.tags[pass.own()]
            }
            _ => true,
        };
        if fits { Ok(()) } else { Err(Invalid) }
    }

    /// A HEARTBEAT may bring a tag of its own: one more path of an association
    /// that began elsewhere. True if it waits for its answer and does no more.
    fn beat(&mut self, pass: &mut Pass<'_>) -> Result<bool, Invalid> {
        if self.knows(pass) {
            return Ok(false);
        }
        if pass.bundle.has(&[chunk::DATA]) || pass.ignore {
            return Err(Invalid);
        }
        self.strange_beat = Some(pass.direction);
        pass.ignore = true;
        Ok(true)
    }

    /// The answer to a HEARTBEAT with another tag settles the tags.
    fn beat_ack(&mut self, pass: &Pass<'_>) -> Result<(), Invalid> {
        if self.knows(pass) {
            return Ok(());
        }
        let awaited = self.strange_beat == Some(pass.direction.opposite());
        if pass.bundle.has(&[chunk::DATA]) || pass.ignore || !awaited {
            return Err(Invalid);
        }
        self.strange_beat = None;
        self.tags[pass.own()] = pass.bundle.tag;
        self.tags[pass.peer()] = 0;
        Ok(())
    }

    /// Whether the packet carries the known tag, or the first of its direction.
    fn knows(&mut self, pass: &Pass<'_>) -> bool {
        let tag = &mut self.tags[pass.own()];
        if *tag == 0 {
            *tag = pass.bundle.tag;
            return true;
        }
        if *tag == pass.bundle.tag {
            self.strange_beat = None;
            return true;
        }
        false
    }

    /// An INIT says which tag the other end is to carry. One that says what is
    /// known is old or comes again.
    fn init_sent(&mut self, pass: &Pass<'_>, tag: u32) {
        if self.state != SctpState::None && self.tags[pass.peer()] == tag {
            return;
        }
        if self.init == [true; 2] {
            self.init[pass.peer()] = false;
        }
        self.init[pass.own()] = true;
        self.tags[pass.peer()] = tag;
    }

    /// So does an INIT ACK, unless it is late or of a collision.
    fn init_acked(&mut self, pass: &Pass<'_>, tag: u32) -> Result<(), Invalid> {
        let known = self.tags[pass.peer()];
        let late = !self.init[pass.peer()] && known != 0;
        let collision = self.init == [true; 2];
        if known != tag && (late || collision) {
            return Err(Invalid);
        }
        self.tags[pass.peer()] = tag;
        Ok(())
    }
}
