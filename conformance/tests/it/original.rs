//! The dialect `call-socketio` as the original's page and server speak it: names alone as arguments, and a list of users that has
//! objects. The shipped file describes it with a few other lines, as `docs/pages.md` says.

use std::sync::Arc;

use conformance::{Dialect, Verdict};

use crate::installed::packages;
use crate::outsiders::{listening, made_with};
use crate::stun::outsiders::free_port;
use crate::{ask_as, text};

/// The shipped dialect with other lines.
fn changed(lines: &[(&str, &str)]) -> Arc<Dialect> {
    let mut text = include_str!("../../dialects/call-socketio.toml").to_owned();
    for (shipped, other) in lines {
        assert_eq!(text.matches(shipped).count(), 1, "{shipped}");
        text = text.replace(shipped, other);
    }
    Arc::new(Dialect::parse("call-socketio.toml", &text).unwrap_or_else(|error| panic!("{error}")))
}

const BARE_JOIN: (&str, &str) = (r#"["join", {"username": $self}]"#, r#"["join", $self]"#);

/// The reference server takes names alone, in every case of the suite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_alone_are_understood() {
    let bare = changed(&[
        BARE_JOIN,
        (r#"call = '["call", {"target": $to}]'"#, r#"call = '["call", $to]'"#),
        (r#"["endCall", {"target": $to}]"#, r#"["endCall", $to]"#),
    ]);
    let server = crate::reference::server().await;
    let url = server.url("call-socketio").expect("asked for");
    tokio::spawn(server.run());
    let report = ask_as(&bare, &url, &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let asked = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })).count();
    assert!(asked >= 35, "{asked} cases asked\n{}", text(&report));
}

/// A server like the original can be tested: with its lines it passes what it does right and fails what it does wrong;
/// without them nobody can join.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_objects_can_be_described() {
    let Some(folder) = packages() else { return };
    let port = free_port().port();
    let _server = made_with(folder, "call-socketio", port, &[]);
    listening(port).await;
    let url = format!("http://127.0.0.1:{port}/socket.io/");
    let roster = (r#"["userList", $members[$id]]"#, r#"["userList", $members[{"username": $id}]]"#);
    let right = ["call/user-list", "call/accept", "call/reject", "call/caller-id", "call/order", "call/media-state"];
    let cases = [&right[..], &["call/end"]].concat();
    let report = ask_as(&changed(&[BARE_JOIN, roster]), &url, &cases).await.expect("it is there");
    for case in right {
        assert_eq!(report.case(case).expect("asked").verdict, Verdict::Pass, "{case}\n{}", text(&report));
    }
    // It does not remember calls: an end that is sent again is passed on again.
    let end = &report.case("call/end").expect("asked").verdict;
    assert!(matches!(end, Verdict::Fail { .. }), "{end:?}");
    let report = ask_as(&changed(&[]), &url, &cases[..1]).await.expect("it is there");
    assert!(!report.passed(), "{}", text(&report));
}
