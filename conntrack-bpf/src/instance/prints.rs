//! What a running instance keeps of SYNs and SYN+ACKs.

use std::net::IpAddr;

use conntrack_core::SourceFingerprint;
use conntrack_core::p0f::Kind;

use super::Instance;
use crate::clock::Clock;
use crate::error::Result;
use crate::prints;
use crate::prints::Signatures;
use crate::prints::Sources;

impl Instance {
    /// Whether it keeps any.
    pub fn keeps_prints(&self) -> bool {
        prints::are_kept(&self.datapath().maps)
    }

    /// Signatures, in no order.
    ///
    /// # Errors
    /// The clocks cannot be read.
    pub fn signatures(&self) -> Result<Signatures> {
        Ok(Signatures::new(&self.datapath().maps, Clock::live()?))
    }

    /// The last signatures of sources, in no order.
    ///
    /// # Errors
    /// The clocks cannot be read.
    pub fn print_sources(&self) -> Result<Sources> {
        Ok(Sources::new(&self.datapath().maps, Clock::live()?))
    }

    /// The last signature of an address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn print_of(&self, addr: IpAddr, kind: Kind) -> Result<Option<SourceFingerprint>> {
        prints::find(&self.datapath().maps, addr, kind, &Clock::live()?)
    }
}
