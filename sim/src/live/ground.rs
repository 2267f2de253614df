//! The real sockets of this machine's loopback interface: a proxy for each actor, and the server at a URL.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Weak};
use std::time::Duration;

use scenarios::{
    Action, ActorIndex, IceServerIndex, Link, Machine, MachineAction, Move, NatReboot, NetworkIndex, Scenario,
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::browser::{Browser, Tab, TabFactory};
use super::network::Place;
use super::proxy::{Proxy, Way};
use super::{Script, Target};
use crate::event::{MachineEvent, NodeId, NodeKind, Recorder, What};
use crate::peer::client::Families;
use crate::peer::stack::StackFactory;
use crate::stage::{Ground, InProcess, Program, ProgramConfig, Servers, StageError};

/// How long clients may take to leave.
const TEAR_DOWN_PATIENCE: Duration = Duration::from_secs(3);

/// The greatest number of tabs that are opened before the start.
const SPARE_MAX: usize = 16;
/// A script with actors in a browser has been given none.
const NO_BROWSER: &str = "`runs`: no browser was started";

/// Real sockets, and the record of what happens on them.
pub(super) struct Live {
    scenario: Arc<Scenario>,
    target: Target,
    start: Instant,
    recorder: Recorder,
    everything: NodeId,
    server: NodeId,
    actors: Vec<ActorMachine>,
    /// The browser of the actors that run in one.
    browser: Option<Browser>,
    /// Tabs that were opened before the start, because that takes longer than a client does to start.
    spare: VecDeque<Arc<Tab>>,
}

/// The stand-in for the machine of an actor: its path to the server, and its tasks.
struct ActorMachine {
    node: NodeId,
    proxy: Proxy,
    /// Its sockets and tasks; `None` while it has no power.
    net: Option<Place>,
    /// The tab of its program, if that runs in a browser.
    tab: Weak<Tab>,
}

impl Live {
    /// Starts a proxy for each actor. All times count from the end of the preparations.
    pub(super) async fn new(script: &Script, target: Target, seed: u64) -> Result<Self, StageError> {
        let (scenario, browser) = (script.scenario.clone(), script.browser.clone());
        let spare = match &browser {
            Some(browser) => {
                let lives = scenario.actors.iter().enumerate().filter(|(_, actor)| actor.runs.is_some());
                let lives: usize = lives.map(|(index, _)| lives_of(&scenario, ActorIndex(index))).sum();
                (0..lives.min(SPARE_MAX)).map(|_| Tab::open(browser)).collect::<Result<_, _>>()
            }
            None if scenario.actors.iter().any(|actor| actor.runs.is_some()) => Err(NO_BROWSER.to_owned()),
            None => Ok(VecDeque::new()),
        };
        let spare = spare.map_err(StageError::Browser)?;
        let start = Instant::now();
        let recorder = Recorder::new(start);
        let everything = recorder.node("world", NodeKind::World);
        let server = recorder.node("server", NodeKind::Machine(Machine::Server));
        let packets = Arc::new(AtomicU32::new(0));
        let mut actors = Vec::new();
        for (index, actor) in scenario.actors.iter().enumerate() {
            let node = recorder.node(&actor.name, NodeKind::Machine(Machine::Actor(ActorIndex(index))));
            let upstream = target.upstream.clone();
            let seed = seed.wrapping_add(index as u64);
            let proxy =
                Proxy::start(recorder.clone(), [node, server], upstream, actor.link, seed, packets.clone()).await?;
            actors.push(ActorMachine { node, proxy, net: None, tab: Weak::new() });
        }
        Ok(Self { scenario, target, start, recorder, everything, server, actors, browser, spare })
    }

    /// The next tab, if the actor runs in a browser.
    fn tab(&mut self, actor: ActorIndex) -> Result<Option<Arc<Tab>>, StageError> {
        let Some(browser) = self.browser.as_ref().filter(|_| self.scenario.actors[actor].runs.is_some()) else {
            return Ok(None);
        };
        let spare = self.spare.pop_front().map_or_else(|| Tab::open(browser), Ok);
        spare.map(Some).map_err(StageError::Browser)
    }

    /// Holds back the bytes from actors to the server, or in the other direction, if `server` contains the server.
    fn hold(&self, actors: &[Machine], server: &[Machine], way: Way) {
        if !server.contains(&Machine::Server) {
            return;
        }
        for machine in actors {
            if let Machine::Actor(actor) = machine {
                self.actors[*actor].proxy.hold(way, true);
            }
        }
    }
}

impl Ground for Live {
    fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn everything(&self) -> NodeId {
        self.everything
    }

    fn machine(&self, machine: Machine) -> NodeId {
        match machine {
            Machine::Server => self.server,
            Machine::IceServer(_) => unreachable!("the script has no TURN servers"),
            Machine::Actor(actor) => self.actors[actor].node,
        }
    }

    fn router(&self, _: NetworkIndex) -> NodeId {
        self.everything
    }

    async fn until(&self, at: Duration) {
        sleep_until(self.start + at).await;
    }

    async fn start_server(&mut self) -> Result<bool, StageError> {
        // The server at the URL was already running.
        self.recorder.write(self.server, What::Machine(MachineEvent::Booted));
        Ok(true)
    }

    fn start_ice_server(&mut self, _: IceServerIndex) -> Result<bool, StageError> {
        Err(StageError::NotOurs)
    }

    fn shut_server_down(&mut self) -> Result<bool, StageError> {
        Err(StageError::NotOurs)
    }

    fn stall(&mut self, _: Machine, _: Duration) -> Result<bool, StageError> {
        Err(StageError::NotOurs)
    }

    fn jump_clock(&mut self, _: Machine, _: i64) -> Result<bool, StageError> {
        Err(StageError::NotOurs)
    }

    fn move_machine(&mut self, _: ActorIndex, _: &Move) -> Result<Families, StageError> {
        Err(StageError::NotOurs)
    }

    fn servers(&self, actor: ActorIndex) -> Servers {
        Servers {
            signaling: self.actors[actor].proxy.address.into(),
            endpoint: Some(self.target.endpoint.clone()),
            config: None,
            ice: Vec::new(),
            heartbeat: self.target.heartbeat,
            keys: None,
        }
    }

    fn start(&mut self, actor: ActorIndex, config: ProgramConfig) -> Result<Box<dyn Program>, StageError> {
        let opened = self.tab(actor)?;
        let trickles = config.spoken.file.signal_operation(dialect::Kind::Candidate).is_some();
        let ActorMachine { node, proxy, net, tab } = &mut self.actors[actor];
        let net = net.get_or_insert_with(|| {
            proxy.power_on();
            self.recorder.write(*node, What::Machine(MachineEvent::Booted));
            Place::loopback()
        });
        *tab = opened.as_ref().map(Arc::downgrade).unwrap_or_default();
        let stacks = opened.map(|opened| Box::new(TabFactory::new(opened, true, trickles)) as Box<dyn StackFactory>);
        Ok(Box::new(InProcess::start(net, config, stacks)))
    }

    async fn lose_power(&mut self, machine: Machine) -> Result<bool, StageError> {
        let Machine::Actor(actor) = machine else { return Err(StageError::NotOurs) };
        let ActorMachine { node, proxy, net, tab } = &mut self.actors[actor];
        let Some(net) = net.take() else { return Ok(false) };
        self.recorder.write(*node, What::Machine(MachineEvent::PowerLost));
        // This must happen before the client's sockets close, because the server must not receive anything of that.
        proxy.power_off();
        if let Some(tab) = tab.upgrade() {
            tab.kill();
        }
        net.abort().await;
        Ok(true)
    }

    fn set_link(&mut self, machine: Machine, link: Link) -> Result<(), StageError> {
        let Machine::Actor(actor) = machine else {
            return Err(StageError::ServerLink);
        };
        self.actors[actor].proxy.set_link(link);
        Ok(())
    }

    fn reboot_nat(&mut self, _: NetworkIndex, _: NatReboot) -> Result<usize, StageError> {
        Err(StageError::NoNats)
    }

    fn set_network_link(&mut self, _: NetworkIndex, _: Link) -> Result<(), StageError> {
        Err(StageError::NoNats)
    }

    fn partition(&mut self, from: &[Machine], to: &[Machine]) {
        self.hold(from, to, Way::ToServer);
        self.hold(to, from, Way::ToClient);
    }

    fn heal(&mut self) {
        for actor in &self.actors {
            actor.proxy.hold(Way::ToServer, false);
            actor.proxy.hold(Way::ToClient, false);
        }
    }

    async fn tear_down(&mut self, programs: Vec<(ActorIndex, Box<dyn Program>)>) -> Result<(), StageError> {
        let deadline = Instant::now() + TEAR_DOWN_PATIENCE;
        let mut still_open = Vec::new();
        for (actor, mut program) in programs {
            match timeout_at(deadline, program.ended()).await {
                Ok(ended) => ended?,
                Err(_) => still_open.push(actor),
            }
        }
        // The server does not answer the close frames of these clients, so their tasks are aborted.
        for actor in still_open {
            if let Some(net) = self.actors[actor].net.take() {
                net.abort().await;
            }
        }
        // The last messages of the clients are still in flight.
        let ways = self.scenario.actors.iter().flat_map(|actor| [actor.link.up, actor.link.down]);
        let longest = ways.map(|way| way.latency + way.jitter.usual_max()).max();
        sleep(longest.unwrap_or_default()).await;
        // What clients experience with a browser that does not work says nothing about the server.
        self.browser.as_ref().and_then(Browser::trouble).map_or(Ok(()), |trouble| Err(StageError::Browser(trouble)))
    }
}

/// How often an actor may start its program: when it joins by itself, and at each step that says so.
fn lives_of(scenario: &Scenario, actor: ActorIndex) -> usize {
    let begins = |action: &Action| match action {
        Action::Join(other) => *other == actor,
        Action::Machine(Machine::Actor(other), MachineAction::Boot) => *other == actor,
        _ => false,
    };
    let steps = scenario.steps.iter().filter(|step| begins(&step.action)).count();
    steps + usize::from(scenario.actors[actor].joins.is_some())
}
