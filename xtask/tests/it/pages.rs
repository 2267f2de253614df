//! The pages of `glare serve` in headless Chromium, as people use them: `pages/*.mjs` play it, and say what is wrong.
//!
//! Without Chromium or npm the tests are skipped, with a message that says how to install them; on CI that is a failure.
//! `SCREENSHOTS=DIR` in the environment keeps pictures of the pages. `PAGES=DIR` takes the pages from that folder in
//! place of the program, so that work on them needs no build.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::tools;

/// What drives the browser, what audits the pages, and Socket.IO's client.
const PACKAGES: [&str; 3] = ["puppeteer-core@24.43.1", "axe-core@4.14.1", "socket.io-client@4.8.4"];

#[test]
fn sender_and_viewer_see_video_through_reloads_restarts_and_a_kick() {
    play("sender-viewer");
}

#[test]
fn a_mesh_of_four_sees_video_through_hangups_glare_and_a_restart() {
    play("mesh");
}

#[test]
fn people_call_each_other_over_websocket() {
    play("call");
}

#[test]
fn people_call_each_other_over_socketio() {
    play("call-socketio");
}

#[test]
fn people_call_each_other_with_the_stock_client_of_socketio() {
    play("call-socketio-stock");
}

#[test]
fn peers_a_and_b_see_video_over_a_broadcast() {
    play("broadcast");
}

#[test]
fn caller_and_callee_see_video_directly_and_through_turn() {
    play("relay");
}

#[test]
fn media_through_turn_is_cut_degraded_and_healed_by_order() {
    play("faults");
}

#[test]
fn every_page_is_accessible_small_and_translated() {
    play("look");
}

#[test]
fn bad_input_gets_a_sentence_and_nothing_is_executed() {
    play("bad");
}

/// Plays `pages/NAME.mjs` to its end. One at a time: each has several tabs that encode video.
fn play(name: &str) {
    static PLAYING: Mutex<()> = Mutex::new(());
    let _playing = PLAYING.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((chromium, modules)) = browser() else { return };
    let run = tools::node("pages/run.mjs", modules, &[chromium, env!("CARGO_BIN_EXE_glare"), name], &[]);
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}{err}");
    assert!(out.ends_with(&format!("{name} is well\n")), "{out}{err}");
    println!("{out}");
}

/// Chromium, and the folder with the packages, if they can be had.
fn browser() -> Option<&'static (String, PathBuf)> {
    static BROWSER: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    let found = BROWSER.get_or_init(|| Some((chromium()?, tools::npm("pages", &PACKAGES)?)));
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "CI tests the pages: it needs Chromium, Node.js and npm"
    );
    found.as_ref()
}

/// The path of Chromium, installed from Debian's package if it is missing and we may.
fn chromium() -> Option<String> {
    let there = || {
        let output = Command::new("sh").args(["-c", "command -v chromium"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    there().or_else(|| {
        let install =
            "apt-get update -qq && apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends chromium";
        let mut apt = Command::new("sh");
        apt.args(["-c", install]).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).stderr(Stdio::null());
        let _ = apt.status();
        if there().is_none() {
            eprintln!("SKIPPED: there is no Chromium to test the pages with: `apt-get install chromium` installs it");
        }
        there()
    })
}
