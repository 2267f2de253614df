//! Renders the results of simulations and of conformance runs, for people and for CI.
//!
//! This crate reads results and renders them. It runs nothing and judges nothing.
//!
//! - [`model`] is the common format of all results: JSON Lines with an opening record, one [`model::Case`] for each
//!   case, and a closing record.
//! - [`cases_of_report`] makes cases from a conformance report, [`case_of_outcome`] from a run of the simulator.
//! - A [`Writer`] writes a result file, and [`Results`] reads one.
//! - [`html()`] renders a self-contained page, [`markdown()`] a comment for a pull request, and [`summary()`] a text
//!   for the terminal.
//! - [`junit()`], [`ctrf()`], [`sarif()`] and [`github()`] render the formats of CI systems.
//! - [`matrix()`] renders the results of several servers as one page, and [`NatMatrix`] those of pairs of NATs.
//! - [`diff`] compares two results, and [`history`] keeps the results of many.
//! - [`campaign`] keeps the generated stories of a campaign.
//!
//! # Example
//! ```no_run
//! use std::path::Path;
//!
//! use reports::model::{Opening, Suite, VERSION};
//! use reports::{Detail, Results, Writer, cases_of_report, html};
//!
//! # fn example(report: &conformance::Report) -> Result<(), Box<dyn std::error::Error>> {
//! let opening = Opening {
//!     version: VERSION,
//!     suite: Suite::Conformance,
//!     name: report.dialect.clone(),
//!     tool: "my-tool 1.0.0".to_owned(),
//!     target: report.url.clone(),
//!     command: "my-tool test".to_owned(),
//!     started_ms: 0,
//! };
//! let mut writer = Writer::create(Path::new("target/found"), &opening)?;
//! for case in cases_of_report(report, "my-tool test", None, Detail::Brief) {
//!     writer.case(case)?;
//! }
//! writer.close(report.took)?;
//! let results = Results::load(Path::new("target/found"))?;
//! std::fs::write("report.html", html(&[results]))?;
//! # Ok(())
//! # }
//! ```

pub mod campaign;
mod ctrf;
mod database;
pub mod diff;
mod evidence;
mod frames;
mod from_conformance;
mod from_sim;
mod github;
pub mod history;
mod html;
mod junit;
mod live;
mod markdown;
mod matrix;
pub mod model;
mod nat_matrix;
mod pcap;
mod place;
mod replay;
mod result;
mod sarif;
mod shares;
mod standing;
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
pub use from_sim::{Detail, case_of_crash, case_of_mismatch, case_of_outcome, crash_rule};
pub use github::github;
pub use html::{html, html_with_history};
pub use junit::junit;
pub use live::Live;
pub use markdown::markdown;
pub use matrix::{NoMatrix, Server, matrix};
pub use nat_matrix::{NatCell, NatMatrix, NatOutcome, NatResult};
pub use pcap::write_pcap;
pub use replay::{Replay, command_line};
pub use result::{BadFile, BadLine, Overall, Results, Writer};
pub use sarif::sarif;
pub use summary::summary;
pub use sweep::{Seed, Sweep};
pub use table::{Width, list, terminal_width};
pub use text::{crash, mismatch, outcome};
pub use write::{write_crash, write_outcome};
