//! Values on the command line that are more than a number or a word.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use conntrack::NetnsRef;
use conntrack_core::ByteSize;
use conntrack_core::Config;
use conntrack_core::TableConfig;
use conntrack_core::ban::REASON_MAX;
use ipnet::IpNet;

/// A span of time, given in seconds: `2`, `0.5`.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let seconds = text.parse::<f64>().ok().filter(|_| plain);
        match seconds {
            Some(seconds) if (0.1..=86_400.0).contains(&seconds) => {
                Ok(Self(Duration::from_secs_f64(seconds)))
            }
            _ => Err("expected seconds from 0.1 to 86400, such as 2 or 0.5".to_owned()),
        }
    }
}

/// Seconds that may be left out, so that what follows is taken for them.
pub(super) fn watch(text: &str) -> Result<Seconds, String> {
    let hint = |error| format!("{error}; a KEY goes before this option, or say --watch=2");
    text.parse().map_err(hint)
}

/// The size of a buffer.
pub(super) fn buffer(text: &str) -> Result<u32, String> {
    const MAX: u64 = 1 << 30;
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes @ 1..=MAX)) => u32::try_from(bytes).map_err(|error| error.to_string()),
        _ => Err("expected bytes from 1 to 1G, such as 512K or 64M".to_owned()),
    }
}

/// An instance's name, as the configuration would take it.
pub(super) fn instance(text: &str) -> Result<String, String> {
    let mut config = Config::default();
    config.instance = text.to_owned();
    match config.validate() {
        Ok(()) => Ok(config.instance),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// A network namespace. No text at all is most likely a variable that is not set.
pub(super) fn netns(text: &str) -> Result<NetnsRef, String> {
    match text.parse() {
        Ok(NetnsRef::Current) => {
            Err("expected a name of `ip netns`, a path or a process id".into())
        }
        Ok(netns) => Ok(netns),
        Err(never) => match never {},
    }
}

/// A number of flows that a table can have.
pub(super) fn max_flows() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(TableConfig::MAX_FLOWS))
}

/// Whom a ban is of, as it was written.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Network {
    /// An address without a prefix.
    Addr(IpAddr),
    /// A network.
    Net(IpNet),
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(addr) => Ok(Self::Addr(addr)),
            Err(_) => network(text).map(Self::Net),
        }
    }
}

/// Whom a ban is of.
pub(super) fn ban_network(text: &str) -> Result<Network, String> {
    text.parse()
}

/// Why somebody is banned.
pub(super) fn reason(text: &str) -> Result<String, String> {
    match text.len() <= REASON_MAX {
        true => Ok(text.to_owned()),
        false => Err(format!("expected at most {REASON_MAX} bytes")),
    }
}

/// A network; an address is the network of itself.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| address()).map_err(|_| {
        "expected an address or a network: 10.0.0.1, 10.0.0.0/8, 2001:db8::/32".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds() {
        let parse = |text: &str| text.parse::<Seconds>().ok().map(|s| s.0);
        assert_eq!(parse("2"), Some(Duration::from_secs(2)));
        assert_eq!(parse("0.5"), Some(Duration::from_millis(500)));
        for bad in [
            "", "0", "0.01", "-1", "+1", "1e3", "inf", "nan", "86401", "1s",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn buffers() {
        assert_eq!(buffer("4096"), Ok(4096));
        assert_eq!(buffer("8M"), Ok(8 << 20));
        assert_eq!(buffer("1G"), Ok(1 << 30));
        for bad in ["", "0", "1073741825", "2G", "5T", "8X", "-1"] {
            assert!(buffer(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(network("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.1.2.3/8");
        for bad in ["", "10.0.0", "10.0.0.0/33", "eth0", "::/129"] {
            assert!(network(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn namespaces() {
        assert_eq!(netns("blue"), Ok(NetnsRef::Name("blue".to_owned())));
        assert_eq!(netns("12"), Ok(NetnsRef::Pid(12)));
        assert!(netns("").unwrap_err().contains("ip netns"));
    }

    #[test]
    fn instances() {
        assert_eq!(instance("a-b_c.1"), Ok("a-b_c.1".to_owned()));
        for bad in ["", "..", "a/b", "a b"] {
            assert!(instance(bad).is_err(), "{bad:?}");
        }
    }
}
