//! Turns a scenario file into the scenario that the simulator takes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::address;
use crate::assign;
use crate::draft::{Draft, INTERNET, Net, SERVER};
use crate::error::{Problems, instead, quote, unknown};
use crate::file::{ActorEntry, File, Joins};
use crate::ice::{self, IceTransportPolicy, UsedServers};
use crate::ipv6;
use crate::link::{Link, LinkEntry, OneWay};
use crate::nat::NatBehavior;
use crate::packet;
use crate::population::{Drawn, POPULATION};
use crate::profile::NatKeys;
use crate::role::Role;
use crate::scenario::{Actor, Machine, NetworkIndex, Scenario, ServerSetup, Stack};
use crate::shipped::{Profile, profile, profile_names};
use crate::steps::{self, LookUp};
use crate::table::Lined;
use crate::value::show;

/// The default of links into the internet.
pub(crate) const LINK: Link = Link::both(OneWay::with_latency(Duration::from_millis(10)));
/// The default of links inside a home or an office.
pub(crate) const LAN: Link = Link::both(OneWay::with_latency(Duration::from_millis(1)));
/// The default interval between the server's pings.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(20);
/// The default room.
pub(crate) const ROOM: &str = "demo";
/// Maximum number of actors: the number for which the internet of [`address`] has room.
pub(crate) const ACTORS_MAX: usize = 50_000;
/// Maximum number of networks in a chain, each behind the next.
const DEPTH_MAX: usize = 8;

/// Expands a file. If its parts do not fit together, reports the problems and returns `None`.
pub(crate) fn expand(file: &File, problems: &Problems) -> Option<Scenario> {
    let duration = file.duration.value;
    if duration.is_zero() {
        problems.report(file.duration.line, "`duration` must be longer than 0s");
    }
    let link = file.link.over(LINK);
    let drawn = Drawn::of(file, problems);
    let profiles = look_up_profiles(file, problems);
    let nets = sort(nets(file, &profiles, &drawn, problems)?, problems)?;
    let network_names: BTreeMap<String, NetworkIndex> =
        nets.iter().enumerate().map(|(index, net)| (net.name.clone(), NetworkIndex(index))).collect();
    let ice_servers = ice::servers(file, link, problems);
    let draft = Draft { network_names, ice_servers, ..Draft::default() };
    let draft = add_actors(file, link, (&profiles, &drawn), draft, problems);
    let draft = ipv6::families(file, &nets, draft, problems);
    check_unnamed(&draft, problems);
    ice::check_names(file, &draft, problems);
    if !problems.none() {
        return None;
    }
    let server = ServerSetup {
        address: file.server.address.as_ref().map_or(address::SERVER, |address| address.value),
        ipv6: file.server.ipv6.unwrap_or_else(|| draft.actors.iter().any(|actor| actor.ipv6)),
        link: file.server.link.over(link),
        heartbeat: file.server.heartbeat.as_ref().map_or(HEARTBEAT, |heartbeat| heartbeat.value),
        turn: file.server.turn.as_ref().and_then(|turn| turn.value.0),
        dialect: file.server.dialect.as_ref().map(|dialect| dialect.value.clone()),
        program: file.server.program.clone(),
    };
    check_policies(file, &draft, &server, problems);
    let draft = assign::addresses(file, &nets, link, &server, draft, problems)?;
    ipv6::check(&draft, &nets, &server, problems);
    let (steps, expect) = steps::resolve(file, &draft, &server, problems);
    let packets = packet::resolve(file, &LookUp { draft: &draft, server: &server, problems }, problems);
    problems.none().then(|| Scenario {
        name: file.name.clone(),
        about: file.about.clone(),
        spec: file.spec.clone(),
        duration,
        idle_steps: file.idle_steps,
        timing: file.timing,
        server,
        ice_servers: draft.ice_servers,
        networks: draft.networks,
        population: file.population.as_ref().map(|entry| entry.value.population()),
        actors: draft.actors,
        steps,
        packets,
        expect,
    })
}

/// The profiles that a file uses, by name.
fn look_up_profiles(file: &File, problems: &Problems) -> BTreeMap<String, Profile> {
    let mut profiles = BTreeMap::new();
    let own = file.actors.iter().filter_map(|actor| actor.value.nat.as_ref());
    let own = own.filter(|nat| nat.value != POPULATION);
    for name in file.networks.iter().map(|network| &network.value.nat).chain(own) {
        match profile(&name.value) {
            Some(profile) => {
                profiles.insert(name.value.clone(), profile);
            }
            None => {
                let instead = instead(&name.value, "profiles", profile_names());
                problems.report(name.line, format!("unknown NAT profile {}{instead}", quote(&name.value)));
            }
        }
    }
    let mixed = file.population.iter().flat_map(|entry| entry.value.profiles());
    profiles.extend(mixed.filter_map(|name| Some((name.to_owned(), profile(name)?))));
    profiles
}

/// All networks, including those that belong to one actor, in the order of the file.
fn nets<'a>(
    file: &'a File,
    profiles: &'a BTreeMap<String, Profile>,
    drawn: &Drawn<'a>,
    problems: &Problems,
) -> Option<Vec<Net<'a>>> {
    const NO_LINK: &LinkEntry = &LinkEntry::NONE;
    let mut nets = Vec::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut add = |net: Net<'a>| {
        if net.name == INTERNET {
            problems.report(net.line, format!("`{INTERNET}` is the name of the internet itself: choose another name"));
        }
        match lines.get(&net.name) {
            Some(first) => {
                problems.report(net.line, format!("duplicate network `{}`: the first is on line {first}", net.name))
            }
            None => {
                lines.insert(net.name.clone(), net.line);
                nets.push(net);
            }
        }
    };
    for Lined { value: network, .. } in &file.networks {
        let Some(profile) = profiles.get(&network.nat.value) else { continue };
        add(Net {
            name: network.name.value.0.clone(),
            line: network.name.line,
            profile,
            nat: behavior(profile, network.overrides.as_ref(), problems),
            behind: network.behind.as_ref(),
            subnet: network.subnet.as_ref(),
            external: network.external.as_ref(),
            ipv6: network.ipv6.as_ref(),
            link: &network.link,
        });
    }
    let mut made = 0;
    for (index, Lined { value: actor, .. }) in file.actors.iter().enumerate() {
        let Some(first) = drawn.profile(index, actor, 0).and_then(|name| profiles.get(name)) else { continue };
        let has_one = actor.nat.as_ref().is_some_and(|nat| nat.value != POPULATION);
        let nat = behavior(first, actor.overrides.as_ref().filter(|_| has_one), problems);
        if nat.is_none() && has_one {
            if let Some(behind) = &actor.behind {
                problems.report(behind.line, open_behind(&actor.name.value.0));
            }
            continue;
        }
        made += actor.count.as_ref().map_or(1, |count| count.value as usize);
        if made > ACTORS_MAX {
            problems.report(actor.name.line, format!("more than {ACTORS_MAX} actors"));
            break;
        }
        for (number, name) in names(actor).enumerate() {
            let (profile, nat) = if has_one {
                (first, nat.clone())
            } else {
                let drawn = drawn.profile(index, actor, number).and_then(|name| profiles.get(name));
                let Some((profile, nat)) = drawn.and_then(|profile| Some((profile, profile.behavior.clone()?))) else {
                    continue;
                };
                (profile, Some(nat))
            };
            add(Net {
                name,
                line: actor.name.line,
                profile,
                nat,
                behind: actor.behind.as_ref(),
                subnet: None,
                external: None,
                ipv6: actor.ipv6.as_ref(),
                link: NO_LINK,
            });
        }
    }
    problems.none().then_some(nets)
}

fn open_behind(name: &str) -> String {
    format!("`{name}` is `open`, so it is on the internet: remove `behind`")
}

/// The behavior of a NAT with this profile and these overrides.
fn behavior(profile: &Profile, overrides: Option<&Lined<NatKeys>>, problems: &Problems) -> Option<NatBehavior> {
    let Some(mut behavior) = profile.behavior.clone() else {
        if let Some(overrides) = overrides {
            let message = format!("`override`: `{}` has no NAT, so there is nothing to override", profile.name);
            problems.report(overrides.line, message);
        }
        return None;
    };
    if let Some(overrides) = overrides {
        overrides.value.apply(&mut behavior);
        if let Some(contradiction) = behavior.contradiction() {
            problems.report(overrides.line, format!("`override`: {contradiction}"));
        }
    }
    Some(behavior)
}

/// The names of the actors that an entry creates.
fn names(actor: &ActorEntry) -> impl Iterator<Item = String> + '_ {
    let name = &actor.name.value.0;
    let one = actor.count.is_none().then(|| name.clone());
    let many =
        actor.count.iter().flat_map(move |count| (1..=count.value).map(move |number| format!("{name}-{number}")));
    one.into_iter().chain(many)
}

/// Sorts networks so that each comes after the one it is behind, and otherwise in the order of the file.
fn sort<'a>(nets: Vec<Net<'a>>, problems: &Problems) -> Option<Vec<Net<'a>>> {
    let names: BTreeMap<&str, usize> = nets.iter().enumerate().map(|(index, net)| (net.name.as_str(), index)).collect();
    let mut outer = Vec::with_capacity(nets.len());
    for net in &nets {
        outer.push(match net.behind {
            None => None,
            Some(behind) if net.nat.is_none() => {
                problems.report(behind.line, open_behind(&net.name));
                None
            }
            Some(behind) => {
                let found = names.get(behind.value.as_str()).copied();
                if found.is_none() {
                    problems.report(behind.line, unknown("network", &behind.value, names.keys().copied()));
                }
                found
            }
        });
    }
    let mut depths = Vec::with_capacity(nets.len());
    for (index, net) in nets.iter().enumerate() {
        let mut chain = vec![index];
        while let Some(next) = chain.last().and_then(|last| outer[*last]) {
            chain.push(next);
            let line = net.behind.map_or(net.line, |behind| behind.line);
            if next == index {
                let way: Vec<String> = chain.iter().map(|index| format!("`{}`", nets[*index].name)).collect();
                let message = format!(
                    "{}: these NATs form a cycle; the outermost must have no `behind`",
                    way.join(" is behind ")
                );
                problems.report(line, message);
                break;
            }
            if chain.len() > DEPTH_MAX {
                // The chain ends in a cycle of other networks, or it is too long.
                problems.report(line, format!("`{}` is behind more than {} NATs in a row", net.name, DEPTH_MAX - 1));
                break;
            }
        }
        depths.push(chain.len());
    }
    if !problems.none() {
        return None;
    }
    let mut sorted: Vec<(usize, Net<'a>)> = depths.into_iter().zip(nets).collect();
    sorted.sort_by_key(|(depth, _)| *depth);
    Some(sorted.into_iter().map(|(_, net)| net).collect())
}

/// Adds the actors, still without addresses.
fn add_actors(
    file: &File,
    link: Link,
    (profiles, drawn): (&BTreeMap<String, Profile>, &Drawn<'_>),
    mut draft: Draft,
    problems: &Problems,
) -> Draft {
    let lan = file.lan.over(LAN);
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for (index, Lined { value: entry, .. }) in file.actors.iter().enumerate() {
        let line = entry.name.line;
        let mut claim = |name: &str| {
            if name == SERVER {
                problems.report(line, format!("`{SERVER}` is the name of the server's machine: choose another name"));
            }
            match lines.insert(name.to_owned(), line) {
                None => true,
                Some(first) => {
                    problems.report(line, format!("duplicate actor `{name}`: the first is on line {first}"));
                    false
                }
            }
        };
        let first = draft.actors.len();
        let count = entry.count.as_ref().map_or(1, |count| count.value as usize);
        if first + count > ACTORS_MAX {
            problems.report(line, format!("more than {ACTORS_MAX} actors"));
            return draft;
        }
        if let Some(network) =
            entry.network.as_ref().filter(|network| !draft.network_names.contains_key(&network.value))
        {
            let known = draft.network_names.keys().map(String::as_str);
            problems.report(network.line, unknown("network", &network.value, known));
        }
        if entry.count.is_some() && !claim(&entry.name.value.0) {
            continue;
        }
        let ice_servers = ice::of_actor(entry.ice_servers.as_ref(), &draft.ice_servers, problems);
        let from_config = entry.ice_servers.as_ref().filter(|used| matches!(used.value, UsedServers::FromConfig));
        if let Some(used) = from_config.filter(|_| file.server.program.is_some()) {
            let message =
                "`ice-servers`: only the reference server has `/api/config`, and [server] has `run`: name the machines";
            problems.report(used.line, message);
        }
        let ice_from_config = from_config.is_some();
        // The profile `open` has no NAT, so it creates no network for the actor.
        let own = |number| profiles.get(drawn.profile(index, entry, number)?)?.behavior.as_ref();
        for (number, name) in names(entry).enumerate() {
            if !claim(&name) {
                break;
            }
            let network = entry.network.as_ref().map(|network| &network.value).or(own(number).map(|_| &name));
            let network = network.and_then(|network| draft.network_names.get(network).copied());
            let joins = joins(entry, number, file.duration.value, problems);
            draft.actor_names.insert(name.clone(), first + number..first + number + 1);
            let plays = entry.plays.as_ref().map_or(Role::default(), |plays| plays.value);
            let room = entry.room.as_ref().map_or(plays.only_room().unwrap_or(ROOM), |room| &room.value);
            let room = match &entry.per_room {
                Some(per_room) => format!("{room}-{}", number / per_room.value as usize + 1),
                None => room.to_owned(),
            };
            draft.actors.push(Actor {
                name,
                network,
                address: Ipv4Addr::UNSPECIFIED,
                ipv4: entry.ipv4,
                ipv6: false,
                link: entry.link.over(if network.is_some() { lan } else { link }),
                plays,
                over: entry.over.as_ref().map_or(plays.framing(), |over| over.value),
                room,
                joins,
                webrtc: entry.webrtc,
                ice_servers: ice_servers.clone(),
                ice_from_config,
                ice_transport_policy: entry.ice_transport_policy.as_ref().map_or_else(Default::default, |it| it.value),
                turn_credential: entry.turn_credential.as_ref().map_or_else(Default::default, |it| it.value),
                media: entry.media.as_ref().map(|media| media.value.clone()),
                program: entry.program.clone(),
                runs: entry.runs.as_ref().map(|runs| runs.value),
                stack: stack(entry, file.stack),
                line,
            });
        }
        if entry.count.is_some() {
            draft.actor_names.insert(entry.name.value.0.clone(), first..draft.actors.len());
        }
    }
    draft
}

/// Reports rooms with more than two WebRTC clients in dialects without names: the clients could not know whose offer
/// they receive.
fn check_unnamed(draft: &Draft, problems: &Problems) {
    let mut rooms: BTreeMap<(Role, &str), usize> = BTreeMap::new();
    let is_unnamed = |actor: &&Actor| matches!(actor.plays, Role::Relay | Role::Broadcast) && actor.webrtc;
    for actor in draft.actors.iter().filter(is_unnamed) {
        let there = rooms.entry((actor.plays, &actor.room)).or_default();
        *there += 1;
        if *there == 3 {
            let message = format!(
                "`{}` is the third {} in room {}: messages do not name their sender, so WebRTC works for two only; remove it, or set `webrtc = false`",
                actor.name,
                actor.plays.name(),
                quote(&actor.room)
            );
            problems.report(actor.line, message);
        }
    }
}

/// Reports actors that use relayed candidates only, but no TURN server.
fn check_policies(file: &File, draft: &Draft, server: &ServerSetup, problems: &Problems) {
    for Lined { value: entry, .. } in &file.actors {
        let Some(policy) = entry.ice_transport_policy.as_ref() else { continue };
        let machines = ice::of_actor(entry.ice_servers.as_ref(), &draft.ice_servers, &Problems::new(""));
        let relays = |machine: &Machine| match machine {
            Machine::Server => server.turn.is_some(),
            Machine::IceServer(index) => draft.ice_servers[*index].turn.is_some(),
            Machine::Actor(_) => false,
        };
        if policy.value == IceTransportPolicy::Relay && !machines.iter().any(relays) {
            let message = "`ice-transport-policy`: the actor has no TURN server: add `turn = true` to [server], or an [[ice-server]]";
            problems.report(policy.line, message);
        }
    }
}

/// The WebRTC stack of an actor: its own, or that of the scenario if it is a client of Glare with WebRTC.
fn stack(entry: &ActorEntry, default: Stack) -> Stack {
    let has_stack = entry.webrtc && entry.program.is_none() && entry.runs.is_none();
    entry.stack.as_ref().map_or(if has_stack { default } else { Stack::default() }, |stack| stack.value)
}

/// When the actor with this number in its group, counted from 0, joins.
fn joins(entry: &ActorEntry, number: usize, duration: Duration, problems: &Problems) -> Option<Duration> {
    let first = match entry.joins.as_ref().map(|joins| joins.value) {
        None => Duration::ZERO,
        Some(Joins::At(time)) => time,
        Some(Joins::Never) => return None,
    };
    let every = entry.every.as_ref().map_or(Duration::ZERO, |every| every.value);
    let time = every.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX)).saturating_add(first);
    if time >= duration {
        let line = entry.every.as_ref().map(|every| every.line).or(entry.joins.as_ref().map(|joins| joins.line));
        let message = match number {
            0 => format!("joins at {}, which is not before the end: `duration` is {}", show(time), show(duration)),
            _ => format!("the last would join at {} or later: `duration` is {}", show(time), show(duration)),
        };
        // Reported once per group.
        if number == 0 || time - every < duration {
            problems.report(line.unwrap_or(entry.name.line), message);
        }
    }
    Some(time)
}
