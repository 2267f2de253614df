//! Results for people and for CI.
//!
//! A report reads outcomes and nothing else: it never plays, never judges. [`model`] is what all of them have in common: `sim` and
//! `conformance` write it, and every form that a result can take is rendered from it.

mod ctrf;
pub mod diff;
mod frames;
mod from_conformance;
mod from_sim;
mod github;
pub mod history;
mod html;
mod junit;
mod live;
mod markdown;
pub mod model;
mod pcap;
mod place;
mod replay;
mod result;
mod sarif;
mod style;
mod summary;
mod sweep;
mod table;
mod text;
mod words;
mod write;

pub use ctrf::ctrf;
pub use frames::Frames;
pub use from_conformance::cases_of_report;
pub use from_sim::{Detail, case_of_crash, case_of_mismatch, case_of_outcome};
pub use github::github;
pub use html::{html, html_with_history};
pub use junit::junit;
pub use live::Live;
pub use markdown::markdown;
pub use pcap::write_pcap;
pub use replay::{Replay, command_line};
pub use result::{BadFile, BadLine, Overall, Results, Writer};
pub use sarif::sarif;
pub use summary::summary;
pub use sweep::{Seed, Sweep};
pub use table::{Width, list, terminal_width};
pub use text::{crash, mismatch, outcome};
pub use write::{write_crash, write_outcome};
