//! A written scenario reads back as the same scenario.

use std::time::Duration;

use scenarios::{
    Action, ActorIndex, Fate, GilbertElliott, NetworkAction, Oversized, Queue, Scenario, load, parse, shipped, write,
};

#[test]
fn every_shipped_scenario_reads_back_as_it_was_written() {
    for shipped in shipped() {
        let mut scenario = load(shipped.name).expect("a shipped scenario is valid");
        let text = write(&scenario);
        let mut again = parse("written.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        forget_lines(&mut scenario);
        forget_lines(&mut again);
        assert_eq!(again, scenario, "{text}");
    }
}

#[test]
fn families_and_firewalls_read_back() {
    let text = r#"name = "own"
duration = "20s"
[server]
ipv6 = false
[[ice-server]]
name = "turn"
[[network]]
name = "home"
nat = "symmetric"
ipv6 = { filtering = "address-dependent", udp-lifetime = "90s" }
[[network]]
name = "flat"
nat = "home-linux"
behind = "home"
ipv6 = { firewall = false }
[[actor]]
name = "ana"
network = "home"
[[actor]]
name = "ben"
network = "flat"
ipv6 = false
[[actor]]
name = "cam"
ipv6 = true
[[actor]]
name = "dia"
nat = "symmetric"
ipv6 = true
[[actor]]
name = "eva"
nat = "symmetric"
override = { udp-blocked = true, tcp-ports-blocked = [3478] }
ipv6 = true
[[actor]]
name = "fay"
nat = "udp-blocked"
ipv6 = { udp-blocked = false, tcp-ports-blocked = [443] }
"#;
    let mut scenario = parse("own.toml", text).expect("it is valid");
    let firewall = |name: &str| {
        let network = scenario.networks.iter().find(|network| network.name == name).expect("it has its own");
        network.ipv6.as_ref().and_then(|ipv6| ipv6.firewall.clone()).expect("it has a firewall")
    };
    let blocks = ["dia", "eva", "fay"].map(firewall).map(|wall| (wall.udp_blocked, wall.tcp_ports_blocked));
    assert_eq!(
        blocks,
        [(false, vec![]), (true, vec![3478]), (false, vec![443])],
        "as the NAT does, if nothing is said"
    );
    assert!(scenario.ice_servers[0].ipv6 && !scenario.server.ipv6, "a server has IPv6 if an actor has");
    let families: Vec<_> = scenario.actors.iter().map(|actor| (actor.ipv4, actor.ipv6)).collect();
    let both = (true, true);
    assert_eq!(families, [both, (true, false), both, both, both, both]);
    let mut again = parse("written.toml", &write(&scenario)).expect("it reads back");
    forget_lines(&mut scenario);
    forget_lines(&mut again);
    assert_eq!(again, scenario, "{}", write(&scenario));
}

#[test]
fn an_actor_in_a_browser_reads_back() {
    let text = "name = 'tab'\nduration = '9s'\n[[actor]]\nname = 'ana'\nruns = 'chromium'\n[[actor]]\nname = 'ben'\n";
    let mut scenario = scenarios::parse("tab.toml", text).expect("it is valid");
    let written = scenarios::write(&scenario);
    let mut again = scenarios::parse("again.toml", &written).expect("it is valid too");
    forget_lines(&mut scenario);
    forget_lines(&mut again);
    assert_eq!(again, scenario, "{written}");
    assert_eq!(
        again.actors.iter().map(|actor| actor.runs).collect::<Vec<_>>(),
        [Some(scenarios::Browser::Chromium), None]
    );
}

#[test]
fn the_stack_of_a_scenario_is_that_of_its_actors_which_read_back() {
    let text = "name = 's'\nduration = '9s'\nstack = 'str0m'\n[[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\nstack = 'rtc'\n\
                [[actor]]\nname = 'cat'\nwebrtc = false\n[[actor]]\nname = 'dan'\nruns = 'chromium'\n";
    let mut scenario = scenarios::parse("s.toml", text).expect("it is valid");
    let stacks = |scenario: &Scenario| scenario.actors.iter().map(|actor| actor.stack.name()).collect::<Vec<_>>();
    assert_eq!(stacks(&scenario), ["str0m", "rtc", "rtc", "rtc"], "only clients of Glare with WebRTC have one");
    let written = scenarios::write(&scenario);
    let mut again = scenarios::parse("again.toml", &written).expect("it is valid too");
    forget_lines(&mut scenario);
    forget_lines(&mut again);
    assert_eq!(again, scenario, "{written}");
}

#[test]
fn a_server_program_and_what_happens_to_it_read_back() {
    let text = r#"name = "own"
duration = "20s"
[server]
run = ["node", "it's mine.js", "--quiet"]
port = 9000
env = { PORT = "9000", "MY VAR" = "a b" }
directory = "my server"
[[ice-server]]
name = "turn"
turn = { credential-lifetime = "60s" }
run = ["turnserver", "-n"]
env = { LEVEL = "debug" }
directory = "relay"
[[actor]]
name = "ana"
run = ["python3", "peer.py"]
env = { LEVEL = "debug" }
directory = "clients"
[[step]]
at = "1s"
do = "stall"
machine = "ana"
time = "2s"
[[step]]
at = "1s"
do = "stall"
machine = ["server", "turn"]
time = "1.5s"
[[step]]
at = "4s"
do = "clock-jump"
machine = "server"
by = "-1h"
"#;
    let mut scenario = parse("own.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let written = write(&scenario);
    let mut again = parse("written.toml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    forget_lines(&mut scenario);
    forget_lines(&mut again);
    assert_eq!(again, scenario, "{written}");
    assert_eq!(again.server.program.expect("a program").run.len(), 3);
    assert_eq!(again.ice_servers[0].program.as_ref().expect("a program").run, ["turnserver", "-n"]);
    assert_eq!(again.actors[0].program.as_ref().expect("a program").run, ["python3", "peer.py"]);
}

#[test]
fn stun_and_turn_servers_read_back() {
    let text = r#"name = "turn"
duration = "20s"
[server]
turn = true
[[ice-server]]
name = "stun"
turn = false
[[ice-server]]
name = "turn"
address = "198.51.100.77"
link = { latency = "40ms" }
turn = { allocation-lifetime = "60s", credential-lifetime = "2m", tcp = true }
[[actor]]
name = "ana"
ice-servers = ["turn", "server"]
ice-transport-policy = "relay"
[[actor]]
name = "ben"
turn-credential = "wrong"
media = { tracks = ["audio", "video"], interval = "20ms", size = "1kB" }
[[actor]]
name = "cam"
media = ["audio"]
ice-servers = "from-config"
[[step]]
at = "1s"
do = "add-track"
actor = "cam"
kind = "video"
[[step]]
at = "1s"
do = "new-secret"
machine = ["turn", "server"]
[[step]]
at = "1s"
do = "power-loss"
machine = ["turn", "stun"]
[[step]]
at = "2s"
do = "link"
machine = "turn"
link = { loss = "1%" }
[expect]
relayed = [["ana", "ben"]]
"#;
    let mut scenario = parse("turn.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let written = write(&scenario);
    let mut again = parse("written.toml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    forget_lines(&mut scenario);
    forget_lines(&mut again);
    assert_eq!(again, scenario, "{written}");
    assert_eq!(again.ice_servers.iter().map(|server| server.address.octets()[3]).collect::<Vec<_>>(), [2, 77]);
    assert_eq!((again.actors[0].ice_servers.len(), again.actors[1].ice_servers.len()), (2, 3));
    assert_eq!(again.expect.relayed, Some(vec![(ActorIndex(0), ActorIndex(1))]));
}

#[test]
fn a_population_reads_back_as_the_nats_that_were_drawn() {
    let text = r#"name = "mix"
duration = "20s"
[population]
source = "a survey of five homes"
shares = { symmetric = "40%", open = "20%", home-linux = "40%" }
[[actor]]
name = "peer"
count = 10
per-room = 2
nat = "population"
"#;
    let mut scenario = parse("mix.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let of = |profile: &str| scenario.networks.iter().filter(|network| network.profile == profile).count();
    assert_eq!((of("symmetric"), of("home-linux"), scenario.networks.len()), (4, 4, 8));
    assert_eq!(scenario.actors.iter().filter(|actor| actor.network.is_none()).count(), 2);
    let rooms: Vec<_> = scenario.actors.iter().map(|actor| actor.room.as_str()).collect();
    assert_eq!(rooms[..3], ["demo-1", "demo-1", "demo-2"]);
    let written = write(&scenario);
    let mut again = parse("written.toml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    forget_lines(&mut scenario);
    forget_lines(&mut again);
    assert_eq!(again, scenario, "{written}");
}

#[test]
fn every_setting_of_a_link_reads_back() {
    let text = r#"name = "links"
duration = "20s"
[link]
queue = "64kB"
jitter = { distribution = "pareto", mean = "3ms" }
down = { bandwidth = "20Mbit" }
up = { bandwidth = "1Mbit", queue = "2s" }
[[network]]
name = "home"
nat = "home-linux"
link = { mtu = 1492, oversized = "fragment", gilbert-elliott = { p = "1%", r = "25%", h = "5%", k = "99.5%" } }
[[actor]]
name = "ana"
network = "home"
[[actor]]
name = "ben"
link = { jitter = { distribution = "normal", mean = "20ms", deviation = "5ms" }, corrupt = "0.1%", down = { mtu = 1280, oversized = "drop", loss = "3%" } }
[[step]]
at = "1s"
do = "link"
network = "home"
link = { gilbert-elliott = "off", mtu = "unlimited", up = { latency = "70ms" } }
[[step]]
at = "2s"
do = "link"
machine = "ben"
link = { jitter = "0s", bandwidth = "unlimited" }
"#;
    let mut scenario = parse("links.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let written = write(&scenario);
    let mut again = parse("written.toml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    forget_lines(&mut scenario);
    forget_lines(&mut again);
    assert_eq!(again, scenario, "{written}");
    let home = again.networks[0].link;
    assert_eq!((home.up.queue, home.down.queue), (Queue::Time(Duration::from_secs(2)), Queue::Bytes(64_000)));
    assert_eq!((home.up.bandwidth_bps, home.down.bandwidth_bps), (Some(1_000_000), Some(20_000_000)));
    let model = GilbertElliott { p_ppm: 10_000, r_ppm: 250_000, h_ppm: 50_000, k_ppm: 995_000 };
    assert_eq!((home.up.burst_loss, home.down.mtu), (Some(model), Some(1492)));
    let ben = again.actors[1].link;
    assert_eq!((ben.up.mtu, ben.down.mtu, ben.down.oversized), (None, Some(1280), Oversized::Drop));
    assert_eq!((ben.up.loss_ppm, ben.down.loss_ppm, ben.up.corrupt_ppm), (0, 30_000, 1000));
    let Action::Network(_, NetworkAction::Link(later)) = &again.steps[0].action else { panic!("{written}") };
    assert_eq!((later.up.latency, later.down.latency), (Duration::from_millis(70), Duration::from_millis(10)));
    assert_eq!((later.up.mtu, later.up.burst_loss, later.down.bandwidth_bps), (None, None, Some(20_000_000)));
}

#[test]
fn fates_of_packets_read_back() {
    let text = r#"name = "packets"
duration = "20s"
[[ice-server]]
name = "turn"
[[actor]]
name = "ana"
[[actor]]
name = "ben"
[[packet]]
from = "ana"
to = "ben"
kind = "stun-request"
number = 3
fate = "late"
by = "40ms"
[[packet]]
from = "ana"
to = "ben"
kind = "stun-request"
number = 3
fate = "twice"
[[packet]]
from = "server"
to = "ana"
kind = "tcp-segment"
number = 1
fate = "lost"
[[packet]]
from = "ben"
to = "turn"
kind = "stun-indication"
number = 7
fate = "lost-at-sender"
"#;
    let mut scenario = parse("packets.toml", text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.packets.iter().map(|packet| packet.line).collect::<Vec<_>>(), [9, 16, 22, 28]);
    let written = write(&scenario);
    let mut again = parse("written.toml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    forget_lines(&mut scenario);
    forget_lines(&mut again);
    assert_eq!(again, scenario, "{written}");
    let fates: Vec<_> = again.packets.iter().map(|packet| packet.fate).collect();
    assert_eq!(fates, [Fate::Late(Duration::from_millis(40)), Fate::Twice, Fate::Lost, Fate::LostAtSender]);
}

/// Removes line numbers, because a written file has different ones.
fn forget_lines(scenario: &mut Scenario) {
    scenario.actors.iter_mut().for_each(|actor| actor.line = 0);
    scenario.steps.iter_mut().for_each(|step| step.line = 0);
    scenario.packets.iter_mut().for_each(|packet| packet.line = 0);
    scenario.expect.line = 0;
    scenario.expect.connected.iter_mut().for_each(|expected| expected.line = 0);
}
