//! The page: its words, what hostile strings become, how large it gets, and how a browser sees it.

use std::path::{Path, PathBuf};

use reports::model::{Case, Opening, Step, Suite, Tone, Verdict};
use reports::{Detail, Results};
use sim::capture::Capture;
use sim::run::Outcome;

use crate::model::{conformance_cases, full_case, opening, read, written, written_by};
use crate::{FRIENDS, WALL, play, replay, tools, wrong};

#[test]
fn the_words_of_a_failing_run() {
    let page = reports::html(&[read(&written(vec![full_case()])).expect("a result")]);
    insta::assert_snapshot!(crate::plain(&words(&page)));
}

#[test]
fn the_words_of_a_conformance_run_and_of_two_side_by_side() {
    let result = |url: &str, keep: usize| {
        let opening =
            Opening { suite: Suite::Conformance, name: "mesh".to_owned(), target: url.to_owned(), ..opening() };
        let cases = conformance_cases().into_iter().take(keep).collect();
        read(&written_by(&opening, cases)).expect("a result")
    };
    let page = words(&reports::html(&[result("ws://a.example/", 4), result("ws://b.example/", 2)]));
    insta::assert_snapshot!(page);
}

#[test]
fn networks_have_the_names_of_the_story_and_their_links() {
    let page = reports::html(&[lost(&scratch("lost-names"))]);
    let drawing =
        page.split_once("<svg class=\"topology\"").expect("a drawing").1.split_once("</svg>").expect("its end").0;
    for words in [">ana’s NAT<", ">home-linux<", ">office<", ">cgn-wired<", ">20–30 ms, 2% loss<", ">10 ms<"] {
        assert!(drawing.contains(words), "{words} in {drawing}");
    }
    assert!(
        page.contains("20–30 ms, 2% loss, 0.1% twice, 0.5% overtaken, 2 Mbit/s"),
        "the table has all settings of a link"
    );
}

#[test]
fn of_two_results_the_second_says_what_is_fixed_and_what_is_new() {
    let page = words(&reports::html(&two_results()));
    assert!(page.contains("The second result compared with the first: 1 fixed, 1 new, 1 still failing"), "{page}");
    let table = page.split_once("\nCases\n").expect("the table").1;
    let verdicts = |id: &str| {
        let row = table.split_once(&format!("\n{id} ")).expect("a row").1;
        row.lines().find_map(|line| line.strip_prefix("declared ")).expect("its verdicts")
    };
    assert_eq!(verdicts("a-new"), "pass fail new");
    assert_eq!(verdicts("b-fails"), "fail fail");
    assert_eq!(verdicts("c-fixed"), "fail pass fixed");
    assert_eq!(verdicts("d-passes"), "pass pass");
    let one = words(&reports::html(&two_results()[..1]));
    assert!(
        !one.contains("compared") && !one.contains("Only what changed"),
        "one result is compared with nothing: {one}"
    );
}

#[test]
fn two_results_have_no_id_in_common() {
    let result = || read(&written(vec![full_case()])).expect("a result");
    let page = reports::html(&[result(), result()]);
    let mut ids: Vec<_> =
        page.split(" id=\"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(id, _)| id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == all && all > 4, "{ids:?}");
}

#[test]
fn a_page_asks_the_network_for_nothing() {
    let page = reports::html(&[read(&written(vec![full_case()])).expect("a result")]);
    for what in ["<link", "src=", "url(", "@import", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(what), "{what}");
    }
}

#[test]
fn hostile_strings_are_text() {
    let page = reports::html(&[hostile(&scratch("hostile"))]);
    assert!(!page.contains("<script>window.pwned"), "markup from a result");
    assert!(!page.contains("</script><script>"), "a result ends the element of its data");
    assert!(!page.contains("href=\"javascript:"), "a link that runs");
    assert!(!page.contains("onerror=\""), "an attribute from a result");
    assert!(page.contains("&lt;script&gt;window.pwned"), "it is shown as text");
    assert!(page.contains(r"\u{202e}") && !page.contains('\u{202e}'), "no mark turns a line round");
    assert!(page.contains(r"\u{1b}[31m") && !page.contains('\u{1b}'), "no escape of a terminal");
    assert!(page.len() < 600_000, "10 MB of payload are cut: {} bytes", page.len());
}

#[test]
fn events_outside_of_the_folder_are_not_read() {
    let mut case = full_case();
    for file in ["/etc/hostname", "../../secrets.jsonl"] {
        case.simulation.as_mut().expect("a simulation").events_file = Some(file.to_owned());
        let page = reports::html(&[read(&written(vec![case.clone()])).expect("a result")]);
        assert!(page.contains("is outside the result’s folder"), "{file}");
    }
}

#[test]
fn a_step_shows_its_frame_and_the_network_it_was_seen_in() {
    let result = followed(&scratch("followed"));
    let steps: Vec<_> = result.cases[0].story.iter().filter_map(|step| step.frame.as_ref()).collect();
    assert!(steps.len() > 10, "{} steps have a frame", steps.len());
    let page = reports::html(std::slice::from_ref(&result));
    for frame in steps {
        let shown = format!(">#{} {}</span>", frame.number, frame.interface);
        assert!(page.contains(&shown), "{shown}");
    }
    assert!(page.contains("frame 7 of <code>run.pcapng</code>"));
}

#[test]
fn a_file_of_frames_is_read_with_care() {
    let dir = scratch("frames");
    let result = followed(&dir);
    let page = |text: &str| {
        std::fs::write(dir.join("frames.jsonl"), text).expect("a scratch file");
        reports::html(std::slice::from_ref(&result))
    };
    assert!(page("{}\n").contains("frames.jsonl:1: is not a frame"));
    let elsewhere = "{\"event\":99999999,\"number\":1,\"interface\":\"a\"}\n{\"event\":1,\"number\":9999999999,\"interface\":\"</script>\"}\n";
    let page = page(elsewhere);
    assert!(!page.contains("</script>\""), "nothing in a name ends the element of the data");
    assert!(page.contains("data-explorer"), "what is elsewhere is left out");
    let mut outside = result.clone();
    let capture = outside.cases[0].simulation.as_mut().and_then(|simulation| simulation.capture.as_mut());
    capture.expect("a capture").frames_file = Some("../../secrets.jsonl".to_owned());
    assert!(reports::html(&[outside]).contains("is outside the result’s folder"));
}

#[test]
fn a_line_that_is_no_event_is_named() {
    let dir = scratch("no-event");
    let mut result = friends(&dir);
    std::fs::write(dir.join("friends-1/events.jsonl"), "{\"at\":0,\"node\":\"ana\",\"layer\":\"machine\"}\nnonsense\n")
        .expect("a file");
    result.dir = dir;
    assert!(reports::html(&[result]).contains("events.jsonl:2: is not an event"));
}

/// How long rendering takes, `benches/reports.rs` measures.
#[test]
fn the_page_of_a_hundred_thousand_events_keeps_to_its_size() {
    let page = reports::html(&[big(&scratch("big"))]);
    assert!(page.len() < 20_000_000, "{} bytes", page.len());
}

#[test]
fn the_page_of_mesh_6_keeps_to_its_size() {
    let (outcome, capture) = crate::pcap::captured("mesh-6");
    let events = outcome.record.events.len();
    let page = reports::html(&[followed_run(&scratch("mesh-6"), &outcome, &capture)]);
    assert!(page.len() < 200 * events, "{} bytes for {events} events and their frames", page.len());
}

#[test]
fn a_browser_finds_nothing_wrong() {
    let Some(browser) = tools::browser() else { return };
    let dir = scratch("browser");
    let mut seeds: Vec<_> = (2..40)
        .map(|seed| reports::case_of_outcome(&play(FRIENDS, seed), WALL, &replay(), Detail::Brief, None))
        .collect();
    seeds.push(full_case());
    let matrix = |url: &str| {
        let opening = Opening { suite: Suite::Conformance, target: url.to_owned(), ..opening() };
        read(&written_by(&opening, conformance_cases())).expect("a result")
    };
    let pages = [
        ("run", reports::html(&[friends(&dir)])),
        ("followed", reports::html(&[followed(&dir)])),
        ("failure", reports::html(&[read(&written(vec![full_case()])).expect("a result")])),
        ("seeds", reports::html(&[read(&written(seeds)).expect("a result")])),
        ("matrix", reports::html(&[matrix("ws://a.example/"), matrix("ws://b.example/")])),
        ("lost", reports::html(&[lost(&dir)])),
        ("changes", reports::html(&two_results())),
        ("hostile", reports::html(&[hostile(&scratch("browser-hostile"))])),
        ("big", reports::html(&[big(&scratch("browser-big"))])),
    ];
    let files: Vec<_> = pages
        .iter()
        .map(|(name, page)| {
            let file = dir.join(format!("{name}.html"));
            std::fs::write(&file, page).expect("a scratch file");
            file
        })
        .collect();
    let findings = browser.look(&files);
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn the_browser_does_find_what_is_wrong() {
    let Some(browser) = tools::browser() else { return };
    let file = scratch("broken").join("broken.html");
    let page =
        "<!doctype html><html><body style='width:3000px'><img src='x.png'><script>window.pwned = true; nope()</script>";
    std::fs::write(&file, page).expect("a scratch file");
    let findings = browser.look(&[file]).join("\n");
    for what in ["px too wide", "script error: nope", "was executed", "axe critical image-alt"] {
        assert!(findings.contains(what), "{what} in {findings}");
    }
}

/// Everything that a page must do for its reader, broken in one way after the other.
#[test]
fn the_browser_finds_each_point_that_is_broken() {
    let Some(browser) = tools::browser() else { return };
    let dir = scratch("points");
    let (run, two) = (reports::html(&[lost(&dir)]), reports::html(&two_results()));
    let off = |event: &str, is: &str| {
        format!("<script>addEventListener('{event}', (e) => ({is}) && e.stopImmediatePropagation(), true)</script>")
    };
    let broken = [
        (&run, "<style>.excerpt { max-height: 3rem !important; overflow: hidden }</style>".to_owned(), "wrong is out of view"),
        (
            &run,
            format!("<style>.asks {{ height: 3000px }}</style>{}", off("keydown", "e.key === 'n'")),
            "the key n does not bring the row",
        ),
        (
            &two,
            "<style>td.level { display: block; width: 2rem; white-space: normal; overflow-wrap: anywhere }</style>".to_owned(),
            "the level “declared” is broken",
        ),
        (&run, "<style>.sideways { display: none }</style>".to_owned(), "does not show that there is more to the side"),
        (&run, "<style>[data-more] { mask-image: none !important }</style>".to_owned(), "does not show that there is more"),
        (&two, off("keydown", "e.key === 'Escape'"), "Esc does not leave the filter"),
        (
            &two,
            "<script>document.querySelectorAll('td .change').forEach((mark) => mark.remove())</script>".to_owned(),
            "0 marked",
        ),
        (&run, "<style>li.row[hidden] { display: grid !important }</style>".to_owned(), "the filter of the story by"),
        (&run, off("click", "e.target.closest('a[data-event]')"), "a row of the story does not lead to the axis"),
        (&run, off("click", "e.target.closest('.to-story')"), "the axis does not lead back to the row"),
        (
            &run,
            "<style>@media print { .sequence { max-height: 4rem !important; overflow: hidden !important } }</style>".to_owned(),
            "on paper,",
        ),
        (&run, "<style>@media print { .topology { width: 900px !important; max-width: none !important } .topology text { font-size: 40px } }</style>".to_owned(), "on paper,"),
    ];
    for (number, (page, harm, expected)) in broken.iter().enumerate() {
        let file = dir.join(format!("broken-{number}.html"));
        std::fs::write(&file, page.replace("</body>", &format!("{harm}</body>"))).expect("a scratch file");
        let findings = browser.look_at_points(&[file]).join("\n");
        assert!(findings.contains(expected), "{expected} after {harm}, in {findings:?}");
    }
}

/// A run that fails because a NAT rebooted, with its events beside it.
fn lost(dir: &Path) -> Results {
    of_outcome(dir, &play(LOST, 1), "lost-1")
}

/// A NAT reboots in the middle of a call; another network has a bad link.
pub(crate) const LOST: &str = r#"
name = "lost"
duration = "60s"
[[network]]
name = "office"
nat = "cgn-wired"
link = { latency = "20ms", jitter = "10ms", loss = "2%", reorder = "0.5%", duplicate = "0.1%", bandwidth = "2Mbit" }
[[actor]]
name = "ana"
nat = "home-linux"
[[actor]]
name = "ben"
nat = "home-median"
joins = "100ms"
[[actor]]
name = "cam"
network = "office"
joins = "200ms"
[[actor]]
name = "dia"
network = "office"
joins = "300ms"
[[step]]
at = "20s"
do = "nat-reboot"
network = "ana"
new-address = true
[expect]
connected = [{ pair = ["ana", "ben"], from = "5s" }]
"#;

/// Two results of one server: a case that is fixed, one that is new, one that still fails and one that passes.
fn two_results() -> [Results; 2] {
    let result = |of: [Verdict; 4]| {
        let ids = ["a-new", "b-fails", "c-fixed", "d-passes"];
        let cases = ids.iter().zip(of).zip(conformance_cases()).map(|((id, verdict), case)| {
            let findings = case.findings.into_iter().filter(|_| verdict == Verdict::Fail).collect();
            Case { id: (*id).to_owned(), verdict, findings, known: None, ..case }
        });
        read(&written_by(&Opening { suite: Suite::Conformance, ..opening() }, cases.collect())).expect("a result")
    };
    let (pass, fail) = (Verdict::Pass, Verdict::Fail);
    [result([pass, fail, fail, pass]), result([fail, fail, pass, pass])]
}

/// A passing run with its events beside it.
fn friends(dir: &Path) -> Results {
    of_outcome(dir, &play(FRIENDS, 1), "friends-1")
}

fn of_outcome(dir: &Path, outcome: &Outcome, name: &str) -> Results {
    let folder = reports::write_outcome(dir, outcome, WALL, &replay()).expect("a scratch folder");
    assert!(folder.ends_with(name), "{}", folder.display());
    let events = format!("{}/events.jsonl", folder.display());
    let case = reports::case_of_outcome(outcome, WALL, &replay(), Detail::Full, Some(events));
    Results { dir: dir.to_owned(), ..read(&written(vec![case])).expect("a result") }
}

/// A passing run with its events and the frames that they are.
fn followed(dir: &Path) -> Results {
    let (outcome, capture) = crate::pcap::captured("mesh-3");
    followed_run(dir, &outcome, &capture)
}

fn followed_run(dir: &Path, outcome: &Outcome, capture: &Capture) -> Results {
    let folder = reports::write_outcome(dir, outcome, WALL, &replay()).expect("a scratch folder");
    let frames = reports::Frames::of(&outcome.record, capture);
    frames
        .write(&mut std::fs::File::create(dir.join("frames.jsonl")).expect("a scratch file"))
        .expect("a scratch file");
    let events = format!("{}/events.jsonl", folder.display());
    let mut case = reports::case_of_outcome(outcome, WALL, &replay(), Detail::Full, Some(events));
    frames.add_to(&mut case, "run.pcapng", Some("frames.jsonl".to_owned()));
    Results { dir: dir.to_owned(), ..read(&written(vec![case])).expect("a result") }
}

/// A run whose events are repeated until there are 100,000.
fn big(dir: &Path) -> Results {
    let result = friends(dir);
    let file = dir.join("friends-1/events.jsonl");
    let text = std::fs::read_to_string(&file).expect("events");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("tear-down")).collect();
    // Each round has addresses of its own, so that no table of texts makes it small.
    let many: String = (0..100_000)
        .map(|index| lines[index % lines.len()].replace(":8787", &format!(":{}", index / lines.len())) + "\n")
        .collect();
    std::fs::write(file, many).expect("a scratch file");
    result
}

/// A failing run in which every string is out to do harm.
fn hostile(dir: &Path) -> Results {
    let evil = "<script>window.pwned = true</script>\u{1b}[31m\u{202e}gnorw\"onerror=\"window.pwned=true'></script><script>window.pwned=true</script><!--";
    let mut case = reports::case_of_outcome(&play(&wrong(), 1), WALL, &replay(), Detail::Full, None);
    case.id = evil.to_owned();
    case.group = evil.to_owned();
    case.title = evil.to_owned();
    case.replay = evil.to_owned();
    case.remarks = vec![evil.to_owned()];
    case.citations = vec![reports::model::Citation {
        section: evil.to_owned(),
        url: Some("javascript:window.pwned=true".to_owned()),
        quote: Some(evil.to_owned()),
    }];
    // The file of events has two.
    case.story.iter_mut().for_each(|step| step.event = Some(1));
    case.story[3].event = Some(usize::MAX);
    for party in &mut case.parties {
        party.name = evil.to_owned();
    }
    let huge = evil.repeat((10 << 20) / evil.len());
    case.findings[0].message = huge.clone();
    case.findings[0].rule = evil.to_owned();
    case.findings[0].evidence = Some(huge.clone());
    let step = Step { text: huge.clone(), tone: Tone::Bad, ..case.story[0].clone() };
    case.story.push(step);
    case.findings[0].steps = vec![case.story.len() - 1, usize::MAX];
    case.findings[0].parties = vec![usize::MAX];
    case.story[1].who = vec![usize::MAX];
    case.story[2].to = Some(usize::MAX);
    let simulation = case.simulation.as_mut().expect("a simulation");
    simulation.scenario = evil.to_owned();
    simulation.hash = Some(evil.to_owned());
    simulation.pairs[0].between = [evil.to_owned(), evil.to_owned()];
    simulation.probes.insert(evil.to_owned(), 1);
    let topology = simulation.topology.as_mut().expect("a topology");
    topology.networks[0].profile = evil.to_owned();
    topology.networks[0].behind = Some(usize::MAX);
    topology.machines[0].name = evil.to_owned();
    topology.machines[1].network = Some(usize::MAX);
    simulation.events_file = Some("events.jsonl".to_owned());
    let event = serde_json::json!({ "at": 1.0, "node": evil, "layer": "signaling", "event": evil, "payload": huge });
    let nat = serde_json::json!({ "at": 1.0, "node": evil, "layer": "nat", "event": "created", "protocol": evil, "internal": evil, "external": evil, "remote": evil });
    std::fs::write(dir.join("events.jsonl"), format!("{event}\n{nat}\n")).expect("a scratch file");
    let text = written_by(&Opening { name: evil.to_owned(), command: evil.to_owned(), ..opening() }, vec![case]);
    Results { dir: dir.to_owned(), ..read(&text).expect("a result") }
}

/// What a page says, without markup: a line for each element that has words.
pub(crate) fn words(page: &str) -> String {
    let body = page.split_once("<body>").expect("a body").1;
    let mut out = String::new();
    let mut rest = body;
    while let Some((text, tail)) = rest.split_once('<') {
        if !text.trim().is_empty() {
            out.push_str(text);
        }
        let (tag, after) = tail.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        rest = if name == "script" && !tag.starts_with('/') {
            after.split_once("</script>").expect("a script ends").1
        } else {
            after
        };
        let block = matches!(
            name,
            "p" | "div"
                | "li"
                | "tr"
                | "h1"
                | "h2"
                | "h3"
                | "dt"
                | "section"
                | "details"
                | "summary"
                | "text"
                | "footer"
                | "header"
        );
        if block && !out.ends_with('\n') {
            out.push('\n');
        } else if matches!(name, "td" | "th" | "dd" | "span") && !out.ends_with([' ', '\n']) {
            out.push(' ');
        }
    }
    let lines: Vec<_> = out.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

pub(crate) fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}
