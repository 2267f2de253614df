//! The STUN and TURN suites against the reference server, servers with a defect, and third-party servers.

mod liar;
mod lies;
pub(crate) mod outsiders;
mod reference;

use std::net::SocketAddr;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::stun::{Credential, Service, ServiceTarget, run};
use conformance::{Options, Report, Selection, Unreachable, select_from, service_cases};

/// Runs the quick cases whose slugs match, or all if no pattern is given. The users are `u` and `v`, with the passwords
/// `p` and `q`.
async fn ask(service: Service, address: SocketAddr, patterns: &[&str]) -> Result<Report, Unreachable> {
    let target = ServiceTarget::new(service, &address.to_string()).expect("a good address");
    let credential = |user: &str, password: &str| Credential { user: user.to_owned(), password: password.to_owned() };
    let target = target.with_credentials(vec![credential("u", "p"), credential("v", "q")]);
    let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let selection = Selection { patterns, ..Selection::default() };
    let selected = select_from(service_cases(service), &selection).expect("there are such cases");
    let options = Options { deadline: Duration::from_secs(300), ..Options::default() };
    run(Tokio, &target, &selected, &options).await
}
