//! Plays scenarios: a step of each, then a look at both tables, and again.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use crate::compare;
use crate::compare::Difference;
use crate::compare::Memory;
use crate::exceptions::Exceptions;
use crate::frame::Ip;
use crate::frame::UDP;
use crate::frame::ethernet;
use crate::frame::udp;
use crate::kernel::Kernel;
use crate::lab::End;
use crate::lab::Lab;
use crate::ours::Ours;
use crate::script::Scenario;
use crate::script::Step;
use crate::script::owner;
use crate::view::Class;
use crate::view::Table;

/// What came of a run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) scenarios: usize,
    pub(crate) steps: usize,
    /// Steps with differences that are not in the table of exceptions.
    pub(crate) unequal: usize,
    /// Those of them that differ in a core field.
    pub(crate) core: usize,
    /// Steps that differ only as the table of exceptions says.
    pub(crate) excepted: usize,
    /// What differs, in words.
    pub(crate) lines: Vec<String>,
    /// In which scenarios.
    pub(crate) failed: BTreeSet<String>,
}

impl Report {
    /// Adds another run's.
    pub(crate) fn add(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        self.steps += other.steps;
        self.unequal += other.unequal;
        self.core += other.core;
        self.excepted += other.excepted;
        self.lines.extend(other.lines);
        self.failed.extend(other.failed);
    }

    /// A flow may expire in one tracker a tick of the clock before it does in
    /// the other, and a packet come just then. It does not come just then a
    /// second time: what did not differ when played again is forgiven.
    pub(crate) fn forgive(&mut self, again: &Self) {
        self.unequal = again.unequal;
        self.core = again.core;
        self.lines.clone_from(&again.lines);
        self.failed.clone_from(&again.failed);
    }

    /// One line for people.
    pub(crate) fn summary(&self) -> String {
        let equal = self.steps - self.unequal;
        format!(
            "{} scenarios, {} steps: {:.2} % equal, {} differ ({} in core fields), {} as excepted",
            self.scenarios,
            self.steps,
            100.0 * equal as f64 / self.steps.max(1) as f64,
            self.unequal,
            self.core,
            self.excepted,
        )
    }
}

/// Tables by the scenarios they belong to.
type Scenarios = HashMap<(bool, u16), Table>;

/// A scenario under way.
struct Player<'a> {
    scenario: &'a Scenario,
    next: usize,
    ready: Instant,
    memory: Memory,
    classes: Option<(Vec<Class>, Vec<Class>)>,
}

/// Both trackers on one set of wires.
pub(crate) struct Stage<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) kernel: Kernel,
    pub(crate) ours: Ours,
    pub(crate) exceptions: Exceptions,
}

impl Stage<'_> {
    /// Plays all scenarios to their ends. `label` goes before their names.
    pub(crate) fn play(&mut self, label: &str, scenarios: &[Scenario]) -> Report {
        let mut report = Report {
            scenarios: scenarios.len(),
            ..Report::default()
        };
        let now = Instant::now();
        let mut players: Vec<Player<'_>> = scenarios
            .iter()
            .map(|scenario| Player {
                scenario,
                next: 0,
                ready: now,
                memory: Memory::default(),
                classes: None,
            })
            .collect();
        loop {
            let now = Instant::now();
            let mut moved = Vec::new();
            for (index, player) in players.iter_mut().enumerate() {
                if player.ready <= now && self.advance(player) {
                    moved.push(index);
                }
            }
            if moved.is_empty() {
                let Some(ready) = players
                    .iter()
                    .filter(|p| p.next < p.scenario.steps.len())
                    .map(|p| p.ready)
                    .min()
                else {
                    return report;
                };
                std::thread::sleep(
                    ready
                        .saturating_duration_since(now)
                        .max(Duration::from_millis(1)),
                );
                continue;
            }
            self.compare(label, &mut players, &moved, &mut report);
        }
    }

    /// One step of one scenario; false if it is over or now waits.
    fn advance(&mut self, player: &mut Player<'_>) -> bool {
        let Some(step) = player.scenario.steps.get(player.next) else {
            return false;
        };
        player.next += 1;
        match step {
            Step::Send(end, frames, what) => {
                if std::env::var_os("CONNTRACK_TRACE").is_some() {
                    println!(
                        "{} step {}: {end:?} {what}",
                        player.scenario.name, player.next
                    );
                }
                player.classes = Some(self.send(*end, frames));
                true
            }
            Step::Wait(time) => {
                player.ready = Instant::now() + *time;
                false
            }
        }
    }

    /// Sends frames, then a marker behind them, and waits for the marker.
    fn send(&mut self, end: End, frames: &[Vec<u8>]) -> (Vec<Class>, Vec<Class>) {
        for frame in frames {
            self.lab.send(end, frame);
        }
        self.lab.send(end, &marker(end));
        (self.kernel.classes(), self.ours.classes())
    }

    /// Both tables, the kernel's first, and how many whole seconds passed from the
    /// beginning to the end. A flow may expire between the two readings: as long as
    /// one that is about to is on one side only, they are read again.
    fn read(&mut self) -> (Scenarios, Scenarios, u64) {
        for patience in (0..20).rev() {
            let begin = Instant::now();
            let (theirs, own) = (self.kernel.flows(), self.ours.flows());
            let late = begin.elapsed().as_secs();
            let ends = |one: &Table, other: &Table| {
                one.iter()
                    .any(|(tuple, entry)| entry.timeout <= late && !other.contains_key(tuple))
            };
            if patience == 0 || (!ends(&theirs, &own) && !ends(&own, &theirs)) {
                return (by_scenario(theirs), by_scenario(own), late);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        unreachable!("the last reading is taken as it is")
    }

    fn compare(
        &mut self,
        label: &str,
        players: &mut [Player<'_>],
        moved: &[usize],
        report: &mut Report,
    ) {
        let (mut theirs, mut own, late) = self.read();
        for index in moved {
            let player = &mut players[*index];
            let name = (player.scenario.v6, player.scenario.number);
            let theirs = theirs.remove(&name).unwrap_or_default();
            let own = own.remove(&name).unwrap_or_default();
            let classes = player.classes.take();
            let classes = classes.as_ref().map(|(a, b)| (a.as_slice(), b.as_slice()));
            let found = compare::step(&theirs, &own, late, classes, &mut player.memory);
            report.steps += 1;
            let (known, unknown): (Vec<_>, Vec<_>) = found.into_iter().partition(|difference| {
                self.exceptions
                    .allow(&player.scenario.name, difference.field)
            });
            if !unknown.is_empty() {
                report.unequal += 1;
                report.core +=
                    usize::from(unknown.iter().any(|difference| difference.field.is_core()));
                report.lines.push(describe(label, player, &unknown));
                report.failed.insert(player.scenario.name.clone());
            } else if !known.is_empty() {
                report.excepted += 1;
            }
        }
    }
}

fn describe(label: &str, player: &Player<'_>, differences: &[Difference]) -> String {
    let mut text = format!("{label} {} step {}", player.scenario.name, player.next);
    if let Some(Step::Send(end, _, what)) = player.scenario.steps.get(player.next - 1) {
        text += &format!(" ({end:?}: {what})");
    }
    for difference in differences {
        text += &format!("\n    {}: {}", difference.field.name(), difference.text);
    }
    text
}

/// Two ends nobody else has; always the same, so that it is one flow.
fn marker(end: End) -> Vec<u8> {
    let address = |end: End| IpAddr::from([10, end as u8 + 1, 0, 1]);
    let other = if end == End::Client {
        End::Server
    } else {
        End::Client
    };
    let ip = Ip::new(address(end), address(other), UDP);
    let port = 1 + end as u16;
    ethernet(end, &ip.packet(&udp(&ip, (port, port), 8)))
}

fn by_scenario(table: Table) -> Scenarios {
    let mut scenarios = Scenarios::new();
    for (tuple, entry) in table {
        if let Some(name) = owner(tuple.src).or_else(|| owner(tuple.dst)) {
            scenarios.entry(name).or_default().insert(tuple, entry);
        }
    }
    scenarios
}
