//! `glare serve`: it listens where it says, answers, and ends cleanly; its settings, from wherever they come.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use rcgen::generate_simple_self_signed;

use crate::server::{PATIENCE, Server};

/// Every port free, nothing at the documents' ones.
pub(crate) const FREE: [&str; 12] = [
    "--port",
    "0",
    "--http-port",
    "0",
    "--call-port",
    "0",
    "--call-socketio-port",
    "0",
    "--broadcast-port",
    "0",
    "--stun-port",
    "0",
];

#[test]
fn it_says_where_it_listens_answers_and_ends_on_ctrl_c() {
    let mut server = Server::start(&FREE);
    let mesh = server.address("mesh  ws://");
    let site = server.line("sender-viewer  ws://");
    server.line("relay  ws://");
    server.line("api  http://");
    server.line("call  ws://");
    server.line("call  http://");
    let broadcast = server.line("broadcast  http://");
    let stun = server.address("stun  stun:");
    server.line("metrics  http://");
    let pages = server.line("pages  http://");
    server.line("ready");

    let mut http = TcpStream::connect(&mesh).expect("it listens");
    http.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").expect("sent");
    let mut answer = [0; 12];
    http.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
    drop(http);

    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    udp.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], b"twelve-bytes"].concat();
    udp.send_to(&request, &stun).expect("sent");
    let mut answer = [0; 100];
    let length = udp.recv(&mut answer).expect("an answer");
    assert_eq!(answer[..2], [1, 1], "a Binding success response of {length} bytes");

    let health = get(site.trim_end_matches("/ws"), "/api/health");
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with(r#"{"status":"ok"}"#), "{health}");
    let start = get(pages.trim_end_matches('/'), "/pages/");
    assert!(start.starts_with("HTTP/1.1 200") && start.contains("<!doctype html>"), "{start}");
    let opened = get(broadcast.trim_end_matches("/socket.io/"), "/socket.io/?EIO=4&transport=polling");
    assert!(opened.starts_with("HTTP/1.1 200") && opened.contains(r#"0{"sid":""#), "{opened}");
    assert!(server.interrupt(), "it ends by itself, and well");
}

#[test]
fn dialects_are_chosen_and_a_wrong_name_gets_the_nearest() {
    let mut server = Server::start(&[&FREE[..], &["--dialects", "relay,call", "--no-stun"]].concat());
    server.line("call  ws://");
    assert!(server.line("call  http://").ends_with("/socket.io/"));
    let relay = server.line("relay  ws://");
    server.line("api  http://");
    server.line("metrics  http://");
    server.line("pages  http://");
    server.line("ready");
    let site = relay.trim_end_matches("/relay");
    assert!(get(site, "/ws").starts_with("HTTP/1.1 404"));
    assert!(get(site, "/api/status").starts_with("HTTP/1.1 404"), "it is sender-viewer's");
    assert!(get(site, "/api/config").ends_with(r#"{"iceServers":[]}"#));
    assert!(server.interrupt());

    let run = crate::glare(&["serve", "--dialects", "mesh,sender-veiwer"]);
    assert_eq!(run.code(), 2);
    assert!(
        run.err().contains("'sender-veiwer'") && run.err().contains("similar value exists: 'sender-viewer'"),
        "{}",
        run.err()
    );
    let run = crate::glare(&["serve", "--http-prot", "1"]);
    assert!(run.code() == 2 && run.err().contains("'--http-port'"), "{}", run.err());
}

#[test]
fn pages_are_turned_off_by_flag_environment_or_file() {
    let file = File::new("no-pages", "no-pages = true\n");
    let flags = [&FREE[..], &["--dialects", "relay", "--no-stun"]].concat();
    for (more, env) in [
        (&["--no-pages"][..], ("GLARE_X", "")),
        (&[], ("GLARE_NO_PAGES", "true")),
        (&["--config", file.path()], ("GLARE_X", "")),
    ] {
        let mut server = Server::start_with(&[&flags[..], more].concat(), &[env]);
        let relay = server.line("relay  ws://");
        server.line("api  http://");
        server.line("metrics  http://");
        server.line("ready");
        assert!(get(relay.trim_end_matches("/relay"), "/pages/").starts_with("HTTP/1.1 404"), "{more:?} {env:?}");
        assert!(server.interrupt());
    }
}

#[test]
fn a_flag_counts_before_the_environment_and_that_before_the_file() {
    let [in_file, in_env, by_flag] = [(); 3].map(|()| free_port());
    let text = format!(
        "http-port = {in_file}\nport = {in_file}\ncall-port = {in_file}\ncall-socketio-port = 0\nno-stun = true\ndialects = [\"call\"]\n"
    );
    let file = File::new("order", &text);
    let env = in_env.to_string();
    let start = |flags: &[&str]| {
        let flags = [&["--config", file.path()][..], flags].concat();
        Server::start_with(&flags, &[("HTTP_PORT", &env), ("PORT", &env), ("HTTP_HOST", "127.0.0.3")])
    };
    let mut server = start(&[]);
    assert_eq!(server.line("call  ws://"), format!("127.0.0.1:{in_file}"), "the file chose the dialects too");
    server.line("call  http://");
    server.line("ready");
    assert!(server.interrupt());
    let mut server = start(&["--dialects", "mesh"]);
    assert_eq!(server.line("mesh  ws://"), format!("127.0.0.1:{in_env}"));
    server.line("ready");
    drop(server);
    let mut server = start(&["--dialects", "relay", "--http-port", &by_flag.to_string()]);
    assert_eq!(server.line("relay  ws://"), format!("127.0.0.3:{by_flag}/relay"));
    drop(server);
}

#[test]
fn a_bad_file_is_told_with_its_line() {
    for (text, right) in [
        ("\n\nhttp_prot = 8080\n", ":3: there is no setting `http_prot`; did you mean `http-port`?"),
        ("port = 1\nport = 2\n", ":2: not TOML: duplicate key"),
        ("port = \n", ":1: not TOML: "),
        ("# fine\nport = 70000\n", ":2: invalid value '70000' for 'port <PORT>': 70000 is not in 0..=65535"),
        ("port = \"x\"\n", ":1: invalid value 'x' for 'port <PORT>'"),
        ("port = [1]\n", ":1: port must be one value"),
        ("[port]\nx = 1\n", ":1: port must be one value"),
        ("no-stun = 1\n", ":1: no-stun must be true or false"),
        (
            "join-timeout = 30\n",
            ":1: invalid value '30' for 'join-timeout <TIME>': `30` is not a time: write a number and ms, s, m or h",
        ),
        (
            "ping-interval = \"0s\"\n",
            ":1: invalid value '0s' for 'ping-interval <TIME>': too short: write at least 1ms",
        ),
        ("connections-max = 0\n", ":1: invalid value '0' for 'connections-max <N>': not a whole number from 1 to"),
        ("message-rate = -1\n", ":1: invalid value '-1' for 'message-rate <N>'"),
        ("dialects = [\"mesh\", \"cal\"]\n", ":1: invalid value 'cal' for 'dialects <NAME,…>'"),
        ("dialects = [[]]\n", ":1: dialects must be a list of strings"),
        ("log-format = \"jsn\"\n", "similar value exists: 'json'"),
        (
            "host = \"nowhere.invalid\"\n",
            ":1: invalid value 'nowhere.invalid' for 'host <ADDRESS>': no address is known",
        ),
        (
            "\ntrusted-proxies = [\"10.1.2.3/8\"]\n",
            ":2: invalid value '10.1.2.3/8' for 'trusted-proxies <CIDR,…>': the network of that length is 10.0.0.0/8",
        ),
        ("missed-pongs-max = 0\n", ":1: invalid value '0' for 'missed-pongs-max <N>': 0 is not in 1.."),
        ("config = \"other.toml\"\n", ":1: there is no setting `config`"),
    ] {
        let file = File::new("bad", text);
        let run = crate::glare(&["serve", "--config", file.path()]);
        assert_eq!(run.code(), 2, "{text}: {}", run.err());
        let expected = format!("{}{right}", file.path());
        let is_right = if right.starts_with(':') { run.err().contains(&expected) } else { run.err().contains(right) };
        assert!(is_right, "{text} should give {expected}, but was: {}", run.err());
    }
    let run = crate::glare(&["serve", "--config", "/nowhere/glare.toml"]);
    assert!(
        run.code() == 2 && run.err().contains("/nowhere/glare.toml: cannot be read: No such file"),
        "{}",
        run.err()
    );
}

#[test]
fn settings_that_do_not_fit_together_are_told() {
    let file = File::new("cert.pem", "-----BEGIN NOTHING-----\n");
    for (flags, right) in [
        (&["--tls-cert", "a.pem"][..], "--tls-cert needs --tls-key"),
        (&["--tls-key", "a.pem"], "--tls-key needs --tls-cert"),
        (&["--tls-cert", "/nowhere.pem", "--tls-key", "a.pem"], "/nowhere.pem cannot be read"),
        (&["--tls-cert", file.path(), "--tls-key", file.path()], "contains no certificate"),
        (&["--message-burst", "5"], "--message-burst needs --message-rate"),
        (
            &["--socketio-client", "/nowhere.js"],
            "/nowhere.js cannot be read: No such file or directory (os error 2): name `dist/socket.io.min.js`",
        ),
        (&["--socketio-client", file.path()], "is not Socket.IO's client: name `dist/socket.io.min.js`"),
        (&["--room-secret", "hush"], "the room secret must have at least 16 bytes"),
        (&["--tokens", "two words"], "a bearer token must consist of letters"),
        (
            &["--origins", "https://a.test,example.org"],
            "'example.org' for '--origins <ORIGIN,…>': not an origin: write it like `https://example.org`",
        ),
        (&["--cors-credentials-origins", "*"], "'*' for '--cors-credentials-origins <ORIGIN,…>': not an origin: write"),
        (
            &["--cors-origin", "a.test"],
            "'a.test' for '--cors-origin <ORIGIN>': write `*`, `none`, or an origin such as",
        ),
        (
            &["--trusted-proxies", "10.0.0.0/8,10.0.0.0/33"],
            "'10.0.0.0/33' for '--trusted-proxies <CIDR,…>': the length of the network is not a number from 0 to 32",
        ),
        (&["--host", "nowhere.invalid"], "'nowhere.invalid' for '--host <ADDRESS>': no address is known for it ("),
        (
            &["--metrics-host", "127.0.0.300"],
            "'127.0.0.300' for '--metrics-host <ADDRESS>': no address is known for it (",
        ),
        (
            &["--log", "server=loud"],
            "--log (RUST_LOG): `server=loud` is invalid: write levels such as `info,server=debug`",
        ),
        (&["--missed-pongs-max=-1"], "'-1' for '--missed-pongs-max <N>'"),
        (&["--missed-pongs-max", "0"], "'0' for '--missed-pongs-max <N>': 0 is not in 1.."),
    ] {
        let run = crate::glare(&[&["serve"][..], &FREE, flags].concat());
        assert!(run.code() == 2 && run.err().contains(right), "{flags:?}: {}", run.err());
        assert!(!run.err().contains("hush") && !run.err().contains("two words"), "{}", run.err());
    }
}

#[test]
fn no_error_shows_a_secret() {
    let users = "invalid value '(hidden)' for 'turn-users <USER:PASSWORD,…>': write it as USER:PASSWORD";
    for (text, right) in [
        ("turn-users = [\"hush\"]\n", users),
        ("turn-users = [\"ana:fine\", \"hush\"]\n", users),
        ("turn-users = \"hush\"\n", users),
        ("turn-users = [\"hush:\"]\n", "TURN user 1 must have a name of 1 to 508 bytes and a password"),
        ("turn-users = { ana = \"hush\" }\n", ":1: turn-users must be a list of strings"),
        ("turn-users = [ana:hush]\n", ":1: not TOML: "),
        ("room-secret = hush hush\n", ":1: not TOML: "),
        ("room-secret = \"hush\n", ":1: not TOML: "),
        ("room-secret = [\"hush\"]\n", ":1: room-secret must be one value"),
        ("tokens = [\"hush,hush\"]\n", "a bearer token must consist of letters"),
    ] {
        let file = File::new("secret", text);
        let run = crate::glare(&[&["serve", "--config", file.path()], &FREE[..]].concat());
        assert!(run.code() == 2 && run.err().contains(right), "{text}: {}", run.err());
        assert!(!run.err().contains("hush"), "{text}: {}", run.err());
    }
    let flag = "invalid value '(hidden)' for '--turn-users <USER:PASSWORD,…>': write it as USER:PASSWORD";
    let split = "write '--room-secret=VALUE', with quotes if it has spaces";
    for (flags, env, right) in [
        (&["--turn-users", "ana:fine,hush"][..], ("GLARE_X", ""), flag),
        (&[], ("GLARE_TURN_USERS", "ana:correct,hush"), flag),
        (&["--room-secret", "my", "hush"], ("GLARE_X", ""), split),
        (&["--room-secret", "--hush"], ("GLARE_X", ""), split),
        (&["--room-secret", "-hush"], ("GLARE_X", ""), split),
        (&["--room-secret", "hush"], ("GLARE_X", ""), "the room secret must have at least 16 bytes"),
    ] {
        let run = crate::glare_with(&[&["serve"], flags, &FREE].concat(), &[env]);
        assert!(run.code() == 2 && run.err().contains(right), "{flags:?} {env:?}: {}", run.err());
        assert!(!run.err().contains("hush"), "{flags:?} {env:?}: {}", run.err());
    }
    let run = crate::glare_with(&["serve"], &[("GLARE_TURN_USERS", "ana:correct,hush")]);
    let flag = "invalid value '(hidden)' for '--turn-users <USER:PASSWORD,…>'";
    assert!(run.code() == 2 && run.err().contains(flag) && !run.err().contains("hush"), "{}", run.err());
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let run = crate::glare(&["serve", "--port", &port, "--dialects", "mesh", "--no-stun"]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains(&port), "{}", run.err());
}

#[test]
fn the_log_is_json_and_holds_no_secret() {
    let secrets = ["token-nobody-sees", "room-secret-nobody-sees", "admin-nobody-sees"];
    let [token, room_secret, admin] = secrets;
    let env = [("GLARE_TOKENS", token), ("GLARE_ROOM_SECRET", room_secret), ("GLARE_ADMIN_TOKEN", admin)];
    let flags = ["--no-stun", "--dialects", "relay", "--log-format", "json", "--log", "trace"];
    let mut server = Server::start_with(&[&FREE[..], &flags].concat(), &env);
    let site = server.line("relay  ws://").trim_end_matches("/relay").to_owned();
    for start in ["api", "metrics", "pages", "ready"] {
        server.line(start);
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (given, status) in [(token, "101"), ("wrong-nobody-sees", "401")] {
        let mut stream = TcpStream::connect(&site).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        write!(stream, "GET /relay?token={given} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n").expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
    assert!(get(&site, "/metrics").starts_with("HTTP/1.1 401"));
    let log = server.interrupt_and_read_log();
    assert!(log.lines().count() >= 4, "{log}");
    for line in log.lines() {
        let is_object = line.starts_with("{\"timestamp\":") && line.ends_with('}');
        assert!(is_object && line.contains("\"level\":\"") && line.contains("\"target\":\"server"), "{line}");
    }
    assert!(log.contains("\"message\":\"listening\",\"service\":\"http\",\"address\":\""), "{log}");
    assert!(log.contains("\"message\":\"ended\",\"site\":\"http\""), "{log}");
    assert!(!log.contains("nobody-sees"), "{log}");
    // Neither does --help tell what the environment holds.
    let help = crate::glare_with(&["serve", "--help"], &env);
    assert!(help.out().contains("GLARE_ROOM_SECRET") && !help.out().contains("nobody-sees"), "{}", help.out());
}

#[test]
fn a_name_is_listened_on_at_all_its_addresses() {
    let mut server = Server::start(&[&FREE[..], &["--no-stun", "--dialects", "mesh", "--host", "localhost"]].concat());
    let mesh = server.address("mesh  ws://");
    server.line("ready");
    assert!(mesh.starts_with("127.0.0.1:"), "{mesh}");
    assert!(get(&mesh, "/healthz").starts_with("HTTP/1.1 200"));
    let port = mesh.rsplit(':').next().expect("a port");
    let v6 = format!("[::1]:{port}");
    // Where the name has an address of IPv6, and the host speaks it.
    if TcpListener::bind("[::1]:0").is_ok()
        && ("localhost", 0).to_socket_addrs().expect("it has").any(|at| at.is_ipv6())
    {
        assert!(get(&v6, "/healthz").starts_with("HTTP/1.1 200"));
    }
    assert!(server.interrupt());
}

#[test]
fn sighup_ends_nothing() {
    let mut server = Server::start(&[&FREE[..], &["--no-stun", "--dialects", "mesh"]].concat());
    let mesh = server.address("mesh  ws://");
    server.line("ready");
    let mut stream = TcpStream::connect(&mesh).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    server.hang_up();
    // It still answers, on a connection from before.
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.logs("SIGHUP: reloaded tokens, users, limits and the TLS certificate");
    assert!(server.interrupt());
}

#[test]
fn sighup_reads_the_certificate_again_and_says_why_not() {
    let pair = || generate_simple_self_signed(["glare.test".to_owned()]).expect("a certificate");
    let first = pair();
    let certificate = File::new("renewed-cert", &first.cert.pem());
    let key = File::new("renewed-key", &first.signing_key.serialize_pem());
    let flags = ["--no-stun", "--dialects", "mesh", "--tls-cert", certificate.path(), "--tls-key", key.path()];
    let mut server = Server::start(&[&FREE[..], &flags].concat());
    server.line("mesh  wss://");
    server.line("ready");
    std::fs::write(certificate.path(), "nothing").expect("written");
    server.hang_up();
    server.logs("SIGHUP: failed to reload, everything stays as it was");
    let second = pair();
    std::fs::write(certificate.path(), second.cert.pem()).expect("written");
    std::fs::write(key.path(), second.signing_key.serialize_pem()).expect("written");
    server.hang_up();
    server.logs("SIGHUP: reloaded");
    assert!(server.interrupt());
}

#[test]
fn sighup_takes_tokens_from_the_file_unless_they_are_wrong() {
    let file = File::new("reloaded.toml", "tokens = [\"old\"]\n");
    let flags = ["--no-stun", "--dialects", "mesh", "--config", file.path()];
    let mut server = Server::start(&[&FREE[..], &flags].concat());
    let mesh = server.address("mesh  ws://");
    server.line("ready");
    let opens = |token: &str| open(&mesh, &format!("/?token={token}"));
    assert_eq!((opens("old"), opens("new")), ("101".to_owned(), "401".to_owned()));
    for wrong in ["tokens = [\"with space\"]", "tokens = ", "no-such-setting = 1", "ping-interval = \"soon\""] {
        std::fs::write(file.path(), wrong).expect("written");
        server.hang_up();
        server.logs("SIGHUP: failed to reload, everything stays as it was");
        assert_eq!(opens("old"), "101", "{wrong}");
    }
    std::fs::write(file.path(), "tokens = [\"new\"]\nping-interval = \"7s\"\n").expect("written");
    server.hang_up();
    server.logs("SIGHUP: these settings have changed, but need a restart: pings");
    assert_eq!((opens("old"), opens("new")), ("401".to_owned(), "101".to_owned()));
    assert!(server.interrupt());
}

#[test]
fn a_drain_waits_for_clients_and_a_second_signal_does_not() {
    for is_patient in [true, false] {
        let flags = ["--no-stun", "--dialects", "mesh", "--drain", "1h"];
        let mut server = Server::start(&[&FREE[..], &flags].concat());
        let mesh = server.address("mesh  ws://");
        server.line("ready");
        let mut client = TcpStream::connect(&mesh).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        client.write_all(UPGRADE.as_bytes()).expect("sent");
        client.read_exact(&mut [0; 129]).expect("an answer");
        server.terminate();
        server.logs("draining");
        assert_eq!(open(&mesh, "/"), "503");
        assert!(get(&mesh, "/healthz").starts_with("HTTP/1.1 503"));
        if is_patient {
            drop(client);
            assert!(server.child.wait().expect("it ends").success());
        } else {
            assert!(server.interrupt(), "although there is a client");
        }
    }
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The status of a request for a WebSocket.
fn open(site: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(site).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.write_all(UPGRADE.replacen("GET /", &format!("GET {target}"), 1).as_bytes()).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_that_it_is_ready_reloads_lives_and_stops() {
    let folder = std::env::temp_dir().join(format!("glare-notify-{}", std::process::id()));
    let socket = std::os::unix::net::UnixDatagram::bind(&folder).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let told = || {
        let mut message = [0; 200];
        let length = socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).trim_end().to_owned()
    };
    let path = folder.to_str().expect("UTF-8");
    let flags = [&FREE[..], &["--no-stun", "--dialects", "mesh"]].concat();
    let mut server = Server::start_with(&flags, &[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "200000")]);
    let until = |start: &str| while !told().starts_with(start) {};
    until("READY=1");
    until("WATCHDOG=1");
    server.hang_up();
    until("RELOADING=1\nMONOTONIC_USEC=");
    until("READY=1");
    server.terminate();
    until("STOPPING=1");
    assert!(server.child.wait().expect("it ends").success());
    std::fs::remove_file(folder).expect("it is there");
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_of_systemd_is_used_where_a_setting_names_its_address() {
    use std::os::fd::AsRawFd;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    // Children inherit it.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).expect("a flag");
    let start = |port: &str| {
        let mut command = std::process::Command::new("bash");
        let script = format!("exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"", listener.as_raw_fd());
        command.args(["-c", &script, env!("CARGO_BIN_EXE_glare"), "serve", "--no-stun", "--dialects", "mesh"]);
        command.args(["--port", port]);
        Server::spawn(command)
    };
    let port = address.rsplit(':').next().expect("a port");
    let mut server = start(port);
    assert_eq!(server.address("mesh  ws://"), address);
    server.line("ready");
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(server.interrupt());
    // The socket outlives the server, and another address does not make use of it.
    let mut server = start("0");
    server.logs(&format!("no setting listens on TCP {address}"));
    assert_eq!(server.child.wait().expect("it ends").code(), Some(2));
}

#[test]
fn a_shutdown_says_1001_to_everyone_and_is_bounded() {
    let mut server =
        Server::start(&[&FREE[..], &["--no-stun", "--dialects", "mesh", "--close-timeout", "300ms"]].concat());
    let mesh = server.address("mesh  ws://");
    server.line("ready");
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut clients: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(&mesh).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
            stream.write_all(upgrade.as_bytes()).expect("sent");
            let mut head = [0; 129];
            stream.read_exact(&mut head).expect("an answer");
            assert!(
                head.starts_with(b"HTTP/1.1 101") && head.ends_with(b"\r\n\r\n"),
                "{}",
                String::from_utf8_lossy(&head)
            );
            stream
        })
        .collect();
    // None of them ever answers the close frame.
    assert!(server.interrupt(), "it ends nevertheless, and well");
    for stream in &mut clients {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it ends");
        assert_eq!(rest, b"\x88\x16\x03\xe9Server shutting down");
    }
}

pub(crate) fn get(site: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(site).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// A port that was free a moment ago. It is below those that systems give away by themselves, so that it stays free.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 10_000 + (std::process::id() as u16 % 1_000) * 10 + NEXT.fetch_add(1, Relaxed) % 1_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A file that goes away with its test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("glare-serve-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).expect("written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
