//! A server with one defect as a program that a simulation can run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use scenarios::{Scenario, ServerProgram};
use server::DialectEntry;

use super::broken::{SIMULATED, STORY_HEARTBEAT, Surface};
use super::catalogue::Mutant;
use super::play::checkout;
use super::{build, catalogue};

/// The reference server with a defect.
pub(crate) struct Planted {
    /// The dialect that it speaks.
    pub(crate) dialect: String,
    /// The program.
    pub(crate) program: ServerProgram,
}

/// The defects of the reference server, and where they are built.
pub(super) struct Defects {
    workspace: PathBuf,
    pub(super) all: Vec<Mutant>,
}

impl Defects {
    /// Reads the defects of a checkout: the named one, or the one that contains the current folder.
    pub(super) fn of(workspace: Option<&Path>) -> anyhow::Result<Self> {
        let workspace = checkout(workspace)?;
        let all = catalogue::load(&workspace)?;
        Ok(Self { workspace, all })
    }

    fn named(&self, name: &str) -> anyhow::Result<&Mutant> {
        self.all.iter().find(|mutant| mutant.name == name).with_context(|| {
            let instead = scenarios::instead(name, "defects", self.all.iter().map(|mutant| mutant.name.as_str()));
            format!("no defect is called `{name}`{instead}")
        })
    }

    /// Builds the server that can have each of them.
    pub(super) fn build(&self) -> anyhow::Result<PathBuf> {
        errln!("building the server with {} defects, from {}", self.all.len(), self.workspace.display());
        build::build(&self.workspace, &self.all)
    }
}

/// Builds the server with the defect of this name, for generated stories. It speaks one dialect: `wanted`, or the first in
/// which the defect shows.
///
/// # Errors
/// There is no such defect, it does not show in that dialect or in no dialect, or the server cannot be built.
pub(crate) fn planted(name: &str, wanted: Option<&str>) -> anyhow::Result<Planted> {
    let defects = Defects::of(None)?;
    let dialect = dialect_of(defects.named(name)?, wanted)?.to_owned();
    let program = simulated(&defects.build()?, &dialect, Some(name), STORY_HEARTBEAT);
    Ok(Planted { dialect, program })
}

/// Gives a scenario the server with the defect of this name.
///
/// # Errors
/// As [`planted`], or the actors of the scenario speak several dialects, or one that the reference server does not speak.
pub(crate) fn plant(scenario: &mut Scenario, name: &str) -> anyhow::Result<()> {
    let defects = Defects::of(None)?;
    let dialect = dialect_of_scenario(scenario)?;
    dialect_of(defects.named(name)?, Some(&dialect))?;
    scenario.server.program = Some(simulated(&defects.build()?, &dialect, Some(name), scenario.server.heartbeat));
    Ok(())
}

/// The dialect of the reference server that all actors of a scenario speak.
pub(super) fn dialect_of_scenario(scenario: &Scenario) -> anyhow::Result<String> {
    let spoken: Vec<_> = sim::run::spoken(scenario).into_iter().collect();
    match spoken[..] {
        [dialect] if is_dialect(dialect) => Ok(dialect.to_owned()),
        [dialect] => bail!("the reference server, in which defects are planted, does not speak `{dialect}`"),
        _ => bail!(
            "the actors of `{}` speak {}: a server with a defect can take part in scenarios of one protocol",
            scenario.name,
            spoken.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
        ),
    }
}

/// The wanted dialect, or the first in which a defect shows.
fn dialect_of<'a>(mutant: &Mutant, wanted: Option<&'a str>) -> anyhow::Result<&'a str> {
    let name = &mutant.name;
    let dialects: Vec<&'static str> =
        mutant.surfaces.iter().map(|surface| surface.name()).filter(|name| is_dialect(name)).collect();
    ensure!(
        !dialects.is_empty(),
        "the defect {name} is one of STUN or TURN, which a simulation takes from the reference server"
    );
    let dialect = wanted.unwrap_or(dialects[0]);
    ensure!(
        dialects.contains(&dialect),
        "the defect {name} does not show in the dialect `{dialect}`: only in {}",
        dialects.join(", ")
    );
    Ok(dialect)
}

/// The server of a dialect, with or without a defect, as a simulation runs it.
pub(super) fn simulated(program: &Path, dialect: &str, mutant: Option<&str>, heartbeat: Duration) -> ServerProgram {
    let env = mutant.map(|name| ("GLARE_MUTANT".to_owned(), name.to_owned()));
    let heartbeat = heartbeat.as_millis().to_string();
    ServerProgram {
        run: vec![program.display().to_string(), dialect.to_owned(), SIMULATED.to_owned(), heartbeat],
        env: env.into_iter().collect(),
        ..ServerProgram::default()
    }
}

fn is_dialect(surface: &str) -> bool {
    Surface::named(surface).is_some() && DialectEntry::named(surface).is_some()
}
