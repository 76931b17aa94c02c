//! What SYNs and SYN+ACKs have told of the systems that sent them.

use std::collections::HashMap;
use std::iter::FusedIterator;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use conntrack_bpf::prints::Signatures;
use conntrack_bpf::prints::Sources;
use conntrack_core::Fingerprint;
use conntrack_core::FingerprintBan;
use conntrack_core::Flow;
use conntrack_core::FlowFingerprint;
use conntrack_core::SourceFingerprint;
use conntrack_core::p0f::Kind;

use crate::Error;
use crate::Result;
use crate::Tracker;

/// Signatures, one after the other; see [`Tracker::fingerprints`]. An error in reading is
/// an item, and mostly the last one.
#[derive(Debug)]
#[must_use = "fingerprints are read as they are asked for"]
pub struct Fingerprints {
    walk: Option<Signatures>,
    failure: Option<Error>,
}

impl Fingerprints {
    pub(crate) fn new(made: Result<Signatures>) -> Self {
        let (walk, failure) = parts(made);
        Self { walk, failure }
    }
}

impl Iterator for Fingerprints {
    type Item = Result<Fingerprint>;

    fn next(&mut self) -> Option<Result<Fingerprint>> {
        match self.failure.take() {
            Some(error) => Some(Err(error)),
            None => self.walk.as_mut()?.next(),
        }
    }
}

impl FusedIterator for Fingerprints {}

/// The last signatures of sources; see [`Tracker::fingerprint_sources`]. An error in
/// reading is an item, and mostly the last one.
#[derive(Debug)]
#[must_use = "fingerprints are read as they are asked for"]
pub struct FingerprintSources {
    walk: Option<Sources>,
    failure: Option<Error>,
}

impl FingerprintSources {
    pub(crate) fn new(made: Result<Sources>) -> Self {
        let (walk, failure) = parts(made);
        Self { walk, failure }
    }
}

impl Iterator for FingerprintSources {
    type Item = Result<SourceFingerprint>;

    fn next(&mut self) -> Option<Result<SourceFingerprint>> {
        match self.failure.take() {
            Some(error) => Some(Err(error)),
            None => self.walk.as_mut()?.next(),
        }
    }
}

impl FusedIterator for FingerprintSources {}

/// What fingerprints the ids of flows stand for
/// ([`Flow::fingerprint_ids`](conntrack_core::Flow)): all that were known at a moment, of
/// some 200 bytes each.
///
/// ```no_run
/// # fn main() -> Result<(), conntrack::Error> {
/// let tracker = conntrack::Tracker::open("default")?;
/// let names = tracker.fingerprint_names()?;
/// for flow in tracker.flows() {
///     let mut flow = flow?;
///     names.name(&mut flow);
///     let client = flow.fingerprint.and_then(|ends| ends.original);
///     println!("{}", client.as_deref().unwrap_or("?"));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct FingerprintNames {
    by_id: HashMap<u64, Arc<str>>,
}

impl FingerprintNames {
    pub(crate) fn of(fingerprints: Fingerprints) -> Result<Self> {
        let named = fingerprints.map(|it| {
            let it = it?;
            Ok((it.id, Arc::from(it.signature.to_string())))
        });
        let by_id = named.collect::<Result<_>>()?;
        Ok(Self { by_id })
    }

    /// Fills [`Flow::fingerprint`] in by the ids that the flow has.
    pub fn name(&self, flow: &mut Flow) {
        let ends = flow.fingerprint_ids.map(|id| self.by_id.get(&id).cloned());
        flow.fingerprint = match ends {
            [None, None] => None,
            [original, reply] => Some(FlowFingerprint { original, reply }),
        };
    }
}

fn parts<W>(made: Result<W>) -> (Option<W>, Option<Error>) {
    match made {
        Ok(walk) => (Some(walk), None),
        Err(error) => (None, Some(error)),
    }
}

impl Tracker {
    /// The TCP signatures that have been seen, in p0f's terms: one for each kind of SYN and
    /// SYN+ACK, with how many there were and who sent the last. In no order; there are at
    /// most [`FingerprintsConfig::max_signatures`](conntrack_core::FingerprintsConfig), of
    /// which the least recently used go first. It takes no memory that grows with their
    /// number. None, if the tracker was set up without
    /// ([`keeps_fingerprints`](Tracker::keeps_fingerprints)).
    ///
    /// ```no_run
    /// use conntrack::{Tracker, p0f::Database};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracker = Tracker::open("default")?;
    /// let known = Database::parse(&std::fs::read("/etc/p0f/p0f.fp")?)?;
    /// for found in tracker.fingerprints() {
    ///     let found = found?;
    ///     let who = known.find(found.kind(), &found.signature).matched;
    ///     let who = who.map_or("?".to_owned(), |it| it.label.to_string());
    ///     println!("{} {} {who}", found.count, found.signature);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn fingerprints(&self) -> Fingerprints {
        Fingerprints::new(self.instance().signatures())
    }

    /// What the ids of flows stand for: all fingerprints there are, read once.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn fingerprint_names(&self) -> Result<FingerprintNames> {
        FingerprintNames::of(self.fingerprints())
    }

    /// The last signature of each source, as a client and as a server. As
    /// [`Tracker::fingerprints`].
    pub fn fingerprint_sources(&self) -> FingerprintSources {
        FingerprintSources::new(self.instance().print_sources())
    }

    /// The last signature of an address: as a client ([`Kind::Syn`]) or as a server
    /// ([`Kind::SynAck`]). `None` if none is known.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn fingerprint_of(&self, addr: IpAddr, kind: Kind) -> Result<Option<SourceFingerprint>> {
        self.instance().print_of(addr, kind)
    }

    /// Drops the SYNs that come in, would begin a connection, and fit a pattern of p0f's
    /// (`ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`, with `*` where p0f's file may
    /// have it), from now on and until its time is up, whether or not a process of ours runs
    /// then. Connections that are there go on. It has to fit in all: what p0f calls fuzzy
    /// passes. What is [never banned](Tracker::allow) passes, too. With `dry_run` they are
    /// counted, and pass. What is banned already begins anew. It is kept over a
    /// restart as other bans are, without its counts. There may be 64 at once.
    ///
    /// Whoever knows the pattern can send other SYNs, so it keeps out programs, not
    /// attackers. And a pattern may fit more systems than one thinks: begin with a dry run.
    ///
    /// # Errors
    /// `Invalid` for what is no pattern, or longer than 255 bytes, or if the tracker keeps
    /// no fingerprints; `NotFound` if its network namespace is gone; `Other` if there is no
    /// room for more, or if it is in force and could not be kept over a restart, which the
    /// message says; or what the kernel says.
    pub fn ban_fingerprint(
        &self,
        pattern: &str,
        ttl: Option<Duration>,
        dry_run: bool,
    ) -> Result<FingerprintBan> {
        self.instance().ban_print(pattern, ttl, dry_run)
    }

    /// Ends the ban of this very pattern; whether there was one.
    ///
    /// # Errors
    /// `Invalid` for what is no pattern; or what the kernel says.
    pub fn unban_fingerprint(&self, pattern: &str) -> Result<bool> {
        self.instance().unban_print(pattern)
    }

    /// The fingerprints that are banned.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn fingerprint_bans(&self) -> Result<Vec<FingerprintBan>> {
        self.instance().print_bans()
    }

    /// Whether the tracker was set up to keep fingerprints.
    pub fn keeps_fingerprints(&self) -> bool {
        self.instance().keeps_prints()
    }
}
