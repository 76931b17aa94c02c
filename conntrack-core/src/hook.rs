//! Where in the kernel packets are seen: what the user asks for, and what an
//! interface really got.

use std::fmt;
use std::str::FromStr;

use crate::parse::ParseError;

/// How to attach to an interface.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub enum Mode {
    /// Native XDP where it can be had, otherwise TC ingress.
    #[default]
    Auto,
    /// XDP in the driver, or an error.
    Native,
    /// XDP after the driver. It sees merged super-packets and cannot tell how
    /// many packets they were.
    Generic,
    /// XDP on the network card, or an error.
    Offload,
    /// TC ingress (tcx, or clsact on kernels before 6.6).
    Tc,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 5] = [
        Self::Auto,
        Self::Native,
        Self::Generic,
        Self::Offload,
        Self::Tc,
    ];

    /// The name in configuration and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offload => "offload",
            Self::Tc => "tc",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mode {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| ParseError::new("mode", text, "auto, native, generic, offload or tc"))
    }
}

/// A hook that a program sits on.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// XDP after the driver.
    XdpGeneric,
    /// XDP on the network card.
    XdpOffload,
    /// TC by a tcx link (Linux 6.6 and later).
    Tcx,
    /// TC by a filter on the clsact qdisc.
    Clsact,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 5] = [
        Self::XdpNative,
        Self::XdpGeneric,
        Self::XdpOffload,
        Self::Tcx,
        Self::Clsact,
    ];

    /// The name in `status` and `stats`.
    pub fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::XdpOffload => "xdp-offload",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// The mode that leads to it on ingress.
    pub fn mode(self) -> Mode {
        match self {
            Self::XdpNative => Mode::Native,
            Self::XdpGeneric => Mode::Generic,
            Self::XdpOffload => Mode::Offload,
            Self::Tcx | Self::Clsact => Mode::Tc,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Hook {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|hook| hook.name() == text)
            .ok_or_else(|| {
                ParseError::new(
                    "hook",
                    text,
                    "xdp-native, xdp-generic, xdp-offload, tcx or clsact",
                )
            })
    }
}

/// The hooks of one interface.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hooks {
    /// Where arriving packets are seen.
    pub ingress: Option<Hook>,
    /// Where departing packets are seen.
    pub egress: Option<Hook>,
}

impl Hooks {
    /// The mode in use, by the ingress hook.
    pub fn mode(&self) -> Option<Mode> {
        self.ingress.map(Hook::mode)
    }
}

impl fmt::Display for Hooks {
    /// `xdp-native+tcx`; `-` stands for no hook.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |hook: Option<Hook>| hook.map_or("-", Hook::name);
        write!(f, "{}+{}", name(self.ingress), name(self.egress))
    }
}

#[cfg(feature = "serde")]
mod text {
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serialize;
    use serde::Serializer;

    use super::Hook;
    use super::Mode;
    use crate::text;

    impl Serialize for Mode {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            text::serialize(self, serializer)
        }
    }

    impl<'de> Deserialize<'de> for Mode {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text::deserialize(deserializer)
        }
    }

    impl Serialize for Hook {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            text::serialize(self, serializer)
        }
    }

    impl<'de> Deserialize<'de> for Hook {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text::deserialize(deserializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        for hook in Hook::ALL {
            assert_eq!(hook.name().parse(), Ok(hook));
        }
        assert!("xdp".parse::<Mode>().is_err());
        assert!("xdp".parse::<Hook>().is_err());
    }

    #[test]
    fn hooks_tell_the_mode() {
        let hooks = Hooks {
            ingress: Some(Hook::XdpNative),
            egress: Some(Hook::Tcx),
        };
        assert_eq!(hooks.mode(), Some(Mode::Native));
        assert_eq!(hooks.to_string(), "xdp-native+tcx");
        assert_eq!(Hooks::default().to_string(), "-+-");
    }
}
