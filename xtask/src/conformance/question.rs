//! Whom the command line asks, and how to ask again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::stun;
use conformance::{Case, Dialect, Options, Report, Target, Unreachable};
use tokio::runtime::Runtime;

use super::Arguments;
use super::network::Network;
use super::simulated::{self, Conditions, Reference};

/// Cases that wait out a lifetime need so much more.
const SLOW: Duration = Duration::from_secs(1200);

/// One server and all that it can be asked.
pub(super) struct Question {
    whom: Whom,
    pub(super) cases: &'static [&'static Case],
    /// The command that asks again, but for the case and the seed. Secrets stay out of it.
    again: String,
    /// The dialect as it was given: a name or a file.
    pub(super) dialect: Option<String>,
}

enum Whom {
    Signaling(Target, Arc<Dialect>),
    Network(stun::Target),
    Reference(Reference, Conditions),
}

/// One question for each server that is named.
///
/// # Errors
/// A dialect or a header that is none.
pub(super) fn questions(arguments: &Arguments) -> Result<Vec<Question>, Box<dyn std::error::Error>> {
    let mut asked = Vec::new();
    if arguments.sim {
        asked.push(of_reference(arguments)?);
    }
    if let Some(url) = &arguments.url {
        let dialect = Arc::new(Dialect::load(&arguments.dialect)?);
        let target = arguments.requests.to(url)?;
        asked.push(Question {
            again: again(arguments, &target),
            whom: Whom::Signaling(target, dialect),
            cases: conformance::cases(),
            dialect: Some(arguments.dialect.clone()),
        });
    }
    for (target, cases) in arguments.network.servers() {
        let again = format!("{} conformance {}", crate::program(), arguments.network.again(&target));
        asked.push(Question { whom: Whom::Network(target), cases, again, dialect: None });
    }
    Ok(asked)
}

fn of_reference(arguments: &Arguments) -> anyhow::Result<Question> {
    let reference = Reference::speaking(&arguments.dialect)?;
    let conditions = arguments.conditions();
    let mut again = format!("{} conformance --sim{}", crate::program(), dialect(arguments));
    if let Some(delay) = arguments.delay {
        again.push_str(&format!(" --delay {}ms", delay.as_millis()));
    }
    if let Some(ppm) = arguments.loss {
        again.push_str(&format!(" --loss {}%", f64::from(ppm) / 1e4));
    }
    let dialect = simulated::service(&arguments.dialect).is_none().then(|| arguments.dialect.clone());
    Ok(Question { cases: reference.cases(), whom: Whom::Reference(reference, conditions), again, dialect })
}

fn again(arguments: &Arguments, target: &Target) -> String {
    let mut again = format!("{} conformance --url {}{}", crate::program(), target.shown(), dialect(arguments));
    if target.is_insecure() {
        again.push_str(" --insecure");
    }
    if !target.headers().is_empty() {
        again.push_str(" --header …");
    }
    again
}

fn dialect(arguments: &Arguments) -> String {
    if arguments.dialect == "mesh" { String::new() } else { format!(" --dialect {}", arguments.dialect) }
}

impl Question {
    /// Which of the selected cases are for this server.
    pub(super) fn of(&self, selected: &[&'static Case]) -> Vec<&'static Case> {
        selected.iter().filter(|case| self.cases.iter().any(|other| other.slug == case.slug)).copied().collect()
    }

    /// The command that asks again what a run has asked, but for the case.
    pub(super) fn again(&self, run: u64) -> String {
        match &self.whom {
            Whom::Reference(_, conditions) => format!("{} --seed {}", self.again, conditions.seed.wrapping_add(run)),
            _ => self.again.clone(),
        }
    }

    /// The command that plays a recording of a run again, with `FILE` for its name.
    pub(super) fn replay(&self, run: u64, dir: &Path) -> Option<String> {
        let file = reports::command_line("", [format!("{}/FILE", dir.display())]);
        let again = self.again(run);
        // A dialect's file and what the server asks for are the same; a shipped dialect's name is in the recording.
        let (program, rest) = again.split_once(" conformance ")?;
        let named = self.dialect.as_deref().filter(|dialect| conformance::shipped().any(|name| name == *dialect));
        let rest = named.map_or_else(|| rest.to_owned(), |name| rest.replace(&format!(" --dialect {name}"), ""));
        matches!(&self.whom, Whom::Signaling(..) | Whom::Reference(Reference::Signaling(..), _))
            .then(|| format!("{program} conformance replay {} {rest}", file.trim()))
    }

    /// Asks cases, complete with what they need, for the so-manieth time.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(super) fn ask(
        &self,
        run: u64,
        runtime: &Runtime,
        cases: &[&'static Case],
        options: &Options,
    ) -> Result<Report, Unreachable> {
        let slow = if cases.iter().any(|case| case.slow) { SLOW } else { Duration::ZERO };
        let (seed, deadline) = (options.seed.wrapping_add(run), options.deadline + slow);
        let options = &Options { seed, deadline, ..options.clone() };
        match &self.whom {
            Whom::Signaling(target, dialect) => {
                runtime.block_on(conformance::run(Tokio, target, dialect, cases, options))
            }
            Whom::Network(target) => runtime.block_on(Network::ask(target, cases, options)),
            Whom::Reference(reference, conditions) => {
                let conditions = Conditions { seed: options.seed, ..*conditions };
                simulated::ask(reference, cases, options, conditions)
            }
        }
    }
}
