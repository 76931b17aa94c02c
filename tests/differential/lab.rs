//! Three namespaces in a row: client, router, server. The router forwards and
//! tracks; the two ends hold no address, so nothing but our frames is on the
//! wires.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::process::Stdio;

use nix::ifaddrs::getifaddrs;
use nix::sched::CloneFlags;
use nix::sched::setns;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::LinkAddr;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrLike;
use nix::sys::socket::bind;
use nix::sys::socket::send;
use nix::sys::socket::socket;

/// Who sends a frame.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum End {
    Client,
    Server,
}

impl End {
    /// The MAC address of its device.
    pub(crate) fn mac(self) -> [u8; 6] {
        [2, 0, 0, 0, self as u8, 2]
    }

    /// The MAC address of the router's device on its side.
    pub(crate) fn gateway(self) -> [u8; 6] {
        [2, 0, 0, 0, self as u8, 1]
    }

    fn text(mac: [u8; 6]) -> String {
        mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

/// The namespaces and a raw socket at either end.
pub(crate) struct Lab {
    names: [String; 3],
    ends: [OwnedFd; 2],
}

impl Lab {
    /// Builds it; `name` keeps several apart.
    pub(crate) fn new(name: &str) -> Self {
        let names = ["c", "r", "s"].map(|role| format!("ctdiff{}{name}{role}", std::process::id()));
        let guard = Namespaces(&names);
        for name in guard.0 {
            run("ip", &["netns", "add", name]);
        }
        let [client, router, server] = &names;
        batch(None, &wires(router, client, server));
        for (end, addresses) in [(client, false), (router, true), (server, false)] {
            quiet(end, addresses);
        }
        batch(Some(client), "link set lo up\nlink set c0 up\n");
        batch(Some(server), "link set lo up\nlink set s0 up\n");
        batch(Some(router), &routes());
        for device in ["r0", "r1"] {
            run(
                "ip",
                &["netns", "exec", router, "ethtool", "-K", device]
                    .iter()
                    .copied()
                    .chain(OFFLOADS)
                    .collect::<Vec<_>>(),
            );
        }
        let ends = [open_end(client, "c0"), open_end(server, "s0")];
        std::mem::forget(guard);
        Self { names, ends }
    }

    /// The router's namespace.
    pub(crate) fn router(&self) -> &str {
        &self.names[1]
    }

    /// Puts a frame on the wire.
    pub(crate) fn send(&self, end: End, frame: &[u8]) {
        let fd = self.ends[end as usize].as_raw_fd();
        let sent = send(fd, frame, MsgFlags::empty()).expect("send a frame");
        assert_eq!(sent, frame.len(), "part of a frame");
    }

    /// Writes a sysctl of the router.
    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        sysctl(self.router(), key, value);
    }

    /// Feeds rules to nft in the router.
    pub(crate) fn nft(&self, rules: &str) {
        feed(
            "ip",
            &["netns", "exec", self.router(), "nft", "-f", "-"],
            rules,
        );
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        Namespaces(&self.names);
    }
}

/// Takes the namespaces away, also when the set-up fails half-way.
struct Namespaces<'a>(&'a [String; 3]);

impl Drop for Namespaces<'_> {
    fn drop(&mut self) {
        for name in self.0 {
            // One that was not made yet cannot be deleted.
            let _ = Command::new("ip")
                .args(["netns", "del", name])
                .stderr(Stdio::null())
                .status();
        }
    }
}

const OFFLOADS: [&str; 10] = [
    "tx", "off", "tso", "off", "gso", "off", "gro", "off", "rx", "on",
];

/// One queue each, so that frames keep their order.
fn wires(router: &str, client: &str, server: &str) -> String {
    [
        (End::Client, "r0", "c0", client),
        (End::Server, "r1", "s0", server),
    ]
    .map(|(end, near, far, name)| {
        format!(
            "link add {near} netns {router} address {} numtxqueues 1 numrxqueues 1 type veth \
                 peer name {far} netns {name} address {} numtxqueues 1 numrxqueues 1\n",
            End::text(end.gateway()),
            End::text(end.mac()),
        )
    })
    .concat()
}

fn routes() -> String {
    let mut commands = "link set lo up\n".to_owned();
    for (end, device, n) in [(End::Client, "r0", 1), (End::Server, "r1", 2)] {
        let mac = End::text(end.mac());
        commands += &format!(
            "link set {device} up\n\
             addr add 10.255.{n}.1/24 dev {device}\n\
             neigh replace 10.255.{n}.2 lladdr {mac} dev {device} nud permanent\n\
             route add 10.{n}.0.0/16 via 10.255.{n}.2 dev {device}\n\
             addr add fdff:0:0:{n}::1/64 dev {device} nodad\n\
             neigh replace fdff:0:0:{n}::2 lladdr {mac} dev {device} nud permanent\n\
             route add fd00:{n}::/32 via fdff:0:0:{n}::2 dev {device}\n"
        );
    }
    commands
}

/// Nothing of the kernel's own on the wires, and no opinion about addresses.
fn quiet(netns: &str, forward: bool) {
    for area in ["all", "default"] {
        sysctl(netns, &format!("net.ipv6.conf.{area}.accept_dad"), "0");
        sysctl(
            netns,
            &format!("net.ipv6.conf.{area}.router_solicitations"),
            "0",
        );
        sysctl(netns, &format!("net.ipv4.conf.{area}.rp_filter"), "0");
    }
    sysctl(netns, "net.ipv6.conf.default.addr_gen_mode", "1");
    if forward {
        sysctl(netns, "net.ipv4.ip_forward", "1");
        sysctl(netns, "net.ipv6.conf.all.forwarding", "1");
        for device in ["r0", "r1"] {
            sysctl(netns, &format!("net.ipv4.conf.{device}.rp_filter"), "0");
            sysctl(
                netns,
                &format!("net.ipv4.conf.{device}.send_redirects"),
                "0",
            );
            sysctl(netns, &format!("net.ipv6.conf.{device}.addr_gen_mode"), "1");
            sysctl(
                netns,
                &format!("net.ipv6.conf.{device}.router_solicitations"),
                "0",
            );
        }
        return;
    }
    for device in [
        "all",
        "default",
        if netns.ends_with('c') { "c0" } else { "s0" },
    ] {
        sysctl(netns, &format!("net.ipv6.conf.{device}.disable_ipv6"), "1");
    }
}

fn sysctl(netns: &str, key: &str, value: &str) {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    in_netns(netns, || {
        // /proc/sys/net shows the namespace of the thread that opens it.
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(value.as_bytes()))
            .unwrap_or_else(|error| panic!("{path} = {value}: {error}"));
    });
}

/// Runs `work` on a thread inside the namespace.
pub(crate) fn in_netns<T: Send>(netns: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let file = File::open(format!("/run/netns/{netns}")).expect("open the namespace");
            setns(file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
            work()
        });
        inside.join().expect("work in the namespace")
    })
}

fn open_end(netns: &str, device: &str) -> OwnedFd {
    in_netns(netns, || {
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .expect("open a packet socket (needs root)");
        bind(fd.as_raw_fd(), &link_address(device)).expect("bind the packet socket");
        fd
    })
}

fn link_address(device: &str) -> LinkAddr {
    getifaddrs()
        .expect("list the devices")
        .filter(|entry| entry.interface_name == device)
        .find_map(|entry| {
            entry
                .address
                .and_then(|address| address.as_link_addr().copied())
        })
        .inspect(|address| assert!(address.len() > 0))
        .expect("the device has a link address")
}

fn batch(netns: Option<&str>, commands: &str) {
    let mut arguments = netns.map_or_else(Vec::new, |name| vec!["-n", name]);
    arguments.extend(["-batch", "-"]);
    feed("ip", &arguments, commands);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn feed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(input.as_bytes()).expect("feed the program");
    drop(stdin);
    let status = child.wait().expect("wait for the program");
    assert!(
        status.success(),
        "{program} {arguments:?} refused:\n{input}"
    );
}
