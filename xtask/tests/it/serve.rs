//! `glare serve`: it listens where it says, answers, and ends cleanly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn it_says_where_it_listens_answers_and_ends_on_ctrl_c() {
    let mut server = Server::start(&["--port", "0", "--stun-port", "0"]);
    let mesh = server.address("mesh  ws://");
    let stun = server.address("stun  stun:");
    server.line("ready");

    let mut http = TcpStream::connect(&mesh).expect("it listens");
    http.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").expect("sent");
    let mut answer = [0; 12];
    http.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");

    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    udp.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], b"twelve-bytes"].concat();
    udp.send_to(&request, &stun).expect("sent");
    let mut answer = [0; 100];
    let length = udp.recv(&mut answer).expect("an answer");
    assert_eq!(answer[..2], [1, 1], "a Binding success response of {length} bytes");

    assert!(server.interrupt(), "it ends by itself, and well");
}

#[test]
fn other_dialects_are_served_where_a_port_is_given() {
    let mut server = Server::start(&["--port", "0", "--no-stun", "--http-port", "0", "--call-port", "0"]);
    server.line("mesh  ws://");
    let site = server.line("sender-viewer  ws://");
    server.line("relay  ws://");
    server.line("call  ws://");
    server.line("ready");
    let mut http = TcpStream::connect(site.trim_end_matches("/ws")).expect("it listens");
    http.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    http.write_all(b"GET /api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    http.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
    assert!(server.interrupt(), "it ends by itself, and well");
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let run = crate::glare(&["serve", "--port", &port, "--no-stun"]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains(&port), "{}", run.err());
}

struct Server {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glare"));
        let command = command.arg("serve").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, out }
    }

    fn line(&mut self, start: &str) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        line.trim_end().strip_prefix(start).unwrap_or_else(|| panic!("`{start}…` in {line:?}")).to_owned()
    }

    fn address(&mut self, start: &str) -> String {
        self.line(start)
    }

    /// Sends SIGINT; true if it then ends with success.
    fn interrupt(&mut self) -> bool {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill is there");
        sent.success() && self.child.wait().expect("it ends").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
