//! The passes of the search, in their order. Each tries smaller versions of the best scenario so far.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{
    Action, Actor, ActorIndex, Command, IceTransportPolicy, Link, MachineAction, NatBehavior, NetworkAction, OneWay,
    Pooling, PortAllocation, Role, Scenario, Stack, Timing, TurnCredential, WorldAction, profile,
};

use super::ddmin::ddmin;
use super::{EXPECTED, Search, edit, last_time};
use crate::run::run_with_packets;

/// More rounds than any search needs.
const ROUNDS_MAX: usize = 8;
/// What a violation needs after it was found, so that its event is still part of the run.
const AFTERMATH: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);

/// All passes, again and again until none finds anything smaller.
pub(super) fn all(search: &mut Search<'_>) {
    allow_idle_steps(search);
    cut(search);
    for _ in 0..ROUNDS_MAX {
        let before = search.best.clone();
        chance(search);
        nat_draws(search);
        search.demand_seeds();
        actors(search);
        steps(search);
        packets(search);
        cut(search);
        simpler_actors(search);
        networks(search);
        links(search);
        simpler_steps(search);
        times(search);
        cut(search);
        simpler_head(search);
        if search.ended || search.best == before {
            break;
        }
    }
    forbid_idle_steps(search);
}

/// Steps that become idle are no error while others are removed. They are removed, too.
fn allow_idle_steps(search: &mut Search<'_>) {
    if search.target.oracle != "steps-take-effect" {
        search.best.idle_steps = true;
    }
}

fn forbid_idle_steps(search: &mut Search<'_>) {
    let mut strict = search.best.clone();
    strict.idle_steps = false;
    search.accept(strict);
}

/// Ends the scenario soon after the failure was found.
fn cut(search: &mut Search<'_>) {
    let best = &search.best;
    if search.target.oracle == EXPECTED {
        return cut_to_expectations(search);
    }
    let end = match search.found_at {
        Some(at) => at + AFTERMATH,
        None if search.target.at_end => last_time(best) + search.settles,
        None => return,
    };
    let end = Duration::from_secs(end.as_millis().div_ceil(1000) as u64);
    if end >= best.duration || !best.expect.connected.is_empty() {
        return;
    }
    let half_way = Duration::from_secs((end + best.duration).as_secs() / 2);
    let best = best.clone();
    for end in [end, half_way] {
        let mut shorter = best.clone();
        shorter.duration = end;
        shorter.steps.retain(|step| step.at < end);
        for actor in &mut shorter.actors {
            actor.joins = actor.joins.filter(|at| *at < end);
        }
        if search.accept(shorter) {
            return;
        }
    }
}

/// Ends the scenario soon after the times at which pairs must be connected begin. That they can be, without faults, is
/// part of what every candidate must show.
fn cut_to_expectations(search: &mut Search<'_>) {
    let best = search.best.clone();
    let begun = best.expect.connected.iter().map(|expected| expected.from).max().unwrap_or_default();
    let ends = [1, 10].map(|seconds| begun.max(last_time(&best)) + seconds * SECOND);
    for end in ends.into_iter().filter(|end| *end < best.duration) {
        let mut shorter = best.clone();
        shorter.duration = end;
        for expected in &mut shorter.expect.connected {
            expected.until = expected.until.min(end);
        }
        if search.is_calm && search.accept(shorter) {
            return;
        }
    }
}

// ---- chance

/// Lets chance decide nothing. If the failure needs what it decided, packets get fates instead.
fn chance(search: &mut Search<'_>) {
    let mut certain = search.best.clone();
    if !edit::links(&mut certain).iter().any(|link| edit::has_chance(**link)) {
        return;
    }
    for link in edit::links(&mut certain) {
        *link = edit::without_chance(*link);
    }
    if search.accept(certain.clone()) {
        return;
    }
    let Some(()) = draw(search, certain) else { return };
    packets(search);
}

/// Replaces what chance did to packets by the fates of these packets.
fn draw(search: &mut Search<'_>, certain: Scenario) -> Option<()> {
    if search.ended {
        return None;
    }
    search.played += 1;
    let (_, sent) = run_with_packets(&Arc::new(search.best.clone()), search.seed).ok()?;
    let fates = sent.iter().flat_map(|packet| {
        let fate = |fate: &scenarios::Fate| scenarios::PacketFate { packet: packet.name, fate: *fate, line: 0 };
        packet.chance.iter().map(fate).collect::<Vec<_>>()
    });
    let drawn: Vec<_> = fates.collect();
    let has_fate = |name| certain.packets.iter().any(|fate| fate.packet == name);
    let with = |keep: fn(&scenarios::Fate) -> bool| {
        let mut with = certain.clone();
        with.packets.extend(drawn.iter().filter(|drawn| keep(&drawn.fate) && !has_fate(drawn.packet)));
        with
    };
    // Most of what chance does is to be a little late, and that is seldom the cause.
    let unlucky = with(|fate| !matches!(fate, scenarios::Fate::Late(by) if *by < Duration::from_millis(100)));
    let is_done = search.accept(unlucky) || search.accept(with(|_| true));
    is_done.then_some(())
}

/// Keeps the fates that the failure needs.
fn packets(search: &mut Search<'_>) {
    let fates = search.best.packets.clone();
    ddmin(fates, |fates| {
        let mut candidate = search.best.clone();
        candidate.packets = fates.to_vec();
        search.accept(candidate)
    });
    // Round times.
    for index in 0..search.best.packets.len() {
        let scenarios::Fate::Late(by) = search.best.packets[index].fate else { continue };
        for round in [10, 100, 200, 1000, 10_000].map(Duration::from_millis).into_iter().filter(|round| *round != by) {
            let mut candidate = search.best.clone();
            candidate.packets[index].fate = scenarios::Fate::Late(round);
            if search.accept(candidate) {
                break;
            }
        }
    }
}

// ---- what takes part

fn actors(search: &mut Search<'_>) {
    let before = search.best.clone();
    ddmin((0..before.actors.len()).collect(), |actors| {
        !actors.is_empty() && search.accept(edit::with_actors(&before, actors))
    });
}

fn steps(search: &mut Search<'_>) {
    let steps = search.best.steps.clone();
    ddmin(steps, |steps| {
        let mut candidate = search.best.clone();
        candidate.steps = steps.to_vec();
        search.accept(candidate)
    });
    // A fault and its repair go together: without the fault, `tidy` removes the repair.
    let mut index = 0;
    while index < search.best.steps.len() {
        let mut candidate = search.best.clone();
        candidate.steps.remove(index);
        if !search.accept(candidate) {
            index += 1;
        }
    }
}

/// Actors that do less: without WebRTC, in one room, with every server and policy as by default.
fn simpler_actors(search: &mut Search<'_>) {
    let none = |actor: &mut Actor| (actor.webrtc, actor.stack) = (false, Stack::default());
    each_actor(search, none);
    each_actor(search, |actor| {
        if actor.plays.only_room().is_none() {
            "demo".clone_into(&mut actor.room);
        }
    });
    each_actor(search, |actor| actor.over = actor.plays.framing());
    each_actor(search, |actor| {
        actor.ice_transport_policy = IceTransportPolicy::default();
        actor.turn_credential = TurnCredential::default();
    });
    each_actor(search, |actor| actor.media = None);
    each_actor(search, |actor| actor.program = None);
    each_actor(search, |actor| actor.stack = Stack::default());
}

/// Changes all actors, or else each of those that can be changed.
fn each_actor(search: &mut Search<'_>, change: fn(&mut Actor)) {
    let mut all = search.best.clone();
    all.actors.iter_mut().for_each(change);
    if all == search.best || search.accept(without_webrtc_steps(all)) {
        return;
    }
    for index in 0..search.best.actors.len() {
        let mut one = search.best.clone();
        change(&mut one.actors[index]);
        if one != search.best {
            search.accept(without_webrtc_steps(one));
        }
    }
}

/// The scenario without the steps and expectations that need WebRTC of actors that have none.
fn without_webrtc_steps(mut scenario: Scenario) -> Scenario {
    let has = |actor: &ActorIndex| scenario.actors[*actor].webrtc;
    let is_user = |actor: &ActorIndex| scenario.actors[*actor].plays == Role::User;
    scenario.steps.retain(|step| match &step.action {
        Action::Actor(actor, Command::Hangup(with)) => is_user(actor) || has(actor) && has(with),
        Action::Actor(actor, Command::IceRestart(with) | Command::Offer(with)) => has(actor) && has(with),
        _ => true,
    });
    let both = |(a, b): &(ActorIndex, ActorIndex)| has(a) && has(b);
    let mut expect = scenario.expect.clone();
    expect.connected.retain(|expected| both(&expected.pair));
    expect.unconnected.retain(both);
    expect.relayed = expect.relayed.map(|mut pairs| {
        pairs.retain(both);
        pairs
    });
    scenario.expect = expect;
    scenario
}

// ---- the network

/// Removes networks, so that their actors are one step closer to the internet; or else gives them a simpler NAT.
fn networks(search: &mut Search<'_>) {
    let mut open = search.best.clone();
    while !open.networks.is_empty() {
        open = edit::without_network(&open, open.networks.len() - 1);
    }
    if !search.best.networks.is_empty() && accept_with_nats(search, open) {
        return;
    }
    let mut index = 0;
    while index < search.best.networks.len() {
        let without = edit::without_network(&search.best, index);
        if !accept_with_nats(search, without) {
            index += 1;
        }
    }
    for index in 0..search.best.networks.len() {
        for (name, mut nat) in ["full-cone", "home-linux", "symmetric"].into_iter().filter_map(named) {
            let mut simpler = search.best.clone();
            let network = &mut simpler.networks[index];
            let mut certain = network.nat.clone();
            certain.iter_mut().for_each(draw_nothing);
            if certain == network.nat {
                draw_nothing(&mut nat);
            }
            if network.nat.is_none() || network.nat.as_ref() == Some(&nat) {
                break;
            }
            name.clone_into(&mut network.profile);
            network.nat = Some(nat);
            if accept_with_nats(search, simpler) {
                break;
            }
        }
    }
    let servers: Vec<usize> = (0..search.best.ice_servers.len()).collect();
    let before = search.best.clone();
    ddmin(servers, |servers| accept_with_nats(search, edit::with_ice_servers(&before, servers)));
    if search.best.server.turn.is_some() {
        let mut without = search.best.clone();
        without.server.turn = None;
        accept_with_nats(search, without);
    }
}

/// NATs that draw neither ports nor addresses: what a result needs of such draws depends on its seed.
fn nat_draws(search: &mut Search<'_>) {
    for index in 0..search.best.networks.len() {
        // One of the two may be what it needs.
        let changes: [fn(&mut NatBehavior); 3] = [draw_nothing, draw_no_ports, draw_no_addresses];
        for change in changes {
            let mut certain = search.best.clone();
            certain.networks[index].nat.iter_mut().for_each(change);
            if certain != search.best && search.accept(certain) {
                break;
            }
        }
    }
}

fn draw_nothing(nat: &mut NatBehavior) {
    draw_no_ports(nat);
    draw_no_addresses(nat);
}

fn draw_no_ports(nat: &mut NatBehavior) {
    nat.port_allocation = match nat.port_allocation {
        PortAllocation::Random => PortAllocation::Sequential,
        PortAllocation::PreserveOverloading => PortAllocation::Preserve,
        certain => certain,
    };
}

fn draw_no_addresses(nat: &mut NatBehavior) {
    nat.pooling = Pooling::Paired;
}

fn named(name: &'static str) -> Option<(&'static str, NatBehavior)> {
    Some((name, profile(name)?.behavior?))
}

/// Accepts a candidate with other NATs or TURN servers, whose expectations follow from these.
fn accept_with_nats(search: &mut Search<'_>, mut candidate: Scenario) -> bool {
    edit::expect_what_nats_allow(&mut candidate);
    if search.target.oracle != "relayed-as-expected" {
        candidate.expect.relayed = None;
    }
    search.accept(candidate)
}

/// Links that do nothing but take 10 ms, or as close to it as possible.
fn links(search: &mut Search<'_>) {
    const PLAIN: OneWay = OneWay::with_latency(Duration::from_millis(10));
    let changes: [fn(Link) -> Link; 5] = [
        |_| Link::both(PLAIN),
        edit::without_chance,
        |link| edit::both_ways(link, |way| OneWay { bandwidth_bps: None, queue: PLAIN.queue, ..way }),
        |link| edit::both_ways(link, |way| OneWay { mtu: None, oversized: PLAIN.oversized, ..way }),
        |link| edit::both_ways(link, |way| OneWay { latency: PLAIN.latency, ..way }),
    ];
    for change in changes {
        let mut all = search.best.clone();
        edit::links(&mut all).into_iter().for_each(|link| *link = change(*link));
        if all == search.best || search.accept(all.clone()) {
            continue;
        }
        for index in 0..edit::links(&mut all).len() {
            let mut one = search.best.clone();
            let mut links = edit::links(&mut one);
            // Steps that change a link to what it is are removed, so there may be fewer.
            let Some(link) = links.get_mut(index) else { break };
            **link = change(**link);
            if one != search.best {
                search.accept(one);
            }
        }
    }
}

// ---- what happens

/// Steps with less in them.
fn simpler_steps(search: &mut Search<'_>) {
    for index in 0..search.best.steps.len() {
        let Some(step) = search.best.steps.get(index) else { break };
        match step.action.clone() {
            Action::World(WorldAction::Partition { from, to, one_way }) => {
                let set = |search: &Search<'_>, from: &[_], to: &[_], one_way| {
                    let mut candidate = search.best.clone();
                    let (from, to) = (from.to_vec(), to.to_vec());
                    candidate.steps[index].action = Action::World(WorldAction::Partition { from, to, one_way });
                    candidate
                };
                let from = ddmin(from, |from| {
                    let candidate = set(search, from, &to, one_way);
                    !from.is_empty() && search.accept(candidate)
                });
                ddmin(to, |to| {
                    let candidate = set(search, &from, to, one_way);
                    !to.is_empty() && search.accept(candidate)
                });
            }
            Action::Network(network, NetworkAction::Reboot(mut reboot)) => {
                let mut changes: Vec<Action> = Vec::new();
                for change in 0..2 {
                    if change == 0 {
                        reboot.new_address = None
                    } else {
                        reboot.resets_tcp = false
                    };
                    changes.push(Action::Network(network, NetworkAction::Reboot(reboot)));
                }
                for action in changes {
                    replace(search, index, action);
                }
            }
            Action::Actor(actor, Command::Say(_)) => {
                replace(search, index, Action::Actor(actor, Command::Say("hello".to_owned())));
            }
            Action::Machine(machine, MachineAction::Stall(_)) => {
                replace(search, index, Action::Machine(machine, MachineAction::Stall(SECOND)));
            }
            _ => {}
        }
    }
}

fn replace(search: &mut Search<'_>, index: usize, action: Action) {
    let mut candidate = search.best.clone();
    if candidate.steps[index].action != action {
        candidate.steps[index].action = action;
        search.accept(candidate);
    }
}

/// Shorter pauses, and times that are whole seconds.
fn times(search: &mut Search<'_>) {
    // Expected times are part of what is judged, so nothing moves against them.
    if !search.best.expect.connected.is_empty() {
        return;
    }
    let moments = moments(&search.best);
    let in_a_row: Vec<Duration> = (0..moments.len() as u32).map(|second| SECOND * second).collect();
    if move_to(search, &moments, &in_a_row) {
        return;
    }
    for index in 0..moments.len() {
        // Pauses are counted anew, because earlier ones may have become shorter.
        let moments = self::moments(&search.best);
        let Some(&at) = moments.get(index) else { break };
        let before = if index == 0 { Duration::ZERO } else { moments[index - 1] };
        let pause = at - before;
        let first = if index == 0 { Duration::ZERO } else { SECOND };
        let whole = Duration::from_secs(pause.as_secs());
        let halves = std::iter::successors(Some(whole / 2), |half| (*half > SECOND).then(|| *half / 2));
        let shorter = [first].into_iter().chain(halves.map(rounded)).chain([whole, rounded(pause)]);
        let shorter: BTreeSet<Duration> =
            shorter.filter(|shorter| *shorter < pause && (index == 0 || !shorter.is_zero())).collect();
        for shorter in shorter {
            let by = pause - shorter;
            let moved: Vec<_> =
                moments.iter().map(|moment| if *moment >= at { *moment - by } else { *moment }).collect();
            if move_to(search, &moments, &moved) {
                break;
            }
        }
    }
}

/// A time with whole seconds, or, below one, with whole hundreds of milliseconds.
fn rounded(time: Duration) -> Duration {
    let unit = if time >= SECOND { 1000 } else { 100 };
    Duration::from_millis((time.as_millis() as u64).div_ceil(unit) * unit)
}

/// All times at which something happens.
fn moments(scenario: &Scenario) -> Vec<Duration> {
    let joins = scenario.actors.iter().filter_map(|actor| actor.joins);
    let all: BTreeSet<Duration> = joins.chain(scenario.steps.iter().map(|step| step.at)).collect();
    all.into_iter().collect()
}

/// Moves what happens at each of some moments. The end moves with the last one.
fn move_to(search: &mut Search<'_>, moments: &[Duration], moved: &[Duration]) -> bool {
    if moments == moved {
        return false;
    }
    let new = |at: Duration| moments.iter().position(|moment| *moment == at).map_or(at, |index| moved[index]);
    let mut candidate = search.best.clone();
    for actor in &mut candidate.actors {
        actor.joins = actor.joins.map(new);
    }
    for step in &mut candidate.steps {
        step.at = new(step.at);
    }
    let (Some(before), Some(after)) = (moments.last(), moved.last()) else { return false };
    if after > before {
        return false;
    }
    candidate.duration -= *before - *after;
    search.accept(candidate)
}

/// What is left: the server's heartbeat, the timing of ICE, and what else is expected.
fn simpler_head(search: &mut Search<'_>) {
    let changes: [fn(&mut Scenario); 4] = [
        |scenario| scenario.timing = Timing::default(),
        |scenario| scenario.server.heartbeat = Duration::from_secs(20),
        |scenario| scenario.expect.probes.clear(),
        |scenario| {
            scenario.expect.connected.clear();
            scenario.expect.relayed = None;
        },
    ];
    for change in changes {
        let mut candidate = search.best.clone();
        change(&mut candidate);
        if candidate != search.best {
            search.accept(candidate);
        }
    }
}
