//! The simulated network beside the network stack of this machine's kernel: the same peers, in network namespaces with
//! nftables, connect in the same way.

mod probe;
mod tcp;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use scenarios::{
    Action, ActorIndex, Builder, Dependence, Hairpinning, Machine, MachineAction, NatBehavior, TurnServer,
};
use sim::live::netns::{Namespace, Script, missing};
use sim::reachability::{CandidateKind, Place, Verdict, can_connect};

use crate::installed::debian_if_possible;
use crate::played::{Played, scenario};
use probe::{Port, Times};
use tcp::{Case, Heard, Seen};

/// Length of a call. On a kernel it takes as long as it says, but calls run beside each other.
const SECONDS: u64 = 8;
/// Number of calls that run at the same time.
const BESIDE: usize = 25;

/// The NATs that Linux can be.
const NATS: [&str; 7] = [
    "home-linux",
    "home-linux-open",
    "home-linux-reject",
    "full-cone",
    "restricted-cone",
    "port-restricted-cone",
    "symmetric",
];

#[test]
fn nats_behave_as_on_a_kernel() {
    if !ready() {
        return;
    }
    let times = Times { new: vec![500, 3300], stream: vec![3300, 5500] };
    let short = |profile: &str| {
        let nat = nat(profile);
        // Linux has this age for a stream; the tables of endpoint-independent mappings have one lifetime.
        let is_tracked = nat.mapping == Dependence::AddressAndPortDependent;
        let (stream, age) = if is_tracked { (4, 2) } else { (2, 0) };
        NatBehavior {
            udp_lifetime_new: Duration::from_secs(2),
            udp_lifetime: Duration::from_secs(stream),
            udp_stream_after: Duration::from_secs(age),
            ..nat
        }
    };
    let real = beside(&NATS, |profile| probe::kernel(short(profile), &times));
    for (profile, real) in NATS.iter().zip(&real) {
        assert_eq!(*real, probe::simulated(short(profile), &times), "{profile}: on the kernel, and simulated");
    }
    // A probe that always finds the same would prove little.
    assert_eq!(real[0].ports, [Port::Internal; 3], "{:?}", real[0]);
    assert_eq!(real[0].second, [Port::Other, Port::First], "{:?}", real[0]);
    assert_eq!((real[0].called_first, real[1].called_first), (Port::Internal, Port::Other), "without a firewall");
    assert_eq!(real[0].after_answer, [(500, true), (3300, false)]);
    assert_eq!(real[0].after_stream, [(3300, true), (5500, false)]);
    assert_eq!([3, 4, 5, 6].map(|nat| real[nat].hears[1..].iter().filter(|hears| **hears).count()), [2, 1, 0, 0]);
    assert_eq!(real[6].ports, [Port::Other; 3], "{:?}", real[6]);
}

/// What becomes of a connection through each NAT: how long it is remembered while nobody speaks, after it was reset and after it
/// was closed, and after a reboot.
#[test]
fn tcp_connections_are_forgotten_and_picked_up_as_on_a_kernel() {
    if !ready() {
        return;
    }
    let short = |nat: NatBehavior| NatBehavior {
        tcp_lifetime_opening: Duration::from_secs(3),
        tcp_lifetime: Duration::from_secs(3),
        tcp_lifetime_closing: Duration::from_secs(2),
        tcp_lifetime_reset: Duration::from_secs(2),
        ..nat
    };
    let mut nats: Vec<(String, NatBehavior)> =
        NATS.iter().map(|profile| ((*profile).to_owned(), short(nat(profile)))).collect();
    for profile in ["home-linux", "home-linux-reject"] {
        let nat = NatBehavior { tcp_pick_up: false, ..short(nat(profile)) };
        nats.push((format!("{profile} that picks up nothing"), nat));
    }
    let mut cases = vec![Case::Silence(1500), Case::Silence(4700)];
    cases.extend([700, 3500].into_iter().flat_map(|time| [Case::Reset(time), Case::Close(time)]));
    cases.extend([false, true].map(|readdresses| Case::Reboot { readdresses }));
    let all: Vec<_> = nats.iter().flat_map(|(name, nat)| cases.iter().map(move |case| (name, nat, *case))).collect();
    let real = beside(&all, |(_, nat, case)| tcp::kernel((*nat).clone(), *case));
    let mut differing = Vec::new();
    for ((name, nat, case), real) in all.iter().zip(&real) {
        let simulated = tcp::simulated((*nat).clone(), *case);
        if *real != simulated {
            differing.push(format!("{name}, {case:?}: {real:?} on the kernel, {simulated:?} simulated"));
        }
    }
    assert!(differing.is_empty(), "{} of {}:\n{}", differing.len(), all.len(), differing.join("\n"));

    // A probe that always finds the same would prove little. home-linux:
    let (inside, outside) = (Seen::Inside, Seen::Outside);
    assert_eq!(real[0], [inside(Heard::Data), outside(Heard::Data), inside(Heard::Nothing)]);
    assert_eq!(real[1][..2], [inside(Heard::Nothing), outside(Heard::Data)], "it is picked up when the inside speaks");
    assert_eq!(real[2], [Seen::Known(1), outside(Heard::Reset), Seen::Known(1)]);
    assert_eq!(real[4], [Seen::Known(1), outside(Heard::Reset), Seen::Known(0)]);
    assert_eq!(real[6], [Seen::Known(0), outside(Heard::Data), inside(Heard::Data)], "the address is the same");
    assert_eq!(real[7], [Seen::Known(0), outside(Heard::Nothing), inside(Heard::Reset)], "the address is another");
}

#[test]
fn pairs_of_homes_connect_as_on_a_kernel() {
    let pairs = NATS.iter().flat_map(|a| NATS.map(|b| (*a, b)));
    let compared = compare(pairs.map(|(a, b)| {
        let calls = scenario(SECONDS).home(nat(a)).home(nat(b)).peer(0).peer(1);
        (format!("{a} with {b}"), calls)
    }));
    if !compared.is_empty() {
        let connected = compared.iter().filter(|found| found.is_some()).count();
        assert_eq!((compared.len(), connected), (42, 33), "{compared:?}");
    }
}

#[test]
fn rows_of_nats_and_shared_networks_connect_as_on_a_kernel() {
    let homes = ["home-linux", "port-restricted-cone", "symmetric"];
    let carriers = ["home-median", "home-hairpin", "symmetric"];
    let both = carriers.iter().flat_map(|carrier| homes.map(|home| (*carrier, home)));
    let mut calls = Vec::new();
    for (carrier, home) in both {
        let carried = || scenario(SECONDS).home(nat(carrier)).network(Some(0), nat(home));
        calls.push((format!("two {home} behind one {carrier}"), carried().network(Some(0), nat(home)).peer(1).peer(2)));
        calls.push((format!("{home} behind {carrier}, with the internet"), carried().peer(1).peer(None)));
        calls.push((format!("{home} behind {carrier}, with the carrier's network"), carried().peer(1).peer(0)));
    }
    for home in homes {
        calls.push((format!("{home}, with itself"), scenario(SECONDS).home(nat(home)).peer(0).peer(0)));
    }
    let compared = compare(calls);
    if !compared.is_empty() {
        assert_eq!(compared.len(), 30, "none is left to chance: {compared:?}");
        assert!(compared.iter().any(Option::is_none) && compared.iter().any(Option::is_some), "{compared:?}");
    }
}

/// Two homes behind one carrier, or one host of the carrier's network and a home there, for each source that hairpinning can show.
/// Homes that filter hear only from where they have sent to.
#[test]
fn each_kind_of_hairpinning_connects_as_on_a_kernel() {
    use Hairpinning::{ExternalSource, InternalSource, Off, RouterSource};
    let homes = ["full-cone", "restricted-cone", "port-restricted-cone", "symmetric"];
    let carriers = [Off, InternalSource, ExternalSource, RouterSource].into_iter().flat_map(|hairpinning| {
        ["full-cone", "port-restricted-cone"]
            .map(|carrier| (hairpinning, carrier, NatBehavior { hairpinning, ..nat(carrier) }))
    });
    let both = carriers.flat_map(|carrier| homes.map(|home| (carrier.clone(), home)));
    let mut calls = Vec::new();
    for ((hairpinning, carrier, behavior), home) in both {
        let carried = scenario(SECONDS).home(behavior).network(Some(0), nat(home)).network(Some(0), nat(home));
        calls.push((format!("two {home} behind {carrier}, {hairpinning:?}"), carried.peer(1).peer(2)));
    }
    // If a source is shown that nobody was told of, it depends on who is first by which candidate each side knows the other.
    let compared = compare_by(calls, |found| found.is_some());
    if !compared.is_empty() {
        assert_eq!(compared.len(), 32, "none is left to chance: {compared:?}");
        // By carrier: without hairpinning none connects, with the external source most do.
        let connected: Vec<_> = compared.chunks(8).map(|kind| kind.iter().flatten().count()).collect();
        assert!(connected[0] < connected[1] && connected[1] < connected[2], "{connected:?}");
        eprintln!("connected: {connected:?}");
    }
}

#[test]
fn with_a_turn_server_the_rest_is_relayed_as_on_a_kernel() {
    let homes = ["home-linux", "port-restricted-cone", "symmetric"];
    let pairs = homes.iter().flat_map(|a| homes.map(|b| (*a, b)));
    let compared = compare(pairs.map(|(a, b)| {
        let calls = scenario(SECONDS).turn(TurnServer::default()).home(nat(a)).home(nat(b)).peer(0).peer(1);
        (format!("{a} with {b}, and a relay"), calls)
    }));
    let is_relayed =
        |found: &&Option<[CandidateKind; 2]>| found.is_some_and(|ends| ends.contains(&CandidateKind::Relayed));
    assert!(compared.iter().all(Option::is_some), "{compared:?}");
    assert!(compared.is_empty() || compared.iter().filter(is_relayed).count() == 5, "{compared:?}");
}

#[test]
fn what_a_kernel_cannot_do_is_refused_with_the_key() {
    let refused = |nat: NatBehavior| {
        let scenario = Arc::new(scenario(SECONDS).home(nat).peer(0).peer(None).build());
        Script::of(&scenario).expect_err("Linux has no such NAT").to_string()
    };
    assert_eq!(
        refused(nat("cgn-cellular")),
        "the NAT of `net-1` cannot be made with Linux: `port-allocation`: only \"preserve\" is possible with an endpoint-independent mapping"
    );
    let by_address = NatBehavior { mapping: Dependence::AddressDependent, ..nat("symmetric") };
    assert!(refused(by_address).contains("`mapping`: "));
    let open = NatBehavior { filtering: Dependence::EndpointIndependent, ..nat("symmetric") };
    assert!(refused(open).contains("`filtering`: "));
    let lost = scenario(SECONDS)
        .peer(None)
        .peer(None)
        .at(Duration::from_secs(1), Action::Machine(Machine::Actor(ActorIndex(0)), MachineAction::PowerLoss));
    let refused = Script::of(&Arc::new(lost.build())).expect_err("no power can be lost").to_string();
    assert_eq!(
        refused,
        "line 0, the step at 1 s: in network namespaces, only joins and commands to actors are possible"
    );
}

/// Runs calls on the kernel and simulated, and compares who is connected and with which candidates. Returns what was
/// found where that is not left to chance; nothing if there are no namespaces here.
fn compare(calls: impl IntoIterator<Item = (String, Builder)>) -> Vec<Option<[CandidateKind; 2]>> {
    compare_by(calls, |found| found)
}

/// The same, of which this is compared.
fn compare_by<T: PartialEq>(
    calls: impl IntoIterator<Item = (String, Builder)>,
    by: impl Fn(Option<[CandidateKind; 2]>) -> T,
) -> Vec<Option<[CandidateKind; 2]>> {
    if !ready() {
        return Vec::new();
    }
    let calls: Vec<_> = calls.into_iter().collect();
    let real = beside(&calls, |(_, built)| kernel(built.clone()));
    let mut differing = Vec::new();
    let mut compared = Vec::new();
    for ((name, built), real) in calls.into_iter().zip(real) {
        let played = Played::of(built, 1);
        let place = |actor| Place::of(&played.scenario, ActorIndex(actor));
        if matches!(can_connect(&place(0), &place(1)), Verdict::Chance(_)) {
            continue;
        }
        let simulated = found(&played);
        if by(real) != by(simulated) {
            differing.push(format!("{name}: {real:?} on the kernel, {simulated:?} simulated"));
        }
        compared.push(real);
    }
    assert_eq!(differing, Vec::<String>::new());
    compared
}

fn nat(profile: &str) -> NatBehavior {
    scenarios::profile(profile).and_then(|profile| profile.behavior).expect("a shipped profile")
}

/// The types of the selected candidates, if the first two actors are connected at the end.
fn found(played: &Played) -> Option<[CandidateKind; 2]> {
    let end = |one, other| played.seen_as(one, other).expect("who is connected has selected a pair");
    played.connected(0, 1).then(|| [end(0, 1), end(1, 0)])
}

fn kernel(built: Builder) -> Option<[CandidateKind; 2]> {
    let scenario = Arc::new(built.build());
    let script = Script::of(&scenario).unwrap_or_else(|why| panic!("{why}"));
    let record = script.record(1).unwrap_or_else(|crash| panic!("{crash:?}"));
    found(&Played::read(scenario, record))
}

/// Does something with each of these, some at the same time. The results have the same order.
fn beside<T: Sync, R: Send>(all: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, one)) = Some(next.fetch_add(1, Relaxed)).and_then(|index| Some((index, all.get(index)?)))
        {
            done.push((index, act(one)));
        }
        done
    };
    let mut done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..BESIDE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Whether scenarios can run in network namespaces here, after nftables is installed if it can be. If not, says why.
fn ready() -> bool {
    if Namespace::new().is_ok() {
        debian_if_possible("nft", "nftables");
        debian_if_possible("ip", "iproute2");
    }
    let missing = missing();
    if let Some(why) = &missing {
        eprintln!("SKIPPED: {why}");
    }
    missing.is_none()
}
