//! How files are expanded to scenarios.

use std::time::Duration;

use scenarios::{
    Action, ActorIndex, Command, Dependence, Hairpinning, Link, Machine, MachineAction, NetworkIndex, OneWay, Scenario,
    parse,
};

#[test]
fn what_is_not_written_has_a_default() {
    let scenario = expanded("[[actor]]\nname = 'ana'");
    assert_eq!(scenario.server.address.to_string(), "203.0.113.1");
    assert_eq!(scenario.server.heartbeat, Duration::from_secs(20));
    let [ana] = scenario.actors.as_slice() else { panic!("one actor") };
    assert_eq!((ana.network, ana.room.as_str(), ana.joins, ana.webrtc), (None, "demo", Some(Duration::ZERO), true));
    assert_eq!(ana.address.to_string(), "203.0.113.10");
    let link = Link::both(OneWay::with_latency(Duration::from_millis(10)));
    assert_eq!([ana.link, scenario.server.link], [link, link]);
}

#[test]
fn a_count_makes_so_many_actors_one_after_the_other() {
    let scenario = expanded("[[actor]]\nname = 'ana'\njoins = '1s'\ncount = 300\nevery = '10ms'");
    assert_eq!(scenario.actors.len(), 300);
    let last = &scenario.actors[299];
    assert_eq!((last.name.as_str(), last.joins), ("ana-300", Some(Duration::from_millis(3990))));
    assert_eq!(last.address.to_string(), "198.18.0.47", "after the 253 that fit into 203.0.113.0/24");
}

#[test]
fn a_count_with_a_nat_makes_a_network_for_each() {
    let scenario = expanded("[[actor]]\nname = 'ana'\nnat = 'home-linux'\ncount = 1000");
    assert_eq!(scenario.networks.len(), 1000);
    for (index, actor) in scenario.actors.iter().enumerate() {
        assert_eq!(actor.network, Some(NetworkIndex(index)));
        assert_eq!(scenario.networks[index].name, actor.name);
    }
    assert_unique_on_the_internet(&scenario);
}

#[test]
fn ten_thousand_fit_on_the_internet() {
    let scenario = expanded(
        "[[actor]]\nname = 'a'\ncount = 10000\nevery = '1ms'\nwebrtc = false\n[[actor]]\nname = 'b'\nnat = 'home-linux'\ncount = 10000",
    );
    assert_unique_on_the_internet(&scenario);
}

#[test]
fn overrides_change_what_they_name_and_nothing_else() {
    let plain = expanded("[[actor]]\nname = 'ana'\nnat = 'home-median'");
    let changed = expanded(
        "[[actor]]\nname = 'ana'\nnat = 'home-median'\noverride = { filtering = 'address-dependent', udp-lifetime = '90s', hairpinning = 'external-source', max-mappings = 7 }",
    );
    let mut expected = plain.networks[0].nat.clone().expect("a NAT");
    expected.filtering = Dependence::AddressDependent;
    expected.udp_lifetime = Duration::from_secs(90);
    expected.hairpinning = Hairpinning::ExternalSource;
    expected.max_mappings = 7;
    assert_eq!(changed.networks[0].nat, Some(expected));
    assert_eq!(changed.networks[0].profile, "home-median");
}

#[test]
fn outer_networks_come_before_those_behind_them() {
    let scenario = expanded(
        "[[network]]\nname = 'home'\nnat = 'home-linux'\nbehind = 'street'\n[[network]]\nname = 'street'\nnat = 'home-linux'\nbehind = 'city'\n\
         [[network]]\nname = 'city'\nnat = 'cgn-wired'\n[[actor]]\nname = 'ana'\nnetwork = 'home'",
    );
    let names: Vec<_> = scenario.networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, ["city", "street", "home"]);
    let outside: Vec<_> =
        scenario.networks.iter().map(|network| (network.behind, network.external[0].to_string())).collect();
    assert_eq!(
        outside,
        [
            (None, "198.51.100.10".to_owned()),
            (Some(NetworkIndex(0)), "100.64.0.11".to_owned()),
            (Some(NetworkIndex(1)), "192.168.1.12".to_owned())
        ]
    );
    let inside: Vec<_> = scenario.networks.iter().map(|network| network.gateway.to_string()).collect();
    assert_eq!(
        inside,
        ["100.64.0.1", "192.168.1.1", "192.168.2.1"],
        "the inner home keeps out of the outer one's range"
    );
    assert_eq!(scenario.actors[0].network, Some(NetworkIndex(2)));
}

#[test]
fn an_open_network_has_public_addresses() {
    let scenario = expanded(
        "[[network]]\nname = 'campus'\nnat = 'open'\n[[network]]\nname = 'lab'\nnat = 'open'\n[[actor]]\nname = 'ana'\nnetwork = 'campus'\n\
         [[actor]]\nname = 'ben'\nnetwork = 'lab'\n[[actor]]\nname = 'cam'\nnat = 'open'",
    );
    assert_eq!(scenario.networks[0].nat, None);
    let addresses: Vec<_> = scenario.actors.iter().map(|actor| actor.address.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.10", "198.19.0.11", "203.0.113.12"]);
    assert_eq!(scenario.actors[2].network, None, "an open NAT of one's own is none");
}

#[test]
fn given_addresses_are_kept_and_avoided() {
    let scenario = expanded(
        "[server]\naddress = '203.0.113.10'\n[[network]]\nname = 'home'\nnat = 'home-linux'\nsubnet = '10.1.0.0/16'\n\
         external = ['198.51.100.11', '198.51.100.12']\n[[network]]\nname = 'phone'\nnat = 'cgn-cellular-symmetric'\n\
         [[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\nnetwork = 'home'\n[[actor]]\nname = 'cam'\nnetwork = 'home'\naddress = '10.1.0.11'",
    );
    let external: Vec<Vec<String>> =
        scenario.networks.iter().map(|network| network.external.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(external[0], ["198.51.100.11", "198.51.100.12"]);
    assert_eq!(external[1], ["198.51.100.254", "198.51.100.253", "198.51.100.252", "198.51.100.251"], "11 is taken");
    let addresses: Vec<_> = scenario.actors.iter().map(|actor| actor.address.to_string()).collect();
    assert_eq!(addresses, ["203.0.113.254", "10.1.0.2", "10.1.0.11"]);
    assert_unique_on_the_internet(&scenario);
}

#[test]
fn links_inherit_key_by_key() {
    let scenario = expanded(
        "[link]\nlatency = '30ms'\nloss = '2%'\n[lan]\njitter = '2ms'\n[server]\nlink = { loss = '0%' }\n\
         [[network]]\nname = 'home'\nnat = 'home-linux'\nlink = { bandwidth = '5Mbit' }\n\
         [[actor]]\nname = 'ana'\nnetwork = 'home'\n[[actor]]\nname = 'ben'\nlink = { latency = '5ms' }",
    );
    let of = |link: Link| {
        assert_eq!(link.up, link.down);
        let way = link.up;
        (way.latency.as_millis(), way.jitter.usual_max().as_millis(), way.loss_ppm, way.bandwidth_bps)
    };
    assert_eq!(of(scenario.server.link), (30, 0, 0, None));
    assert_eq!(of(scenario.networks[0].link), (30, 0, 20_000, Some(5_000_000)));
    assert_eq!(of(scenario.actors[0].link), (1, 2, 0, None), "inside a home");
    assert_eq!(of(scenario.actors[1].link), (5, 0, 20_000, None), "on the internet");
}

#[test]
fn every_verb_becomes_its_action() {
    let scenario = parse("verbs.toml", VERBS).unwrap_or_else(|error| panic!("{error}"));
    let actions: Vec<String> = scenario.steps.iter().map(|step| format!("{} {:?}", step.line, step.action)).collect();
    let link = |latency, loss_ppm| {
        format!("{:?}", Link::both(OneWay { loss_ppm, ..OneWay::with_latency(Duration::from_millis(latency)) }))
    };
    assert_eq!(
        actions,
        [
            "13 Join(#2)".to_owned(),
            "14 Actor(#0, Say(\"hi\"))".to_owned(),
            "14 Actor(#1, Say(\"hi\"))".to_owned(),
            "15 Actor(#0, Drop)".to_owned(),
            "16 Actor(#0, Hangup(#1))".to_owned(),
            "17 Actor(#1, IceRestart(#0))".to_owned(),
            format!("18 Machine(Server, Link({}))", link(10, 100_000)),
            format!("19 Network(#0, Link({}))", link(20, 0)),
            "20 Network(#0, Reboot(NatReboot { resets_tcp: true, new_address: Some(198.51.100.200) }))".to_owned(),
            "21 World(Partition { from: [Actor(#0), Actor(#1)], to: [Server], one_way: true })".to_owned(),
            "22 World(Heal)".to_owned(),
            "23 Machine(Actor(#0), PowerLoss)".to_owned(),
            "23 Machine(Actor(#1), PowerLoss)".to_owned(),
            "24 Machine(Actor(#0), Boot)".to_owned(),
            "25 World(Shutdown)".to_owned(),
            "26 Machine(Server, Boot)".to_owned(),
            "12 Actor(#2, Leave)".to_owned(),
        ]
    );
}

const VERBS: &str = "name = 'verbs'
duration = '1m'
actor = [
  { name = 'ana', count = 2, nat = 'home-linux' },
  { name = 'cam', joins = 'never' },
]





step = [{ at = '40s', do = 'leave', actor = 'cam' },
  { at = '1s', do = 'join', actor = 'cam' },
  { at = '2s', do = 'say', actor = ['ana', 'ana-1'], text = 'hi' },
  { at = '3s', do = 'drop', actor = 'ana-1' },
  { at = '4s', do = 'hangup', actor = 'ana-1', with = 'ana-2' },
  { at = '5s', do = 'ice-restart', actor = 'ana-2', with = 'ana-1' },
  { at = '6s', do = 'link', machine = 'server', link = { loss = '10%' } },
  { at = '7s', do = 'link', network = 'ana-1', link = { latency = '20ms' } },
  { at = '8s', do = 'nat-reboot', network = 'ana-1', resets-tcp = true, new-address = true },
  { at = '9s', do = 'partition', from = 'ana', to = ['server'], one-way = true },
  { at = '10s', do = 'heal' },
  { at = '11s', do = 'power-loss', machine = 'ana' },
  { at = '12s', do = 'boot', machine = 'ana-1' },
  { at = '13s', do = 'shutdown' },
  { at = '14s', do = 'boot', machine = 'server' },
]
";

#[test]
fn steps_at_one_time_keep_their_order_and_joins_come_first() {
    let scenario = expanded(
        "[[actor]]\nname = 'ana'\njoins = '5s'\n[[step]]\nat = '5s'\ndo = 'drop'\nactor = 'ana'\n[[step]]\nat = '5s'\ndo = 'power-loss'\nmachine = 'ana'",
    );
    let actions: Vec<_> = scenario.steps.into_iter().map(|step| step.action).collect();
    let ana = ActorIndex(0);
    assert_eq!(
        actions,
        [Action::Actor(ana, Command::Drop), Action::Machine(Machine::Actor(ana), MachineAction::PowerLoss)]
    );
}

#[test]
fn expectations_are_looked_up() {
    let scenario = expanded(
        "[[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\n[expect]\nunconnected = [['ben', 'ana']]\nprobes = ['mapping-expired']",
    );
    assert_eq!(scenario.expect.unconnected, [(ActorIndex(1), ActorIndex(0))]);
    assert_eq!(scenario.expect.probes, ["mapping-expired"]);
}

#[test]
fn an_expected_connection_has_a_beginning_and_an_end() {
    let scenario = expanded(
        "[[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\n[expect]\nconnected = [\n\
         { pair = ['ben', 'ana'] },\n{ pair = ['ana', 'ben'], until = '9s' },\n{ pair = ['ana', 'ben'], from = '5s' },\n]",
    );
    let times = scenario.expect.connected.iter().map(|expected| {
        (expected.pair.0.0, expected.pair.1.0, expected.from.as_secs(), expected.until.as_secs(), expected.line)
    });
    assert_eq!(times.collect::<Vec<_>>(), [(1, 0, 30, 30, 9), (0, 1, 9, 9, 10), (0, 1, 5, 30, 11)]);
}

#[test]
fn the_same_text_expands_to_the_same_scenario() {
    for shipped in scenarios::shipped() {
        assert_eq!(parse("x", shipped.text), parse("x", shipped.text));
    }
}

fn expanded(rest: &str) -> Scenario {
    parse("x.toml", &format!("name = 'x'\nduration = '30s'\n{rest}\n")).unwrap_or_else(|error| panic!("{error}"))
}

fn assert_unique_on_the_internet(scenario: &Scenario) {
    let nats = scenario
        .networks
        .iter()
        .filter(|network| network.behind.is_none())
        .flat_map(|network| network.external.clone());
    let hosts = scenario.actors.iter().filter(|actor| actor.network.is_none()).map(|actor| actor.address);
    let mut all: Vec<_> = nats.chain(hosts).chain([scenario.server.address]).collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}
