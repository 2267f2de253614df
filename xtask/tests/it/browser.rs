//! `conformance --scenario … --browser`: what is refused, what is shown, and that nothing is left of the browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::{PATIENCE, Server};
use crate::{glare, program};

/// Two meet, one of them in a browser.
const SCENARIO: &str = "name = \"mixed\"\nabout = \"a tab and a client meet\"\nduration = \"6s\"\n[[actor]]\nname = \"ana\"\nruns = \"chromium\"\n[[actor]]\nname = \"ben\"\njoins = \"500ms\"\n";

#[test]
fn what_cannot_run_in_a_browser_is_refused_with_a_way_out() {
    let (mut server, file) = (mesh(), Scenario::new("refused"));
    let url = server.line("mesh  ");
    let play = |more: &[&str]| glare(&[&["conformance", "--url", &url, "--scenario", "mesh-3"], more].concat());
    for (run, code, says) in [
        (
            play(&["--browser", "/nowhere/chromium"]),
            3,
            "there is no program /nowhere/chromium: give the path of Chromium",
        ),
        (
            play(&["--browser", "chromium", "--browser-actors", "dora"]),
            2,
            "no actor is called `dora`; there are ana, ben, cam",
        ),
        (play(&["--browser-actors", "ana"]), 2, "--browser <chromium|PATH>"),
        (glare(&["conformance", "--sim", "--browser", "chromium"]), 2, "cannot be used with"),
        (glare(&["sim", "--scenario", file.path()]), 2, "a browser cannot be simulated: play the scenario on the wire"),
    ] {
        assert_eq!((run.code(), run.err().contains(says)), (code, true), "{}", run.err());
    }
    // Where none is installed. The path has everything that Glare itself needs.
    let run =
        program().args(["conformance", "--url", &url, "--scenario", file.path()]).env("PATH", "/nowhere").output();
    let run = run.expect("the program starts");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(3), "{said}");
    assert!(said.contains("there is no Chromium: `apt-get install chromium` installs it"), "{said}");
}

#[test]
fn a_tab_is_an_actor_and_nothing_is_left_of_it() {
    if !is_there() {
        return;
    }
    let (mut server, file) = (mesh(), Scenario::new("played"));
    let url = server.line("mesh  ");
    let run = glare(&["conformance", "--url", &url, "--scenario", file.path(), "--timeline"]);
    let out = run.out();
    assert_eq!(run.code(), 0, "{out}{}", run.err());
    assert!(out.contains("PASS  mixed: ana and ben connected"), "{out}");
    assert!(out.contains("In Chrome/") || out.contains("In Chromium/") || out.contains("In HeadlessChrome/"), "{out}");
    assert!(out.contains("receives “hello from ana”") && out.contains("receives “hello from ben”"), "{out}");
    let run = glare(&[
        "conformance",
        "--url",
        &url,
        "--scenario",
        file.path(),
        "--browser",
        "chromium",
        "--browser-actors",
        "ben",
    ]);
    let out = run.out();
    assert!(run.code() == 0 && out.contains(": ana, ben."), "{out}{}", run.err());
    assert!(out.contains("--browser chromium --browser-actors ben --scenario"), "{out}");

    // However Glare ends, the browser ends with it, and its profile is removed.
    for signals in [&["-INT", "-INT"][..], &["-TERM"], &["-KILL"]] {
        let mut glare = program();
        glare.args(["conformance", "--url", &url, "--scenario", file.path()]);
        let mut glare = glare.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        let profile = format!("glare-browser-{}-", glare.id());
        until("the browser runs", || !processes_with(&profile).is_empty());
        for signal in signals {
            let sent = Command::new("kill").arg(signal).arg(glare.id().to_string()).status();
            assert!(sent.expect("kill is there").success());
            #[allow(clippy::disallowed_methods)] // a real browser, outside of every simulation
            std::thread::sleep(Duration::from_millis(200));
        }
        glare.wait().expect("it ends");
        until("no process is left", || processes_with(&profile).is_empty());
        until("no profile is left", || profiles(&profile).is_empty());
    }
}

fn mesh() -> Server {
    Server::start(&["--dialects", "mesh", "--port", "0", "--no-stun", "--log", "error"])
}

/// Whether there is a browser to play with. If not, the test is skipped.
fn is_there() -> bool {
    let found = sim::live::Browser::start("chromium");
    if let Err(why) = &found {
        eprintln!("SKIPPED: {why}");
        assert!(std::env::var_os("CI").is_none(), "CI plays scenarios in a browser: it needs Chromium");
    }
    found.is_ok()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let pause = Duration::from_millis(50);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if is_so() {
            return;
        }
        #[allow(clippy::disallowed_methods)] // a real browser, outside of every simulation
        std::thread::sleep(pause);
    }
    panic!("not in {PATIENCE:?}: {what}");
}

/// The processes in whose command line a word is.
fn processes_with(word: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("Linux has it").flatten();
    let has_word = |pid: &String| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(word)
    };
    let pids = all.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|name| name.parse::<u32>().is_ok()).filter(has_word).collect()
}

fn profiles(start: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(std::env::temp_dir()).expect("it is there").flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with(start)).map(|entry| entry.path()).collect()
}

/// A scenario in a file, which is removed.
struct Scenario(PathBuf);

impl Scenario {
    fn new(name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("glare-mixed-{name}-{}.toml", std::process::id()));
        std::fs::write(&file, SCENARIO).expect("a temporary file");
        Self(file)
    }

    fn path(&self) -> &str {
        Path::to_str(&self.0).expect("UTF-8")
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
