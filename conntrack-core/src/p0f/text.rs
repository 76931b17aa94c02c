//! The fields of a signature's text, and those that signatures and p0f's file
//! have in common.

use super::Quirks;
use crate::parse::ParseError;
use crate::parse::decimal;
use crate::protocol::Family;

/// No signature is longer: 24 options of three digits, all quirks, and the rest.
const LONGEST: usize = 512;

/// The parts of `ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`.
pub(super) struct Fields<'a> {
    pub(super) version: &'a str,
    pub(super) ttl: &'a str,
    pub(super) ip_options: &'a str,
    pub(super) mss: &'a str,
    pub(super) window: &'a str,
    pub(super) scale: &'a str,
    pub(super) options: &'a str,
    pub(super) quirks: &'a str,
    pub(super) payload: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn split(text: &'a str) -> Result<Self, ParseError> {
        let wrong = |expected| ParseError::new("signature", text, expected);
        if text.len() > LONGEST {
            return Err(wrong("at most 512 characters"));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let [
            version,
            ttl,
            ip_options,
            mss,
            size,
            options,
            quirks,
            payload,
        ] = parts[..]
        else {
            return Err(wrong("ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass"));
        };
        let (window, scale) = size
            .split_once(',')
            .ok_or_else(|| ParseError::new("window", size, "a window, a comma and its scale"))?;
        Ok(Self {
            version,
            ttl,
            ip_options,
            mss,
            window,
            scale,
            options,
            quirks,
            payload,
        })
    }
}

pub(super) fn ip_options(text: &str) -> Result<u8, ParseError> {
    decimal(text).ok_or_else(|| ParseError::new("IP option length", text, "bytes to 255"))
}

pub(super) fn mss(text: &str) -> Result<u16, ParseError> {
    decimal(text).ok_or_else(|| ParseError::new("MSS", text, "bytes to 65535"))
}

pub(super) fn scale(text: &str) -> Result<u8, ParseError> {
    decimal(text).ok_or_else(|| ParseError::new("window scale", text, "a number to 255"))
}

/// Quirks that packets of this family can have; of either without one.
pub(super) fn quirks(text: &str, family: Option<Family>) -> Result<Quirks, ParseError> {
    let quirks: Quirks = text.parse()?;
    let (foreign, expected) = match family {
        Some(Family::Ipv4) => (Quirks::IPV6_ONLY, "no flow with IPv4"),
        Some(Family::Ipv6) => (Quirks::IPV4_ONLY, "no df, id+, id- or 0+ with IPv6"),
        None => return Ok(quirks),
    };
    if quirks.without(foreign) == quirks {
        Ok(quirks)
    } else {
        Err(ParseError::new("quirks", text, expected))
    }
}
