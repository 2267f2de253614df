//! Plays a scenario with the right server, then with each defect.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use scenarios::Scenario;
use sim::run::Outcome;

use super::aftermath::Aftermath;
use super::table::{Table, Verdict};
use crate::mutants::catalogue::Mutant;
use crate::mutants::planted::{Defects, dialect_of_scenario, simulated};
use crate::mutants::play::wanted;
use crate::mutants::{Arguments, Format};
use crate::pool;
use crate::progress::Progress;

/// Plays a scenario with the selected mutants of its dialect, and prints what became of its clients.
pub(in crate::mutants) fn run(arguments: &Arguments, name: &str) -> anyhow::Result<ExitCode> {
    let scenario = crate::sim::fitting(scenarios::load(name)?)?;
    anyhow::ensure!(
        scenario.server.program.is_none(),
        "`{}` has a server program of its own: defects are planted in the reference server",
        scenario.name
    );
    let dialect = dialect_of_scenario(&scenario)?;
    sim::run::check_program(&scenario).map_err(|wrong| anyhow!(wrong))?;
    let defects = Defects::of(arguments.workspace.as_deref())?;
    let (_, mutants) = wanted(&defects.all, std::slice::from_ref(&dialect), &arguments.mutants)?;
    let shows = |mutant: &&Mutant| mutant.surfaces.iter().any(|surface| surface.name() == dialect);
    let mutants: Vec<_> = mutants.into_iter().filter(shows).collect();
    let program = defects.build()?;
    let jobs = arguments.jobs.map_or_else(pool::cores, usize::from);
    let table = play(&program, &scenario, &mutants, arguments.seed, jobs, true)?;
    match arguments.format {
        Format::Text | Format::Markdown => out!("{}", table.text(&crate::program(), name)),
        Format::Json => outln!("{}", table.json()),
    }
    Ok(if table.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays a scenario with the right server, then with each mutant.
///
/// # Errors
/// The scenario fails with the right server.
pub(in crate::mutants) fn play<'a>(
    program: &Path,
    scenario: &Scenario,
    mutants: &[&'a Mutant],
    seed: u64,
    jobs: usize,
    show: bool,
) -> anyhow::Result<Table<'a>> {
    let dialect = dialect_of_scenario(scenario)?;
    let with = |mutant: Option<&Mutant>| {
        let mut scenario = scenario.clone();
        let name = mutant.map(|mutant| mutant.name.as_str());
        scenario.server.program = Some(simulated(program, &dialect, name, scenario.server.heartbeat));
        sim::run::run(&Arc::new(scenario), seed)
    };
    // A crash of a run is a finding about its mutant.
    std::panic::set_hook(Box::new(|_| {}));
    let right = with(None).map_err(|crash| anyhow!("without a defect: {}", crash.message))?;
    if let Some(violation) = right.violations.first() {
        bail!(
            "without a defect, `{}` fails with seed {seed}, so nothing can be said about defects\n{}: {}",
            scenario.name,
            violation.oracle,
            violation.message
        );
    }
    let aftermath = Aftermath::of(&right);
    let judged = |mutant: &&Mutant| match with(Some(mutant)) {
        Ok(outcome) => judge(&outcome, &right, &aftermath),
        Err(crash) => Verdict::NoRun { why: crash.message },
    };
    let mut progress = Progress::new(mutants.len() as u64, "defects", "ended a program", show);
    let mut table = Table::new(scenario, seed);
    pool::for_each_in_order(mutants.to_vec(), jobs, judged, |mutant, verdict| {
        table.enter(mutant, verdict);
        progress.step(table.ended());
        anyhow::Ok(())
    })?;
    progress.finish();
    Ok(table)
}

/// What a defect did to the clients.
fn judge(outcome: &Outcome, right: &Outcome, aftermath: &Aftermath) -> Verdict {
    if outcome.hash == right.hash {
        return Verdict::NotMet;
    }
    let own = Aftermath::of(outcome);
    let differences = own.worse_than(aftermath);
    let mut oracles: Vec<_> = outcome.violations.iter().map(|violation| violation.oracle).collect();
    oracles.sort_unstable();
    oracles.dedup();
    match own.ended.is_empty() {
        false => Verdict::Ends { why: own.ended, differences, oracles },
        true => Verdict::Lives { differences, oracles },
    }
}
