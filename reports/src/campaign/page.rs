//! A campaign as one page that needs no network.

use std::collections::BTreeSet;
use std::path::Path;

use maud::{DOCTYPE, Markup, html};
use scenarios::PROBES;

use super::{Campaign, StoryId, counted};
use crate::html::{copyable, head, histogram, shown};
use crate::text::thousands;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 120.0;
/// How many stories of a finding are listed.
const STORIES_LISTED: usize = 20;

impl Campaign {
    /// The page of the campaign in this folder. `program` is the name of this program, for commands to paste.
    pub fn html(&self, program: &str, dir: &Path) -> String {
        let (all, failed) = (self.stories.len(), self.failed());
        let verdict = if failed == 0 { "PASS" } else { "FAIL" };
        let class = if failed == 0 { "pass" } else { "fail" };
        let seconds = self.wall_ms as f64 / 1e3;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head(&format!("{verdict} · campaign"), ""))
                body {
                    header.masthead.(class) {
                        div.inner {
                            p.brand { "glare campaign" }
                            h1 { span.verdict { (verdict) } " " span.name { (counted(all, "story")) } }
                            p.lead {
                                @if failed == 0 { "No story violates an oracle." }
                                @else { (counted(failed, "story")) " violated an oracle: " (counted(self.findings().len(), "finding")) "." }
                            }
                            p { (shown(&self.plan.server())) " · " (format!("{seconds:.0} s")) " · "
                                (format!("{:.1}", all as f64 / seconds.max(1e-3))) " stories a second" }
                        }
                    }
                    main #main {
                        (self.findings_section(program, dir))
                        (self.reached_section())
                        (self.connecting_section())
                    }
                    footer { p { (shown(&self.plan.tool)) } }
                }
            }
        };
        page.into_string()
    }

    fn findings_section(&self, program: &str, dir: &Path) -> Markup {
        html! {
            section #findings aria-labelledby="findings-title" {
                h2 #findings-title { "Findings" }
                @for finding in self.findings() {
                    div.card {
                        h3 { (shown(&finding.wrong.rule)) " " span.faint { (counted(finding.stories.len(), "story")) } }
                        p { (shown(&finding.wrong.message)) }
                        p { (copyable(&finding.replay(program, dir))) }
                        p.faint {
                            "stories " (listed(&finding.stories))
                        }
                    }
                }
                @if self.failed() == 0 { p { "None." } }
            }
        }
    }

    /// How many probes had occurred after how many stories, and which never did.
    fn reached_section(&self) -> Markup {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut steps: Vec<(usize, usize)> = vec![(0, 0)];
        for (number, (_, story)) in self.stories.iter().enumerate() {
            let before = seen.len();
            seen.extend(story.probes.iter().map(String::as_str));
            if seen.len() > before {
                steps.push((number + 1, before));
                steps.push((number + 1, seen.len()));
            }
        }
        let all = self.stories.len().max(1);
        steps.push((all, seen.len()));
        // Most is reached by the first stories: the scale is logarithmic.
        let x = |story: usize| ((story as f64 + 1.0).ln() / (all as f64 + 1.0).ln() * WIDTH).clamp(0.0, WIDTH);
        let y = |count: usize| HEIGHT - count as f64 / PROBES.len() as f64 * HEIGHT;
        let points: Vec<_> = steps.iter().map(|(story, count)| format!("{:.1},{:.1}", x(*story), y(*count))).collect();
        let words = format!("{} of {} probes occurred in {}", seen.len(), PROBES.len(), counted(all, "story"));
        let never = PROBES.iter().filter(|(name, _)| !seen.contains(name));
        html! {
            section #reached aria-labelledby="reached-title" {
                h2 #reached-title { "Reached" }
                figure.trends {
                    svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 20.0) } role="img" aria-label=(words) {
                        polyline points=(points.join(" ")) {}
                        text x="0" y=(HEIGHT + 15.0) { "first story" }
                        text x=(WIDTH) y=(HEIGHT + 15.0) text-anchor="end" { (counted(all, "story")) }
                    }
                    figcaption { (words) "; " (thousands(self.situations as usize)) " situations of the oracles' model" }
                }
                h3 { "In no story" }
                ul { @for (name, what) in never { li { code { (name) } " " (what) } } }
            }
        }
    }

    fn connecting_section(&self) -> Markup {
        let all = self.stories.iter().flat_map(|(_, story)| &story.connected);
        let mut seconds: Vec<f64> = all.map(|ms| f64::from(*ms) / 1e3).collect();
        seconds.sort_by(f64::total_cmp);
        html! {
            @if seconds.len() > 1 {
                section #connecting aria-labelledby="connecting-title" {
                    h2 #connecting-title { "Connecting" }
                    (histogram(&seconds, ""))
                }
            }
        }
    }
}

fn listed(stories: &[StoryId]) -> String {
    let more = if stories.len() > STORIES_LISTED { ", …" } else { "" };
    let listed: Vec<_> = stories.iter().take(STORIES_LISTED).map(StoryId::to_string).collect();
    format!("{}{more}", listed.join(", "))
}
