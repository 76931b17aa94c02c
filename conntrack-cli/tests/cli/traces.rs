//! What a program and its children have of the kernel's, and what is left of it
//! once they are gone. Other programs may come and go meanwhile: everything is
//! known by its number.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use libbpf_rs::query::LinkInfoIter;
use libbpf_rs::query::MapInfoIter;
use libbpf_rs::query::ProgInfoIter;
use libbpf_rs::query::ProgInfoQueryOptions;

/// A variable of the environment that children inherit.
const MARK: &str = "CONNTRACK_TEST_TRACES";

/// Lets a program, and all that it starts, be found again by a word.
pub(crate) fn mark(command: &mut Command, word: &str) {
    command.env(MARK, word);
}

/// What a program had while it ran.
#[derive(Debug)]
pub(crate) struct Traces {
    word: String,
    instance: String,
    /// Its network namespaces, held here too: their numbers are nobody else's.
    pub(crate) namespaces: BTreeMap<u64, File>,
    pub(crate) maps: BTreeSet<u32>,
    /// Programs that use its maps, by name, and the links of those.
    pub(crate) programs: BTreeMap<u32, String>,
    pub(crate) links: BTreeSet<u32>,
}

impl Traces {
    /// Of marked programs that run; the namespace of this one aside.
    pub(crate) fn of(word: &str, instance: String) -> Self {
        let ours = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let mut namespaces = BTreeMap::new();
        let mut found = Fds::default();
        for process in marked(word) {
            for path in namespaces_of(&process) {
                // A thread may end meanwhile.
                let Ok(file) = File::open(path) else { continue };
                let number = file.metadata().unwrap().ino();
                if number != ours {
                    namespaces.insert(number, file);
                }
            }
            found.add(&process);
        }
        let programs = programs_with(&found.maps);
        let used = LinkInfoIter::default().filter(|link| programs.contains_key(&link.prog_id));
        found.links.extend(used.map(|link| link.id));
        Self {
            word: word.to_owned(),
            instance,
            namespaces,
            maps: found.maps,
            programs,
            links: found.links,
        }
    }

    /// All of it is gone, or goes as soon as the kernel has time.
    #[track_caller]
    pub(crate) fn assert_gone(mut self, when: &str) {
        eventually(when, "processes", || marked(&self.word));
        let numbers: BTreeSet<u64> = self.namespaces.keys().copied().collect();
        eventually(when, "namespaces", || holders(&numbers));
        // Now they go too, and filters with them.
        self.namespaces.clear();
        eventually(when, "links", || {
            let mut links = LinkInfoIter::default();
            let left = links.find(|link| {
                self.links.contains(&link.id) || self.programs.contains_key(&link.prog_id)
            });
            left.map(|link| link.id).into_iter().collect::<Vec<_>>()
        });
        eventually(when, "programs", || {
            let left = ProgInfoIter::default().filter(|it| self.programs.contains_key(&it.id));
            let left = left.map(|it| (it.id, it.name.into_string().unwrap()));
            left.chain(programs_with(&self.maps)).collect::<Vec<_>>()
        });
        eventually(when, "maps", || {
            let left = MapInfoIter::default().filter(|it| self.maps.contains(&it.id));
            left.map(|it| it.id).collect::<Vec<_>>()
        });
        eventually(when, "files", || files(&self.instance));
    }
}

/// Waits until there is none.
#[track_caller]
fn eventually<T: Debug>(when: &str, what: &str, left: impl Fn() -> Vec<T>) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let left = left();
        if left.is_empty() {
            return;
        }
        assert!(
            Instant::now() < end,
            "{when}: {what} left behind: {left:#?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Entries of a folder; none if there is no such folder, any more.
fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn processes() -> Vec<PathBuf> {
    let mut all = entries("/proc");
    all.retain(|path| path.file_name().unwrap().as_encoded_bytes()[0].is_ascii_digit());
    all
}

/// Processes with this word in their environment; a dead one has none.
fn marked(word: &str) -> Vec<PathBuf> {
    let mark = format!("{MARK}={word}");
    let has = |process: &PathBuf| {
        let environ = fs::read(process.join("environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|it| it == mark.as_bytes())
    };
    processes().into_iter().filter(has).collect()
}

/// Everything in a process's folder that may be a network namespace.
fn namespaces_of(process: &Path) -> Vec<PathBuf> {
    let threads = entries(process.join("task"));
    let mut paths: Vec<_> = threads.iter().map(|it| it.join("ns/net")).collect();
    paths.extend(entries(process.join("fd")).into_iter().filter(|path| {
        let target = fs::read_link(path).unwrap_or_default();
        target.to_str().is_some_and(|it| it.starts_with("net:["))
    }));
    paths
}

/// What holds one of these namespaces, this process aside: threads, open files
/// and mounts.
fn holders(numbers: &BTreeSet<u64>) -> Vec<PathBuf> {
    let names: BTreeSet<String> = numbers.iter().map(|it| format!("net:[{it}]")).collect();
    let mut found = Vec::new();
    for process in processes() {
        let mounts = process.join("mountinfo");
        let text = fs::read_to_string(&mounts).unwrap_or_default();
        if text.split_whitespace().any(|word| names.contains(word)) {
            found.push(mounts);
        }
        if process.ends_with(process::id().to_string()) {
            continue;
        }
        found.extend(namespaces_of(&process).into_iter().filter(|path| {
            let target = fs::read_link(path).unwrap_or_default();
            target.to_str().is_some_and(|it| names.contains(it))
        }));
    }
    found
}

/// What is open in a process, by `fdinfo`.
#[derive(Default)]
struct Fds {
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Fds {
    fn add(&mut self, process: &Path) {
        for path in entries(process.join("fdinfo")) {
            let text = fs::read_to_string(path).unwrap_or_default();
            for line in text.lines() {
                let (name, value) = line.split_once(':').unwrap_or_default();
                match (name, value.trim().parse()) {
                    ("map_id", Ok(id)) => self.maps.insert(id),
                    ("link_id", Ok(id)) => self.links.insert(id),
                    _ => false,
                };
            }
        }
    }
}

/// Programs that use one of these maps.
fn programs_with(maps: &BTreeSet<u32>) -> BTreeMap<u32, String> {
    let opts = ProgInfoQueryOptions::default().include_map_ids(true);
    let all = ProgInfoIter::with_query_opts(opts);
    let using = all.filter(|it| it.map_ids.iter().any(|id| maps.contains(id)));
    using
        .map(|it| (it.id, it.name.into_string().unwrap()))
        .collect()
}

/// Pins and locks of an instance, of whatever layout.
fn files(instance: &str) -> Vec<PathBuf> {
    let mut all = entries("/run/conntrack");
    for layout in entries("/sys/fs/bpf/conntrack") {
        all.extend(entries(layout));
    }
    let lock = format!("{instance}.");
    all.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == instance || name.starts_with(&lock)
    });
    all
}
