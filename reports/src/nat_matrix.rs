//! The matrix of NAT profiles: text for the terminal, JSON, and a page with a heat map.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use sim::nat_matrix::{Found, Prediction, SPLIT};
use sim::reachability::{Obstacle, Path, Verdict};

use crate::html::{HALF_MOON, head, shown};
use crate::style::{FAIL, FAINT, HEADING, ODD, PASS};

/// For each pair of NAT profiles, what became of two peers.
#[derive(Clone, Debug, Serialize)]
pub struct NatMatrix {
    /// The program and its version.
    pub tool: String,
    /// The command that makes it again.
    pub command: String,
    /// The seed of each run.
    pub seed: u64,
    /// Whether there is a TURN server.
    pub turn: bool,
    /// The WebRTC stacks of the first peer, which offers, and of the second one.
    pub stacks: [&'static str; 2],
    /// The rows and the columns: the first peer, which offers, and the second one.
    pub profiles: Vec<String>,
    /// Row by row.
    pub cells: Vec<NatCell>,
}

/// A pair of profiles.
#[derive(Clone, Debug, Serialize)]
pub struct NatCell {
    /// The profile of the first peer's NAT.
    pub a: String,
    /// The profile of the second peer's NAT.
    pub b: String,
    /// What was found.
    #[serde(flatten)]
    pub found: NatOutcome,
    /// What is worked out from the NATs alone.
    pub predicted: NatOutcome,
    /// Whether the prediction leaves something to chance: at least the path, and perhaps whether there is one.
    pub left_to_chance: bool,
    /// Whether the prediction allows what was found.
    pub agrees: bool,
}

/// What becomes of two peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NatOutcome {
    /// Whether and how they connect.
    pub result: NatResult,
    /// The types of both candidates of the selected pair, if they connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<[&'static str; 2]>,
    /// Why they do not connect, or that each side sends over a pair of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether and how two peers connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatResult {
    /// Without a relay.
    Direct,
    /// Through a TURN server.
    Relayed,
    /// Not at all.
    Failed,
    /// Of a prediction: it depends on who sends first, or on the address that a NAT picks.
    Chance,
}

impl NatCell {
    /// A cell of what was found and what was predicted.
    pub fn new(a: &str, b: &str, found: Found, prediction: Prediction) -> Self {
        let failed = |why: &str| NatOutcome { result: NatResult::Failed, path: None, why: Some(why.to_owned()) };
        Self {
            a: a.to_owned(),
            b: b.to_owned(),
            found: match found {
                Found::Connected(path) => connected(path),
                Found::Split(path) => {
                    NatOutcome { result: NatResult::Relayed, why: Some(SPLIT.to_owned()), ..connected(path) }
                }
                other => failed(&other.to_string()),
            },
            predicted: match prediction.verdict {
                Verdict::Connects(path) => connected(path),
                Verdict::Chance(path) => NatOutcome { result: NatResult::Chance, ..connected(path) },
                Verdict::NeedsRelay(Obstacle::UdpBlocked) => failed("a NAT blocks UDP"),
                Verdict::NeedsRelay(why @ Obstacle::NoCommonFamily) => failed(&why.to_string()),
                Verdict::NeedsRelay(Obstacle::NoCheckArrives) => failed(&Found::Nothing.to_string()),
                Verdict::NeedsRelay(Obstacle::NoAnswerFits) => failed(&Found::ChecksArrive.to_string()),
            },
            left_to_chance: !prediction.is_sure,
            agrees: found.is_as(prediction),
        }
    }

    /// The prediction in words.
    fn predicted_words(&self) -> String {
        let words = self.predicted.words();
        match self.predicted.result {
            NatResult::Chance => format!("{words}, another path, or nothing"),
            _ if self.left_to_chance => format!("{words}, or another path"),
            _ => words,
        }
    }

    /// Two letters for the candidate types, or a sign.
    fn sign(&self) -> String {
        match (&self.found.path, &self.found.why) {
            (Some(path), _) => path.iter().map(|kind| &kind[..1]).collect(),
            (None, Some(why)) if *why == Found::ChecksArrive.to_string() => "~".to_owned(),
            _ => "-".to_owned(),
        }
    }
}

fn connected(path: Path) -> NatOutcome {
    let result = if path.is_relayed() { NatResult::Relayed } else { NatResult::Direct };
    NatOutcome { result, path: Some([path.a.word(), path.b.word()]), why: None }
}

impl NatOutcome {
    /// In words: `srflx-prflx`.
    pub fn words(&self) -> String {
        match (&self.path, &self.why) {
            (Some([a, b]), Some(why)) => format!("{a}-{b}, {why}"),
            (Some([a, b]), None) => format!("{a}-{b}"),
            (None, why) => why.clone().unwrap_or_default(),
        }
    }
}

/// What the signs of a table mean.
const LEGEND: &str = "h host, s srflx, p prflx, r relay: the candidates of the row's and the column's peer; ~ checks get through, answers do not \
                      fit; - nothing gets through; ? left to chance; ! not as predicted";

impl NatMatrix {
    /// The cells that are not as predicted.
    pub fn differing(&self) -> impl Iterator<Item = &NatCell> {
        self.cells.iter().filter(|cell| !cell.agrees)
    }

    /// Whether anything is predicted with which a cell can be compared.
    fn is_tested(&self) -> bool {
        self.cells.iter().any(|cell| cell.predicted.result != NatResult::Chance)
    }

    fn verdict(&self) -> &'static str {
        match self.differing().next() {
            Some(_) => "FAIL",
            None if self.is_tested() => "PASS",
            None => "NOT TESTED",
        }
    }

    /// Number of cells with a result.
    fn count(&self, result: NatResult) -> usize {
        self.cells.iter().filter(|cell| cell.found.result == result).count()
    }

    /// Which ICE agents the peers have.
    fn agents(&self) -> String {
        match self.stacks {
            ["rtc", "rtc"] => "a real ICE agent".to_owned(),
            [row, column] if row == column => format!("the ICE agent of {row}"),
            [row, column] => format!("the ICE agents of {row} (the row) and {column} (the column)"),
        }
    }

    /// The numbers, in one line.
    fn numbers(&self) -> String {
        let [direct, relayed, failed] =
            [NatResult::Direct, NatResult::Relayed, NatResult::Failed].map(|r| self.count(r));
        let pairs = self.cells.len();
        let differing = self.differing().count();
        let chance = self.cells.iter().filter(|cell| cell.left_to_chance).count();
        let chance = if chance > 0 { format!(", {chance} left to chance") } else { String::new() };
        let judged = match differing {
            0 if !self.is_tested() => "no prediction to compare with".to_owned(),
            0 => "all as predicted".to_owned(),
            _ => format!("{differing} not as predicted"),
        };
        let noun = if pairs == 1 { "pair" } else { "pairs" };
        format!("{pairs} {noun}: {direct} direct, {relayed} relayed, {failed} failed; {judged}{chance}")
    }

    /// The matrix as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("every matrix has a JSON form")
    }

    /// The matrix as text, with color codes.
    pub fn text(&self) -> String {
        let width = self.profiles.iter().map(String::len).max().unwrap_or_default();
        let mut text = format!("{:width$}     ", "");
        for number in 1..=self.profiles.len() {
            text.push_str(&format!("{HEADING}{number:<4}{HEADING:#}"));
        }
        for (row, (name, cells)) in self.profiles.iter().zip(self.cells.chunks(self.profiles.len())).enumerate() {
            text.push_str(&format!("\n{:>2} {name:width$}  ", row + 1));
            for cell in cells {
                let style = match cell.found.result {
                    _ if !cell.agrees => FAIL,
                    NatResult::Direct => PASS,
                    NatResult::Relayed | NatResult::Chance => ODD,
                    NatResult::Failed => FAINT,
                };
                let mark = if !cell.agrees {
                    "!"
                } else if cell.left_to_chance {
                    "?"
                } else {
                    ""
                };
                text.push_str(&format!("{style}{:<4}{style:#}", cell.sign() + mark));
            }
        }
        text.push_str(&format!("\n\n{FAINT}{LEGEND}{FAINT:#}\n\n"));
        for cell in self.differing() {
            let NatCell { a, b, found, .. } = cell;
            text.push_str(&format!(
                "{FAIL}{a} with {b}{FAIL:#}: {}, but predicted is {}\n",
                found.words(),
                cell.predicted_words()
            ));
        }
        let word = self.verdict();
        let style = match word {
            "PASS" => PASS,
            "FAIL" => FAIL,
            _ => ODD,
        };
        if self.stacks != ["rtc"; 2] {
            text.push_str(&format!("{FAINT}Two peers with {}{FAINT:#}\n", self.agents()));
        }
        text.push_str(&format!("{style}{word}{style:#}  {}\n", self.numbers()));
        text
    }

    /// The matrix as a page that needs no network.
    pub fn html(&self) -> String {
        let tone = match self.verdict() {
            "PASS" => "pass",
            "FAIL" => "fail",
            _ => "plain",
        };
        let title = "NAT matrix · glare";
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head(title, include_str!("nat_matrix.css")))
                body {
                    a.skip href="#main" { "Skip to the table" }
                    header.masthead.(tone) {
                        div.inner {
                            p.brand { "glare nat-matrix" }
                            button #theme type="button" aria-label="Switch between light and dark" { (PreEscaped(HALF_MOON)) }
                            h1 { span.verdict { (self.verdict()) } " " span.name { "Pairs of NATs" } }
                            p.lead { (self.numbers()) }
                            p.sub {
                                "Each cell is a call of two peers with " (self.agents()) ", each behind a NAT with this profile, "
                                @if self.turn { "with" } @else { "without" } " a TURN server. The prediction is worked out from the NATs alone."
                            }
                        }
                    }
                    main #main { (self.legend()) (self.table()) (self.list()) }
                    footer { p { (shown(&self.tool)) " · seed " (self.seed) " · " code { (shown(&self.command)) } } }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string()
    }

    fn legend(&self) -> Markup {
        html! {
            ul.heat-legend {
                li { span.heat.direct { "ss" } " direct: the types of the row's and the column's candidate, host, server-reflexive, peer-reflexive" }
                @if self.turn { li { span.heat.relayed { "rh" } " relayed" } }
                li { span.heat.failed { "~" } " checks get through, but no answer comes from where it was sent" }
                li { span.heat.failed { "–" } " nothing gets through" }
                li { span.heat.direct.chance { "ss" } " left to chance" }
                li { span.heat.differs { "ss" } " not as predicted" }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            div.scroll tabindex="0" role="group" aria-label="Pairs of NATs" {
                table.heatmap {
                    thead { tr { td {} @for name in &self.profiles { th scope="col" { span { (shown(name)) } } } } }
                    tbody {
                        @for (name, cells) in self.profiles.iter().zip(self.cells.chunks(self.profiles.len())) {
                            tr {
                                th scope="row" { (shown(name)) }
                                @for cell in cells { td.heat.(class(cell)).chance[cell.left_to_chance] title=(told(cell)) { (cell.sign().replace('-', "–")) } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn list(&self) -> Markup {
        html! {
            @if self.differing().next().is_some() {
                h2 { "Not as predicted" }
                ul { @for cell in self.differing() { li { (told(cell)) } } }
            }
        }
    }
}

fn class(cell: &NatCell) -> &'static str {
    match cell.found.result {
        _ if !cell.agrees => "differs",
        NatResult::Direct => "direct",
        NatResult::Relayed | NatResult::Chance => "relayed",
        NatResult::Failed => "failed",
    }
}

/// A cell in words.
fn told(cell: &NatCell) -> String {
    let NatCell { a, b, found, .. } = cell;
    let found = found.words();
    if cell.agrees && !cell.left_to_chance {
        return format!("{a} with {b}: {found}");
    }
    format!("{a} with {b}: {found}; predicted: {}", cell.predicted_words())
}

/// What the page does: only its button.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("html/script/page.js"),
    include_str!("html/script/sideways.js"),
    "})();\n"
);
