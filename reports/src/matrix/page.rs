//! The page around the tables.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::html::{HALF_MOON, head, json_island, prose, shown};
use crate::matrix::data::Data;
use crate::matrix::{Kind, Row, Server, is_known, rows};
use crate::model::{Case, Verdict};
use crate::text::thousands;

/// What the page does.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("../html/script/page.js"),
    include_str!("../html/script/sideways.js"),
    include_str!("../html/script/cases.js"),
    include_str!("matrix.js"),
    "})();\n"
);

pub(super) fn page(servers: &[Server]) -> String {
    let tables: Vec<(Kind, Vec<&Server>)> = Kind::ALL
        .into_iter()
        .map(|kind| (kind, servers.iter().filter(|server| Kind::of(&server.results) == kind).collect::<Vec<_>>()))
        .filter(|(_, columns)| !columns.is_empty())
        .collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head("Servers and cases · glare matrix", include_str!("matrix.css")))
            body {
                a.skip href="#main" { "Skip to the tables" }
                (masthead(servers))
                main #main {
                    (filter(servers))
                    @for (kind, columns) in &tables { (table(*kind, columns)) }
                }
                footer { (made(servers)) p.keys { kbd { "/" } " filter · " kbd { "Esc" } " leave the filter or a trace · " kbd { "t" } " light or dark" } }
                dialog #trace aria-labelledby="trace-title" {
                    header {
                        h2 #trace-title {}
                        button.close type="button" { "Close" }
                    }
                    div.body {}
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn masthead(servers: &[Server]) -> Markup {
    let mut names: Vec<_> = servers.iter().map(|server| &server.name).collect();
    names.sort();
    names.dedup();
    let asked = servers.iter().flat_map(|server| &server.results.cases);
    let asked = asked.filter(|case| case.verdict != Verdict::Unsupported).count();
    html! {
        header.masthead.plain {
            div.inner {
                p.brand { "glare matrix" }
                button #theme type="button" aria-label="Switch between light and dark" { (PreEscaped(HALF_MOON)) }
                h1 { span.name { "Servers and cases" } }
                p.lead { (thousands(names.len())) " servers, " (thousands(asked)) " verdicts. Behind each is the trace: the messages between the clients of the suite and the server." }
                ul.verdict-words {
                    @for (verdict, words) in LEGEND { li { (mark(verdict, false)) " " b { (verdict.word()) } " " (words) } }
                    li { (mark(Verdict::Fail, true)) " " b { "known" } " the failure is in the list of known deviations, with a reason" }
                }
                p.sub { "The servers speak different protocols, so each is asked what its own protocol promises: the numbers of two columns are not to be compared." }
            }
        }
    }
}

/// What each verdict means here.
const LEGEND: [(Verdict, &str); 6] = [
    (Verdict::Pass, "the rule is kept"),
    (Verdict::Acceptable, "not what is recommended, but allowed"),
    (Verdict::Fail, "the rule is broken"),
    (Verdict::Unsupported, "the protocol, or the server as it is set up, does not have this"),
    (Verdict::NotTested, "it did not run, for the reason behind it"),
    (Verdict::HarnessError, "the test itself failed, which says nothing about the server"),
];

fn filter(servers: &[Server]) -> Markup {
    html! {
        div.tools {
            label { "Filter " input #filter type="search" placeholder="name or words" autocomplete="off"; }
            fieldset.verdicts {
                legend { "Rows with" }
                @for verdict in Verdict::ALL {
                    @let count: usize = servers.iter().map(|server| server.results.counts().of(verdict)).sum();
                    @if count > 0 {
                        label { input type="checkbox" checked value=(verdict.slug()); " " (verdict.word()) }
                    }
                }
            }
        }
    }
}

fn table(kind: Kind, columns: &[&Server]) -> Markup {
    let (rows, left_out) = rows(columns);
    let mut groups: Vec<(&str, Vec<(usize, &Row<'_>)>)> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        match groups.iter_mut().find(|(group, _)| *group == row.case.group) {
            Some((_, rows)) => rows.push((index, row)),
            None => groups.push((&row.case.group, vec![(index, row)])),
        }
    }
    html! {
        section.table data-kind=(kind.slug()) aria-labelledby=(kind.slug()) {
            h2 id=(kind.slug()) { (kind.heading()) }
            div.scroll tabindex="0" role="group" aria-label=(kind.heading()) {
                table.matrix.servers {
                    thead {
                        tr {
                            th.case scope="col" { "Case" }
                            @for server in columns { th.server scope="col" { span { (shown(&server.name)) } } }
                        }
                        tr.counts {
                            th scope="row" { "kept of those asked" }
                            @for server in columns { td { (kept(server)) } }
                        }
                    }
                    @for (group, rows) in groups {
                        tbody {
                            tr.group { th colspan=(columns.len() + 1) scope="colgroup" { span { (shown(group)) } } }
                            @for (index, row) in rows { (row_of(index, row)) }
                        }
                    }
                }
            }
            @if left_out > 0 { p.hint { (thousands(left_out)) " more cases are about what none of these servers has." } }
            script type="application/json" { (json_island(&Data::of(columns, &rows).json())) }
        }
    }
}

/// Passing cases of those that were judged.
fn kept(server: &Server) -> String {
    let counts = server.results.counts();
    let kept = counts.pass + counts.acceptable;
    format!("{kept}/{}", kept + counts.fail)
}

fn row_of(index: usize, row: &Row<'_>) -> Markup {
    let verdicts: Vec<_> = row.cells.iter().flatten().map(|case| case.verdict.slug()).collect();
    html! {
        tr.case data-verdicts=(verdicts.join(" ")) data-row=(index) {
            th scope="row" { span.id { (shown(&row.case.id)) } " " span.title { (prose(&row.case.title)) } }
            @for cell in &row.cells { td { @if let Some(case) = cell { (cell_of(case)) } } }
        }
    }
}

fn cell_of(case: &Case) -> Markup {
    let known = is_known(case);
    html! {
        // The headings of the row and of the column say which case and which server it is.
        button.mark.(case.verdict.slug()).known[known] type="button" aria-label={ (case.verdict.word()) @if known { ", known" } } {
            (sign(case.verdict))
        }
    }
}

/// The mark of a verdict: a shape and a color.
fn mark(verdict: Verdict, known: bool) -> Markup {
    html! { i.mark.(verdict.slug()).known[known] aria-hidden="true" { (sign(verdict)) } }
}

/// Each verdict has a sign of its own, for readers who cannot distinguish the colors.
fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Acceptable => "~",
        Verdict::Fail => "✕",
        Verdict::Unsupported => "–",
        Verdict::NotTested => "?",
        Verdict::HarnessError => "!",
    }
}

fn made(servers: &[Server]) -> Markup {
    html! {
        details {
            summary { "Made by these commands" }
            ul {
                @for server in servers {
                    @let opening = &server.results.opening;
                    li { b { (shown(&server.name)) } " · " (shown(&opening.name)) " · " (date(opening.started_ms)) " · " (shown(&opening.tool)) " · " code { (shown(&opening.command)) } }
                }
            }
        }
        p { "Glare tests WebRTC signaling, STUN and TURN servers." }
    }
}

/// The day of a time, in UTC: `2026-11-29`.
fn date(ms: u64) -> String {
    let days = (ms / 86_400_000).min(10_000_000);
    // Counted from 1 March of the year 0, the day after a leap day; Fliegel and Van Flandern's method.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_day() {
        for (ms, day) in [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (951_868_800_000, "2000-03-01"),
            (1_795_982_190_868, "2026-11-29"),
            (4_107_542_399_999, "2100-02-28"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(date(ms), day);
        }
    }
}
