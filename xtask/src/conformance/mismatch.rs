//! A server of another protocol: what it says, and the shipped dialect that fits it.

use std::sync::Arc;

use conformance::dial::Tokio;
use conformance::{Dialect, Fit, Target};
use tokio::runtime::Runtime;

/// Why the suite cannot test this server in this dialect: the exchange that shows it, and what would be right. `None`: it
/// can, or a case must show what is wrong.
pub(crate) fn mismatch(
    runtime: &Runtime,
    target: &Target,
    called: &str,
    dialect: &Arc<Dialect>,
    seed: u64,
) -> Option<String> {
    let asked = dialect.name();
    let trial = runtime.block_on(conformance::trial(Tokio, target, dialect, seed));
    let is_foreign = match &trial {
        Ok(trial) if trial.works() => return None,
        Ok(trial) => trial.is_foreign(),
        Err(_) => false,
    };
    let is_silent = trial.as_ref().is_ok_and(|trial| !trial.is_understood());
    // A server that has said something of this dialect speaks it.
    let may_fit_another = is_silent || trial.is_err();
    let fit = may_fit_another.then(|| runtime.block_on(conformance::fitting(Tokio, target, called, seed))).flatten();
    if !is_foreign && fit.is_none() {
        return None;
    }
    let mut text = format!("the server at {} does not speak the dialect `{asked}`", target.shown());
    match &trial {
        Ok(trial) => text.push_str(&format!(". The first messages:\n\n{}", trial.exchange())),
        Err(error) => text.push_str(&format!(":\n  {}\n", error.tried.join("\n  "))),
    }
    text.push_str(&match fit {
        Some(Fit { dialect, url }) => {
            format!("\nThe shipped dialect `{dialect}` fits: --dialect {dialect} --url {url}")
        }
        None => "\nNo shipped dialect fits: describe its protocol in a file, see docs/conformance/write-a-dialect.md"
            .to_owned(),
    });
    text.push_str(&format!("\nTo run cases of `{asked}` nevertheless, name them: --case '*'"));
    Some(text)
}
