//! Outsiders: unmodified clients from npm, driven by the scripts in `tests/node`.
//!
//! They are installed once into Cargo's folder for temporary files. Where there is no Node.js, or npm cannot install, the
//! tests are skipped, which is said on stderr.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use server::Deflate;

use crate::client::start_with;

/// The scripts and what they need.
const FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("../node/package.json")),
    ("socketio.js", include_str!("../node/socketio.js")),
    ("mesh.js", include_str!("../node/mesh.js")),
    ("deflate.js", include_str!("../node/deflate.js")),
];

#[tokio::test(flavor = "multi_thread")]
async fn socketio_client_of_npm_works_in_all_three_modes() {
    let Some(folder) = installed() else { return };
    let server = start_with(|config| {
        config.socketio.ping_interval = Duration::from_millis(200);
        config.socketio.ping_timeout = Duration::from_secs(60);
    })
    .await;
    let (broadcast, call) = (format!("http://{}", server.broadcast), format!("http://{}", server.call_socketio));
    let output = node(folder, &["socketio.js", &broadcast, &call]);
    assert_eq!(said(&output), "polling is well\nwebsocket is well\nupgrade is well\n");
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ws_of_npm_works_with_mesh() {
    let Some(folder) = installed() else { return };
    let server = start_with(|_| {}).await;
    let output = node(folder, &["mesh.js", &format!("ws://{}", server.mesh)]);
    assert_eq!(said(&output), "mesh is well\n");
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ws_of_npm_exchanges_compressed_messages_whatever_it_offers() {
    let Some(folder) = installed() else { return };
    let no_takeover = [
        "server_no_context_takeover; client_no_context_takeover",
        "server_no_context_takeover; client_no_context_takeover",
        "server_no_context_takeover; client_no_context_takeover",
        "server_no_context_takeover; client_no_context_takeover",
        "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
        "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
        "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
    ];
    let takeover = [
        "server_max_window_bits=12; client_max_window_bits=12",
        "server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12",
        "server_no_context_takeover; client_max_window_bits=12",
        "client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
        "server_max_window_bits=9; client_max_window_bits=9",
        "server_max_window_bits=12; client_max_window_bits=12",
        "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9",
    ];
    for (deflate, expected) in [(Deflate::NoTakeover, no_takeover), (Deflate::Takeover, takeover)] {
        let server = crate::deflate::serve(Some(deflate)).await;
        let output = node(folder, &["deflate.js", &format!("ws://{}/echo", server.http)]);
        let said = said(&output);
        let agreed: Vec<_> = said.lines().filter_map(|line| line.split_once(": permessage-deflate; ")).collect();
        assert_eq!(agreed.iter().map(|(_, agreed)| *agreed).collect::<Vec<_>>(), expected, "{said}");
        assert!(
            said.ends_with(
                "1792 messages came back
"
            ),
            "{said}"
        );
        server.empty().await;
    }
}

/// The folder with the scripts and all they need, installed at the first call. None where it cannot be had.
fn installed() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| install().map_err(|why| skip(&why)).ok()).as_deref()
}

fn install() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-clients");
    let stamp = folder.join("installed.json");
    std::fs::create_dir_all(&folder).expect("Cargo's folder can be written");
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).expect("Cargo's folder can be written");
    }
    Command::new("node").arg("--version").output().map_err(|error| format!("run node: {error}"))?;
    let package = FILES[0].1;
    if std::fs::read_to_string(&stamp).is_ok_and(|done| done == package) {
        return Ok(folder);
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]).current_dir(&folder);
    let output = npm.output().map_err(|error| format!("run npm: {error}"))?;
    if !output.status.success() {
        return Err(format!("npm install: {}", String::from_utf8_lossy(&output.stderr)));
    }
    std::fs::write(&stamp, package).expect("Cargo's folder can be written");
    Ok(folder)
}

/// Says so past the test harness, which keeps back what a passing test prints.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: the tests with clients from npm, for they cannot be had: {why}");
}

/// Runs a script to its end, which it finds by itself. The server runs on the other threads meanwhile.
fn node(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("node").args(arguments).current_dir(folder).output().expect("node was there before")
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
