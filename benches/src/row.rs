//! The rows: what is measured, and whether it was that.

use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::measure::Round;
use crate::measure::Summary;
use crate::measure::establish;
use crate::measure::round;
use crate::measure::send;
use crate::rig::Counts;
use crate::rig::Hook;
use crate::rig::Rig;
use crate::rig::Target;
use crate::traffic::Flows;
use crate::traffic::Step;
use crate::traffic::Traffic;

/// What happens in a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// Packets of established flows, round robin, as many as the row says.
    Established,
    /// Flows begin in empty tables, as many as they are made for.
    NewEmpty,
    /// Flows begin in tables of whose slots 80 % are taken; a twentieth more
    /// than there are.
    NewLoaded,
    /// Flows begin in a table of whose slots all hold unassured flows: one has
    /// to go for each. The floor's map, which would refuse them, is empty.
    NewFull,
}

/// How often a row is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds: of test runs for established flows, of fresh tables for new ones.
    pub rounds: usize,
    /// Packets of one test run.
    pub packets: u32,
}

/// What the product does beside following flows, each of which can be switched off: what
/// a row takes less without one is what that costs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Beside {
    /// How connections are doing.
    pub health: bool,
    /// What SYNs tell of their senders.
    pub fingerprints: bool,
    /// Who reaches which port.
    pub ports: bool,
    /// TCP windows, which no user can switch off.
    pub windows: bool,
}

impl Beside {
    const ALL: Self = Self {
        health: true,
        fingerprints: true,
        ports: true,
        windows: true,
    };

    const NOTHING: Self = Self {
        health: false,
        fingerprints: false,
        ports: false,
        windows: true,
    };

    fn name(self) -> String {
        if self == Self::NOTHING {
            return ", flows alone".to_owned();
        }
        let parts = [
            (self.health, "health"),
            (self.fingerprints, "fingerprints"),
            (self.ports, "ports"),
            (self.windows, "windows"),
        ];
        let off = parts.into_iter().filter(|(on, _)| !on);
        off.map(|(_, name)| format!(", {name} off")).collect()
    }
}

/// One line of the report.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    work: Work,
    traffic: Traffic,
    flows: u32,
    hook: Hook,
    budget: Option<f64>,
    checked: Option<usize>,
    beside: Beside,
}

/// A row, measured.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// [`Row::name`].
    pub name: String,
    /// How many flows.
    pub flows: u32,
    /// The ratio it must not exceed, where there is one.
    pub budget: Option<f64>,
    /// The figures.
    #[serde(flatten)]
    pub summary: Summary,
}

/// A table this large and no larger is loaded for a few flows.
const SMALLEST: u32 = 10_000;

/// Part of the packets that may go another way than the row says: flows that
/// found no slot in a table as full as that.
const STRAYS: f64 = 0.02;

impl Row {
    /// Of so many flows, at XDP, without a budget.
    #[must_use]
    pub const fn new(work: Work, traffic: Traffic, flows: u32) -> Self {
        Self {
            work,
            traffic,
            flows,
            hook: Hook::Xdp,
            budget: None,
            checked: None,
            beside: Beside::ALL,
        }
    }

    /// The ratio it must not exceed.
    #[must_use]
    pub const fn budget(mut self, ratio: f64) -> Self {
        self.budget = Some(ratio);
        self
    }

    /// At TC ingress.
    #[must_use]
    pub const fn at_tc(mut self) -> Self {
        self.hook = Hook::Tc;
        self
    }

    /// Datagrams of so many bytes in one flow, whose checksums the product verifies.
    #[must_use]
    pub const fn checked(mut self, payload: usize) -> Self {
        self.checked = Some(payload);
        self
    }

    /// Nothing is measured of how connections are doing.
    #[must_use]
    pub const fn without_health(mut self) -> Self {
        self.beside.health = false;
        self
    }

    /// No SYN is recorded.
    #[must_use]
    pub const fn without_fingerprints(mut self) -> Self {
        self.beside.fingerprints = false;
        self
    }

    /// Nobody is counted who reaches a port.
    #[must_use]
    pub const fn without_ports(mut self) -> Self {
        self.beside.ports = false;
        self
    }

    /// TCP segments are not held against their windows.
    #[must_use]
    pub const fn without_windows(mut self) -> Self {
        self.beside.windows = false;
        self
    }

    /// Flows are followed, and nothing else.
    #[must_use]
    pub const fn alone(mut self) -> Self {
        self.beside = Beside::NOTHING;
        self
    }

    /// What the product does beside that.
    #[must_use]
    pub const fn beside(&self) -> Beside {
        self.beside
    }

    /// Whether the product verifies checksums.
    #[must_use]
    pub const fn is_checked(&self) -> bool {
        self.checked.is_some()
    }

    /// What happens in it.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// How many flows the tables are made for.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.flows.max(SMALLEST)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        let what = match self.work {
            Work::Established => "",
            Work::NewEmpty => "new, into empty, ",
            Work::NewLoaded => "new, table at 80 %, ",
            Work::NewFull => "new, table full, evicting, ",
        };
        let flows = match self.flows {
            1 => "1 flow".to_owned(),
            many if many % 1_000_000 == 0 => format!("{}M flows", many / 1_000_000),
            many if many % 1000 == 0 => format!("{}k flows", many / 1000),
            many => format!("{many} flows"),
        };
        let hook = match self.hook {
            Hook::Xdp => "",
            Hook::Tc => ", TC",
        };
        let checked = match self.checked {
            Some(payload) => format!(", checksum of {payload} bytes verified"),
            None => String::new(),
        };
        format!(
            "{}, {what}{flows}{hook}{checked}{}",
            self.traffic.name(),
            self.beside.name()
        )
    }

    /// Measures it in a rig with tables of its [`Row::capacity`].
    ///
    /// # Errors
    /// If something cannot be run, or if what ran was not what the row says.
    pub fn run(&self, rig: &mut Rig, effort: Effort) -> Result<Outcome> {
        let rounds = match self.work {
            Work::Established => self.established(rig, effort)?,
            Work::NewEmpty | Work::NewLoaded | Work::NewFull => self.new_flows(rig, effort)?,
        };
        Ok(Outcome {
            name: self.name(),
            flows: self.flows,
            budget: self.budget,
            summary: Summary::of(&rounds),
        })
    }

    fn established(&self, rig: &mut Rig, effort: Effort) -> Result<Vec<Round>> {
        rig.reset(self.hook, self.traffic.family, self.capacity())?;
        let flows = Flows::in_order(0, self.flows);
        establish(rig, self.traffic, flows, &[Target::Floor, Target::Product])?;
        let frame = match self.checked {
            Some(payload) => self.traffic.datagram(payload),
            None => self.traffic.frame(Step::Data),
        };
        rig.script(self.traffic, Step::Data, Flows::strided(self.flows));
        round(rig, &frame, effort.packets, 0)?; // fills caches, of data and branches
        let before = rig.counts();
        let rounds = (0..effort.rounds)
            .map(|number| round(rig, &frame, effort.packets, number))
            .collect::<Result<Vec<Round>>>()?;

        let sent = effort.rounds as u64 * u64::from(effort.packets);
        let counted = rig.counts().established - before.established;
        self.check("packets of established flows", sent, sent, counted)?;
        let flows = u64::from(self.flows);
        let known = rig.floor_flows(self.traffic.family) as u64;
        self.check("flows of the floor", flows, flows, known)?;
        Ok(rounds)
    }

    /// Each round fills tables anew, some packets of one program and then some
    /// of the next.
    fn new_flows(&self, rig: &mut Rig, effort: Effort) -> Result<Vec<Round>> {
        let frame = self.traffic.frame(Step::Open);
        let mut rounds = Vec::new();
        for _ in 0..effort.rounds {
            rig.reset(self.hook, self.traffic.family, rig.slots())?;
            let flows = self.prefill(rig)?;
            rig.script(self.traffic, Step::Open, flows);
            let before = rig.counts();
            let mut sum = Round::default();
            let packets = effort.packets.min(flows.count);
            let batches = flows.count / packets;
            for batch in 0..batches {
                let part = round(rig, &frame, packets, batch as usize)?;
                for (sum, part) in sum.ns.iter_mut().zip(part.ns) {
                    *sum += part / f64::from(batches);
                }
            }
            rounds.push(sum);
            self.check_new(rig.counts(), before, batches * packets)?;
        }
        Ok(rounds)
    }

    /// Brings the tables to where the row begins. Returns the flows to begin then.
    fn prefill(&self, rig: &mut Rig) -> Result<Flows> {
        let both = [Target::Floor, Target::Product];
        let slots = rig.slots();
        let (there, targets, count) = match self.work {
            Work::NewLoaded => (slots / 5 * 4, both.as_slice(), self.flows / 20),
            // Half as many again, so that hardly a bucket has room left.
            Work::NewFull => (slots / 2 * 3, &both[1..], self.flows / 2),
            Work::NewEmpty | Work::Established => (0, &both[..0], self.flows),
        };
        let before = Flows::in_order(0, there);
        send(rig, self.traffic, Step::Open, before, targets)?;
        Ok(Flows::in_order(there, count))
    }

    fn check_new(&self, after: Counts, before: Counts, sent: u32) -> Result<()> {
        let sent = u64::from(sent);
        let evicted = if self.work == Work::NewFull { sent } else { 0 };
        self.check("flows created", sent, sent, after.created - before.created)?;
        let gone = after.evicted - before.evicted;
        self.check("flows evicted", sent, evicted, gone)
    }

    /// Fails if more of the `sent` packets went astray than may.
    fn check(&self, what: &str, sent: u64, expected: u64, found: u64) -> Result<()> {
        if expected.abs_diff(found) as f64 <= sent as f64 * STRAYS {
            return Ok(());
        }
        Err(Error::Wrong {
            row: self.name(),
            what: format!("{expected} {what} expected, {found} found"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Family;
    use crate::traffic::Proto;

    #[test]
    fn names_say_all_that_differs() {
        let tcp4 = Traffic {
            family: Family::V4,
            proto: Proto::Tcp,
        };
        let hot = Row::new(Work::Established, tcp4, 1);
        assert_eq!(hot.name(), "TCP/IPv4, 1 flow");
        assert_eq!(hot.at_tc().name(), "TCP/IPv4, 1 flow, TC");
        let checked = hot.checked(100).name();
        assert_eq!(checked, "TCP/IPv4, 1 flow, checksum of 100 bytes verified");
        let new = Row::new(Work::NewEmpty, tcp4, 1_000_000);
        assert_eq!(new.name(), "TCP/IPv4, new, into empty, 1M flows");
        let without = hot.without_health().without_ports();
        assert_eq!(without.name(), "TCP/IPv4, 1 flow, health off, ports off");
        assert_eq!(hot.alone().name(), "TCP/IPv4, 1 flow, flows alone");
    }
}
