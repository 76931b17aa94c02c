//! The rows: what is measured, and whether it was that.

use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::measure::Round;
use crate::measure::Summary;
use crate::measure::establish;
use crate::measure::round;
use crate::measure::send;
use crate::rig::Counters;
use crate::rig::Hook;
use crate::rig::Place;
use crate::rig::ProgramSize;
use crate::rig::Rig;
use crate::rig::Sizes;
use crate::rig::Target;
use crate::rig::slots;
use crate::traffic::Flows;
use crate::traffic::Step;
use crate::traffic::Traffic;

/// What happens in a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// Packets of `flows` established flows, round robin.
    Established,
    /// `flows` flows begin, in tables made for that many and empty.
    NewEmpty,
    /// Flows begin in tables made for `flows`, of whose slots 80 % are taken;
    /// a twentieth of `flows` more.
    NewLoaded,
    /// Flows begin in a table of whose slots all hold unassured flows: one has
    /// to go for each. The floor's map, which would refuse them, is empty.
    NewFull,
}

/// One line of the report.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// What happens.
    pub work: Work,
    /// Where.
    pub hook: Hook,
    /// Whose packets.
    pub traffic: Traffic,
    /// How many flows.
    pub flows: u32,
    /// The ratio it must not exceed, where there is one.
    pub budget: Option<f64>,
    /// Rounds: of test runs for established flows, of fresh tables for new ones.
    pub rounds: usize,
    /// Packets of one test run.
    pub packets: u32,
}

/// A row, measured.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// [`Row::name`].
    pub name: &'static str,
    /// [`Row::flows`].
    pub flows: u32,
    /// [`Row::budget`].
    pub budget: Option<f64>,
    /// The figures.
    #[serde(flatten)]
    pub summary: Summary,
    /// The programs they are of.
    #[serde(skip)]
    pub programs: Vec<ProgramSize>,
}

/// Part of the packets that may go another way than the row says: flows that
/// found no slot in a table as full as that.
const STRAYS: f64 = 0.02;

impl Row {
    /// Measures it.
    ///
    /// # Errors
    /// If something cannot be loaded or run, or if what ran was not what the
    /// row says.
    pub fn run(&self) -> Result<Outcome> {
        let (rounds, programs) = match self.work {
            Work::Established => self.established()?,
            Work::NewEmpty | Work::NewLoaded | Work::NewFull => self.new_flows()?,
        };
        Ok(Outcome {
            name: self.name,
            flows: self.flows,
            budget: self.budget,
            summary: Summary::of(&rounds),
            programs,
        })
    }

    fn established(&self) -> Result<(Vec<Round>, Vec<ProgramSize>)> {
        let mut place = Place::default();
        let sizes = Sizes {
            product: self.flows,
            floor: self.flows,
        };
        let mut rig = Rig::load(&mut place, self.hook, self.traffic.family, sizes)?;
        establish(
            &mut rig,
            self.traffic,
            Flows {
                first: 0,
                count: self.flows,
                in_order: true,
            },
        )?;

        let frame = self.traffic.frame(Step::Data);
        let flows = Flows {
            first: 0,
            count: self.flows,
            in_order: false,
        };
        rig.script(self.traffic, Step::Data, flows);
        round(&rig, &frame, self.packets, 0)?; // fills caches, of CPU and branches
        let before = rig.counters()?;
        let rounds = (0..self.rounds)
            .map(|number| round(&rig, &frame, self.packets, number))
            .collect::<Result<Vec<Round>>>()?;

        let sent = self.rounds as u64 * u64::from(self.packets);
        let after = rig.counters()?;
        self.check(
            "packets of established flows",
            sent,
            sent,
            after.established - before.established,
        )?;
        self.check(
            "flows of the floor",
            self.flows.into(),
            self.flows.into(),
            rig.floor_flows(self.traffic.family) as u64,
        )?;
        Ok((rounds, rig.sizes()?))
    }

    /// Each round fills fresh tables, some packets of one program and then some
    /// of the next.
    fn new_flows(&self) -> Result<(Vec<Round>, Vec<ProgramSize>)> {
        let frame = self.traffic.frame(Step::Open);
        let mut rounds = Vec::new();
        let mut programs = Vec::new();
        for _ in 0..self.rounds {
            let mut place = Place::default();
            let sizes = Sizes {
                product: self.flows,
                floor: slots(self.flows),
            };
            let mut rig = Rig::load(&mut place, self.hook, self.traffic.family, sizes)?;
            let flows = self.prefill(&mut rig)?;
            rig.script(self.traffic, Step::Open, flows);
            let before = rig.counters()?;
            let mut sum = Round::default();
            let batches = flows.count / self.packets;
            for batch in 0..batches {
                let part = round(&rig, &frame, self.packets, batch as usize)?;
                for (sum, part) in sum.ns.iter_mut().zip(part.ns) {
                    *sum += part / f64::from(batches);
                }
            }
            rounds.push(sum);
            self.check_new(&rig, batches * self.packets, before)?;
            programs = rig.sizes()?;
        }
        Ok((rounds, programs))
    }

    /// Brings the tables to where the row begins. Returns the flows to begin then.
    fn prefill(&self, rig: &mut Rig<'_>) -> Result<Flows> {
        let all = slots(self.flows);
        let (before, targets, count) = match self.work {
            Work::NewLoaded => (
                all / 5 * 4,
                [Target::Floor, Target::Product].as_slice(),
                self.flows / 20,
            ),
            // Half as many again, so that hardly a bucket has room left.
            Work::NewFull => (all + all / 2, [Target::Product].as_slice(), self.flows / 2),
            Work::NewEmpty | Work::Established => (0, [].as_slice(), self.flows),
        };
        let flows = Flows {
            first: 0,
            count: before,
            in_order: true,
        };
        send(rig, self.traffic, Step::Open, flows, targets)?;
        Ok(Flows {
            first: before,
            count,
            in_order: true,
        })
    }

    fn check_new(&self, rig: &Rig<'_>, sent: u32, before: Counters) -> Result<()> {
        let after = rig.counters()?;
        self.check(
            "flows created",
            sent.into(),
            sent.into(),
            after.created - before.created,
        )?;
        let evicted = if self.work == Work::NewFull { sent } else { 0 };
        self.check(
            "flows evicted",
            sent.into(),
            evicted.into(),
            after.evicted - before.evicted,
        )
    }

    /// Fails if more of the `sent` packets went astray than may.
    fn check(&self, what: &str, sent: u64, expected: u64, found: u64) -> Result<()> {
        if expected.abs_diff(found) as f64 <= sent as f64 * STRAYS {
            return Ok(());
        }
        Err(Error::Wrong {
            row: self.name.to_owned(),
            what: format!("{expected} {what} expected, {found} found"),
        })
    }
}
