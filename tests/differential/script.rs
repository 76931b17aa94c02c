//! What a scenario is: named steps on addresses of its own.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::frame::Ip;
use crate::frame::ethernet;
use crate::lab::End;

/// IPv4 addresses of each end of a scenario, the first of which is nobody's.
const HOSTS: u32 = 16;

/// How many scenarios there are addresses for.
const NUMBERS: usize = (0x1_0000 - 0x800) / HOSTS as usize;

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Frames leave one end, most often one; the text says what it is.
    Send(End, Vec<Vec<u8>>, String),
    /// Nothing happens for so long.
    Wait(Duration),
}

/// A scenario's steps while they are written down.
pub(crate) struct Script {
    pub(crate) v6: bool,
    number: u16,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// `number` decides the addresses: they are nobody else's.
    pub(crate) fn new(number: u16, v6: bool) -> Self {
        Self {
            v6,
            number,
            steps: Vec::new(),
        }
    }

    /// An end's address; `host` gives each end several.
    pub(crate) fn address(&self, end: End, host: u8) -> IpAddr {
        let net = end as u8 + 1;
        if self.v6 {
            let host = u16::from(host) + 1;
            Ipv6Addr::new(0xfd00, net.into(), 0, 0, 0, 0, self.number, host).into()
        } else {
            // From 10.1.8.0 onwards.
            let index = 0x800 + u32::from(self.number) * HOSTS + u32::from(host) + 1;
            Ipv4Addr::from(u32::from(Ipv4Addr::new(10, net, 0, 0)) + index).into()
        }
    }

    /// A header from one end to the other.
    pub(crate) fn ip(&self, from: End, proto: u8) -> Ip {
        let (client, server) = (self.address(End::Client, 0), self.address(End::Server, 0));
        match from {
            End::Client => Ip::new(client, server, proto),
            End::Server => Ip::new(server, client, proto),
        }
    }

    /// Sends a packet as it is.
    pub(crate) fn raw(&mut self, from: End, packet: &[u8], what: impl Into<String>) -> &mut Self {
        self.train(from, &[packet.to_vec()], what)
    }

    /// Sends several packets, to be looked at when all have passed.
    pub(crate) fn train(
        &mut self,
        from: End,
        packets: &[Vec<u8>],
        what: impl Into<String>,
    ) -> &mut Self {
        let frames = packets.iter().map(|packet| ethernet(from, packet));
        self.steps
            .push(Step::Send(from, frames.collect(), what.into()));
        self
    }

    /// Sends a packet with this payload.
    pub(crate) fn packet(
        &mut self,
        from: End,
        ip: &Ip,
        payload: &[u8],
        what: impl Into<String>,
    ) -> &mut Self {
        self.raw(from, &ip.packet(payload), what)
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, seconds: f64) -> &mut Self {
        self.steps
            .push(Step::Wait(Duration::from_secs_f64(seconds)));
        self
    }
}

/// A named list of steps.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) number: u16,
    pub(crate) v6: bool,
    pub(crate) steps: Vec<Step>,
}

/// How a scenario writes itself down.
pub(crate) type Write = Box<dyn Fn(&mut Script)>;

/// Scenarios to be: names and writers.
#[derive(Default)]
pub(crate) struct Catalogue {
    entries: Vec<(String, bool, Write)>,
}

impl Catalogue {
    /// A scenario over IPv4.
    pub(crate) fn v4(&mut self, name: impl Into<String>, write: impl Fn(&mut Script) + 'static) {
        self.entries
            .push((format!("v4/{}", name.into()), false, Box::new(write)));
    }

    /// A scenario over IPv6.
    pub(crate) fn v6(&mut self, name: impl Into<String>, write: impl Fn(&mut Script) + 'static) {
        self.entries
            .push((format!("v6/{}", name.into()), true, Box::new(write)));
    }

    /// The same over both.
    pub(crate) fn both(&mut self, name: &str, write: impl Fn(&mut Script) + Clone + 'static) {
        self.v4(name, write.clone());
        self.v6(name, write);
    }

    /// Scenarios that the caller picks by name.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|(name, ..)| keep(name));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Writes them down, on addresses of their own: those of the numbers from
    /// `first` on.
    pub(crate) fn scenarios(&self, first: usize) -> Vec<Scenario> {
        let entries = self.entries.iter().zip(first..);
        entries
            .map(|((name, v6, write), number)| {
                assert!(number < NUMBERS, "more scenarios than addresses");
                let number = number as u16;
                let mut script = Script::new(number, *v6);
                write(&mut script);
                Scenario {
                    name: name.clone(),
                    number,
                    v6: *v6,
                    steps: script.steps,
                }
            })
            .collect()
    }
}

/// The number of the scenario an address belongs to; none for the markers'.
pub(crate) fn owner(address: IpAddr) -> Option<(bool, u16)> {
    match address {
        IpAddr::V4(address) => {
            let index = u32::from(address) & 0xffff;
            (address.octets()[0] == 10 && index >= 0x800)
                .then(|| (false, ((index - 0x800) / HOSTS) as u16))
        }
        IpAddr::V6(address) => {
            let words = address.segments();
            (words[0] == 0xfd00).then_some((true, words[6]))
        }
    }
}
