//! A histogram of connecting times.

use maud::{Markup, html};

use crate::model::Case;
use crate::standing::{self, Standing};
use crate::text::thousands;

/// Bars of the histogram; the last one includes everything beyond the scale.
const BARS: usize = 48;
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 120.0;

/// The distribution of the times at which both clients of a pair had first received data, over all runs.
pub(super) fn connecting(cases: &[&Case]) -> Markup {
    let pairs = || cases.iter().filter_map(|case| case.simulation.as_ref()).flat_map(|simulation| &simulation.pairs);
    let mut heard: Vec<f64> = pairs().filter_map(|pair| pair.first_heard).filter(|at| at.is_finite()).collect();
    heard.sort_by(f64::total_cmp);
    let odd = pairs().filter(|pair| Standing::of(pair).is_odd()).count();
    if heard.len() < 2 {
        return html! {};
    }
    histogram(&heard, &standing::odd_ones(odd))
}

/// The distribution of times in seconds, in ascending order: at least two. `more` follows the sentence below it.
pub(crate) fn histogram(heard: &[f64], more: &str) -> Markup {
    let at = |share: f64| heard[((heard.len() - 1) as f64 * share) as usize];
    let (from, to) = (heard[0], at(0.99).max(heard[0] + 0.1));
    let bar_of = |at: f64| (((at - from) / (to - from) * BARS as f64) as usize).min(BARS - 1);
    let mut bars = [0_usize; BARS];
    heard.iter().for_each(|&at| bars[bar_of(at)] += 1);
    let tallest = bars.iter().copied().max().unwrap_or(1).max(1) as f64;
    let x = |at: f64| ((at - from) / (to - from) * WIDTH).clamp(0.0, WIDTH);
    let marks = [("median", at(0.5)), ("95 %", at(0.95))];
    let words = format!(
        "{} pairs exchanged data: median {:.2} s, 95 % within {:.2} s, last at {:.2} s{}",
        thousands(heard.len()),
        at(0.5),
        at(0.95),
        at(1.0),
        more
    );
    html! {
        figure.histogram {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 26.0) } role="img" aria-label=(words) {
                @for (index, count) in bars.iter().enumerate() {
                    @let height = *count as f64 / tallest * HEIGHT;
                    rect.bar x=(format!("{:.1}", index as f64 * WIDTH / BARS as f64 + 1.0)) y=(format!("{:.1}", HEIGHT - height))
                        width=(format!("{:.1}", WIDTH / BARS as f64 - 2.0)) height=(format!("{height:.1}")) rx="1.5" {}
                }
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT + 0.5) y2=(HEIGHT + 0.5) {}
                @for (row, (name, at)) in marks.into_iter().enumerate() {
                    line.mark x1=(format!("{:.1}", x(at))) x2=(format!("{:.1}", x(at))) y1="0" y2=(HEIGHT) {}
                    text x=(format!("{:.1}", x(at) + if x(at) > WIDTH * 0.85 { -5.0 } else { 5.0 })) y=(11 + 14 * row)
                        text-anchor=(if x(at) > WIDTH * 0.85 { "end" } else { "start" }) { (name) " " (format!("{at:.2} s")) }
                }
                text x="0" y=(HEIGHT + 18.0) { (format!("{from:.2} s")) }
                text x=(WIDTH) y=(HEIGHT + 18.0) text-anchor="end" { (format!("{to:.2} s")) }
            }
            figcaption { (words) }
        }
    }
}
