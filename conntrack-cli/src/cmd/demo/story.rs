//! What happens in the demo, step by step.

use std::io;
use std::net::IpAddr;
use std::process;
use std::time::Duration;
use std::time::Instant;

use conntrack::Tracker;
use conntrack_core::Endpoint;
use conntrack_core::Flow;
use conntrack_core::FlowKey;
use conntrack_core::FlowState;
use conntrack_core::Protocol;
use conntrack_core::TcpState;

use super::checks::Checks;
use super::net::CLIENT;
use super::net::Net;
use super::net::SERVER;
use super::ping::Pinger;
use super::screen::Screen;
use super::traffic;
use super::traffic::Browser;
use super::traffic::DEAF;
use super::traffic::DNS;
use super::traffic::HTTP;
use super::traffic::Resolver;
use crate::failure::Failure;
use crate::signals::Signals;

/// Between two rounds of traffic.
const ROUND: Duration = Duration::from_millis(250);

/// The demo, as far as it has come.
#[derive(Debug)]
pub(super) struct Story<'a> {
    net: &'a Net,
    tracker: &'a Tracker,
    signals: &'a Signals,
    length: Duration,
    pairs: Vec<Pair>,
}

/// Client and server in one version of IP, and what goes on between them.
#[derive(Debug)]
struct Pair {
    name: &'static str,
    client: IpAddr,
    server: IpAddr,
    browsers: Vec<Browser>,
    resolver: Option<Resolver>,
    vain: Option<Resolver>,
    pinger: Option<Pinger>,
}

impl<'a> Story<'a> {
    /// Traffic that goes on for `length`, and some before and after.
    pub(super) fn new(
        net: &'a Net,
        tracker: &'a Tracker,
        signals: &'a Signals,
        length: Duration,
    ) -> Self {
        Self {
            net,
            tracker,
            signals,
            length,
            pairs: Vec::new(),
        }
    }

    /// All of it.
    pub(super) fn tell(
        mut self,
        screen: &mut Screen,
        checks: &mut Checks<'_>,
    ) -> Result<(), Failure> {
        self.pairs = ["IPv4", "IPv6"]
            .into_iter()
            .zip(CLIENT.into_iter().zip(SERVER))
            .map(|(name, (client, server))| Pair::new(name, client, server))
            .collect::<Result<_, _>>()?;
        self.open(screen, checks)?;
        self.ask(screen, checks)?;
        self.go_on(screen, checks)?;
        self.close(screen, checks)
    }

    /// TCP, established.
    fn open(&mut self, screen: &mut Screen, checks: &mut Checks<'_>) -> Result<(), Failure> {
        screen.say(
            "TCP: the client opens two connections to the server's port 80 over IPv4 and\n\
             two over IPv6, and loads a page through each.",
        )?;
        for pair in &mut self.pairs {
            traffic::serve(&self.net.server, pair.server).map_err(doing("serve"))?;
            for _ in 0..2 {
                let browser = Browser::open(&self.net.client, pair.server)
                    .and_then(|mut browser| browser.load().map(|()| browser));
                pair.browsers.push(browser.map_err(doing("load a page"))?);
            }
        }
        screen.table(self.flows()?)?;
        for pair in &self.pairs {
            for browser in &pair.browsers {
                let what = format!("TCP over {}, ESTABLISHED, answered, assured", pair.name);
                checks.flow(what, &pair.web(browser), |flow| {
                    is(flow, TcpState::Established)
                        && flow.assured
                        && flow.reply.bytes > browser.received
                })?;
            }
        }
        self.pause()
    }

    /// UDP and ping.
    fn ask(&mut self, screen: &mut Screen, checks: &mut Checks<'_>) -> Result<(), Failure> {
        screen.say(
            "UDP and ping: the client asks a name server and pings it. It also sends to a\n\
             port where nobody listens: that flow stays unreplied.",
        )?;
        for pair in &mut self.pairs {
            let (client, server) = (&self.net.client, pair.server);
            let resolver = Resolver::open(client, server, DNS)
                .and_then(|mut resolver| resolver.ask().map(|()| resolver));
            pair.resolver = Some(resolver.map_err(doing("ask the name server"))?);
            let vain = Resolver::open(client, server, DEAF)
                .and_then(|mut resolver| resolver.ask_in_vain().map(|()| resolver));
            pair.vain = Some(vain.map_err(doing("ask where nobody listens"))?);
            let pinger = Pinger::open(client, server, ping_id())
                .and_then(|mut pinger| pinger.ping().map(|()| pinger));
            pair.pinger = Some(pinger.map_err(doing("ping"))?);
        }
        screen.table(self.flows()?)?;
        for pair in &self.pairs {
            if let Some(vain) = &pair.vain {
                let what = format!("UDP over {} to nobody, unreplied", pair.name);
                let bytes = pair.ip_header() + Resolver::QUESTION;
                checks.flow(what, &pair.names(vain, DEAF), |flow| {
                    !flow.seen_reply && flow.original.bytes == bytes && flow.reply.packets == 0
                })?;
            }
        }
        self.pause()
    }

    /// All of it at once, for a while.
    fn go_on(&mut self, screen: &mut Screen, checks: &mut Checks<'_>) -> Result<(), Failure> {
        let seconds = self.length.as_secs();
        screen.say(&format!(
            "All of it goes on for {seconds} seconds. UDP both ways for more than two makes a\n\
             stream of it: assured, with a longer timeout."
        ))?;
        let end = Instant::now() + self.length;
        while Instant::now() < end {
            for pair in &mut self.pairs {
                pair.round().map_err(doing("go on"))?;
            }
            screen.redraw(self.flows()?)?;
            self.wait(ROUND.min(end.saturating_duration_since(Instant::now())))?;
        }
        for pair in &mut self.pairs {
            pair.round().map_err(doing("go on"))?;
        }
        match screen.is_redrawn() {
            true => screen.redraw(self.flows()?)?,
            false => screen.table(self.flows()?)?,
        }
        for pair in &self.pairs {
            pair.check_counts(checks)?;
        }
        Ok(())
    }

    /// FIN and RST.
    fn close(&mut self, screen: &mut Screen, checks: &mut Checks<'_>) -> Result<(), Failure> {
        screen.say(
            "The end: of each pair of connections one is closed properly (FIN), the other\n\
             is reset (RST). What nobody uses any more runs out by its timeout.",
        )?;
        let mut keys = Vec::new();
        for pair in &mut self.pairs {
            for (state, how) in [(TcpState::Close, "RST"), (TcpState::TimeWait, "FIN")] {
                let Some(browser) = pair.browsers.pop() else {
                    continue;
                };
                let key = pair.web(&browser);
                match state {
                    TcpState::Close => browser.abort(),
                    _ => browser.close(),
                }
                .map_err(doing("close a connection"))?;
                keys.push((
                    format!("TCP over {}, {state} after {how}", pair.name),
                    key,
                    state,
                ));
            }
        }
        for (what, key, state) in keys {
            checks.flow(what, &key, |flow| is(flow, state))?;
        }
        screen.table(self.flows()?)
    }

    fn flows(&self) -> Result<Vec<Flow>, Failure> {
        let flows: Result<_, _> = self.tracker.flows().collect();
        Ok(flows?)
    }

    /// Time to read.
    fn pause(&self) -> Result<(), Failure> {
        self.wait(Duration::from_millis(700))
    }

    fn wait(&self, time: Duration) -> Result<(), Failure> {
        match self.signals.wait(time)? {
            true => Err(Failure::Runtime(
                "interrupted; all is taken down".to_owned(),
            )),
            false => Ok(()),
        }
    }
}

impl Pair {
    fn new(name: &'static str, client: &str, server: &str) -> Result<Self, Failure> {
        let addr = |text: &str| {
            text.parse::<IpAddr>()
                .map_err(|error| Failure::doing(text, error))
        };
        Ok(Self {
            name,
            client: addr(client)?,
            server: addr(server)?,
            browsers: Vec::new(),
            resolver: None,
            vain: None,
            pinger: None,
        })
    }

    /// One more exchange of every kind.
    fn round(&mut self) -> io::Result<()> {
        for browser in &mut self.browsers {
            browser.load()?;
        }
        if let Some(resolver) = &mut self.resolver {
            resolver.ask()?;
        }
        if let Some(pinger) = &mut self.pinger {
            pinger.ping()?;
        }
        Ok(())
    }

    /// UDP and ping to the byte: both of the router's interfaces are watched,
    /// and yet each packet counts once.
    fn check_counts(&self, checks: &mut Checks<'_>) -> Result<(), Failure> {
        let ip = self.ip_header();
        let counted = move |flow: &Flow, packets: u64, there: u64, back: u64| {
            let (original, reply) = (&flow.original, &flow.reply);
            (original.packets, original.bytes) == (packets, packets * (ip + there))
                && (reply.packets, reply.bytes) == (packets, packets * (ip + back))
        };
        if let Some(resolver) = &self.resolver {
            let what = format!("UDP over {}, assured, counted to the byte", self.name);
            let (there, back) = (Resolver::QUESTION, Resolver::ANSWER);
            checks.flow(what, &self.names(resolver, DNS), |flow| {
                flow.assured && counted(flow, resolver.asked, there, back)
            })?;
        }
        if let Some(pinger) = &self.pinger {
            let what = format!("ping over {}, answered, counted to the byte", self.name);
            let bytes = Pinger::BYTES;
            checks.flow(what, &self.echo(), |flow| {
                flow.seen_reply && counted(flow, u64::from(pinger.sent), bytes, bytes)
            })?;
        }
        Ok(())
    }

    /// Bytes of an IP header.
    fn ip_header(&self) -> u64 {
        if self.client.is_ipv4() { 20 } else { 40 }
    }

    fn web(&self, browser: &Browser) -> FlowKey {
        let client = Endpoint::new(self.client, browser.local.port());
        FlowKey::new(client, Endpoint::new(self.server, HTTP), Protocol::TCP)
    }

    fn names(&self, resolver: &Resolver, port: u16) -> FlowKey {
        let client = Endpoint::new(self.client, resolver.local.port());
        FlowKey::new(client, Endpoint::new(self.server, port), Protocol::UDP)
    }

    fn echo(&self) -> FlowKey {
        let protocol = match self.client {
            IpAddr::V4(_) => Protocol::ICMP,
            IpAddr::V6(_) => Protocol::ICMPV6,
        };
        let client = Endpoint::new(self.client, ping_id());
        FlowKey::new(client, Endpoint::new(self.server, 0), protocol)
    }
}

fn ping_id() -> u16 {
    process::id() as u16
}

fn is(flow: &Flow, state: TcpState) -> bool {
    flow.state == FlowState::Tcp(state)
}

/// An error of the traffic itself.
fn doing(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::doing(what, error)
}
