//! The JSON contract of fingerprints: `schemas/fingerprint.schema.json`.

use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeMap;

use crate::fingerprint::Fingerprint;
use crate::fingerprint::SourceFingerprint;
use crate::p0f::Kind;
use crate::p0f::Signature;

/// What both have: the signature, whole and in parts.
fn signature<M: SerializeMap>(
    kind: Kind,
    signature: &Signature,
    out: &mut M,
) -> Result<(), M::Error> {
    let distance = signature.distance().0;
    let window = signature.window;
    out.serialize_entry("kind", &kind.to_string())?;
    out.serialize_entry("signature", &signature.to_string())?;
    out.serialize_entry("family", &signature.family)?;
    out.serialize_entry("ttl", &signature.ttl)?;
    out.serialize_entry("initial_ttl", &(signature.ttl + distance))?;
    out.serialize_entry("distance", &distance)?;
    out.serialize_entry("ip_options", &signature.ip_options)?;
    out.serialize_entry("mss", &signature.mss)?;
    out.serialize_entry("window", &window.bytes)?;
    let multiple = window.multiple.map(|multiple| multiple.to_string());
    out.serialize_entry("window_multiple", &multiple)?;
    out.serialize_entry("scale", &signature.scale)?;
    out.serialize_entry("options", &signature.options.to_string())?;
    let quirks = signature.quirks.to_string();
    let quirks: Vec<&str> = quirks.split(',').filter(|name| !name.is_empty()).collect();
    out.serialize_entry("quirks", &quirks)?;
    out.serialize_entry("payload", &signature.payload)
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        signature(self.kind(), &self.signature, &mut out)?;
        out.serialize_entry("count", &self.count)?;
        out.serialize_entry("first_seen", &self.first_seen)?;
        out.serialize_entry("last_seen", &self.last_seen)?;
        out.serialize_entry("last_source", &self.last_source.addr)?;
        out.serialize_entry("last_port", &self.last_source.port)?;
        out.end()
    }
}

impl Serialize for SourceFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("source", &self.source)?;
        signature(self.kind(), &self.signature, &mut out)?;
        out.serialize_entry("count", &self.count)?;
        out.serialize_entry("first_seen", &self.first_seen)?;
        out.serialize_entry("last_seen", &self.last_seen)?;
        out.end()
    }
}
