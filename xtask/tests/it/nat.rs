//! `glare nat-matrix` and `glare nat-probe`.

use std::net::UdpSocket;

use crate::glare;
use crate::server::Server;

#[test]
fn pairs_of_profiles_are_a_table_json_and_a_page() {
    let profiles = ["nat-matrix", "--profiles", "open,port-restricted-cone,symmetric"];
    let run = glare(&profiles);
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    assert!(run.out().contains("PASS  9 pairs: 6 direct, 0 relayed, 3 failed; all as predicted"), "{}", run.out());
    let run = glare(&[&profiles[..], &["--turn", "--format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&run.out()).expect("JSON");
    let cells = json["cells"].as_array().expect("cells");
    let relayed = cells.iter().filter(|cell| cell["result"] == "relayed").count();
    assert_eq!((run.code(), cells.len(), relayed), (0, 9, 3), "{}", run.out());
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/nat-matrix.html");
    let run = glare(&[&profiles[..], &["--format", "html", "--output", file]].concat());
    assert_eq!(run.code(), 0, "{}", run.err());
    let page = std::fs::read_to_string(file).expect("a page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("port-restricted-cone with symmetric"), "{page}");
}

#[test]
fn the_peers_have_the_stacks_that_are_asked_for() {
    let profiles = ["nat-matrix", "--profiles", "home-linux,port-restricted-cone"];
    let run = glare(&[&profiles[..], &["--stack", "str0m,rtc"]].concat());
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    assert!(run.out().contains("the ICE agents of str0m (the row) and rtc (the column)"), "{}", run.out());
    assert!(run.out().contains("PASS  4 pairs: 4 direct"), "{}", run.out());
    let run = glare(&[&profiles[..], &["--stack", "str0m", "--format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&run.out()).expect("JSON");
    assert_eq!(json["stacks"], serde_json::json!(["str0m", "str0m"]));
    let run = glare(&["nat-matrix", "--stack", "rtc,str0m,rtc"]);
    assert_eq!(run.code(), 2, "{}", run.out());
    assert!(run.err().contains("--stack: two peers have two stacks at most: remove 1"), "{}", run.err());
    let run = glare(&["sim", "--scenario", "two-peers", "--stack", "rtc,str0m", "--timeline"]);
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    assert!(run.out().contains("WebRTC stack  str0m of ben"), "{}", run.out());
    assert!(run.out().contains("--scenario two-peers --stack 'rtc,str0m' --seed 1"), "{}", run.out());
}

#[test]
fn wrong_profiles_are_named_with_what_would_be_right() {
    for (profiles, says) in [
        ("symetric", "--profiles: there is no NAT profile `symetric`; did you mean `symmetric`?"),
        ("open,open", "--profiles: `open` is listed twice: remove one"),
    ] {
        let run = glare(&["nat-matrix", "--profiles", profiles]);
        assert_eq!(run.code(), 2, "{}", run.out());
        assert!(run.err().contains(says), "{}", run.err());
    }
}

/// On loopback there is no NAT, and nothing is filtered.
#[test]
fn a_server_with_two_addresses_tells_about_this_machine() {
    let taken = UdpSocket::bind("127.0.0.2:0").expect("a loopback address");
    let alternate = taken.local_addr().expect("bound").to_string();
    drop(taken);
    let listen = ["--dialects", "mesh", "--port", "0", "--stun-port", "0"];
    let mut server = Server::start(&[&listen[..], &["--stun-alternate", &alternate]].concat());
    server.address("mesh  ws://");
    let stun = server.address("stun  stun:");
    let run = glare(&["nat-probe", "--stun", &stun, "--lifetime", "2s"]);
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    for says in [
        "is seen as it is: there is no NAT",
        "endpoint-independent: datagrams come in from everybody",
        "a call       direct with a peer on the internet",
    ] {
        assert!(run.out().contains(says), "{says}: {}", run.out());
    }
    let run = glare(&["nat-probe", "--stun", &stun, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&run.out()).expect("JSON");
    assert_eq!(json["mapping"], "there is no NAT", "{json}");
}

#[test]
fn a_server_with_one_address_says_little_and_none_says_nothing() {
    let mut server = Server::start(&["--dialects", "mesh", "--port", "0", "--stun-port", "0"]);
    server.address("mesh  ws://");
    let stun = server.address("stun  stun:");
    let run = glare(&["nat-probe", "--stun", &stun]);
    assert_eq!(run.code(), 0, "{}", run.err());
    assert!(run.out().contains("filtering    not known: the server has one address only"), "{}", run.out());
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a loopback address");
    let run = glare(&["nat-probe", "--stun", &nobody.local_addr().expect("bound").to_string()]);
    assert_eq!(run.code(), 3, "{}", run.out());
    assert!(run.err().contains("no answer over UDP: the server is not there, or UDP is blocked"), "{}", run.err());
    for (stun, says) in [("nowhere.invalid:1", "that can be looked up"), ("127.0.0.1:99999", "that can be looked up")] {
        let run = glare(&["nat-probe", "--stun", stun]);
        assert_eq!(run.code(), 2, "{stun}");
        assert!(run.err().contains(says), "{}", run.err());
    }
    let run = glare(&["nat-probe", "--stun", "127.0.0.1:1", "--lifetime", "2h"]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains("must be from 1s to 1h"), "{}", run.err());
}
