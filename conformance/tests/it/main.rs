//! The suite against the reference server, against servers with one defect each, and against ports without a working
//! server.

mod adapters;
mod between;
mod broken;
mod calls;
mod crashes;
mod crowd;
mod deflating;
mod documents;
mod everybody;
mod files;
mod hopeless;
mod innocent;
mod installed;
mod mini;
mod original;
mod outsiders;
mod pipes;
mod recordings;
mod reference;
mod small;
mod special;
mod sse;
mod stun;
mod tolerance;
mod viewer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{Dialect, Options, Report, Selection, Target, Unreachable, Verdict};
use futures_util::stream::{self, StreamExt};

/// A shipped dialect.
fn dialect(name: &str) -> Arc<Dialect> {
    Arc::new(Dialect::load(name).unwrap_or_else(|error| panic!("{error}")))
}

/// The dialect `mesh` of servers that have ids and errors of their own, and handle malformed messages, and signals without
/// data, as they like.
fn lenient_mesh() -> Arc<Dialect> {
    let mesh = include_str!("../../dialects/mesh.toml");
    let (mesh, promises) = mesh.split_once("binding = [").expect("it has promises");
    let wrong = &promises[promises.find("[[wrong]]").expect("it lists invalid messages")..];
    let is_promise =
        |line: &str| ["pattern = ", "reason = ", "data-optional = "].iter().any(|key| line.starts_with(key));
    let lines: Vec<_> = mesh.lines().chain(wrong.lines()).filter(|line| !is_promise(line)).collect();
    Arc::new(Dialect::parse("mesh.toml", &lines.join("\n")).unwrap_or_else(|error| panic!("{error}")))
}

/// Runs the matching cases against a mesh server, or all if no pattern is given.
async fn ask(address: SocketAddr, cases: &[&str]) -> Result<Report, Unreachable> {
    ask_as(&lenient_mesh(), &format!("ws://{address}/"), cases).await
}

/// Runs cases against a server of any dialect.
async fn ask_as(dialect: &Arc<Dialect>, url: &str, cases: &[&str]) -> Result<Report, Unreachable> {
    ask_at(dialect, &url.parse().expect("a good URL"), cases).await
}

/// Runs cases against a target, which may have headers and other settings.
async fn ask_at(dialect: &Arc<Dialect>, target: &Target, cases: &[&str]) -> Result<Report, Unreachable> {
    let patterns = cases.iter().map(|case| (*case).to_owned()).collect();
    let cases = conformance::select(&Selection { patterns, ..Selection::default() }).expect("there are such cases");
    let options = Options { deadline: Duration::from_secs(300), ..Options::default() };
    conformance::run(Tokio, target, dialect, &cases, &options).await
}

/// Asserts that for each flaw of a server the case beside it fails; other cases may fail too. `start` starts a server with
/// a flaw and returns its URL. Several run at a time, because the clients mostly wait.
async fn each_is_found<F: Future<Output = String>>(
    dialect: &Arc<Dialect>,
    flaws: &[(&'static str, &'static str)],
    start: impl Fn(&'static str) -> F,
) {
    const AT_A_TIME: usize = 4;
    let judged = flaws.iter().map(|&(flaw, case)| {
        let url = start(flaw);
        async move {
            let report = ask_as(dialect, &url.await, &[case]).await.expect("it is there");
            let verdict = &report.case(case).expect("it ran").verdict;
            (!matches!(verdict, Verdict::Fail { .. })).then(|| format!("{flaw}: {case} is {verdict:?}"))
        }
    });
    let missed: Vec<_> = stream::iter(judged).buffered(AT_A_TIME).collect().await;
    let missed: Vec<_> = missed.into_iter().flatten().collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The text report without colours.
fn text(report: &Report) -> String {
    let coloured = report.text(conformance::Show::new("glare conformance --url URL"));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}
