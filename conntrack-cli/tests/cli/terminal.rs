//! What is special on a terminal: the width, colours, redrawing, progress. The
//! terminal is a pseudo one.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::pty::Winsize;
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use nix::unistd::ttyname;

use crate::netns::Netns;
use crate::packets;
use crate::packets::Link;
use crate::replay::File as Capture;
use crate::run::finish;
use crate::run::program;

/// What `--watch` begins each picture with.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Which of its outputs a program has on the terminal.
#[derive(Copy, Clone, Eq, PartialEq)]
enum On {
    Stdout,
    Stderr,
}

/// A terminal with a program on it; killed when dropped.
struct Screen {
    master: File,
    tty: PathBuf,
    child: Child,
    seen: String,
}

impl Screen {
    fn start(mut command: Command, on: On, (columns, lines): (u16, u16)) -> Self {
        let size = Winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let tty = ttyname(&pty.slave).unwrap();
        match on {
            On::Stdout => command.stdout(pty.slave).stderr(Stdio::null()),
            On::Stderr => command.stderr(pty.slave),
        };
        // The command goes here, and with it our side of the terminal.
        let child = command.spawn().unwrap();
        Self {
            master: pty.master.into(),
            tty,
            child,
            seen: String::new(),
        }
    }

    /// Makes the window another size.
    fn resize(&self, (columns, lines): (u16, u16)) {
        let [columns, lines] = [columns, lines].map(|it| it.to_string());
        let mut stty = Command::new("stty");
        let size = ["cols", &columns, "rows", &lines];
        finish(stty.arg("-F").arg(&self.tty).args(size)).ok();
    }

    /// Reads on; `false` at the end, when no program has it open any more.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // Linux says so by an error.
        let Ok(len @ 1..) = self.master.read(&mut buffer) else {
            return false;
        };
        // ASCII, but for the mark of a cell that was cut.
        let text = String::from_utf8_lossy(&buffer[..len]).replace('\r', "");
        self.seen.push_str(&text);
        true
    }

    /// All that is shown, and how it ended.
    fn finish(mut self) -> (String, Option<i32>) {
        while self.read() {}
        let code = self.child.wait().unwrap().code();
        (std::mem::take(&mut self.seen), code)
    }

    /// Whole pictures since the last call, at least one.
    fn pictures(&mut self) -> Vec<String> {
        loop {
            let whole = self.seen.rfind(CLEAR).unwrap_or(0);
            let pictures: Vec<_> = self.seen[..whole].split(CLEAR).map(str::to_owned).collect();
            if pictures.iter().any(|it| !it.is_empty()) {
                self.seen.drain(..whole);
                return pictures.into_iter().filter(|it| !it.is_empty()).collect();
            }
            assert!(self.read(), "it ended: {}", self.seen);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text without what makes colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |done, part| {
        let (_, rest) = part.split_once('m').unwrap();
        done + rest
    })
}

fn story() -> Capture {
    Capture::new(&packets::pcap(Link::Ethernet, &packets::story(), 65_535))
}

fn replay(capture: &Capture) -> Command {
    let mut command = program();
    command.arg("replay").arg(&capture.path);
    command.env("TERM", "xterm");
    command
}

#[test]
#[ignore = "root"]
fn a_table_fits_the_terminal() {
    let capture = story();
    let whole = finish(&mut replay(&capture)).ok();
    let widest = whole.lines().map(str::len).max().unwrap();
    assert!(widest > 100, "{whole}");
    for columns in [66, 80, 100, widest, 300] {
        let size = (columns.try_into().unwrap(), 24);
        let (text, code) = Screen::start(replay(&capture), On::Stdout, size).finish();
        assert_eq!(code, Some(0), "{columns}: {text}");
        let text = plain(&text);
        assert_eq!(text.lines().count(), 4, "{columns}: {text}");
        for line in text.lines() {
            assert!(line.chars().count() <= columns, "{columns}: {text}");
        }
        let complete = text.lines().next() == whole.lines().next();
        assert_eq!(complete, columns >= widest, "{columns}: {text}");
        if columns >= widest {
            let sorted = |text: &str| {
                let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                lines.sort_unstable();
                lines
            };
            assert_eq!(sorted(&text), sorted(&whole));
        }
    }
}

#[test]
#[ignore = "root"]
fn colours_are_for_terminals_that_want_them() {
    let capture = story();
    let shown = |name: &str, value: &str| {
        let mut command = replay(&capture);
        command.env(name, value);
        let (text, code) = Screen::start(command, On::Stdout, (200, 24)).finish();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("ESTABLISHED"), "{text}");
        text
    };
    let green = "\x1b[32mESTABLISHED\x1b[0m";
    let wanted = shown("TERM", "xterm");
    assert!(wanted.contains(green), "{wanted:?}");
    let empty = shown("NO_COLOR", "");
    assert!(empty.contains(green), "{empty:?}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
        let text = shown(name, value);
        assert!(!text.contains('\x1b'), "{name}={value}: {text:?}");
    }
    let piped = finish(&mut replay(&capture)).ok();
    assert!(!piped.contains('\x1b'), "{piped:?}");
}

#[test]
#[ignore = "root"]
fn watching_redraws_the_screen() {
    let netns = Netns::new();
    netns.run(&["attach", "lo", "--max-flows", "1000"]).ok();
    let _open: Vec<_> = (0..20).map(|_| netns.connection()).collect();
    let watch = |args: &[&str]| {
        let mut command = netns.command(args);
        command.env("TERM", "xterm");
        Screen::start(command, On::Stdout, (120, 10))
    };
    let mut list = watch(&["list", "--watch", "0.1"]);
    let mut pictures = Vec::new();
    while pictures.len() < 3 {
        pictures.extend(list.pictures());
    }
    for picture in &pictures {
        let picture = plain(picture);
        assert!(picture.starts_with("PROTO "), "{picture:?}");
        // One line is left for the cursor.
        assert_eq!(picture.lines().count(), 9, "{picture}");
    }
    // The window may become another one at any time.
    list.resize((70, 6));
    let smaller = |picture: &str| {
        let picture = plain(picture);
        let narrow = picture.lines().all(|line| line.chars().count() <= 70);
        narrow && picture.lines().count() == 5
    };
    while !list.pictures().iter().any(|picture| smaller(picture)) {}
    kill(Pid::from_raw(list.child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(list.finish().1, Some(0));

    let mut stats = watch(&["stats", "--watch", "--interval", "0.1"]);
    for picture in [stats.pictures(), stats.pictures()].concat() {
        assert_eq!(picture.matches("ESTABLISHED 20").count(), 1, "{picture}");
    }
    drop(stats);
    // Elsewhere nothing is cleared.
    let mut command = netns.command(&["list", "--watch", "0.1", "--no-header"]);
    command.env("NO_COLOR", "1");
    let mut list = Screen::start(command, On::Stdout, (120, 10));
    while list.seen.matches("ESTABLISHED").count() < 50 {
        assert!(list.read(), "{}", list.seen);
    }
    assert!(!list.seen.contains('\x1b'), "{:?}", list.seen);
}

/// The same packets over and over, so many times.
fn large(times: usize) -> Capture {
    let some = packets::pcap(Link::Ethernet, &packets::many(10_000), 65_535);
    let (head, records) = some.split_at(24);
    let mut file = head.to_vec();
    (0..times).for_each(|_| file.extend(records));
    Capture::new(&file)
}

#[test]
#[ignore = "root"]
fn a_large_capture_shows_progress() {
    let shown = |capture: &Capture| {
        let mut command = replay(capture);
        command.args(["--stats"]).stdout(Stdio::null());
        let (text, code) = Screen::start(command, On::Stderr, (80, 24)).finish();
        assert_eq!(code, Some(0), "{text}");
        text
    };
    assert_eq!(shown(&story()), "", "a small one does not");
    // How long one takes depends on the machine.
    let mut times = 50;
    let text = loop {
        let text = shown(&large(times));
        if !text.is_empty() {
            break text;
        }
        times *= 4;
        assert!(times <= 1000, "ten million packets show nothing");
    };
    let lines: Vec<_> = text.split("\x1b[K").filter(|it| !it.is_empty()).collect();
    let mut before = (0, 0);
    for line in lines {
        let (percent, rest) = line.split_once("%, ").unwrap();
        let (packets, _) = rest.split_once(" packets").unwrap();
        let now: (u64, u64) = (percent.trim().parse().unwrap(), packets.parse().unwrap());
        assert!(now.0 >= before.0 && now.1 > before.1, "{text:?}");
        assert!(now.0 <= 100 && now.1 <= times as u64 * 10_000, "{text:?}");
        before = now;
    }
    assert!(before.1 > 0, "{text:?}");
    assert!(text.ends_with("\x1b[K"), "the line is taken away: {text:?}");
}

#[test]
#[ignore = "root"]
fn a_slow_pipe_shows_progress_too() {
    let some = packets::pcap(Link::Ethernet, &packets::many(1000), 65_535);
    let mut command = program();
    command.args(["replay", "-", "-o", "jsonl"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut screen = Screen::start(command, On::Stderr, (80, 24));
    let mut pipe = screen.child.stdin.take().unwrap();
    pipe.write_all(&some).unwrap();
    // More and more, until it says something: how long that is, is its affair.
    let more = some[24..].to_vec();
    let writer = std::thread::spawn(move || {
        // An error: it was told to end.
        while pipe.write_all(&more).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    while !screen.seen.contains(" packets") {
        assert!(screen.read(), "{}", screen.seen);
    }
    assert!(!screen.seen.contains('%'), "of what? {:?}", screen.seen);
    drop(screen);
    writer.join().unwrap();
}
