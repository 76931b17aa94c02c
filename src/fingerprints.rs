//! What SYNs and SYN+ACKs have told of the systems that sent them.

use std::iter::FusedIterator;
use std::net::IpAddr;

use conntrack_bpf::prints::Signatures;
use conntrack_bpf::prints::Sources;
use conntrack_core::Fingerprint;
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

    /// Whether the tracker was set up to keep fingerprints.
    pub fn keeps_fingerprints(&self) -> bool {
        self.instance().keeps_prints()
    }
}
