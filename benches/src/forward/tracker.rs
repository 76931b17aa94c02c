//! What looks at the packets that a router forwards.

use std::fs;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use conntrack::Mode;
use conntrack::NetnsRef;
use conntrack::Tracker;
use libbpf_rs::Link;
use nix::sys::resource::UsageWho;
use nix::sys::resource::getrusage;
use nix::sys::time::TimeValLike;
use serde::Serialize;

use super::netns::Netns;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::rig::load_floor;
use crate::skel::floor::FloorSkel;

/// Flows that our tables are made for.
const MAX_FLOWS: u32 = 1_000_000;

/// What there is on a router.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// XDP programs that do nothing: what it costs to have any on veth.
    EmptyXdp,
    /// Ours, on both interfaces: XDP on the way in, TC on the way out.
    Product,
    /// The kernel's own tracker, as one rule that asks for states switches it on.
    NfConntrack,
}

impl Kind {
    /// All of them, in the order of [`Kind`] as a number.
    pub const ALL: [Self; 4] = [
        Self::Plain,
        Self::EmptyXdp,
        Self::Product,
        Self::NfConntrack,
    ];
}

/// Empty programs on a router's interfaces.
pub(super) struct Empty {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Empty {
    fn drop(&mut self) {
        self.stop = None;
        // If it panicked it has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// It, switched on; dropping switches it off.
pub(super) struct Watcher {
    pub(super) kind: Kind,
    empty: Option<Empty>,
    ours: Option<Tracker>,
}

impl Watcher {
    /// Switches it on for two interfaces of a router.
    pub(super) fn start(kind: Kind, router: &Netns, interfaces: [&str; 2]) -> Result<Self> {
        let mut watcher = Self {
            kind,
            empty: None,
            ours: None,
        };
        match kind {
            Kind::Plain => {}
            Kind::EmptyXdp => watcher.empty = Some(empty(router, interfaces)?),
            Kind::Product => watcher.ours = Some(ours(router, interfaces)?),
            Kind::NfConntrack => kernel(router),
        }
        Ok(watcher)
    }

    /// How many flows it knows; `None` if it knows of none ever.
    pub(super) fn flows(&self, router: &Netns) -> Result<Option<u64>> {
        if let Some(tracker) = &self.ours {
            return Ok(Some(tracker.stats()?.flows.active));
        }
        if self.kind != Kind::NfConntrack {
            return Ok(None);
        }
        let path = "/proc/sys/net/netfilter/nf_conntrack_count";
        let text = router.run(|| fs::read_to_string(path));
        let text = text.context(&format!("read {path}"))?;
        Ok(text.trim().parse().ok())
    }
}

/// Has conntrack-tools print nf_conntrack's flows; how many they were, and the CPU time
/// it took.
pub(super) fn list(router: &Netns) -> Result<(u64, Duration)> {
    let tool = tool().ok_or_else(|| Error::Wrong {
        row: "conntrack -L".to_owned(),
        what: "conntrack-tools is not installed".to_owned(),
    })?;
    let before = children()?;
    let output = router.run(|| {
        let mut list = Command::new(tool);
        list.args(["-L", "-o", "extended"]).stdout(Stdio::null());
        list.stderr(Stdio::piped()).output()
    });
    let output = output.context("run conntrack -L")?;
    let spent = children()? - before;
    // "conntrack v1.4.7 (conntrack-tools): 200000 flow entries have been shown."
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let count = said
        .rsplit(": ")
        .next()
        .and_then(|text| text.split(' ').next());
    let count = count.and_then(|text| text.parse().ok());
    let count = count.ok_or_else(|| Error::Wrong {
        row: "conntrack -L".to_owned(),
        what: said,
    })?;
    Ok((count, spent))
}

/// The program of conntrack-tools; ours may have the same name.
fn tool() -> Option<&'static str> {
    let is_it = |name: &&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("conntrack-tools"))
    };
    ["conntrack", "/usr/sbin/conntrack"].into_iter().find(is_it)
}

/// CPU time of the children that have ended.
fn children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask for the children's time")?;
    let micros = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    Ok(Duration::from_micros(
        micros.iter().sum::<i64>().unsigned_abs(),
    ))
}

fn empty(router: &Netns, interfaces: [&str; 2]) -> Result<Empty> {
    let mut indexes = Vec::new();
    for name in interfaces {
        let shown = router.sh(&format!("ip -o link show dev {name}"));
        let index: Option<i32> = shown.split(':').next().and_then(|text| text.parse().ok());
        indexes.push(index.ok_or_else(|| Error::Wrong {
            row: name.to_owned(),
            what: format!("no number of an interface in {shown:?}"),
        })?);
    }
    let (ready, attached) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    // What libbpf gives us stays with its thread, and that in the router's namespace.
    let thread = router.spawn(move || {
        let held = attach_empty(&indexes);
        let (held, result) = match held {
            Ok(held) => (Some(held), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Whoever waits for it is there; nobody ever sends the word to stop, but is gone.
        if ready.send(result).is_ok() {
            let _ = stopped.recv();
        }
        drop(held);
    });
    let empty = Empty {
        stop: Some(stop),
        thread: Some(thread),
    };
    attached.recv().map_err(|_| Error::Wrong {
        row: format!("{:?}", Kind::EmptyXdp),
        what: "its thread is gone".to_owned(),
    })??;
    Ok(empty)
}

fn attach_empty(indexes: &[i32]) -> Result<(FloorSkel<'static>, Vec<Link>)> {
    let floor = load_floor(1, 1)?;
    let attach = |index: &i32| floor.progs.empty_xdp.attach_xdp(*index);
    let links = indexes.iter().map(attach).collect::<libbpf_rs::Result<_>>();
    let links = links.context("attach an empty XDP program")?;
    Ok((floor, links))
}

fn ours(router: &Netns, interfaces: [&str; 2]) -> Result<Tracker> {
    let tracker = Tracker::builder()
        .interfaces(interfaces)
        .netns(NetnsRef::Path(router.path()))
        .mode(Mode::Native)
        .max_flows(MAX_FLOWS)
        .attach();
    Ok(tracker?)
}

/// Checksums are not verified, as ours are not.
fn kernel(router: &Netns) {
    router.sh("nft add table inet watch");
    router.sh("nft add chain inet watch seen { type filter hook prerouting priority 0 ; }");
    router.sh("nft add rule inet watch seen ct state new");
    router.sysctl("net/netfilter/nf_conntrack_acct", "1");
    router.sysctl("net/netfilter/nf_conntrack_checksum", "0");
}
