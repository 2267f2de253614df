//! Where a command writes its result.

use std::fs::File;
use std::io::{BufWriter, Stdout, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use reports::Writer;
use reports::model::{Case, Opening, Suite, VERSION};

/// This program and its version, as results name it.
pub(crate) const TOOL: &str = concat!("glare ", env!("CARGO_PKG_VERSION"));

/// The opening record of a result of this program. Secrets stay out of `command`.
pub(crate) fn opening(suite: Suite, name: String, target: String, command: String) -> Opening {
    Opening { version: VERSION, suite, name, tool: TOOL.to_owned(), target, command, started_ms: crate::unix_ms() }
}

/// A result that is written to a folder, to standard output, to both or to neither.
pub(crate) struct Sink {
    dir: Option<(PathBuf, Writer<BufWriter<File>>)>,
    stdout: Option<Writer<Stdout>>,
}

impl Sink {
    /// Begins the result.
    pub(crate) fn open(dir: Option<&Path>, to_stdout: bool, opening: &Opening) -> anyhow::Result<Self> {
        let create = |dir: &Path| {
            let writer = Writer::create(dir, opening).with_context(|| cannot_write(dir))?;
            anyhow::Ok((dir.to_owned(), writer))
        };
        let stdout = to_stdout.then(|| Writer::new(stdout(), opening));
        Ok(Self { dir: dir.map(create).transpose()?, stdout: stdout.transpose()? })
    }

    /// Whether nothing is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.dir.is_none() && self.stdout.is_none()
    }

    /// The folder.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_ref().map(|(dir, _)| dir.as_path())
    }

    /// Adds a case.
    pub(crate) fn case(&mut self, case: Case) -> anyhow::Result<()> {
        if let Some(stdout) = &mut self.stdout {
            stdout.case(case.clone())?;
        }
        if let Some((dir, writer)) = &mut self.dir {
            writer.case(case).with_context(|| cannot_write(dir))?;
        }
        Ok(())
    }

    /// Ends the result, for which a person waited this long.
    pub(crate) fn close(self, wall: Duration) -> anyhow::Result<()> {
        if let Some(stdout) = self.stdout {
            stdout.close(wall)?;
        }
        if let Some((dir, writer)) = self.dir {
            writer.close(wall).with_context(|| cannot_write(&dir))?;
        }
        Ok(())
    }
}

pub(crate) fn cannot_write(dir: &Path) -> String {
    format!("cannot write to {}", dir.display())
}
