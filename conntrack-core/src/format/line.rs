//! Text made in one piece on the stack, numbers and addresses without `fmt`: that
//! takes longer than to read the flow it tells of.

use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;

use arrayvec::ArrayString;

use crate::tuple::L4;
use crate::tuple::Tuple;

/// The longest line there is: two sides of 168 bytes, and less than 120 before,
/// between and behind them.
const LONGEST: usize = 512;

/// A line that grows at its end. What does not fit is an error, and is left out.
#[derive(Debug)]
pub(crate) struct Line(ArrayString<LONGEST>);

impl Line {
    pub(crate) fn new() -> Self {
        Self(ArrayString::new())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn text(&mut self, text: &str) -> fmt::Result {
        self.0.try_push_str(text).map_err(|_| fmt::Error)
    }

    /// Text, and blanks up to a width.
    pub(crate) fn padded(&mut self, text: &str, width: usize) -> fmt::Result {
        const BLANKS: &str = "                ";
        self.text(text)?;
        let blanks = width.saturating_sub(text.len()).min(BLANKS.len());
        self.text(&BLANKS[..blanks])
    }

    pub(crate) fn number(&mut self, number: impl Into<u64>) -> fmt::Result {
        self.text(itoa::Buffer::new().format(number.into()))
    }

    /// Text, and a number behind it.
    pub(crate) fn field(&mut self, text: &str, number: impl Into<u64>) -> fmt::Result {
        self.text(text)?;
        self.number(number)
    }

    pub(crate) fn address(&mut self, address: IpAddr) -> fmt::Result {
        let IpAddr::V4(address) = address else {
            return write!(self.0, "{address}");
        };
        let [a, b, c, d] = address.octets();
        self.number(a)?;
        self.field(".", b)?;
        self.field(".", c)?;
        self.field(".", d)
    }

    /// As conntrack-tools does; see the `Display` of [`Tuple`].
    pub(crate) fn tuple(&mut self, tuple: &Tuple) -> fmt::Result {
        self.text("src=")?;
        self.address(tuple.src)?;
        self.text(" dst=")?;
        self.address(tuple.dst)?;
        match tuple.l4 {
            L4::Ports { src, dst } => {
                self.field(" sport=", src)?;
                self.field(" dport=", dst)
            }
            L4::Icmp { kind, code, id } => {
                self.field(" type=", kind)?;
                self.field(" code=", code)?;
                self.field(" id=", id)
            }
            L4::Gre { src_key, dst_key } => {
                write!(self.0, " srckey={src_key:#x} dstkey={dst_key:#x}")
            }
            L4::None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    #[test]
    fn numbers_and_addresses_are_those_of_fmt() {
        for number in [0, 9, 10, 255, 65_535, u64::from(u32::MAX), u64::MAX] {
            let mut line = Line::new();
            line.number(number).expect("room");
            assert_eq!(line.as_str(), number.to_string());
        }
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "10.0.200.7",
            "::",
            "2001:db8::1",
        ] {
            let address: IpAddr = text.parse().expect("an address");
            let mut line = Line::new();
            line.address(address).expect("room");
            assert_eq!(line.as_str(), address.to_string());
        }
    }

    #[test]
    fn the_longest_line_fits() {
        let address: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
            .parse()
            .expect("one");
        let tuple = Tuple {
            src: address,
            dst: address,
            protocol: Protocol::TCP,
            l4: L4::Ports {
                src: u16::MAX,
                dst: u16::MAX,
            },
        };
        let mut line = Line::new();
        for _ in 0..2 {
            line.tuple(&tuple).expect("room");
            line.field(" packets=", u64::MAX).expect("room");
            line.field(" bytes=", u64::MAX).expect("room");
            line.text(" ").expect("room");
        }
        assert_eq!(line.as_str().len(), 2 * 168);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut line = Line::new();
        assert!(line.text(&"x".repeat(LONGEST)).is_ok());
        assert!(line.number(1_u8).is_err());
        assert_eq!(line.as_str().len(), LONGEST);
    }
}
