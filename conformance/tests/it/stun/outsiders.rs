//! Third-party servers, installed by name and version: the suite must find exactly the deviations listed for each.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use conformance::stun::Service;
use conformance::{Known, Report};

use super::ask;
use crate::installed::{debian, skip};
use crate::outsiders::Server;
use crate::text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coturn_deviates_as_known() {
    let Some(turnserver) = debian("turnserver", "coturn") else { return };
    let address = free_port();
    // Sixty allocations: more than the cases need in parallel, yet few enough for one case to use up.
    let turn =
        ["--lt-cred-mech", "--user=u:p", "--user=v:q", "--realm=test", "--allow-loopback-peers", "--user-quota=60"];
    let _coturn = coturn(&turnserver, address, &["-L", "127.0.0.1", "-L", "::1"], &turn);
    deviates_as_known("coturn", everything(address).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coturn_with_two_addresses_deviates_as_known() {
    let Some(turnserver) = debian("turnserver", "coturn") else { return };
    let address = free_port();
    let alternate = format!("--alt-listening-port={}", free_port().port());
    let _coturn = coturn(&turnserver, address, &["-L", "127.0.0.1", "-L", "127.0.0.2", &alternate], &["--stun-only"]);
    ready(address).await;
    let report = ask(Service::Stun, address, &["nat-behaviour/*"]).await.expect("it is there");
    deviates_as_known("coturn-two-addresses", vec![report]);
}

fn coturn(turnserver: &Path, address: SocketAddr, listen: &[&str], more: &[&str]) -> Server {
    let pid_file = format!("--pidfile={}/coturn-{}.pid", env!("CARGO_TARGET_TMPDIR"), address.port());
    let port = format!("--listening-port={}", address.port());
    let fixed = ["-n", "--no-tls", "--no-dtls", "--no-cli", "--log-file=/dev/null", &pid_file, &port];
    let arguments: Vec<String> = [&fixed[..], listen, more].concat().into_iter().map(str::to_owned).collect();
    let turnserver = turnserver.to_owned();
    Server::start(move || {
        let mut command = Command::new(&turnserver);
        command.args(&arguments);
        command
    })
}

/// Waits until a server answers both services, and runs all cases against it.
async fn everything(address: SocketAddr) -> Vec<Report> {
    ready(address).await;
    let mut reports = Vec::new();
    for service in [Service::Stun, Service::Turn] {
        reports.push(ask(service, address, &[]).await.expect("it is there"));
    }
    reports
}

/// Waits until the server answers. Each attempt takes some seconds.
async fn ready(address: SocketAddr) {
    for _ in 0..60 {
        if ask(Service::Stun, address, &["stun/binding"]).await.is_ok() {
            return;
        }
    }
    panic!("no answer at {address}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_turn_deviates_as_known() {
    let Some(folder) = npm("node-turn", "0.0.6") else { return };
    let address = free_port();
    let program = format!(
        "const Turn = require('node-turn');
         new Turn({{ listeningPort: {}, listeningIps: ['127.0.0.1'], relayIps: ['127.0.0.1'], authMech: 'long-term',
           credentials: {{ u: 'p', v: 'q' }}, realm: 'test', debugLevel: 'OFF' }}).start();",
        address.port()
    );
    let _node = Server::start(move || {
        let mut command = Command::new("node");
        command.args(["-e", &program]).current_dir(&folder);
        command
    });
    deviates_as_known("node-turn", everything(address).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pion_deviates_as_known() {
    let library = Path::new("/usr/share/gocode/src/github.com/pion/turn/v2");
    if !library.is_dir() || Command::new("go").arg("version").output().is_err() {
        eprintln!(
            "SKIPPED: no Go with pion's turn; Debian's golang-go and golang-github-pion-turn.v2-dev 2.1.0 are it"
        );
        return;
    }
    // In GOPATH mode (without modules), Go resolves /v2 imports only for code in a folder under GOPATH.
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pion");
    let source = work.join("src/pion");
    std::fs::create_dir_all(&source).expect("a folder");
    std::fs::write(source.join("main.go"), include_str!("pion.go")).expect("written");
    let program = work.join("pion");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(&source)
        .envs([("GO111MODULE", "off"), ("GOFLAGS", "")])
        .env("GOPATH", format!("{}:/usr/share/gocode", work.display()))
        .status()
        .expect("go runs");
    assert!(built.success(), "pion.go does not compile");
    let address = free_port();
    let _pion = Server::start(move || {
        let mut command = Command::new(&program);
        command.arg(address.to_string());
        command
    });
    deviates_as_known("pion-turn", everything(address).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "installs ejabberd and Erlang"]
async fn ejabberd_deviates_as_known() {
    let Some(control) = debian("ejabberdctl", "ejabberd") else { return };
    let address = free_port();
    let _ejabberd = ejabberd(&control, address);
    ready(address).await;
    // The users are registered after the listeners are open.
    for _ in 0..60 {
        if ask(Service::Turn, address, &["turn/allocate"]).await.is_ok_and(|report| report.passed()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    deviates_as_known("ejabberd", everything(address).await);
}

/// Starts ejabberd with nothing but its STUN and TURN listeners, as the user who runs the test. Its own program would
/// change the user and leave a daemon behind.
fn ejabberd(control: &Path, address: SocketAddr) -> Server {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ejabberd-{}", address.port()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    // Sixty allocations: as for coturn.
    let listen: String = ["udp", "tcp"]
        .map(|transport| {
            format!(
                "  - {{port: {}, ip: '127.0.0.1', transport: {transport}, module: ejabberd_stun, use_turn: true,\n     \
                 turn_ipv4_address: '127.0.0.1', turn_max_allocations: 60, auth_realm: localhost}}\n",
                address.port()
            )
        })
        .concat();
    let configuration = format!(
        "hosts: [localhost]\nauth_method: internal\nauth_password_format: plain\nmodules: {{}}\nlisten:\n{listen}"
    );
    std::fs::write(folder.join("ejabberd.yml"), configuration).expect("written");
    // Debian keeps Erlang libraries in a folder that depends on the architecture, and names it in this script.
    let script = std::fs::read_to_string(control).expect("a script");
    let libraries = script.lines().find_map(|line| line.strip_prefix("ERL_LIBS=")).expect("the folder of ejabberd");
    let libraries = libraries.trim_matches('\'').to_owned();
    let register = "[ejabberd_auth:try_register(U, <<\"localhost\">>, P) || \
                    {U, P} <- [{<<\"u\">>, <<\"p\">>}, {<<\"v\">>, <<\"q\">>}]].";
    Server::start(move || {
        let mut command = Command::new("erl");
        command.args(["-noinput", "-mnesia", "dir"]).arg(format!("{:?}", folder.join("db")));
        command.args(["-s", "ejabberd", "-eval", register]).current_dir(&folder);
        command.env("ERL_LIBS", &libraries).env("ERL_CRASH_DUMP_BYTES", "0").env("HOME", &folder);
        command.env("EJABBERD_CONFIG_PATH", folder.join("ejabberd.yml"));
        command.env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"));
        command
    })
}

/// Checks that the cases with a finding are exactly those in the list of known deviations.
fn deviates_as_known(name: &str, mut reports: Vec<Report>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("known").join(format!("{name}.toml"));
    let known = Known::load(&file).unwrap_or_else(|error| panic!("{error}"));
    reports.iter_mut().for_each(|report| known.mark(report));
    let wrong: Vec<_> = reports.iter().flat_map(|report| &report.cases).filter(|case| !case.is_well()).collect();
    let wrong: String = wrong.iter().map(|case| format!("\n  {}: {:?}", case.case.slug, case.verdict)).collect();
    assert!(wrong.is_empty(), "{name}:{wrong}\n\n{}", reports.iter().map(text).collect::<String>());
}

/// A folder in which an npm package is installed.
fn npm(package: &str, version: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{package}-{version}"));
    if folder.join("node_modules").join(package).is_dir() {
        return Some(folder);
    }
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut command = Command::new("npm");
    command.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
    let installed = command.arg(format!("{package}@{version}")).stdout(Stdio::null()).status();
    if installed.is_ok_and(|status| status.success()) {
        return Some(folder);
    }
    skip(&format!("npm cannot install {package}@{version}"))
}

/// A loopback address whose port and next port are free; coturn uses both. The ports are below the system's ephemeral
/// range, so they stay free until the server binds them.
pub(crate) fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let is_free = |address: SocketAddr| UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok();
    loop {
        let port = 20_000 + (std::process::id() as u16 % 1_000) * 10 + NEXT.fetch_add(2, Relaxed) % 2_000;
        let [address, next] = [port, port + 1].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        if is_free(address) && is_free(next) {
            return address;
        }
    }
}
