//! Result files: written line by line, and read with errors that name the line.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{Case, Closing, Counts, FILE, Opening, Record, Suite, VERSION, Verdict};

/// Writes a result: first the opening record, then each case as it finishes, at the end the closing record.
pub struct Writer<W: Write> {
    out: W,
    cases: usize,
    counts: Counts,
}

impl Writer<BufWriter<File>> {
    /// Starts `DIR/result.jsonl`. Replaces an existing file.
    ///
    /// # Errors
    /// The folder or the file cannot be created.
    pub fn create(dir: &Path, opening: &Opening) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Self::new(BufWriter::new(File::create(dir.join(FILE))?), opening)
    }
}

impl<W: Write> Writer<W> {
    /// Starts a result.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(out: W, opening: &Opening) -> io::Result<Self> {
        let mut writer = Self { out, cases: 0, counts: Counts::default() };
        writer.line(&Record::Opening(opening.clone()))?;
        Ok(writer)
    }

    /// Adds a case. Earlier records stay intact whatever happens later.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn case(&mut self, case: Case) -> io::Result<()> {
        self.cases += 1;
        self.counts.add(case.verdict);
        self.line(&Record::Case(Box::new(case)))
    }

    /// Ends the result. `wall` is the real time of the whole run.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn close(mut self, wall: Duration) -> io::Result<W> {
        let (cases, counts) = (self.cases, self.counts);
        self.line(&Record::Closing(Closing { cases, counts, wall: wall.as_secs_f64() }))?;
        Ok(self.out)
    }

    fn line(&mut self, record: &Record) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, record)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

/// A result that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The folder of its files.
    pub dir: PathBuf,
    /// The opening record.
    pub opening: Opening,
    /// The cases: seeds of a simulation in order, others as in the file.
    pub cases: Vec<Case>,
    /// The counts; `None` if the file is truncated.
    pub closing: Option<Closing>,
}

/// An invalid file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// An invalid line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

impl std::error::Error for BadLine {}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for BadFile {}

/// The longest opening record, in bytes.
const OPENING_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a result to its end, if it begins like one: a device such as `/dev/zero` has no end.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(file)?;
    let mut bytes = Vec::new();
    (&file).take(OPENING_BYTES_MAX).read_to_end(&mut bytes)?;
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if bytes.len() as u64 == OPENING_BYTES_MAX && !first.trim_ascii_start().starts_with(b"{") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin like a result, with a line of JSON"));
    }
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Results {
    /// Reads a result: a folder with a `result.jsonl`, or such a file. A truncated file is read up to its end.
    ///
    /// # Errors
    /// There is no result, it is of another kind or newer than this program, or it has an invalid line.
    pub fn load(path: &Path) -> Result<Self, BadFile> {
        let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let wrong = |message: String| BadFile { file: file.clone(), line: None, message };
        let bytes = read(&file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if path.is_dir() => {
                wrong("there is no result in this folder: `sim --out DIR` writes one".to_owned())
            }
            io::ErrorKind::NotFound => wrong("there is no such file or folder".to_owned()),
            _ => wrong(format!("cannot be read: {error}")),
        })?;
        let dir = file.parent().unwrap_or(Path::new("")).to_owned();
        Self::parse(&bytes, dir).map_err(|BadLine { line, message }| BadFile { file, line: Some(line), message })
    }

    /// Reads the text of a result file whose other files are in `dir`.
    ///
    /// # Errors
    /// A line is invalid.
    pub fn parse(bytes: &[u8], dir: PathBuf) -> Result<Self, BadLine> {
        let bad = |line, message: &str| BadLine { line, message: message.to_owned() };
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate();
        let opening = lines.next().map_or_else(|| Err(bad(1, "is empty")), |(_, line)| opening(line))?;
        let (mut cases, mut closing) = (Vec::new(), None);
        for (index, line) in lines {
            let number = index + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            if closing.is_some() {
                return Err(bad(number, "follows the closing record, which must be the last"));
            }
            match serde_json::from_slice(line) {
                Ok(Record::Case(case)) => cases.push(*case),
                Ok(Record::Closing(end)) => closing = Some((number, end)),
                Ok(Record::Opening(_)) => return Err(bad(number, "is a second opening record")),
                // The program that wrote it was killed in the middle of a line.
                Err(_) if !line.ends_with(b"\n") => break,
                Err(error) => return Err(bad(number, &format!("is not a record of a result: {error}"))),
            }
        }
        if let Some((number, end)) = closing {
            let counts: Counts = cases.iter().map(|case| case.verdict).collect();
            if end.cases != cases.len() || end.counts != counts {
                let (said, there) = (end.cases, cases.len());
                return Err(bad(
                    number,
                    &format!("counts {said} cases, which differ from the {there} cases in the file"),
                ));
            }
        }
        if opening.suite == Suite::Sim {
            cases.sort_by_cached_key(|case| {
                let seed = case.simulation.as_ref().map_or(0, |simulation| simulation.seed);
                (case.group.clone(), seed)
            });
        }
        Ok(Self { dir, opening, cases, closing: closing.map(|(_, closing)| closing) })
    }

    /// Numbers of cases per verdict.
    pub fn counts(&self) -> Counts {
        self.cases.iter().map(|case| case.verdict).collect()
    }

    /// The verdict on the whole result.
    pub fn verdict(&self) -> Overall {
        let counts = self.counts();
        if self.bad().any(|case| case.verdict != Verdict::HarnessError) {
            Overall::Fail
        } else if self.closing.is_none() {
            Overall::CutOff
        } else if counts.harness_error > 0 {
            Overall::Error
        } else if self.with(Verdict::NotTested).any(|case| case.known.is_none()) {
            Overall::Untested
        } else if counts.pass + counts.acceptable + counts.fail == 0 {
            Overall::Nothing
        } else {
            Overall::Pass
        }
    }

    /// Cases with a verdict.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(move |case| case.verdict == verdict)
    }

    /// Cases that should fail a build; harness errors come last.
    pub fn bad(&self) -> impl Iterator<Item = &Case> {
        let of = |harness: bool| {
            self.cases.iter().filter(move |case| case.is_bad() && (case.verdict == Verdict::HarnessError) == harness)
        };
        of(false).chain(of(true))
    }
}

/// The verdict on a whole result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overall {
    /// Nothing is wrong.
    Pass,
    /// A rule is broken.
    Fail,
    /// Glare itself failed.
    Error,
    /// The file is truncated, so the verdict is unknown.
    CutOff,
    /// Some cases did not run.
    Untested,
    /// No case was judged.
    Nothing,
}

impl Overall {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Error => "ERROR",
            Self::CutOff => "TRUNCATED",
            Self::Untested => "NOT ALL TESTED",
            Self::Nothing => "NOTHING TESTED",
        }
    }
}

/// Reads the first line. Its version is checked before its fields, because a newer version may have others.
fn opening(line: &[u8]) -> Result<Opening, BadLine> {
    let wrong = |message: String| BadLine { line: 1, message };
    let value: serde_json::Value = serde_json::from_slice(line).map_err(|error| {
        wrong(format!("is not the opening record of a result, a line of JSON with \"record\": \"opening\": {error}"))
    })?;
    if value["record"] != "opening" {
        let hint = if value["version"] == 1 { "; it has version 1: run it again" } else { "" };
        return Err(wrong(format!("is not the opening record of a result (no \"record\": \"opening\"){hint}")));
    }
    match value["version"].as_u64() {
        Some(version) if version > u64::from(VERSION) => Err(wrong(format!(
            "has version {version}, but this program reads up to version {VERSION}: use the program that wrote it, or a newer one"
        ))),
        Some(_) => {
            serde_json::from_value(value).map_err(|error| wrong(format!("is not a valid opening record: {error}")))
        }
        None => Err(wrong("has no \"version\"".to_owned())),
    }
}
