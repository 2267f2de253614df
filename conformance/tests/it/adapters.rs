//! The example adapters: the same cases, through a program in another language.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use conformance::{Dialect, Report, Verdict};

use crate::installed::packages;
use crate::{ask_as, reference, text};

async fn all_pass(file: &Path) -> Report {
    let dialect = Arc::new(Dialect::load(&file.display().to_string()).unwrap_or_else(|error| panic!("{error}")));
    let report = ask_as(&dialect, &format!("ws://{}/", reference::reference().await), &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let asked = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })).count();
    assert!(asked >= 22, "{asked}\n{}", text(&report));
    report
}

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/adapters"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_node() {
    // Older versions of Node.js have no WebSocket client; the npm packages include one.
    let Some(packages) = packages() else { return };
    let folder = packages.join("adapters");
    fs::create_dir_all(&folder).expect("the target folder is ours");
    for file in ["mesh.toml", "mesh.mjs"] {
        fs::copy(examples().join(file), folder.join(file)).expect("it is there");
    }
    all_pass(&folder.join("mesh.toml")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_python() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no python3");
        return;
    }
    let report = all_pass(&examples().join("mesh-python.toml")).await;
    // Its bytes go to the WebSocket as they are.
    for slug in ["ws/ping-pong", "ws/rsv", "ws/unmasked", "msg/binary"] {
        let verdict = &report.case(slug).expect("it ran").verdict;
        assert!(matches!(verdict, Verdict::Pass | Verdict::Acceptable { .. }), "{slug}\n{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_start_is_told() {
    let text = "name = \"x\"\nabout = \"x\"\nexample = \"ws://h/\"\n[connection]\nframing = \"adapter\"\ncommand = [\"/no/such/program\"]\n";
    let dialect = Arc::new(Dialect::parse("x.toml", text).unwrap_or_else(|error| panic!("{error}")));
    let error = ask_as(&dialect, "ws://127.0.0.1:9/", &[]).await.expect_err("there is none").to_string();
    assert!(error.contains("the adapter `/no/such/program` does not start"), "{error}");
}
