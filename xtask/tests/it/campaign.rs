//! `glare campaign`: what it plays, stores, resumes and prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reports::campaign::{Campaign, StoryId};

use crate::queue::{Program, until};
use crate::{glare, program};

/// A folder that is not there yet.
pub(crate) fn folder(name: &str) -> String {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("campaign-{name}"));
    let _ = fs::remove_dir_all(&dir);
    dir.to_str().expect("UTF-8").to_owned()
}

/// A profile whose stories are short, so that debug builds play many.
pub(crate) fn short(name: &str) -> String {
    let file = folder(name) + ".toml";
    let text = include_str!("../../../scenarios/stories/crowd.toml");
    let text = text.replace("name = \"crowd\"", "name = \"short\"").replace("actors = 12", "actors = 3");
    fs::write(&file, text.replace("troubles = 23", "troubles = 6")).expect("a scratch file");
    file
}

/// The hash of each story, as the events of a run that `sim` plays from its file.
fn hash_by_sim(dir: &str, story: &str) -> String {
    let file = format!("{dir}-{story}.toml");
    fs::write(&file, glare(&["campaign", "story", dir, story]).out()).expect("a scratch file");
    let played = glare(&["sim", "--scenario", &file, "--seed", story.trim_start_matches('v'), "--format", "json"]);
    let line = played.out().lines().nth(1).expect("a case").to_owned();
    let case: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    case["simulation"]["hash"].as_str().expect("a hash").to_owned()
}

#[test]
fn a_range_of_seeds_gives_the_same_with_any_number_of_jobs_and_in_any_parts() {
    let profile = short("parts-profile");
    let play = |name: &str, calls: &[&[&str]]| {
        let dir = folder(name);
        for more in calls {
            let arguments = [&["campaign", "--profile", &profile, "--profile", "roles", "--out", &dir], *more].concat();
            let run = glare(&arguments);
            assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
        }
        dir
    };
    let whole = play("whole", &[&["--seeds", "0..12", "--jobs", "1"]]);
    let parts = play("parts", &[&["--seeds", "0..5", "--jobs", "3"], &["--seeds", "0..12", "--check-determinism"]]);
    let [whole_says, parts_says] = [&whole, &parts].map(|dir| {
        let status = glare(&["campaign", "status", dir]).out();
        // The second line is about the time.
        let said: Vec<_> = status.lines().enumerate().filter(|(n, _)| *n != 1).map(|(_, l)| l.to_owned()).collect();
        (said, glare(&["campaign", "probes", dir]).out())
    });
    assert_eq!(whole_says, parts_says);
    assert!(whole_says.0[0].starts_with("PASS  12 stories"), "{whole_says:?}");
    assert_eq!(hash_by_sim(&whole, "7"), hash_by_sim(&parts, "7"));
    let page = glare(&["report", &whole, "--format", "html"]);
    assert_eq!(page.code(), 0, "{}", page.err());
    let page = fs::read_to_string(format!("{whole}/report.html")).expect("it was written");
    assert!(page.contains("12 stories") && page.contains("In no story"), "{page}");
    let text = glare(&["report", &whole]).out();
    assert!(text.starts_with("PASS  12 stories"), "{text}");
    assert_eq!(glare(&["report", &whole, "--format", "junit"]).code(), 2);
}

#[test]
fn ctrl_c_and_a_kill_lose_nothing_and_nothing_is_counted_twice() {
    let (profile, dir) = (short("killed-profile"), folder("killed"));
    let start = || -> Child {
        let mut command = program();
        command.args(["campaign", "--profile", &profile, "--seeds", "0..600", "--out", &dir]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
    };
    let stored = || {
        let status = glare(&["campaign", "status", &dir]);
        let digits: String = status.out().chars().skip(6).take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().unwrap_or_default()
    };
    for signal in ["KILL", "INT"] {
        let before = stored();
        let mut child = start();
        // Until something new is stored, or it has ended by itself on a fast machine.
        while stored() <= before && child.try_wait().expect("it is ours").is_none() {
            #[allow(clippy::disallowed_methods)] // waits for another program in real time
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        let code = child.wait().expect("it ends").code();
        assert!([None, Some(130), Some(0)].contains(&code), "{code:?}");
        assert!(stored() >= before, "nothing is lost");
    }
    let rest = glare(&["campaign", "--profile", &profile, "--seeds", "0..600", "--out", &dir]);
    assert_eq!(rest.code(), 0, "{}{}", rest.out(), rest.err());
    assert!(rest.out().starts_with("PASS  600 stories"), "{}", rest.out());
    let other = glare(&["campaign", "--profile", "crowd", "--seeds", "0..2", "--out", &dir]);
    assert_eq!(other.code(), 2);
    assert!(other.err().contains("differs in the story profiles"), "{}", other.err());
}

#[test]
fn a_guided_campaign_varies_stories_and_each_one_can_be_played_again() {
    let (profile, dir) = (short("guided-profile"), folder("guided"));
    let play = |minutes: &str| {
        let run = glare(&["campaign", "--profile", &profile, "--minutes", minutes, "--out", &dir]);
        assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
        run.out()
    };
    let first = play("0.05");
    let second = play("0.1");
    assert!(second.contains("Corpus") && first != second, "{first}{second}");
    // Some of the varied stories reached something new, so they are kept.
    let is_kept = |story: &String| glare(&["campaign", "story", &dir, story]).code() == 0;
    let varied = (0..100).map(|number| format!("v{number}")).find(is_kept).expect("one reaches something new");
    let text = glare(&["campaign", "story", &dir, &varied]).out();
    assert!(text.starts_with(&format!("name = \"short-{varied}\"")), "{text}");
    assert_eq!(hash_by_sim(&dir, &varied).len(), 16);
    let unknown = glare(&["campaign", "story", &dir, "v99999999"]);
    assert!(unknown.code() == 2 && unknown.err().contains("was not kept"), "{}", unknown.err());
}

#[test]
fn what_is_wrong_with_a_campaign_is_said() {
    let dir = folder("wrong");
    let profile = short("wrong-profile");
    let bad = folder("bad-rates") + ".toml";
    let text = fs::read_to_string(&profile).expect("it was written");
    fs::write(&bad, text.replace("loss = \"3%\"", "loss = \"130%\"")).expect("a scratch file");
    for (arguments, says) in [
        (&["--profile", bad.as_str()][..], "`loss`: `130%` is over 100%"),
        (&["--profile", "rolse"], "did you mean `roles`?"),
        (&["--minutes", "0"], "must be a number of minutes, more than 0"),
        (&["--dialect", "signalhub"], "stories cannot be played in the dialect `signalhub`"),
        (&["--dialect", "peerjs"], "the reference server does not speak it"),
        (&["--profile", "roles", "--server", "true"], "a server program can take part in scenarios of one protocol"),
        (&["--seeds", "3..3"], "contains no seed"),
    ] {
        let run = glare(&[&["campaign", "--out", &dir], arguments].concat());
        assert_eq!(run.code(), 2, "{arguments:?}: {}", run.err());
        assert!(run.err().contains(says), "{arguments:?}: {}", run.err());
    }
    assert!(!Path::new(&dir).exists(), "nothing was begun");
    let run = glare(&["campaign", "--out", &dir, "--server", "true", "--seeds", "0..3"]);
    assert!(run.code() == 3 && run.err().contains("cannot be reached"), "{}", run.err());
    let none = glare(&["campaign", "failures", &folder("none")]);
    assert!(none.code() == 2 && none.err().contains("there is no campaign here"), "{}", none.err());
}

/// The stories end before everything has settled, so some of them fail.
#[test]
fn a_finding_of_a_running_campaign_can_be_played_at_once() {
    let (file, dir) = (folder("hasty-profile") + ".toml", folder("hasty"));
    let hasty = |line: &str| match line.split(" = ").next() {
        Some("duration") => "duration = \"8200ms\"".to_owned(),
        Some("calm") => "calm = \"8100ms\"".to_owned(),
        Some(key @ ("troubles-until" | "longest")) => format!("{key} = \"4s\""),
        _ => line.to_owned(),
    };
    let calls = include_str!("../../../scenarios/stories/calls.toml");
    fs::write(&file, calls.lines().map(hasty).collect::<Vec<_>>().join("\n")).expect("a scratch file");
    let mut campaign =
        Program::start(program().args(["campaign", "--profile", &file, "--seeds", "0..100000", "--out", &dir]));
    let mut found = String::new();
    until("there is a finding", || {
        found = glare(&["campaign", "failures", &dir]).out();
        found.contains("  glare sim ")
    });
    let line = found.lines().find_map(|line| line.strip_prefix("  glare ")).expect("a line that replays it");
    let replayed = glare(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(replayed.code(), 1, "{line}\n{}{}", replayed.out(), replayed.err());
    let oracle = found.split(' ').next().expect("an oracle");
    assert!(replayed.out().contains(oracle), "{found}\n{}", replayed.out());
    assert!(!campaign.has_ended());
    campaign.kill();
    assert_eq!(glare(&line.split(' ').collect::<Vec<_>>()).code(), 1);
}

/// The arguments of a campaign with a server program that ends, in one story of five, the process that plays it, and is
/// else the reference server. If that process plays a single story, and `and_worker`, it also ends the one that started it.
pub(crate) fn deadly(name: &str, and_worker: bool) -> Vec<String> {
    let (profile, file) = (short(&format!("{name}-profile")), folder(name) + ".sh");
    let worker = "if grep -q play-alone /proc/$player/cmdline; then\n    \
                  read -r _ _ _ parent _ < /proc/$player/stat; kill -KILL $parent\n  fi\n  ";
    let text = format!(
        "case $(od -An -tu1 -N1 /dev/urandom) in\n*[13])\n  read -r _ _ _ player _ < /proc/self/stat\n  \
         {}kill -ABRT $player\n  sleep 9;;\nesac\n\
         exec {} serve --host 0.0.0.0 --dialects mesh --ping-interval 3s --no-stun --no-pages\n",
        if and_worker { worker } else { "" },
        env!("CARGO_BIN_EXE_glare")
    );
    fs::write(&file, text).expect("a scratch file");
    ["--profile", &profile, "--port", "8787", "--server", &format!("sh {file}")].map(str::to_owned).to_vec()
}

/// The stories of a campaign that end the process that plays them, and no others fail.
pub(crate) fn deaths(dir: &str, says: &str) -> Vec<StoryId> {
    let (_, campaign) = Campaign::load(Path::new(dir)).unwrap_or_else(|wrong| panic!("{wrong}"));
    let failed = campaign.stories.into_iter().filter(|(_, story)| !story.wrong.is_empty());
    let death = |(id, story): (StoryId, reports::campaign::Story)| {
        assert_eq!((story.wrong[0].rule.as_str(), story.wrong[0].message.as_str()), ("crash", says));
        id
    };
    failed.map(death).collect()
}

#[test]
fn a_story_that_ends_the_program_is_found_by_the_next_call() {
    let dir = folder("deadly");
    let more = deadly("deadly", false);
    let play = || {
        let mut command = program();
        command.args(["campaign", "--seeds", "0..12", "--jobs", "1", "--out", &dir]).args(&more);
        command.output().expect("it starts")
    };
    let mut calls = 0;
    let last = loop {
        let run = play();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        let tells = said.contains("an earlier call died while it played `");
        assert_eq!(tells, calls > 0, "{said}");
        calls += 1;
        match run.status.code() {
            None => assert!(calls < 12 && Path::new(&dir).join("playing").exists(), "{said}"),
            Some(_) => break run,
        }
    };
    let said = String::from_utf8_lossy(&last.stdout).into_owned();
    let found = deaths(&dir, "it ends the process that plays it: SIGABRT");
    assert!(found.len() >= 2 && found.len() + 1 == calls, "{calls} calls: {said}");
    assert_eq!(last.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("FAIL  {} of 12 stories violate an oracle: 1 finding", found.len())), "{said}");
    assert!(!Path::new(&dir).join("playing").exists());
    // Questions over all stories leave them out: they have no events, and would end that program.
    let asked =
        program().args(["ask", &dir, "received of X message=joined", "--jobs", "1"]).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&asked.stderr));
    assert_eq!(asked.status.code(), Some(0), "{err}");
    assert!(out.ends_with(&format!(" of {} runs\n", 12 - found.len())), "{out}");
    assert!(err.starts_with(&format!("{} stories were not asked: ", found.len())), "{err}");
    // The line that replays it ends that program, too.
    let line = said.lines().find_map(|line| line.strip_prefix("  glare ")).expect("a line that replays it");
    let replayed = program().args(line.split(' ')).output().expect("it starts");
    assert_eq!(replayed.status.code(), None, "{line}");
}

/// It computes, so it does not ask for anything, and would never notice that the world is gone.
#[test]
fn a_killed_campaign_leaves_no_server_program() {
    let (profile, dir) = (short("orphan-profile"), folder("orphan"));
    let file = dir.clone() + ".sh";
    fs::write(&file, "while :; do :; done\n").expect("a scratch file");
    let server = format!("sh {file}");
    let more = ["--profile", &profile, "--port", "8787", "--jobs", "1", "--server", &server, "--out", &dir];
    let mut campaign = Program::start(program().args(["campaign", "--seeds", "0..2"]).args(more));
    let line = format!("sh\0{file}\0");
    let running = || {
        let processes = fs::read_dir("/proc").expect("Linux has it").filter_map(Result::ok);
        let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
        lines.filter(|of_process| *of_process == line).count()
    };
    until("the program runs", || running() == 1);
    campaign.kill();
    until("the program has ended", || running() == 0);
}

/// A file-size limit stands for a full disk.
#[test]
fn a_full_disk_is_an_error_and_what_was_stored_remains() {
    let (profile, dir) = (short("full-profile"), folder("full"));
    let glare_limited = |blocks: &str| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_glare"), "campaign", "--profile", &profile]);
        command.args(["--seeds", "0..40", "--out", &dir]);
        command.output().expect("it starts")
    };
    let first = glare(&["campaign", "--profile", &profile, "--seeds", "0..8", "--out", &dir]);
    assert_eq!(first.code(), 0, "{}", first.err());
    let full = glare_limited("1");
    let said = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(2), "{said}");
    assert!(said.contains("campaign.redb") && said.contains("cannot be"), "{said}");
    let status = glare(&["campaign", "status", &dir]);
    assert!(status.out().starts_with("PASS  8 stories"), "{}{}", status.out(), status.err());
    let rest = glare(&["campaign", "--profile", &profile, "--seeds", "0..40", "--out", &dir]);
    assert!(rest.out().starts_with("PASS  40 stories"), "{}{}", rest.out(), rest.err());
}
