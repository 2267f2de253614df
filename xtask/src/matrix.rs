//! `glare matrix`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use reports::model::FILE;
use reports::{Results, Server};

/// How deep results may lie in a folder: `coturn 4.6.1/turn`.
const DEPTH_MAX: usize = 3;

/// Show which servers pass which cases: one page, with the messages behind each cell.
///
/// A server has the name of its folder: test each with `conformance … --traces --out 'DIR/NAME VERSION'`.
///
/// Exit codes: 0 written, whatever the verdicts; 2 a result cannot be read or shown.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Results of `conformance --out`, or folders that contain such results
    #[arg(value_name = "DIR", required = true)]
    results: Vec<PathBuf>,
    /// Output file, or `-` for standard output [default: matrix.html in the first folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Reads the results and writes the page.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut servers = Vec::new();
    for path in &arguments.results {
        let folders = folders(path)?;
        for (name, folder) in folders {
            servers.push(Server { name, results: Results::load(&folder)? });
        }
    }
    let page = reports::matrix(&servers)?;
    let file = arguments.output.unwrap_or_else(|| {
        let first = &arguments.results[0];
        if first.is_dir() { first.join("matrix.html") } else { first.with_file_name("matrix.html") }
    });
    if file == Path::new("-") {
        out!("{page}");
    } else {
        std::fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
        outln!("Written to {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The results in a folder, each with its server's name: the folder itself, or those inside it, in the order of their names.
fn folders(path: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    if !path.is_dir() || path.join(FILE).exists() {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        return Ok(vec![(name_of(folder), path.to_owned())]);
    }
    let mut found = Vec::new();
    collect(path, None, DEPTH_MAX, &mut found)?;
    anyhow::ensure!(
        !found.is_empty(),
        "{}: there is no result in this folder or in those inside it: `conformance --traces --out DIR` writes one",
        path.display()
    );
    Ok(found)
}

/// Adds the results inside a folder. All of one server's lie in a folder with its name.
fn collect(path: &Path, name: Option<&str>, depth: usize, found: &mut Vec<(String, PathBuf)>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut inner: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|entry| entry.is_dir()).collect();
    inner.sort();
    for folder in inner {
        let name = name.map_or_else(|| name_of(&folder), str::to_owned);
        if folder.join(FILE).exists() {
            found.push((name, folder));
        } else if depth > 1 {
            collect(&folder, Some(&name), depth - 1, found)?;
        }
    }
    Ok(())
}

/// The name of a folder, also if its path ends in `.` or `..`.
fn name_of(folder: &Path) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    full.file_name().map_or_else(|| full.display().to_string(), |name| name.to_string_lossy().into_owned())
}
