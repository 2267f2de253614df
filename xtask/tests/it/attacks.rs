//! Attacks on `glare serve` as a program: descriptors, memory, the log, randomness.

// Waits for a real process, outside of every simulation.
#![allow(clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

use crate::serve::{FREE, get};
use crate::server::{PATIENCE, Server};

const UPGRADE: &str = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream
}

/// Opens a WebSocket.
fn websocket(address: &str) -> TcpStream {
    let mut stream = connect(address);
    write!(stream, "GET / HTTP/1.1\r\n{UPGRADE}\r\n").expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// The header of a masked text frame, with a key of zeros.
fn header(bytes: usize) -> Vec<u8> {
    let mut header = vec![0x81];
    match bytes {
        0..126 => header.push(0x80 | bytes as u8),
        126..0x1_0000 => {
            header.push(0xfe);
            header.extend((bytes as u16).to_be_bytes());
        }
        _ => {
            header.push(0xff);
            header.extend((bytes as u64).to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}

fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(&[&header(text.len()), text.as_bytes()].concat()).expect("sent");
}

/// The text of the next frame.
fn receive(stream: &mut TcpStream) -> String {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame");
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("a length");
            u16::from_be_bytes(length).into()
        }
        length => usize::from(length),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).expect("a whole frame");
    String::from_utf8_lossy(&text).into_owned()
}

/// Joins a room of mesh and returns the answer.
fn join(mesh: &str, room: &str) -> (TcpStream, String) {
    let mut stream = websocket(mesh);
    send(&mut stream, &format!(r#"{{"action":"join","roomId":{room}}}"#));
    let joined = receive(&mut stream);
    assert!(joined.contains(r#""action":"joined""#), "{joined}");
    (stream, joined)
}

/// Makes a TURN allocation as the user `u` with the password `p` from a port of its own. Returns the error code, 0 for
/// none. The allocation outlives the socket.
fn allocate(turn: &str) -> u16 {
    const ALLOCATE: u16 = 3;
    // Not a repetition of the request of another client that had this port before.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = [&b"unique"[..], &NEXT.fetch_add(1, Relaxed).to_be_bytes()[2..]].concat();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let message = |attributes: &[(u16, &[u8])], more: usize| {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend([kind.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = (body.len() + more) as u16;
        [&ALLOCATE.to_be_bytes()[..], &length.to_be_bytes(), &[0x21, 0x12, 0xa4, 0x42], &id, &body].concat()
    };
    let ask = |request: &[u8]| {
        socket.send_to(request, turn).expect("sent");
        let mut answer = [0; 1500];
        let length = socket.recv(&mut answer).expect("an answer");
        answer[..length].to_vec()
    };
    let attribute = |answer: &[u8], wanted: u16| {
        let mut rest = &answer[20..];
        while rest.len() >= 4 {
            let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            if u16::from_be_bytes([rest[0], rest[1]]) == wanted {
                return Some(rest[4..4 + length].to_vec());
            }
            rest = &rest[4 + length.next_multiple_of(4)..];
        }
        None
    };
    let transport = (0x0019, &[17, 0, 0, 0][..]);
    let challenge = ask(&message(&[transport], 0));
    let (realm, nonce) = (attribute(&challenge, 0x14).expect("a realm"), attribute(&challenge, 0x15).expect("a nonce"));
    let mut request = message(&[transport, (0x06, b"u"), (0x14, &realm), (0x15, &nonce)], 24);
    let key = Md5::digest([b"u:", &realm[..], b":p"].concat());
    let mac = Hmac::<Sha1>::new_from_slice(&key).expect("any length").chain_update(&request).finalize();
    request.extend([0, 8, 0, 20]);
    request.extend(mac.into_bytes());
    attribute(&ask(&request), 0x09).map_or(0, |error| u16::from(error[2]) * 100 + u16::from(error[3]))
}

#[test]
fn turn_allocations_do_not_take_the_descriptors_of_signaling() {
    let flags = [
        "--dialects",
        "mesh",
        "--turn-users",
        "u:p",
        "--turn-allocations-per-user-max",
        "100000",
        "--turn-allocations-per-address-max",
        "100000",
    ];
    let mut server = Server::start_limited(1024, &[&FREE[..], &flags].concat());
    let mesh = server.address("mesh  ws://");
    server.address("stun  stun:");
    let turn = server.line("turn  turn:").trim_end_matches("?transport=udp").to_owned();
    server.line("ready");
    let codes: Vec<u16> = (0..1009).map(|_| allocate(&turn)).collect();
    // A port of the host may be used twice, which is a mismatch.
    let made = codes.iter().filter(|code| **code == 0).count();
    assert_eq!(made, 448, "half of what is left after the reserve");
    assert!(codes.iter().all(|code| matches!(code, 0 | 437 | 508)), "{codes:?}");
    assert!(get(&mesh, "/healthz").starts_with("HTTP/1.1 200"));
    let members: Vec<_> = (0..100).map(|n| join(&mesh, &format!("\"{n}\""))).collect();
    assert_eq!(members.len(), 100);
    assert!(server.interrupt());
}

#[test]
fn silent_connections_do_not_take_the_descriptors_of_others() {
    let mut server = Server::start_limited(256, &[&FREE[..], &["--dialects", "mesh", "--no-stun"]].concat());
    let mesh = server.address("mesh  ws://");
    server.line("ready");
    let (mut member, _) = join(&mesh, "\"r\"");
    // Half of them are WebSockets that do not join.
    let silent: Vec<_> = (0..600).map(|n| if n % 2 == 0 { connect(&mesh) } else { websocket(&mesh) }).collect();
    assert!(get(&mesh, "/healthz").starts_with("HTTP/1.1 200"));
    let (_other, _) = join(&mesh, "\"r\"");
    assert!(receive(&mut member).contains("peer-joined"));
    drop(silent);
    assert!(server.interrupt());
}

/// The resident memory of a process, in KiB.
fn resident_kib(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn memory_is_given_back_after_a_storm() {
    let mut server = Server::start(&[&FREE[..], &["--dialects", "mesh", "--no-stun"]].concat());
    let mesh = server.address("mesh  ws://");
    server.line("ready");
    let before = resident_kib(&server);
    let held = || resident_kib(&server).saturating_sub(before);
    // The second storm finds an allocator that no longer takes each large block from the system and gives it back.
    // Whoever joins in between keeps the end of the heap in use.
    let mut others = Vec::new();
    for round in 0..2 {
        let storm: Vec<_> = (0..400)
            .map(|n| {
                let (mut stream, _) = join(&mesh, &format!("\"{n}\""));
                let bytes = 500_000;
                stream.write_all(&header(bytes)).expect("sent");
                stream.write_all(&vec![b' '; bytes - 1]).expect("sent");
                stream
            })
            .collect();
        wait_until("the storm is there", || held() > 150_000);
        others.push(join(&mesh, &format!("\"after {round}\"")));
        drop(storm);
    }
    wait_until("the memory is given back", || held() < 40_000);
    assert!(server.interrupt());
}

#[test]
fn nothing_is_kept_for_requests_whose_source_may_be_forged() {
    let mut server = Server::start(&[&FREE[..], &["--dialects", "mesh", "--turn-users", "u:p"]].concat());
    server.address("mesh  ws://");
    server.address("stun  stun:");
    let turn = server.line("turn  turn:").trim_end_matches("?transport=udp").to_owned();
    server.line("ready");
    let header = |kind: u16, length: u16, source: u32| {
        let id = [&source.to_be_bytes()[..], b"from one"].concat();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), &[0x21, 0x12, 0xa4, 0x42], &id].concat()
    };
    let ask = |source: u32| {
        let [_, a, b, c] = source.to_be_bytes();
        let socket = UdpSocket::bind(SocketAddr::from(([127, 1 + a, b, c], 0))).expect("the loopback has all of these");
        let binding = header(1, 0, source);
        let allocate = [&header(3, 8, source)[..], &[0, 0x19, 0, 4, 17, 0, 0, 0]].concat();
        for request in [binding, allocate] {
            socket.send_to(&request, &turn).expect("sent");
        }
        // Now and then, so that the server does not fall behind and nothing is lost.
        if source.is_multiple_of(32) {
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
            for kind in [[1, 1], [1, 0x13]] {
                let mut answer = [0; 500];
                socket.recv(&mut answer).expect("an answer");
                assert_eq!(answer[..2], kind);
            }
        }
    };
    (0..10_000).for_each(ask);
    let before = resident_kib(&server);
    (10_000..110_000).for_each(ask);
    let kept = resident_kib(&server).saturating_sub(before);
    assert!(kept < 3_000, "{kept} KiB, where 64 bytes for each request would be 12,500");
    assert!(server.interrupt());
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 50 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it does not happen that {what}");
}

/// A line feed, the escape of terminals, a mark that reverses the direction, and a C1 control character.
const FORGED: &str = r#""a\n2026 INFO forged\u001b[2J\u202e\u009b""#;

#[test]
fn no_log_shows_a_name_that_forges_lines_or_moves_the_cursor() {
    for format in ["text", "json"] {
        let flags = ["--no-stun", "--dialects", "mesh,call", "--log", "trace", "--log-format", format];
        let mut server = Server::start(&[&FREE[..], &flags].concat());
        let mesh = server.address("mesh  ws://");
        let call = server.address("call  ws://");
        server.line("call  http://");
        server.line("ready");
        drop(join(&mesh, FORGED));
        let mut caller = websocket(&call);
        send(&mut caller, &format!(r#"{{"type":"join","data":{{"username":{FORGED}}}}}"#));
        assert!(receive(&mut caller).contains("userList"));
        let log = server.interrupt_and_read_log();
        assert!(log.contains("forged"), "{log}");
        assert!(!log.lines().any(|line| line.starts_with("2026 INFO forged")), "{log}");
        assert!(!log.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{format}: {log:?}");
    }
}

/// The program also holds the simulator, which replaces the system's randomness and clock on threads of its own.
#[test]
fn ids_of_two_servers_differ_and_their_log_has_the_real_time() {
    let ids = || {
        let mut server = Server::start(&[&FREE[..], &["--no-stun", "--dialects", "mesh,broadcast"]].concat());
        let mesh = server.address("mesh  ws://");
        let broadcast = server.line("broadcast  http://").trim_end_matches("/socket.io/").to_owned();
        server.line("ready");
        let opened = get(&broadcast, "/socket.io/?EIO=4&transport=polling");
        let sid = opened.split_once(r#""sid":""#).expect("a session").1[..20].to_owned();
        let joined = join(&mesh, "\"r\"").1;
        let id = joined.split_once(r#""clientId":""#).expect("an id").1[..10].to_owned();
        let log = server.interrupt_and_read_log();
        (sid, id, log)
    };
    let ((a, b, log), (c, d, _)) = (ids(), ids());
    assert!(a != c && b != d, "{a} {b} {c} {d}");
    // The simulator's clock begins in 2027, at the same second in each run.
    let at = log.split(['\u{1b}', '.']).find_map(|part| part.find("20").map(|at| part[at..].to_owned()));
    assert!(at.is_some_and(|at| !at.starts_with("2027-01-15T08:00")), "{log}");
}

/// A result that was there before must not stand for a run that was cut off.
#[test]
fn a_run_of_the_suite_that_is_cut_off_is_seen_as_cut_off() {
    let out = std::env::temp_dir().join(format!("glare-cut-off-{}", std::process::id()));
    let dir = out.to_str().expect("UTF-8");
    let complete = crate::glare(&["conformance", "--sim", "--case", "room/join-ack", "--out", dir]);
    assert_eq!(complete.code(), 0, "{}", complete.err());
    assert_eq!(crate::glare(&["report", dir]).code(), 0);
    // A server that accepts and never answers holds the run until it is killed.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}", silent.local_addr().expect("an address"));
    let mut run =
        crate::program().args(["conformance", "--url", &url, "--case", "room/join-ack", "--out", dir]).spawn();
    let run = run.as_mut().expect("the program starts");
    let result = out.join("result.jsonl");
    wait_until("the new result begins", || std::fs::read_to_string(&result).is_ok_and(|text| text.contains(&url)));
    run.kill().expect("it runs");
    run.wait().expect("it ends");
    let report = crate::glare(&["report", dir]);
    assert!(
        report.code() == 2 && report.err().contains("truncated after 0 cases"),
        "{} {}",
        report.code(),
        report.err()
    );
    std::fs::remove_dir_all(&out).expect("it is there");
}
