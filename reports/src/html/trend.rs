//! Results over time, as line charts.

use maud::{Markup, html};

use crate::history::{Entry, History};
use crate::html::{duration, shown};

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 54.0;
/// Maximum number of entries drawn per series.
const DRAWN_MAX: usize = 200;

pub(super) fn section(history: &History) -> Markup {
    html! {
        @if !history.series.is_empty() {
            section #trend aria-labelledby="trend-title" {
                h2 #trend-title { "Over time" }
                @for ((suite, name, target), entries) in &history.series {
                    @let drawn = &entries[entries.len().saturating_sub(DRAWN_MAX)..];
                    div.card {
                        h3 { (shown(name)) " " span.faint { (suite.word()) " · " (shown(target)) " · " (entries.len()) " results" } }
                        div.trends {
                            (line("passing", drawn, |entry| Some(entry.passing()), |share| format!("{:.1} %", share * 100.0)))
                            (line("pairs connected", drawn, |entry| entry.connected, |at| format!("{at:.2} s")))
                            (line("took", drawn, |entry| Some(entry.wall), duration))
                        }
                    }
                }
            }
        }
    }
}

fn line(name: &str, entries: &[Entry], value: fn(&Entry) -> Option<f64>, words: fn(f64) -> String) -> Markup {
    let values: Vec<f64> = entries.iter().filter_map(value).filter(|value| value.is_finite()).collect();
    let Some((first, last)) = values.first().zip(values.last()) else { return html! {} };
    let highest = values.iter().copied().fold(f64::MIN, f64::max).max(1e-9);
    let x = |index: usize| 4.0 + index as f64 / (values.len() - 1).max(1) as f64 * (WIDTH - 8.0);
    let y = |value: f64| HEIGHT - 4.0 - value / highest * (HEIGHT - 10.0);
    let points: Vec<_> = values.iter().enumerate().map(|(i, value)| format!("{:.1},{:.1}", x(i), y(*value))).collect();
    let label = format!("{name}: {} at first, {} now", words(*first), words(*last));
    html! {
        figure {
            figcaption { (name) " " b { (words(*last)) } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
                polyline points=(points.join(" ")) {}
                circle cx=(format!("{:.1}", x(values.len() - 1))) cy=(format!("{:.1}", y(*last))) r="3.5" {}
            }
        }
    }
}
