//! What is behind the cells, packed for the page: a table of texts, and for each cell its words and the trace.

use std::collections::HashMap;

use serde::Serialize;

use crate::html::{link, shown};
use crate::matrix::{Row, Server, is_known};
use crate::model::{Case, Step};

/// Maximum number of steps of a trace.
const STEPS_MAX: usize = 20;
/// Maximum number of characters of a step's text.
const TEXT_CHARS_MAX: usize = 140;

/// Everything behind the cells of one table.
#[derive(Serialize)]
pub(super) struct Data {
    /// The servers, by column.
    servers: Vec<ServerData>,
    /// The cases, by row.
    cases: Vec<CaseData>,
    /// By row and column; `None` if the server was not asked.
    cells: Vec<Vec<Option<Cell>>>,
    /// The texts of steps and reasons.
    texts: Vec<String>,
}

#[derive(Serialize)]
struct ServerData {
    name: String,
    protocol: String,
    /// The command that tests it; with `--case` and a case's id it repeats that case.
    command: String,
}

#[derive(Serialize)]
struct CaseData {
    id: String,
    title: String,
    level: &'static str,
    /// Section, URL and quotation.
    citations: Vec<(String, Option<String>, Option<String>)>,
}

#[derive(Serialize)]
struct Cell {
    /// The verdict.
    v: &'static str,
    /// What is wrong, or why it did not run: texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<u32>,
    /// Why the failure is known, a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<u32>,
    /// Remarks, texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<u32>,
    /// The names of the parties, texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    who: Vec<u32>,
    /// Steps: milliseconds, acting party, receiver or -1, text; the fifth number marks the one that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<(u64, usize, i64, u32, u8)>,
    /// Numbers of steps left out before and after them.
    #[serde(skip_serializing_if = "is_all")]
    left_out: (usize, usize),
    /// The command that repeats it, a text, if it is not the server's command with `--case`.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_all(left_out: &(usize, usize)) -> bool {
    *left_out == (0, 0)
}

/// Texts, each stored once.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    /// Only looked up, never iterated.
    known: HashMap<String, u32>,
}

impl Texts {
    fn place(&mut self, text: &str) -> u32 {
        let text = shown(text);
        if let Some(place) = self.known.get(&text) {
            return *place;
        }
        let place = self.all.len() as u32;
        self.known.insert(text.clone(), place);
        self.all.push(text);
        place
    }
}

impl Data {
    pub(super) fn of(columns: &[&Server], rows: &[Row<'_>]) -> Self {
        let mut texts = Texts::default();
        let cells = rows.iter().map(|row| packed_row(columns, row, &mut texts));
        let cells = cells.collect();
        let server = |server: &&Server| ServerData {
            name: shown(&server.name),
            protocol: shown(&server.results.opening.name),
            command: shown(&server.results.opening.command),
        };
        Self {
            servers: columns.iter().map(server).collect(),
            cases: rows.iter().map(|row| described(row.case)).collect(),
            cells,
            texts: texts.all,
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings have a JSON form")
    }
}

fn described(case: &Case) -> CaseData {
    let citations = case.citations.iter().map(|citation| {
        let url = citation.url.as_deref().and_then(link).map(str::to_owned);
        (shown(&citation.section), url, citation.quote.as_deref().map(shown))
    });
    CaseData {
        id: shown(&case.id),
        title: shown(&case.title),
        level: case.level.map_or("", crate::model::Level::word),
        citations: citations.collect(),
    }
}

fn packed_row(columns: &[&Server], row: &Row<'_>, texts: &mut Texts) -> Vec<Option<Cell>> {
    let cells = columns.iter().zip(&row.cells);
    cells.map(|(server, cell)| cell.map(|case| packed(case, &server.results.opening.command, texts))).collect()
}

fn packed(case: &Case, command: &str, texts: &mut Texts) -> Cell {
    let wrong = case.findings.iter().find_map(|finding| finding.step);
    // What did not happen shows at the end.
    let last =
        if case.verdict.is_failure() { case.findings.iter().flat_map(|finding| &finding.steps).max() } else { None };
    let (from, to) = window(case.story.len(), wrong.or(last.copied()));
    let step = |(index, step): (usize, &Step)| {
        let text = match step.text.char_indices().nth(TEXT_CHARS_MAX) {
            Some((end, _)) => format!("{}… ({} bytes)", &step.text[..end], step.bytes.unwrap_or(step.text.len())),
            None => step.text.clone(),
        };
        let to = step.to.map_or(-1, |to| to as i64);
        // Times of a result are at most hours.
        let ms = (step.at.clamp(0.0, 1e6) * 1e3).round() as u64;
        (ms, step.who.first().copied().unwrap_or_default(), to, texts.place(&text), u8::from(wrong == Some(index)))
    };
    let steps: Vec<_> = case.story.iter().enumerate().skip(from).take(to - from).map(step).collect();
    let mut all = |words: &[String]| words.iter().map(|text| texts.place(text)).collect::<Vec<_>>();
    let why: Vec<String> = case.findings.iter().map(|finding| finding.message.clone()).collect();
    let who: Vec<String> = case.parties.iter().map(|party| party.name.clone()).collect();
    Cell {
        v: case.verdict.slug(),
        why: all(&why),
        remarks: all(&case.remarks),
        who: all(&who),
        known: case.known.as_ref().filter(|_| is_known(case)).map(|known| texts.place(known)),
        left_out: (from, case.story.len() - to + case.steps_omitted),
        steps,
        replay: (case.replay != format!("{command} --case {}", case.id)).then(|| texts.place(&case.replay)),
    }
}

/// The steps that are shown: up to the one that matters and two more, otherwise from the first one.
fn window(all: usize, matters: Option<usize>) -> (usize, usize) {
    let end = matters.map_or(STEPS_MAX, |step| step.saturating_add(3)).min(all).max(STEPS_MAX.min(all));
    (end.saturating_sub(STEPS_MAX), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_trace_is_cut_around_the_step_that_is_wrong() {
        assert_eq!(window(0, None), (0, 0));
        assert_eq!(window(10, Some(9)), (0, 10));
        assert_eq!(window(100, None), (0, 20));
        assert_eq!(window(100, Some(50)), (33, 53));
        assert_eq!(window(100, Some(99)), (80, 100));
        assert_eq!(window(100, Some(3)), (0, 20));
        assert_eq!(window(10, Some(usize::MAX)), (0, 10), "a result may name a step that it does not have");
    }
}
