//! Where a command writes its result.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use reports::Writer;
use reports::model::{Case, Opening, Suite, VERSION};

use crate::last::{self, Unfinished};
use crate::output::Out;

/// This program and its version, as results name it.
pub(crate) const TOOL: &str = concat!("glare ", env!("CARGO_PKG_VERSION"));

/// The opening record of a result of this program. Secrets stay out of `command`.
pub(crate) fn opening(suite: Suite, name: String, target: String, command: String) -> Opening {
    Opening { version: VERSION, suite, name, tool: TOOL.to_owned(), target, command, started_ms: crate::unix_ms() }
}

/// A result that is written to a folder, and to standard output if requested.
pub(crate) struct Sink {
    dir: Option<(PathBuf, Writer<BufWriter<File>>)>,
    /// The folder, if it is only kept as what ran last.
    last: Option<Unfinished>,
    stdout: Option<Writer<Out>>,
}

impl Sink {
    /// Begins the result. Without a folder, it is kept as what ran last.
    pub(crate) fn open(dir: Option<&Path>, to_stdout: bool, opening: &Opening) -> anyhow::Result<Self> {
        let create = |dir: &Path| {
            let writer = Writer::create(dir, opening).with_context(|| cannot_write(dir))?;
            anyhow::Ok((dir.to_owned(), writer))
        };
        let stdout = to_stdout.then(|| Writer::new(Out, opening)).transpose()?;
        if let Some(dir) = dir {
            return Ok(Self { dir: Some(create(dir)?), last: None, stdout });
        }
        let last = Unfinished::begin();
        let dir = last.as_ref().and_then(|last| create(last.folder()).ok());
        Ok(Self { dir, last, stdout })
    }

    /// Whether nothing is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.dir.is_none() && self.stdout.is_none()
    }

    /// The folder.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_ref().map(|(dir, _)| dir.as_path())
    }

    /// Whether the user named the folder.
    pub(crate) fn is_named(&self) -> bool {
        self.last.is_none()
    }

    /// Adds a case.
    pub(crate) fn case(&mut self, case: Case) -> anyhow::Result<()> {
        if let Some(stdout) = &mut self.stdout {
            stdout.case(case.clone())?;
        }
        let Some((dir, writer)) = &mut self.dir else { return Ok(()) };
        let written = writer.case(case).with_context(|| cannot_write(dir));
        self.accept(written).map(drop)
    }

    /// Accepts that something could not be written, if the user did not ask for it. From then on, the folder is not
    /// used.
    pub(crate) fn accept<T>(&mut self, written: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        match written {
            Err(_) if !self.is_named() => {
                (self.dir, self.last) = (None, None);
                Ok(None)
            }
            written => written.map(Some),
        }
    }

    /// Ends the result, for which a person waited this long.
    pub(crate) fn close(self, wall: Duration) -> anyhow::Result<()> {
        if let Some(stdout) = self.stdout {
            stdout.close(wall)?;
        }
        let Some((dir, writer)) = self.dir else { return Ok(()) };
        match (writer.close(wall), self.last) {
            (Ok(_), Some(last)) => last.keep(),
            (Ok(_), None) => last::point_to(&dir),
            (Err(_), Some(_)) => {}
            (Err(error), None) => return Err(error).with_context(|| cannot_write(&dir)),
        }
        Ok(())
    }
}

pub(crate) fn cannot_write(dir: &Path) -> String {
    format!("cannot write to {}", dir.display())
}
