//! The longer texts of `--help`.

/// Stands for the name of the program in them.
pub(super) const PROGRAM: &str = "{program}";

pub(super) const ABOUT: &str = "Connection tracking in eBPF: follows every connection of the \
    interfaces you name, by nf_conntrack's rules";

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 done (an empty list too); 1 no such flow or ban (list KEY, delete,
unban), a ban that must not be, a flush answered with no; 2 bad arguments or
configuration, a file that can't be read; 3 it failed at run time. `doctor`: 4 works
with fallbacks; 5 can't work here. Data goes to stdout, words to stderr.";

pub(super) const MORE: &str = "\
Examples:
  {program} doctor eth0                 what this host can do, and would do
  {program} attach eth0 eth1            follow connections, until detach
  {program} list -p tcp --state ESTABLISHED --dport 443 --sort bytes --limit 20
  {program} list --src 10.0.0.0/8 -o json
  {program} list --watch
  {program} ports --window 5m            how many reach which port
  {program} icmp --errors                who can't be reached, and who says so
  {program} stats --interval 5
  {program} delete -p udp --src 10.0.0.7
  {program} ban 203.0.113.0/24 --ttl 10m --reason scan
  {program} banned
  {program} threshold set 50             no more new connections a second and source
  {program} config set tcp_timeout_established=86400
  {program} resize --max-flows 1000000  room for more, without a gap
  {program} upgrade                     this binary's programs, without a gap
  {program} replay capture.pcapng -o session
  {program} detach
  {program} demo                        all of it, in namespaces it makes

Exit codes:
  0  done; an empty list is still 0
  1  the flow or ban that was asked for isn't there; a ban would cut off this host
     or its operator; flush was answered with no
  2  bad arguments or configuration; a file named there (--config, --file, --p0f-fp,
     a capture) that can't be read, or is none of its kind
  3  it failed at run time: no permission, not attached, what is asked for is
     switched off, the kernel said no; a capture is cut or damaged, and what is
     before that is shown
  4  doctor: works, with fallbacks
  5  doctor: can't work here
Data goes to stdout, words to stderr.

Environment: NO_COLOR (no colours), RUST_LOG (what is logged to stderr),
CONNTRACK_STATE_DIR (where bans are kept over a restart; empty: nowhere).";

pub(super) const ATTACH: &str = "\
Examples:
  {program} attach eth0 eth1
  {program} attach 'eth*' wg0
  {program} attach --all
  {program} attach eth0 --mode tc --max-flows 1000000
  {program} attach --config conntrack.yaml --foreground --interval 5
  {program} attach 'veth*' --foreground --follow
  {program} --netns web --instance web attach veth0

Attaching to a running tracker adds interfaces to it. Of those that are named,
either all are attached to or none; of those that a pattern matches, as many as can
be. A pattern that matches nothing is an error; one whose matches are all attached
already is none.";

pub(super) const FOLLOW: &str = "\
Examples:
  {program} follow --all
  {program} follow eth0 'veth*' wg0

For a tracker that `attach` left running. It needs this process: the kernel tells
of interfaces (rtnetlink) only who listens. It goes on until it is interrupted or
the tracker is detached (exit code 0, too); what is attached then stays attached.

Interfaces that are made, renamed or moved here and match are attached to. Those
that vanish are cleared away, their flows stay. Those that match no more are detached
from, and so are those that come to stand above another that is attached: a bridge
that gets ports gives way to them. Devices stacked on attached ones are known at
once, so that nothing counts twice. What somebody else detaches stays so until it is
renamed or made anew. Each is told: what is attached to and detached from on stdout,
what is left out, and why, on stderr. A line for which there is no room, because nobody
reads it, is left out, and counted.";

pub(super) const DETACH: &str = "\
Examples:
  {program} detach
  {program} detach eth1
  {program} --instance web detach --force

--force is for a tracker that another version set up, with maps of a layout that
this version does not know, when that version is not at hand: other commands say
so and name its pins. It looks whether each pin is of a kind and name that our
versions pin, changes nothing if one is not, and else takes the programs off,
whichever namespace they are in. Its flows are gone then. A clsact qdisc (kernels
before 6.6) stays: `tc qdisc del dev IFACE clsact` if it is nobody else's.";

pub(super) const UPGRADE: &str = "\
Examples:
  {program} upgrade
  {program} --instance web upgrade

Loads the programs of this binary upon the maps of the running tracker, and puts
them behind its hooks, each in one step: no packet passes unseen, none is counted
twice. Flows, counters, settings, interfaces and listeners stay. On all hooks, or
on none. If it is killed on the way, the tracker runs on with programs of both
versions; `status` says so, and another `upgrade` ends it.

It needs a binary whose maps have the same layout (`status` shows the layout). A
tracker of another layout has to be detached, and its flows are lost: see `detach
--help`. A tracker in the foreground ends with its process: end that, and start it anew
with this version. Its flows are gone then; its bans are kept.";

pub(super) const RESIZE: &str = "\
Examples:
  {program} resize --max-flows 1000000
  {program} resize --max-memory 512M
  {program} -c conntrack.yaml resize

The tracker gets new tables, and flows move there: with their next packet, or by this
command, which waits for the last of them. No packet passes unseen, no flow is lost,
counters and events go on; who has the tracker open finds the new tables by itself.
Without a size it is the configuration file's. With --max-flows alone there is room for
half as many IPv6 flows, with --max-flows-v6 alone the IPv4 table stays as it is.

Both tables take memory until it is done. A size of which the flows there are would take
more than 80 %, or that takes more memory than there is, is refused, and nothing is
changed (exit code 2). If it is killed on the way, the tracker runs on with both tables; `status` says so,
and another `resize` ends it. A tracker in the foreground can't be resized: end its
process, and start it anew with this size.";

pub(super) const DOCTOR: &str = "\
Exit codes: 0 everything; 4 works with fallbacks; 5 can't work here.";

pub(super) const PORTS: &str = "\
Examples:
  {program} ports
  {program} ports --window 24h --dst local
  {program} ports --port 22,8000-8999 --protocol tcp -o json
  {program} ports --port 22 --list        who, and how often

Source addresses of new connections that came in, each once: a SYN of TCP, the first
datagram of a UDP flow. What bans and limits drop is none. Windows have any length up to
now, and are right from the first connection on. Up to 4,096 sources of a port they are
known one by one and the count is exact; beyond it, it is estimated (PRECISION), which the
configuration's `ports` can change. `at least`: some were not entered, because they scanned
many ports, or had to give way to others.";

pub(super) const ICMP: &str = "\
Examples:
  {program} icmp
  {program} icmp --type echo-request -o json
  {program} icmp --errors
  {program} icmp --errors --type time-exceeded --dst 192.0.2.1
  {program} icmp --errors --related --protocol udp --port 53
  {program} list -p icmp                 the queries, as flows

Counts are of every ICMP and ICMPv6 packet whose header could be read, since the tracker
was set up, neighbour discovery included. An error is recorded with the packet inside it:
addresses, protocol and ports. RELATED are those about a flow that was known then, sent back
to who began that packet; all others are INVALID. 4,096 errors are kept, the least recently
seen give way; of a flood each CPU records 64 new ones in a tenth of a second and counts
the others.";

pub(super) const LIST: &str = "\
Examples:
  {program} list -p tcp --state ESTABLISHED --dport 443 --sort bytes --limit 20
  {program} list --addr 2001:db8::/32 -o jsonl
  {program} list tcp 10.0.0.1:40000 10.0.0.2:80
  {program} list 'udp [fe80::1]:53 [fe80::2]:9000' -o json
  {program} list icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=77

Units: bytes are IP total lengths, shown in units of 1024 in the table (exact in
every other form); times are seconds unless they say otherwise. A KEY that isn't
in the table is exit code 1.";

pub(super) const EVENTS: &str = "\
Examples:
  {program} events
  {program} events --type new,destroy -p tcp --dport 443 -o jsonl
  {program} events --type pressure
  {program} events --type ban,unban

Up to eight can listen at once; each gets everything it asked for. The kernel
never waits for a listener: what finds no room in its buffer is lost to it, and a
`lost` line says how much, by type. A DESTROY comes when a packet needs the slot, or
with the background sweep: at most `sweep.interval` (10 s) after the flow's time was
up, at which instant it is gone for packets and `list`. Its reason is one of timeout,
fin, rst, evicted, replaced, deleted, flushed. Bans are told that commands, programs and
limits make or change, and those that are taken back: once, also those of both ways and dry
runs. Not told are those of lists and of fingerprints, that `confirm` has come, nor that a
ban's time is up. Of conditions only addresses and family concern them.";

pub(super) const DELETE: &str = "\
Examples:
  {program} delete tcp 10.0.0.1:40000 10.0.0.2:80
  {program} delete -p udp --src 10.0.0.0/8 --dport 53
  {program} delete -i eth1 --state TIME_WAIT

Give a key or conditions, which must all hold; without any it is refused. How many
flows were deleted goes to stderr; none is exit code 1. The next packet of a deleted flow
begins it anew, unless its protocol has it INVALID there (TCP in mid-stream, with
tcp_loose=0).";

pub(super) const FINGERPRINTS: &str = "\
Examples:
  {program} fingerprints
  {program} fingerprints --by source 10.0.0.0/8 --kind syn
  {program} fingerprints --label linux --sort last -n 20
  {program} fingerprints -o json

A signature is p0f's, ver:ttl+distance:olen:mss:wsize,scale:olayout:quirks:pclass, of
SYNs and SYN+ACKs over IPv4 and IPv6; what each field means is in p0f's documentation.
SOURCE is the last that sent one, or whom a line is about; LAST is when. SYSTEM is what
p0f's file says, which is read when the command runs: without that file it is `?`.

What is not used for long goes where there is no room (see fingerprints: in
conntrack.example.yaml). Where too much that is new comes at once some of it is not
recorded; `stats` says how much.";

pub(super) const FLUSH: &str = "\
Deletes every flow there is, and says on stderr how many. At a terminal it asks
first; elsewhere it needs --yes (exit code 2 without). Flows that begin meanwhile
stay. No packet is lost: the next one of a deleted flow begins it anew.";

pub(super) const BAN: &str = "\
Examples:
  {program} ban 203.0.113.7 --ttl 10m --reason 'ssh scan'
  {program} ban 203.0.113.0/24 --scope tcp/443
  {program} ban 2001:db8::7                 its /64; with --exact itself alone
  {program} ban 198.51.100.0/22 --dry-run   what would be dropped? see `banned`
  {program} ban --file drop.txt --list drop --replace
  {program} ban --file drop.txt --preview     what would it cut?
  {program} ban --fingerprint '4:64-:0:*:1024,0:mss::0' --dry-run
  {program} ban 0.0.0.0/1 --force --confirm 60s   then, if you are still there: {program} confirm

From the next packet on, in every flow, also those that are there; they go on when
the ban ends. The kernel counts its time, whether or not anything of ours runs. What
is banned already is changed: time, reason, direction; its counts go on.

Never dropped are this host's own addresses, loopback, the default gateways, neighbour
discovery, ARP, the other ends of SSH sessions, and what `allow` or the configuration
says. A ban that touches them is refused with the reason, exit code 1. With --force it
is made; they pass all the same.";

pub(super) const UNBAN: &str = "\
Examples:
  {program} unban 203.0.113.7
  {program} unban 203.0.113.7 --except      though 203.0.113.0/24 is banned
  {program} unban 203.0.113.0/24 --scope tcp/443
  {program} unban --list drop
  {program} unban --all

Exactly what was banned: an address that a banned network contains is not unbanned by
itself; then the network is named, exit code 1. An IPv6 address stands for its /64
as well. What is not banned is exit code 1, too.";

pub(super) const BANNED: &str = "\
Examples:
  {program} banned
  {program} banned 203.0.113.7              what concerns it
  {program} banned --origin manual -o json
  {program} banned --lists
  {program} banned --origin list:drop -o ipset

LEFT is how long it lasts still; bytes are IP total lengths. HITS are packets that were
dropped, or that a dry run counted. In no order.";

pub(super) const ALLOW: &str = "\
Examples:
  {program} allow 192.0.2.10
  {program} allow 192.0.2.10 --remove
  {program} allow                           all of it, with how often it won

What is allowed wins over every ban; WON is how often, once a flow and change of bans, not
once a packet. `guard` is what the host and its operators need: it is found out anew with
each command about bans.";

pub(super) const THRESHOLD: &str = "\
Examples:
  {program} threshold set 50                    50 a second by an address; the excess is dropped
  {program} threshold set half_open=20 window=5s
  {program} threshold set new=50 action=ban ban_ttl=10m,1h,24h
  {program} threshold set new_per_prefix=500 new_per_port=20 action=count
  {program} threshold get -o json
  {program} threshold suspects -n 20
  {program} threshold off

Settings (defaults): action (drop; count, ban), new, new_per_prefix, new_per_port,
half_open, half_open_per_prefix, half_open_per_port (0: no limit), window (1s), prefix_v4
(24), prefix_v6 (64), ban_on (handshake; syn), ban_ttl (10m,1h,24h), ban_forget (1d). What
they mean is in conntrack.example.yaml. `set` keeps those it does not name, the window as
well, says which, and prints what is in force then; with --anew it begins with the defaults.

A connection is counted when it begins: a SYN of TCP, the first packet of a flow of
another protocol. What this host begins is not, nor what is never banned (see `allow`).
A source that stays within a limit in each window never loses a packet; one that does not
may begin twice as many in a window, and half as many more at first.

With action=ban, TCP handshakes that have come through count towards a ban, because the
source of a SYN can be forged, and so can a handshake whose packets all come in by one
interface, which does not count; what is begun and left alone is dropped. ban_on=syn bans
for the SYN alone. The kernel bans by itself; `banned --origin threshold` shows whom.
Limits are not written to any file; bans are, with the next command that changes bans or
detaches, and by a tracker in the foreground.";

pub(super) const CONFIG: &str = "\
Examples:
  {program} config get
  {program} config get tcp_loose nf_conntrack_udp_timeout -o json
  {program} config set tcp_timeout_established=86400 tcp_be_liberal=1
  {program} config set udp_timeout 10
  {program} config set --from-kernel checksum=0

Keys are nf_conntrack's sysctl names; the prefix `nf_conntrack_` may be left out.
Timeouts are whole seconds, switches 0 or 1. All keys, with what they mean and
their defaults, are in conntrack.example.yaml. A change is in force from the next
packet on, and flows that are there already live by the new timeouts at once. It
is not written to any file. An unknown key or a bad value is exit code 2, and
nothing is changed.";

pub(super) const REPLAY: &str = "\
Examples:
  {program} replay capture.pcap --sort bytes
  tcpdump -i eth0 -c 1000 -w - | {program} replay - -o jsonl

The packets go through the same BPF program as live ones, on a private tracker
whose clock is the capture's: `start` is capture time, `timeout` counts from the
last packet, flows that had expired by then are gone. Ethernet, raw IP, Linux
cooked and loopback captures. Timeouts and table sizes may come from --config.
Super-packets, which a capture has in it where offloads are on (TSO, GRO), count as one.
Needs the rights to load a BPF program.";

pub(super) const DEMO: &str = "\
Makes three network namespaces (a client, a router, a server), attaches to the
router, sends real TCP, UDP and ping traffic over IPv4 and IPv6, and shows what
the tracker sees. Exit code 0 only if every flow was seen as it should be. None
of this host's interfaces is touched; everything is gone at the end.";
