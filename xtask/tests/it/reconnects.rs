//! A thousand clients a second come and go, each in its own way, and nothing of them is left.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Server};

const PER_SECOND: u32 = 1000;
/// At a time, so that a slow machine is not asked for more than it can do.
const THREADS: u32 = 8;
/// How many loopback addresses share the clients, so that no port is still waiting for stray segments of its last connection.
const ADDRESSES: u32 = 20;

#[test]
fn nothing_is_left_of_clients_that_come_and_go() {
    leaves_nothing(Duration::from_secs(1), Duration::from_secs(2));
}

/// `cargo test -p glare --test it -- --ignored --nocapture thirty_seconds`
#[test]
#[ignore = "takes 40 seconds, and a machine with little else to do"]
fn nothing_is_left_after_thirty_seconds() {
    let rate = leaves_nothing(Duration::from_secs(5), Duration::from_secs(30));
    assert!(rate >= f64::from(PER_SECOND) * 0.9, "only {rate:.0} a second: the machine had other things to do");
}

/// What the server holds.
#[derive(Debug)]
struct Held {
    resident_kib: u64,
    tasks: u64,
}

/// Plays the crowd, then again for longer, and compares what is held after each. Returns how many came in a second.
fn leaves_nothing(warm_up: Duration, time: Duration) -> f64 {
    let mut server = Server::start(&[
        "--host",
        "0.0.0.0",
        "--dialects",
        "mesh",
        "--port",
        "0",
        "--no-stun",
        "--metrics-port",
        "0",
        "--log",
        "error",
    ]);
    let mesh = server.address("mesh  ws://");
    let metrics = server.line("metrics  http://").trim_end_matches("/metrics").to_owned();
    server.line("ready");
    let port = mesh.rsplit_once(':').expect("a port").1.to_owned();
    let id = server.child.id();

    crowd(&port, warm_up);
    let before = held(&metrics, id);
    let start = now();
    let came = crowd(&port, time);
    let rate = f64::from(came) / start.elapsed().as_secs_f64();
    let after = held(&metrics, id);
    println!("{came} came, {rate:.0} a second; held before {before:?}, after {after:?}");
    assert!(after.tasks <= before.tasks, "tasks: {before:?}, then {after:?}");
    assert!(after.resident_kib * 10 <= before.resident_kib * 11, "memory: {before:?}, then {after:?}");
    assert!(server.interrupt(), "it ends by itself, and well");
    rate
}

/// Connects, joins and goes, again and again. Returns how many did.
fn crowd(port: &str, time: Duration) -> u32 {
    let visitors = PER_SECOND * u32::try_from(time.as_millis()).expect("a short time") / 1000;
    let start = now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in (thread..visitors).step_by(THREADS as usize) {
                    let due = start + Duration::from_secs(1) * number / PER_SECOND;
                    pause(due.saturating_duration_since(now()));
                    visit(port, number);
                }
            });
        }
    });
    visitors
}

/// One client. It goes with a close frame, by ending TCP, by a reset, or before its upgrade is answered.
fn visit(port: &str, number: u32) {
    let mut stream = TcpStream::connect(format!("127.0.0.{}:{port}", 1 + number % ADDRESSES)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let mut bytes = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_vec();
    let join = format!(r#"{{"action":"join","roomId":"room {}"}}"#, number % 50);
    bytes.extend([0x81, 0x80 | u8::try_from(join.len()).expect("a short message"), 0, 0, 0, 0]);
    bytes.extend(join.as_bytes());
    stream.write_all(&bytes).expect("sent");
    if number % 4 == 3 {
        return;
    }
    let mut heard = Vec::new();
    let mut some = [0; 512];
    while !heard.windows(17).any(|window| window == br#""action":"joined""#) {
        let length = stream.read(&mut some).expect("an answer");
        assert!(length > 0, "it ended after {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&some[..length]);
    }
    match number % 4 {
        0 => {
            stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).expect("sent");
            let _ = stream.read_to_end(&mut heard);
        }
        // What it asks for and never reads makes the kernel send RST instead of FIN.
        1 => {
            stream.write_all(&[0x89, 0x80, 0, 0, 0, 0]).expect("sent");
            let _ = stream.peek(&mut some);
        }
        _ => {}
    }
}

/// Waits until nobody is there, and asks what the server holds.
fn held(metrics: &str, id: u32) -> Held {
    let deadline = now() + PATIENCE;
    let gone = [
        "glare_connections",
        "glare_rooms{dialect=\"mesh\"}",
        "glare_members{dialect=\"mesh\"}",
        "glare_queued_messages",
    ];
    loop {
        let page = scrape(metrics);
        // The scrape itself is the one connection.
        if gone.map(|name| page[name]) == [1, 0, 0, 0] {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
            let resident_kib = resident.trim().trim_end_matches(" kB").parse().expect("a number");
            return Held { resident_kib, tasks: page["glare_tasks"] };
        }
        assert!(now() < deadline, "they do not go: {:?}", gone.map(|name| (name, page[name])));
        pause(Duration::from_millis(20));
    }
}

pub(crate) fn scrape(metrics: &str) -> BTreeMap<String, u64> {
    let mut stream = TcpStream::connect(metrics).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("an answer");
    let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
    samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// The real clock: the server is a process of its own, outside any simulation.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
