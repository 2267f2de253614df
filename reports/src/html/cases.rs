//! All cases: a matrix of cases and targets, or a grid of seeds.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::html::changes::{Change, Changes, tag};
use crate::html::{anchor, chart, column_name, copyable, duration, link, prose, shown, verdict_chip};
use crate::model::{Case, Suite, Verdict};
use crate::result::Results;
use crate::text::thousands;

pub(super) fn section(results: &[Results], changes: Option<&Changes>) -> Markup {
    let all: usize = results.iter().map(|results| results.cases.len()).sum();
    html! {
        @if all > 1 || results.len() > 1 {
            section #cases aria-labelledby="cases-title" {
                @if results.iter().all(|results| results.opening.suite == Suite::Sim) {
                    h2 #cases-title { "Seeds" }
                    @if let Some(changes) = changes { (changed_seeds(results, changes)) }
                    @for (number, result) in results.iter().enumerate() {
                        @if results.len() > 1 { h3.of { (column_name(results, number)) } }
                        (seeds(result, number))
                    }
                } @else {
                    h2 #cases-title { "Cases" }
                    (matrix(results, changes))
                }
            }
        }
    }
}

/// The seeds of result number `number`.
fn seeds(results: &Results, number: usize) -> Markup {
    let mut groups: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in &results.cases {
        groups.entry(&case.group).or_default().push(case);
    }
    html! {
        @for (scenario, cases) in groups {
            div.card {
                h3 { (shown(scenario)) }
                @let bad: Vec<_> = cases.iter().filter(|case| case.is_bad()).collect();
                p.sub { (thousands(cases.len())) " seeds, " (thousands(cases.len() - bad.len())) " pass" }
                div.seeds role="img" aria-label={ (cases.len() - bad.len()) " of " (cases.len()) " seeds pass" } {
                    @for case in &cases { i.(case.verdict.slug()) title={ (shown(&case.id)) ": " (case.verdict.word()) } {} }
                }
                (wrong(&bad, number))
                (chart::connecting(&cases))
                (probes(&cases))
            }
        }
    }
}

/// Maximum number of seeds listed.
const SEEDS_MAX: usize = 24;

/// The runs that changed from the first result to the second.
fn changed_seeds(results: &[Results], changes: &Changes) -> Markup {
    let failing = |change| if change == Change::Fixed { 0 } else { 1 };
    let listed = |change, id: &String| results[failing(change)].bad().any(|case| case.id == *id);
    html! {
        ul.rules {
            @for change in [Change::Fixed, Change::New] {
                @let ids = changes.ids(change);
                @if !ids.is_empty() {
                    li {
                        (tag(change)) " " (thousands(ids.len())) ": "
                        @for (index, id) in ids.iter().take(SEEDS_MAX).enumerate() {
                            @if index > 0 { ", " }
                            @if listed(change, id) { a href={ "#" (anchor(failing(change), id)) } { (shown(id)) } } @else { (shown(id)) }
                        }
                        @if ids.len() > SEEDS_MAX { " …" }
                    }
                }
            }
        }
    }
}

/// The failing seeds, by broken rule.
fn wrong(bad: &[&&Case], number: usize) -> Markup {
    let mut rules: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in bad {
        for finding in &case.findings {
            let cases = rules.entry(&finding.rule).or_default();
            if cases.last().is_none_or(|last| last.id != case.id) {
                cases.push(case);
            }
        }
    }
    html! {
        @if !rules.is_empty() {
            ul.rules {
                @for (rule, cases) in rules {
                    li {
                        strong { (shown(rule)) } " in " (thousands(cases.len())) @if cases.len() == 1 { " seed: " } @else { " seeds: " }
                        @for (index, case) in cases.iter().take(SEEDS_MAX).enumerate() {
                            @if index > 0 { ", " }
                            a href={ "#" (anchor(number, &case.id)) } { (case.simulation.as_ref().map_or(0, |simulation| simulation.seed)) }
                        }
                        @if cases.len() > SEEDS_MAX { " …" }
                    }
                }
            }
        }
    }
}

/// In how many runs the rare situations were met, and those at which the scenario aims were not.
fn probes(cases: &[&Case]) -> Markup {
    let simulations = || cases.iter().filter_map(|case| case.simulation.as_ref());
    html! {
        (counts("Not tested, because this server did not bring it about", simulations().flat_map(|simulation| &simulation.not_tested)))
        (counts("Rare situations met", simulations().flat_map(|simulation| simulation.probes.keys())))
    }
}

fn counts<'p>(label: &str, probes: impl Iterator<Item = &'p String>) -> Markup {
    let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
    for probe in probes {
        *runs.entry(probe).or_default() += 1;
    }
    html! {
        @if !runs.is_empty() {
            p.probes {
                span.label { (label) } " "
                @for (probe, count) in runs { span.tag { (shown(probe)) " " b { (thousands(count)) } } " " }
            }
        }
    }
}

/// Rows are cases in the order of the first result that has them, columns are results.
fn matrix(results: &[Results], changes: Option<&Changes>) -> Markup {
    let mut rows: Vec<(&str, &Case)> = Vec::new();
    let mut columns: Vec<BTreeMap<&str, Vec<&Case>>> = Vec::new();
    for result in results {
        let mut column: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
        for case in &result.cases {
            column.entry(&case.id).or_default().push(case);
        }
        columns.push(column);
    }
    let mut seen = std::collections::BTreeSet::new();
    for case in results.iter().flat_map(|result| &result.cases) {
        if seen.insert(&case.id) {
            rows.push((&case.id, case));
        }
    }
    let mut groups: Vec<(&str, Vec<(&str, &Case)>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(group, _)| *group == row.1.group) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((&row.1.group, vec![row])),
        }
    }
    html! {
        div.tools {
            label { "Filter " input #filter type="search" placeholder="name or words" autocomplete="off"; }
            @if changes.is_some() { label { input #changed type="checkbox"; " Only what changed" } }
            fieldset.verdicts {
                legend { "Verdicts" }
                @for verdict in Verdict::ALL {
                    @let count: usize = results.iter().map(|results| results.counts().of(verdict)).sum();
                    @if count > 0 {
                        label { input type="checkbox" checked value=(verdict.slug()); " " (verdict.word()) " " b { (thousands(count)) } }
                    }
                }
            }
        }
        div.scroll tabindex="0" role="group" aria-label="All cases" {
            table.matrix {
                thead {
                    tr {
                        th scope="col" { "Case" }
                        th scope="col" { "Level" }
                        @for number in 0..results.len() { th.named[results.len() > 1] scope="col" { @if results.len() > 1 { (column_name(results, number)) } @else { "Verdict" } } }
                        @if results.len() == 1 { th.number scope="col" { "Time" } }
                    }
                }
                @for (group, rows) in groups {
                    tbody {
                        tr.group { th colspan=(results.len() + 3) scope="colgroup" { (shown(group)) } }
                        @for (id, case) in rows { (row(id, case, &columns, changes)) }
                    }
                }
            }
        }
    }
}

fn row(id: &str, case: &Case, columns: &[BTreeMap<&str, Vec<&Case>>], changes: Option<&Changes>) -> Markup {
    let verdicts: Vec<_> = columns.iter().flat_map(|column| column.get(id).into_iter().flatten()).collect();
    let slugs: Vec<_> = verdicts.iter().map(|case| case.verdict.slug()).collect();
    html! {
        tr.case.changed[changes.is_some_and(|changes| changes.of_case(1, id).is_some())] data-verdicts=(slugs.join(" ")) {
            th scope="row" {
                details {
                    summary { span.id { (shown(id)) } " " span.title { (prose(&case.title)) } }
                    @for citation in &case.citations {
                        p.cite {
                            @match citation.url.as_deref().and_then(link) {
                                Some(url) => a href=(url) rel="noreferrer" { (shown(&citation.section)) },
                                None => (shown(&citation.section)),
                            }
                            @if let Some(quote) = &citation.quote { " “" (shown(quote)) "”" }
                        }
                    }
                    @for remark in &case.remarks { p.remark { (shown(remark)) } }
                    @if let Some(known) = &case.known { p.remark { "known to fail: " (shown(known)) } }
                    @for finding in &case.findings { p { (prose(&finding.message)) } }
                    p { (copyable(&case.replay)) }
                }
            }
            td.level { @if let Some(level) = &case.level { (level.word()) } }
            @for (number, column) in columns.iter().enumerate() {
                td {
                    @match column.get(id) {
                        None => span.chip.absent { "–" },
                        Some(cases) => @for case in cases {
                            @if case.is_bad() { a href={ "#" (anchor(number, id)) } { (verdict_chip(case.verdict)) } }
                            @else { (verdict_chip(case.verdict)) }
                            @if case.known.is_some() { " " span.tag { "known" } }
                            " "
                        },
                    }
                    @if let Some(change) = changes.filter(|_| number == 1).and_then(|changes| changes.of_case(number, id)) { (tag(change)) }
                }
            }
            @if columns.len() == 1 { td.number { (duration(case.wall)) } }
        }
    }
}
