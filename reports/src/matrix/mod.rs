//! The matrix of servers and cases: one page that needs no network, with a trace behind each cell.

mod data;
mod page;

use std::fmt;

use crate::model::{Case, Suite, Verdict};
use crate::result::Results;

/// A server: its name on the page, and a result of testing it.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its name, with its version.
    pub name: String,
    /// What the conformance suite found.
    pub results: Results,
}

/// Results that cannot be shown as a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoMatrix(String);

impl fmt::Display for NoMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoMatrix {}

/// The page. Servers of a kind (signaling, STUN, TURN) share a table, in the order given.
///
/// # Errors
/// There is no server, a result is truncated or is not of the conformance suite, or two servers of a kind have the same
/// name.
pub fn matrix(servers: &[Server]) -> Result<String, NoMatrix> {
    if servers.is_empty() {
        return Err(NoMatrix("there is no result to show".to_owned()));
    }
    for (index, Server { name, results }) in servers.iter().enumerate() {
        let suite = results.opening.suite;
        let file = results.dir.join(crate::model::FILE);
        let wrong = |why: String| Err(NoMatrix(format!("{}: {why}", file.display())));
        if suite != Suite::Conformance {
            return wrong(format!(
                "is a result of `{}`: a matrix shows results of `conformance --out DIR`",
                suite.word()
            ));
        }
        if results.closing.is_none() {
            return wrong(format!("is truncated after {} cases: test the server again", results.cases.len()));
        }
        let is_same = |other: &&Server| other.name == *name && Kind::of(&other.results) == Kind::of(results);
        if let Some(other) = servers[..index].iter().find(is_same) {
            return wrong(format!(
                "its server is called `{name}`, as that of {}: rename one of the folders",
                other.results.dir.display()
            ));
        }
    }
    Ok(page::page(servers))
}

/// What is tested of a server. Each kind has cases of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Signaling,
    Stun,
    Turn,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Signaling, Self::Stun, Self::Turn];

    fn of(results: &Results) -> Self {
        match results.opening.target.split_once(':') {
            Some(("stun", _)) => Self::Stun,
            Some(("turn", _)) => Self::Turn,
            _ => Self::Signaling,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Signaling => "Signaling servers",
            Self::Stun => "STUN servers",
            Self::Turn => "TURN servers",
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Self::Signaling => "signaling",
            Self::Stun => "stun",
            Self::Turn => "turn",
        }
    }
}

/// A case as a row: where it is first described, and what each server of the table made of it.
struct Row<'a> {
    case: &'a Case,
    /// One for each column; `None` if that server was not asked.
    cells: Vec<Option<&'a Case>>,
}

/// The rows of a table, in the order of the cases, without those that no server's protocol has; and the number of these.
fn rows<'a>(columns: &[&'a Server]) -> (Vec<Row<'a>>, usize) {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for (column, server) in columns.iter().enumerate() {
        for case in &server.results.cases {
            let row = match rows.iter().position(|row| row.case.id == case.id) {
                Some(row) => row,
                None => {
                    rows.push(Row { case, cells: vec![None; columns.len()] });
                    rows.len() - 1
                }
            };
            let cell = &mut rows[row].cells[column];
            // Of repeats, the worst.
            if cell.is_none_or(|other| rank(case.verdict) > rank(other.verdict)) {
                *cell = Some(case);
            }
        }
    }
    let all = rows.len();
    rows.retain(|row| row.cells.iter().flatten().any(|case| case.verdict != Verdict::Unsupported));
    let left_out = all - rows.len();
    (rows, left_out)
}

/// Whether it fails as the list of known deviations says.
fn is_known(case: &Case) -> bool {
    case.known.is_some() && case.verdict.is_failure()
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Unsupported => 0,
        Verdict::Pass => 1,
        Verdict::Acceptable => 2,
        Verdict::NotTested => 3,
        Verdict::HarnessError => 4,
        Verdict::Fail => 5,
    }
}
