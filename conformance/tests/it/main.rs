//! The suite against the reference server, against servers with one defect each, and against what is no server at all.

mod broken;
mod hopeless;
mod mini;
mod reference;

use std::net::SocketAddr;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{Dialect, Options, Report, Target, Unreachable};

/// Asks the cases that match, all for none.
async fn ask(address: SocketAddr, cases: &[&str]) -> Result<Report, Unreachable> {
    let target: Target = format!("ws://{address}/").parse().expect("a good URL");
    let patterns: Vec<_> = cases.iter().map(|case| (*case).to_owned()).collect();
    let cases = conformance::select(Dialect::Mesh, &patterns).expect("there are such cases");
    let options = Options { deadline: Duration::from_secs(60), ..Options::default() };
    conformance::run(Tokio, &target, Dialect::Mesh, &cases, &options).await
}

/// The report as a person without colours sees it.
fn text(report: &Report) -> String {
    let coloured = report.text("glare conformance --url URL");
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}
