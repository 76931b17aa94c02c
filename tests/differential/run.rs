//! Plays scenarios: a step of each, then a look at both tables, and again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use conntrack_core::Tuple;

use crate::compare;
use crate::compare::Difference;
use crate::compare::Memory;
use crate::deadline;
use crate::exceptions::Exceptions;
use crate::frame::Ip;
use crate::frame::UDP;
use crate::frame::ethernet;
use crate::frame::udp;
use crate::kernel::Kernel;
use crate::lab::End;
use crate::lab::Lab;
use crate::ours::Ours;
use crate::report::Report;
use crate::script::Scenario;
use crate::script::Step;
use crate::script::owner;
use crate::view::Class;
use crate::view::Table;
use crate::view::table;

/// Scenarios that move on between two looks at the tables: so few that no flow is gone
/// before anybody has looked, however short its time is.
const BATCH: usize = 100;

/// Less than the shortest time of any flow, a second.
const SHORTEST: Duration = Duration::from_millis(900);

/// A scenario, by the addresses it has.
type Number = (bool, u16);

/// Both tables at one moment, by the scenarios that flows belong to.
struct Reading {
    theirs: HashMap<Number, Table>,
    own: HashMap<Number, Table>,
    /// When flows of ours are to be treated otherwise.
    moments: HashMap<Number, Vec<Instant>>,
    /// Whole seconds from the beginning to the end.
    late: u64,
}

/// A scenario under way.
struct Player<'a> {
    scenario: &'a Scenario,
    next: usize,
    ready: Instant,
    memory: Memory,
    classes: Option<(Vec<Class>, Vec<Class>)>,
    /// When its last frames were sent,
    sent: Instant,
    /// and the moments of its flows as they were before.
    moments: Vec<Instant>,
    /// Whether it differs, and began to as a flow's time was up.
    doubtful: Option<bool>,
}

/// Both trackers on one set of wires.
pub(crate) struct Stage<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) kernel: Kernel,
    pub(crate) ours: Ours,
    pub(crate) exceptions: Exceptions,
}

impl Stage<'_> {
    /// Plays all scenarios to their ends, under the settings of a profile, with waits
    /// that are so much longer than they say.
    pub(crate) fn play(
        &mut self,
        profile: &str,
        scenarios: &[Scenario],
        longer: Duration,
    ) -> Report {
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
                sent: now,
                moments: Vec::new(),
                doubtful: None,
            })
            .collect();
        loop {
            let now = Instant::now();
            let mut moved = Vec::new();
            // One that has begun is to end, for between its steps the flows grow old.
            for (index, player) in players.iter_mut().enumerate() {
                if player.ready <= now && self.advance(player, longer) {
                    moved.push(index);
                }
                if moved.len() == BATCH {
                    break;
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
            self.compare(profile, &mut players, &moved, &mut report);
        }
    }

    /// One step of one scenario; false if it is over or now waits.
    fn advance(&mut self, player: &mut Player<'_>, longer: Duration) -> bool {
        let Some(step) = player.scenario.steps.get(player.next) else {
            return false;
        };
        player.next += 1;
        match step {
            Step::Send(end, frames, what) => {
                if crate::is_traced() {
                    println!(
                        "{} step {}: {end:?} {what}",
                        player.scenario.name, player.next
                    );
                }
                player.sent = Instant::now();
                player.classes = Some(self.send(*end, frames));
                true
            }
            Step::Wait(time) => {
                player.ready = Instant::now() + *time + longer;
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

    /// Both tables, the kernel's first. A flow may expire between the two readings:
    /// as long as one that is about to, and was there when its scenario was last looked
    /// at, is on one side only, they are read again.
    fn read(&mut self, players: &[Player<'_>]) -> Reading {
        let were: HashMap<Number, &Memory> = players
            .iter()
            .map(|it| ((it.scenario.v6, it.scenario.number), &it.memory))
            .collect();
        let was = |tuple: &Tuple| {
            number(tuple)
                .and_then(|it| were.get(&it))
                .is_some_and(|memory| memory.had(tuple))
        };

        for patience in (0..20).rev() {
            let begin = Instant::now();
            let theirs = self.kernel.flows();
            let (now, civil) = (Instant::now(), civil());
            let flows = self.ours.flows();
            let own = table(&flows);
            let late = begin.elapsed().as_secs();
            if patience == 0 || !ends(&theirs, &own, late, was) {
                let mut moments = HashMap::<_, Vec<_>>::new();
                for flow in &flows {
                    if let Some(number) = number(&flow.original.tuple) {
                        let of = deadline::of(flow, now, civil);
                        moments.entry(number).or_default().extend(of);
                    }
                }
                return Reading {
                    theirs: by_scenario(theirs),
                    own: by_scenario(own),
                    moments,
                    late,
                };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        unreachable!("the last reading is taken as it is")
    }

    fn compare(
        &mut self,
        profile: &str,
        players: &mut [Player<'_>],
        moved: &[usize],
        report: &mut Report,
    ) {
        let mut reading = self.read(players);
        let read = Instant::now();
        for index in moved {
            let player = &mut players[*index];
            let name = &player.scenario.name;
            let number = (player.scenario.v6, player.scenario.number);
            let theirs = reading.theirs.remove(&number).unwrap_or_default();
            let own = reading.own.remove(&number).unwrap_or_default();
            if crate::is_traced() {
                println!(
                    "    after step {}: nf_conntrack {theirs:?}, ours {own:?}",
                    player.next
                );
            }
            let classes = player.classes.take();
            let classes = classes.as_ref().map(|(a, b)| (a.as_slice(), b.as_slice()));
            let late = reading.late;
            let near = deadline::within(&player.moments, player.sent, read)
                || ends(&theirs, &own, late, |tuple| {
                    // On a busy machine a new one, too, may be gone before it is read.
                    player.memory.had(tuple) || read - player.sent > SHORTEST
                });
            let found = compare::step(&theirs, &own, late, classes, &mut player.memory);
            player.moments = reading.moments.remove(&number).unwrap_or_default();
            report.steps += 1;
            let (known, unknown): (Vec<_>, Vec<_>) = found.into_iter().partition(|difference| {
                self.exceptions
                    .allow(profile, name, difference.field, &mut report.used)
            });
            if !unknown.is_empty() {
                // What comes after a difference comes of it.
                let doubtful = *player.doubtful.get_or_insert(near);
                let text = describe(profile, player, &unknown);
                let place = if doubtful {
                    &mut report.doubtful
                } else {
                    &mut report.found
                };
                place.step(name, &unknown, text);
            } else if !known.is_empty() {
                report.excepted += 1;
                let core = known.iter().any(|it| it.field.is_core());
                report.excepted_core += usize::from(core);
            }
        }
    }
}

/// Whether a flow that was there before and that one of the two no longer has was to
/// expire while they were read.
fn ends(theirs: &Table, own: &Table, late: u64, was: impl Fn(&Tuple) -> bool) -> bool {
    let lone = |one: &Table, other: &Table| {
        one.iter()
            .any(|(tuple, entry)| entry.timeout <= late && !other.contains_key(tuple) && was(tuple))
    };
    lone(theirs, own) || lone(own, theirs)
}

fn describe(profile: &str, player: &Player<'_>, differences: &[Difference]) -> String {
    let mut text = format!("{profile} {} step {}", player.scenario.name, player.next);
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

/// Nanoseconds since 1970.
fn civil() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a time after 1970").as_nanos() as i64
}

fn number(tuple: &Tuple) -> Option<Number> {
    owner(tuple.src).or_else(|| owner(tuple.dst))
}

fn by_scenario(table: Table) -> HashMap<Number, Table> {
    let mut scenarios = HashMap::<_, Table>::new();
    for (tuple, entry) in table {
        if let Some(number) = number(&tuple) {
            scenarios.entry(number).or_default().insert(tuple, entry);
        }
    }
    scenarios
}
