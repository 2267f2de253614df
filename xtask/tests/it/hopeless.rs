//! `glare conformance` and servers that are none, or of another kind: an exit code in bounded time, whatever they do.

// Real servers and a person's patience, outside of every simulation.
#![allow(clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::{Message, accept};

use crate::server::Server;
use crate::{Run, glare};

/// Longer than any of these takes, on the slowest machine.
const HANG: Duration = Duration::from_secs(300);

/// Serves each connection on a thread of its own, for as long as the tests run; the URL.
fn serve(connection: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || connection(stream));
        }
    });
    format!("ws://{address}/")
}

/// Asks with a short time for the whole run.
fn ask(url: &str, more: &[&str]) -> Run {
    let start = Instant::now();
    let run = glare(&[&["conformance", "--url", url], more].concat());
    assert!(start.elapsed() < HANG, "{:?}\n{}", start.elapsed(), run.out());
    assert!(!run.err().contains("panicked"), "{}", run.err());
    run
}

fn is_unreachable(connection: fn(TcpStream), says: &str) {
    let run = ask(&serve(connection), &[]);
    assert_eq!(run.code(), 3, "{}{}", run.out(), run.err());
    assert!(run.err().contains("tried:") && run.err().contains(says), "{}", run.err());
}

fn fails(url: &str, more: &[&str], says: &str) {
    let run = ask(url, more);
    assert_eq!(run.code(), 1, "{}{}", run.out(), run.err());
    assert!(run.out().contains("room/join-ack") && run.out().contains(says), "{}", run.out());
}

fn read_head(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
}

fn upgraded(stream: TcpStream, then: impl FnOnce(tokio_tungstenite::tungstenite::WebSocket<TcpStream>)) {
    if let Ok(socket) = accept(stream) {
        then(socket);
    }
}

#[test]
fn a_server_of_pages_is_no_signaling_server() {
    is_unreachable(
        |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        },
        "HTTP 404",
    );
}

#[test]
fn a_server_that_closes_at_once() {
    is_unreachable(drop, "answers nothing");
}

#[test]
fn a_server_that_says_nothing() {
    is_unreachable(|_stream| sleep(HANG), "answers nothing within 5 s");
}

#[test]
fn garbage() {
    is_unreachable(
        |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(b"\x00\x01SSH-2.0-garbage\r\n\r\n");
        },
        "something else than a WebSocket handshake",
    );
}

#[test]
fn an_answer_that_drips() {
    is_unreachable(
        |mut stream| {
            read_head(&mut stream);
            for byte in b"HTTP/1.1 101 Switching Protocols\r\n".iter().cycle() {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                sleep(Duration::from_millis(200));
            }
        },
        "answers nothing within 5 s",
    );
}

#[test]
fn a_server_of_another_dialect() {
    let ports = ["--call-port", "0", "--call-socketio-port", "0"];
    let mut server = Server::start(&[&["--dialects", "call", "--no-stun"], &ports[..]].concat());
    let address = server.address("call  ws://");
    let url = format!("ws://{address}");
    let run = ask(&url, &[]);
    assert_eq!(run.code(), 2, "{}{}", run.out(), run.err());
    let says = format!("error: the server at {url} does not speak the dialect `mesh`. The first messages:\n\n");
    let sent = "\n  ana    → {\"action\":\"join\"";
    assert!(run.err().starts_with(&says) && run.err().contains(sent), "{}", run.err());
    let fits = format!("The shipped dialect `call` fits: --dialect call --url {url}");
    assert!(run.err().contains(&fits) && run.out().is_empty(), "{}{}", run.out(), run.err());
    // Whoever names cases wants them run.
    fails(&url, &["--case", "room/join-ack"], "did not receive an answer to its join");
}

#[test]
fn garbage_behind_the_handshake() {
    let url = serve(|stream| {
        upgraded(stream, |mut socket| {
            let _ = socket.get_mut().write_all(&[0xff; 64]);
            let _ = socket.get_mut().read_to_end(&mut Vec::new());
        });
    });
    fails(&url, &[], "the server broke the framing rules");
}

#[test]
fn a_flood() {
    let url = serve(|stream| {
        upgraded(stream, |mut socket| while socket.send(Message::text("{\"action\":\"noise\"}")).is_ok() {});
    });
    let run = ask(&url, &["--deadline", "30", "--case", "room/*"]);
    assert_eq!(run.code(), 1, "{}{}", run.out(), run.err());
    // A busy machine takes its time to read so much.
    let told = ["the server flood", "messages kept arriving", "the deadline of the whole run was reached"];
    assert!(told.iter().any(|told| run.out().contains(told)), "{}", run.out());
}

/// Every message that arrives renews the patience; the time for the whole run does not.
#[test]
fn a_message_now_and_then_for_ever() {
    let url = serve(|stream| {
        upgraded(stream, |mut socket| {
            while socket.send(Message::text("{\"action\":\"noise\"}")).is_ok() {
                sleep(Duration::from_millis(100));
            }
        });
    });
    fails(&url, &["--case", "room/join-ack", "--deadline", "8"], "the deadline of the whole run was reached");
}

/// A device has no end, and a text may have no line: an error comes at once.
#[test]
fn endless_files_texts_and_numbers_are_told() {
    let devices: [(&[&str], &str); 5] = [
        (&["sim", "--scenario", "/dev/zero"], "/dev/zero: cannot be read: it is longer than 16 MiB, or has no end"),
        (&["serve", "--config", "/dev/zero"], "/dev/zero: cannot be read: it is longer than 16 MiB, or has no end"),
        (
            &["conformance", "--url", "ws://127.0.0.1:9", "--dialect", "/dev/zero"],
            "/dev/zero: cannot be read: it is longer than 16 MiB, or has no end",
        ),
        (&["report", "/dev/zero"], "/dev/zero: cannot be read: it does not begin like a result, with a line of JSON"),
        (&["diff", "/dev/zero", "/dev/zero"], "/dev/zero: cannot be read: it does not begin like a result"),
    ];
    for (arguments, right) in devices {
        let run = crate::glare(arguments);
        assert!(run.code() == 2 && run.err().contains(right), "{arguments:?}: {}", run.err());
    }
    let run = crate::glare(&["sim", "--scenario", "mesh-3", "--seeds", "0..3", "--jobs", "1000000000"]);
    assert_eq!(run.code(), 0, "{}", run.err());
    let path = std::env::temp_dir().join(format!("glare-long-text-{}.toml", std::process::id()));
    let actors = "[[actor]]\nname = \"ana\"\n\n[[actor]]\nname = \"ben\"\n\n[[step]]\nat = \"9s\"\ndo = \"say\"\nactor = \"ana\"\n";
    let text = "x".repeat(2_000_000);
    std::fs::write(&path, format!("name = \"long\"\nduration = \"20s\"\n\n{actors}text = \"{text}\"\n"))
        .expect("written");
    let run = crate::glare(&["sim", "--scenario", path.to_str().expect("UTF-8")]);
    std::fs::remove_file(&path).expect("it is there");
    let right = ":14: `text` has 2000000 bytes, and a message has at most 65536";
    assert!(run.code() == 2 && run.err().contains(right) && run.err().len() < 1000, "{} bytes", run.err().len());
}
