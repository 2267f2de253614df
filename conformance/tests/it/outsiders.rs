//! The dialects of third-party servers, each tested against the real server, installed from its package registry. The
//! findings must be exactly the deviations in `known/`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{Known, Options, Report, Restart, Selection, Verdict};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::installed::{matchbox_server, packages, python};
use crate::stun::outsiders::free_port;
use crate::{dialect, text};

/// A server process that is restarted when it dies, and killed when this is dropped.
pub(crate) struct Server {
    ended: Arc<AtomicBool>,
    keeper: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(command: impl Fn() -> Command + Send + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        #[allow(clippy::disallowed_methods)] // nothing of this is simulated
        let keeper = std::thread::spawn(move || {
            let spawn = || command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is installed");
            let mut child: Child = spawn();
            while !end.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(50));
                if matches!(child.try_wait(), Ok(Some(_))) {
                    // A pause long enough for a case that kills the server to notice.
                    std::thread::sleep(Duration::from_millis(300));
                    child = spawn();
                }
            }
            let _ = child.kill();
            let _ = child.wait();
        });
        Self { ended, keeper: Some(keeper) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, SeqCst);
        let _ = self.keeper.take().map(std::thread::JoinHandle::join);
    }
}

/// Runs all cases against a server, and marks its known deviations in the report.
async fn asked(name: &str, port: u16, path: &str) -> Report {
    asked_as(name, name, &format!("ws://127.0.0.1:{port}{path}"), port, &[]).await
}

/// Waits until a server listens at a port.
pub(crate) async fn listening(port: u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listens = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(300), listens).await.expect("the server starts");
}

/// Like [`asked`], for a server whose name is not that of its dialect.
async fn asked_as(name: &str, spoken: &str, url: &str, port: u16, cases: &[&str]) -> Report {
    listening(port).await;
    // Slow cases run if they are named: those that this server answers within seconds.
    let patterns = cases.iter().map(|case| (*case).to_owned()).collect();
    let cases = conformance::select(&Selection { patterns, ..Selection::default() }).expect("there are such cases");
    // `Server` starts a server again that has crashed; the command gives it the time.
    let restart = Some(Restart::new("sleep 20"));
    let options = Options { deadline: Duration::from_secs(300), restart, ..Options::default() };
    let target = url.parse().expect("a good URL");
    let asked = conformance::run(Tokio, &target, &dialect(spoken), &cases, &options).await;
    let mut report = asked.expect("it is there");
    let is_asked = |verdict: &Verdict| !matches!(verdict, Verdict::Unsupported { .. });
    let asked = report.cases.iter().filter(|case| is_asked(&case.verdict)).count();
    assert!(asked >= 15.min(cases.len()), "only {asked} cases\n{}", text(&report));
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("known/{name}.toml"));
    // A server without deviations needs no list.
    if known.exists() {
        Known::load(&known).unwrap_or_else(|error| panic!("{error}")).mark(&mut report);
    }
    report
}

fn deviates_as_known(report: &Report) {
    assert!(report.passed(), "{}", text(report));
    let known = report.cases.iter().filter(|case| matches!(case.verdict, Verdict::Fail { .. })).count();
    assert!(known > 0, "something is known of it\n{}", text(report));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peerjs() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let program = folder.join("node_modules/peer/dist/bin/peerjs.js");
    let _server = Server::start(move || {
        let mut node = Command::new("node");
        node.arg(&program).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        node
    });
    let report = asked("peerjs", port, "/peerjs").await;
    deviates_as_known(&report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Python 3.13"]
async fn python_peerjs() {
    let installed = python("python-peerjs-server", "peerjs-server", "1.0.0b2", &["websockets==17.4"]);
    let Some(program) = installed else { return };
    let port = free_port().port();
    let _server = Server::start(move || {
        let mut python = Command::new(&program);
        python.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        python
    });
    let report = asked_as("python-peerjs", "peerjs", &format!("ws://127.0.0.1:{port}/peerjs"), port, &[]).await;
    deviates_as_known(&report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn y_webrtc() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let program = folder.join("node_modules/y-webrtc/bin/server.js");
    let _server = Server::start(move || {
        let mut node = Command::new("node");
        node.arg(&program).env("PORT", port.to_string());
        node
    });
    let report = asked("y-webrtc", port, "/").await;
    deviates_as_known(&report);
    let echo = report.case("bcast/echo-as-declared").expect("it ran");
    assert_eq!(echo.verdict, Verdict::Pass, "it does what its dialect declares");
    assert!(!echo.notes.quality.is_empty(), "and that is not good");
}

/// A server of our own that uses an npm package, with these variables in its environment.
pub(crate) fn made_with(
    folder: &Path,
    package: &str,
    port: u16,
    environment: &'static [(&'static str, &'static str)],
) -> Server {
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers");
    let is_module = servers.join(format!("{package}.mjs")).exists();
    let program = servers.join(format!("{package}.{}", if is_module { "mjs" } else { "js" }));
    let modules = folder.join("node_modules");
    Server::start(move || {
        let mut node = Command::new("node");
        node.arg(&program).env("PORT", port.to_string()).env("NODE_PATH", &modules).envs(environment.iter().copied());
        node
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_socketio() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let _server = made_with(folder, "socket.io", port, &[]);
    // Its pings come at short intervals.
    let cases = ["*", "sio/ping", "sio/ping-timeout"];
    let report = asked_as("socket.io", "broadcast", &format!("http://127.0.0.1:{port}/socket.io/"), port, &cases).await;
    assert!(report.passed(), "{}", text(&report));
    let close = &report.case("sio/close").expect("it ran").verdict;
    assert!(matches!(close, Verdict::Acceptable { why } if why.contains("is ignored")), "{close:?}");
    for slug in
        ["sio/half-open", "sio/payload-edge", "sio/error-codes", "sio/cors", "sio/after-upgrade", "sio/bad-post"]
    {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_ws() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let _server = made_with(folder, "ws", port, &[]);
    let report = asked_as("ws", "relay", &format!("ws://127.0.0.1:{port}/relay"), port, &[]).await;
    assert!(report.passed(), "{}", text(&report));
    assert!(matches!(report.case("ws/deflate").expect("it is listed").verdict, Verdict::Unsupported { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_ws_that_compresses() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let _server = made_with(folder, "ws", port, &[("DEFLATE", "yes")]);
    let report = asked_as("ws", "relay", &format!("ws://127.0.0.1:{port}/relay"), port, &[]).await;
    assert!(report.passed(), "{}", text(&report));
    for slug in ["ws/deflate", "ws/deflate-parameters", "ws/chromium-handshake", "ws/firefox-handshake"] {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}\n{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bittorrent_tracker() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let _server = made_with(folder, "bittorrent-tracker", port, &[]);
    let report = asked("bittorrent-tracker", port, "/").await;
    deviates_as_known(&report);
    for slug in ["room/several-rooms", "mesh/offer-in-join"] {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}\n{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_signal() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let _server = made_with(folder, "simple-signal-server", port, &[]);
    let url = format!("http://127.0.0.1:{port}/socket.io/");
    deviates_as_known(&asked_as("simple-signal", "simple-signal", &url, port, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rxdb() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let _server = made_with(folder, "rxdb", port, &[]);
    deviates_as_known(&asked("rxdb", port, "/").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protoo() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let _server = made_with(folder, "protoo", port, &[]);
    let report = asked("protoo", port, "/").await;
    deviates_as_known(&report);
    for slug in ["mesh/unicast", "mesh/kinds", "room/join-ack"] {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}\n{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtcmulticonnection() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let package = folder.join("node_modules/rtcmulticonnection-server");
    let _server = Server::start(move || {
        let mut node = Command::new("node");
        node.arg("server.js").current_dir(&package).env("PORT", port.to_string()).env("IP", "127.0.0.1");
        node
    });
    let url = format!("http://127.0.0.1:{port}/socket.io/");
    deviates_as_known(&asked_as("rtcmulticonnection", "rtcmulticonnection", &url, port, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webrtc_star() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let program = folder.join("node_modules/@libp2p/webrtc-star-signalling-server/bin/index.js");
    let _server = Server::start(move || {
        let mut node = Command::new("node");
        node.arg(&program).args(["--host", "127.0.0.1", "--disable-metrics", "--port", &port.to_string()]);
        node
    });
    let url = format!("http://127.0.0.1:{port}/socket.io/");
    deviates_as_known(&asked_as("webrtc-star", "webrtc-star", &url, port, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signalhub() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let program = folder.join("node_modules/signalhub/bin.js");
    let _server = Server::start(move || {
        let mut node = Command::new("node");
        node.arg(&program).args(["listen", "--quiet", "--host", "127.0.0.1", "--port", &port.to_string()]);
        node
    });
    let report = asked_as("signalhub", "signalhub", &format!("http://127.0.0.1:{port}"), port, &[]).await;
    assert!(report.passed(), "{}", text(&report));
}

/// Ignored by default because it builds the server first, which takes minutes. To run it:
/// `cargo test -p conformance --test it -- --ignored matchbox`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "builds matchbox_server, which takes minutes"]
async fn matchbox() {
    let program = matchbox_server();
    let port = free_port().port();
    let _server = Server::start(move || {
        let mut server = Command::new(&program);
        server.arg(format!("127.0.0.1:{port}"));
        server
    });
    deviates_as_known(&asked("matchbox", port, "").await);
}
