//! `glare serve --threads`: several threads read the UDP port of STUN and TURN, and every client gets its own answers.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use crate::serve::FREE;
use crate::server::{PATIENCE, Server};

const THREADS: usize = 4;
const CLIENTS: u8 = 40;
const REQUESTS: u8 = 10;

fn serve() -> (Server, String) {
    let threads = THREADS.to_string();
    let more = ["--threads", &threads, "--dialects", "echo", "--turn-users", "u:p,v:q", "--turn-allow-private-peers"];
    let mut server = Server::start(&[&FREE[..], &more].concat());
    let mut line = server.line("");
    while !line.starts_with("stun  stun:") {
        line = server.line("");
    }
    let stun = line.trim_start_matches("stun  stun:").to_owned();
    (server, stun)
}

/// Number of UDP sockets of this machine that are bound to a port.
fn sockets_at(port: u16) -> usize {
    let sockets = fs::read_to_string("/proc/net/udp").expect("Linux");
    let local = |line: &str| line.split_ascii_whitespace().nth(1).map(str::to_owned);
    sockets.lines().filter_map(local).filter(|local| local.ends_with(&format!(":{port:04X}"))).count()
}

#[test]
fn every_client_gets_its_own_answers_whatever_thread_reads_its_requests() {
    let (_server, stun) = serve();
    let port = stun.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    assert_eq!(sockets_at(port), THREADS, "the kernel shares the port's datagrams between the threads");
    let clients: Vec<UdpSocket> = (0..CLIENTS).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
    for number in 0..REQUESTS {
        for (client, socket) in (0..).zip(&clients) {
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
            let id = [client, number, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
            let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &id].concat();
            socket.send_to(&request, &stun).expect("sent");
        }
        for (client, socket) in (0..).zip(&clients) {
            let mut answer = [0; 200];
            let (length, from) = socket.recv_from(&mut answer).expect("an answer");
            assert_eq!(from.to_string(), stun);
            assert_eq!((&answer[..2], &answer[8..10]), (&[1, 1][..], &[client, number][..]), "of {length} bytes");
            // XOR-MAPPED-ADDRESS is the first attribute: type, length, family, and the port below the cookie's first half.
            let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
            assert_eq!(port, socket.local_addr().expect("bound").port());
        }
    }
}

#[test]
fn turn_is_the_same_with_several_threads() {
    let (_server, stun) = serve();
    let mut suite = Command::new(env!("CARGO_BIN_EXE_glare"));
    suite.args([
        "conformance",
        "--turn",
        &stun,
        "--user",
        "u",
        "--credential",
        "p",
        "--user",
        "v",
        "--credential",
        "q",
    ]);
    let output = suite.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("PASS"), "{said}");
}
