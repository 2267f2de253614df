//! A written scenario reads back as the same scenario.

use scenarios::{ActorIndex, Scenario, load, parse, shipped, write};

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
fn a_server_program_and_what_happens_to_it_read_back() {
    let text = r#"name = "own"
duration = "20s"
[server]
run = ["node", "it's mine.js", "--quiet"]
port = 9000
env = { PORT = "9000", "MY VAR" = "a b" }
directory = "my server"
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
machine = "server"
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

/// Removes line numbers, because a written file has different ones.
fn forget_lines(scenario: &mut Scenario) {
    scenario.actors.iter_mut().for_each(|actor| actor.line = 0);
    scenario.steps.iter_mut().for_each(|step| step.line = 0);
    scenario.expect.line = 0;
    scenario.expect.connected.iter_mut().for_each(|expected| expected.line = 0);
}
