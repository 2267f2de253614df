//! In a build without mutants: the same command in one that has them.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;

use super::Arguments;

/// Builds the checkout with the feature `mutants` and hands the command line on.
pub(crate) fn run(_: Arguments) -> anyhow::Result<ExitCode> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    anyhow::ensure!(
        manifest.is_file(),
        "mutants are built from source, and the checkout that this program was built from is gone: run `cargo xtask mutants` in one"
    );
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--features", "mutants", "--manifest-path"]).arg(manifest);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command.arg("--").args(std::env::args_os().skip(1));
    let status = command.status().context("mutants are built from source, and cargo cannot be started")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map(ExitCode::from).context("the build with mutants was ended by a signal")
}
