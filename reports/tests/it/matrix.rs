//! The page of servers and cases.

use reports::model::{Case, Opening, Suite, Verdict};
use reports::{Results, Server, matrix};

use crate::html::{scratch, words};
use crate::model::{conformance_cases, opening, read, written, written_by};
use crate::tools;

#[test]
fn each_kind_of_server_has_a_table_with_a_verdict_for_each_case() {
    let page = words(&page());
    let table = |heading: &str| {
        page.split_once(&format!("\n{heading}\n")).expect(heading).1.split("servers\n").next().expect("a table")
    };
    let signaling = table("Signaling servers");
    assert!(signaling.contains("alpha 1.0") && signaling.contains("beta 2.0"), "{signaling}");
    assert!(!signaling.contains("gamma 3.0"), "{signaling}");
    assert!(signaling.contains("kept of those asked 1/2 0/1"), "{signaling}");
    let row = |id: &str| {
        let rest = signaling.split_once(&format!("\n{id} ")).unwrap_or_else(|| panic!("{id} in {signaling}")).1;
        rest.lines().next().expect("a line").rsplit(' ').take(2).collect::<Vec<_>>()
    };
    assert_eq!(row("room/join-ack"), ["–", "✓"], "beta has no such thing");
    assert_eq!(row("room/roster-exact"), ["✕", "✕"]);
    assert_eq!(row("room/join-once"), ["–", "?"]);
    assert!(signaling.contains("1 more cases are about what none of these servers has"), "{signaling}");
    assert!(!signaling.contains("\nroom/only-unsupported"), "{signaling}");
    assert!(table("TURN servers").contains("gamma 3.0"), "{page}");
    assert!(page.contains("3 servers, "), "{page}");
}

#[test]
fn behind_a_cell_are_its_words_and_its_trace() {
    let page = page();
    let data = page
        .split_once("<script type=\"application/json\">")
        .expect("data")
        .1
        .split_once("</script>")
        .expect("its end")
        .0;
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    let text =
        |place: &serde_json::Value| data["texts"][place.as_u64().expect("a place") as usize].as_str().expect("a text");
    let row = data["cases"].as_array().expect("cases").iter().position(|case| case["id"] == "room/roster-exact");
    let cell = &data["cells"][row.expect("it is there")][0];
    assert_eq!(text(&cell["why"][0]), "the roster is empty");
    assert_eq!(text(&cell["known"]), "its roster is a later message");
    assert_eq!(cell["steps"].as_array().map(Vec::len), Some(2));
    assert_eq!(text(&cell["steps"][0][3]), "{\"type\":\"join\"}");
    assert_eq!((&cell["steps"][0][4], &cell["steps"][1][4]), (&0.into(), &1.into()), "the second one is wrong");
    let known = data["cells"].as_array().expect("cells").iter().filter(|row| row[0]["known"].is_u64());
    assert_eq!(known.count(), 1, "only what fails is known to fail");
    assert_eq!(page.matches("aria-label=\"fail, known\"").count(), 1);
    assert_eq!(cell["replay"], serde_json::Value::Null, "the server’s command and the case make it");
}

#[test]
fn what_cannot_be_shown_is_named() {
    let refused = |servers: &[Server]| matrix(servers).expect_err("it is refused").to_string();
    assert_eq!(refused(&[]), "there is no result to show");
    let sim = read(&written(vec![conformance_cases().remove(0)])).expect("a result");
    let named = |name: &str, results: Results| Server { name: name.to_owned(), results };
    assert_eq!(
        refused(&[named("a", sim)]),
        "result.jsonl: is a result of `sim`: a matrix shows results of `conformance --out DIR`"
    );
    let cut = Results { closing: None, ..server("ws://a", conformance_cases()) };
    assert!(refused(&[named("a", cut)]).starts_with("result.jsonl: is truncated after 4 cases"));
    let two = [named("a", server("ws://a", conformance_cases())), named("a", server("ws://b", conformance_cases()))];
    assert!(refused(&two).contains("its server is called `a`, as that of "), "{}", refused(&two));
    let kinds = [named("a", server("stun:h", conformance_cases())), named("a", server("turn:h", conformance_cases()))];
    assert!(matrix(&kinds).is_ok(), "one server may be of two kinds");
}

#[test]
fn a_matrix_asks_the_network_for_nothing_and_its_strings_are_text() {
    let evil = "</script><script>window.pwned = true</script>\u{202e}\"onerror=\"window.pwned=true";
    let mut cases = conformance_cases();
    for case in &mut cases {
        for text in [&mut case.title, &mut case.replay, &mut case.id, &mut case.group] {
            text.push_str(evil);
        }
        case.known = Some(evil.to_owned());
        case.remarks.push(evil.to_owned());
        case.story.iter_mut().for_each(|step| step.text = evil.repeat(100_000));
        case.parties.iter_mut().for_each(|party| party.name = evil.to_owned());
        case.findings.iter_mut().for_each(|finding| finding.step = Some(usize::MAX));
        if let Some(step) = case.story.first_mut() {
            (step.who, step.to) = (vec![usize::MAX], Some(99));
        }
    }
    let page = matrix(&[Server { name: evil.to_owned(), results: server(evil, cases) }]).expect("a page");
    assert!(!page.contains("<script>window.pwned") && !page.contains('\u{202e}'), "markup from a result");
    assert!(page.len() < 200_000, "long texts are cut: {} bytes", page.len());
    for what in ["<link", "src=", "url(", "@import", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(what), "{what}");
    }
    look(&[("matrix-hostile", page)]);
}

#[test]
fn a_browser_opens_each_trace_of_a_matrix() {
    let wide = (0..14).map(|number| Server { name: format!("a server with a name {number}.0.0"), ..alpha() });
    look(&[("matrix", page()), ("matrix-wide", matrix(&wide.collect::<Vec<_>>()).expect("a page"))]);
}

#[test]
fn the_browser_finds_each_point_of_a_matrix_that_is_broken() {
    let Some(browser) = tools::browser() else { return };
    let off = |event: &str, is: &str| {
        format!("<script>addEventListener('{event}', (e) => ({is}) && e.stopImmediatePropagation(), true)</script>")
    };
    let broken = [
        (off("click", "e.target.closest('td > button')"), "a cell does not open its trace"),
        ("<style>dialog .row { display: none !important }</style>".to_owned(), "a cell does not open its trace"),
        ("<script>addEventListener('hashchange', () => document.querySelector('dialog').close())</script>".to_owned(), "an address does not open its trace"),
        ("<script>document.querySelector('dialog').addEventListener('cancel', (e) => e.preventDefault())</script>".to_owned(), "Esc does not close a trace"),
        ("<style>@media print { .table > .scroll { max-height: 5rem !important; overflow: hidden !important } }</style>".to_owned(), "on paper,"),
    ];
    for (number, (harm, expected)) in broken.iter().enumerate() {
        let file = scratch("matrix-broken").join(format!("{number}.html"));
        std::fs::write(&file, page().replace("</body>", &format!("{harm}</body>"))).expect("a scratch file");
        let findings = browser.look_at_points(&[file]).join("\n");
        assert!(findings.contains(expected), "{expected} after {harm}, in {findings:?}");
    }
}

fn look(pages: &[(&str, String)]) {
    let Some(browser) = tools::browser() else { return };
    let dir = scratch("matrix");
    let file = |(name, page): &(&str, String)| {
        let file = dir.join(format!("{name}.html"));
        std::fs::write(&file, page).expect("a scratch file");
        file
    };
    let findings = browser.look(&pages.iter().map(file).collect::<Vec<_>>());
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Two signaling servers and a TURN server.
fn page() -> String {
    let mut beta = conformance_cases();
    for case in beta.iter_mut().filter(|case| case.verdict != Verdict::Fail) {
        case.verdict = Verdict::Unsupported;
    }
    let beta = Server { name: "beta 2.0".to_owned(), results: server("wss://beta/", beta) };
    let gamma = Server { name: "gamma 3.0".to_owned(), results: server("turn:127.0.0.1:3478", conformance_cases()) };
    matrix(&[alpha(), beta, gamma]).expect("a page")
}

/// A server with a case of each verdict, one of them known to fail.
fn alpha() -> Server {
    let mut cases = conformance_cases();
    let failing = cases.iter_mut().find(|case| case.verdict == Verdict::Fail).expect("one of each");
    failing.known = Some("its roster is a later message".to_owned());
    // What did not happen does not fail as known.
    let not_tested = cases.iter_mut().find(|case| case.verdict == Verdict::NotTested).expect("one of each");
    not_tested.known = Some("it fails".to_owned());
    let nobody_has = Case { id: "room/only-unsupported".to_owned(), verdict: Verdict::Unsupported, ..cases[0].clone() };
    cases.push(nobody_has);
    Server { name: "alpha 1.0".to_owned(), results: server("ws://alpha/", cases) }
}

fn server(target: &str, cases: Vec<Case>) -> Results {
    let command = "glare conformance --url ws://127.0.0.1:8787/".to_owned();
    let opening = Opening { suite: Suite::Conformance, target: target.to_owned(), command, ..opening() };
    read(&written_by(&opening, cases)).expect("a result")
}
