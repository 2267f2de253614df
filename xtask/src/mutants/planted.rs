//! A server with one defect as a program that a simulation can run.

use std::path::Path;

use anyhow::{Context, ensure};
use scenarios::ServerProgram;
use server::DialectEntry;

use super::broken::{SIMULATED, Surface};
use super::play::checkout;
use super::{build, catalogue};

/// The reference server with a defect.
pub(crate) struct Planted {
    /// The dialect that it speaks.
    pub(crate) dialect: String,
    /// The program.
    pub(crate) program: ServerProgram,
}

/// Builds the server with the defect of this name. It speaks one dialect: `wanted`, or the first in which the defect shows.
///
/// # Errors
/// There is no such defect, it does not show in that dialect or in no dialect, or the server cannot be built.
pub(crate) fn planted(name: &str, wanted: Option<&str>) -> anyhow::Result<Planted> {
    let workspace = checkout(None)?;
    let all = catalogue::load(&workspace)?;
    let mutant = all.iter().find(|mutant| mutant.name == name).with_context(|| {
        let instead = scenarios::instead(name, "defects", all.iter().map(|mutant| mutant.name.as_str()));
        format!("no defect is called `{name}`{instead}")
    })?;
    let dialects: Vec<&str> =
        mutant.surfaces.iter().map(|surface| surface.name()).filter(|name| is_dialect(name)).collect();
    let shown = dialects.join(", ");
    ensure!(
        !dialects.is_empty(),
        "the defect {name} is one of STUN or TURN, which a simulation takes from the reference server"
    );
    let dialect = wanted.unwrap_or(dialects[0]);
    ensure!(dialects.contains(&dialect), "the defect {name} does not show in the dialect `{dialect}`: only in {shown}");
    errln!("building the server with {} defects, from {}", all.len(), workspace.display());
    let program = build::build(&workspace, &all)?;
    Ok(Planted { dialect: dialect.to_owned(), program: simulated(&program, dialect, Some(name)) })
}

/// The server of a dialect, with or without a defect, as a simulation runs it.
pub(super) fn simulated(program: &Path, dialect: &str, mutant: Option<&str>) -> ServerProgram {
    let env = mutant.map(|name| ("GLARE_MUTANT".to_owned(), name.to_owned()));
    ServerProgram {
        run: vec![program.display().to_string(), dialect.to_owned(), SIMULATED.to_owned()],
        env: env.into_iter().collect(),
        ..ServerProgram::default()
    }
}

fn is_dialect(surface: &str) -> bool {
    Surface::named(surface).is_some() && DialectEntry::named(surface).is_some()
}
