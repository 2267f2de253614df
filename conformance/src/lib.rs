//! A conformance suite for signaling, STUN and TURN servers, whatever their implementation.
//!
//! The suite connects to a server over its own protocol, as clients do, and tests one rule at a time. It has its own
//! wire code, does not depend on the reference server, and judges behaviour, never wording.
//!
//! - A [`Case`] is one rule: a stable slug, a sentence, a [`Level`] and the [`Citation`]s of the specifications that
//!   state it. [`cases()`] lists the cases for signaling servers, [`service_cases`] those for STUN and TURN.
//! - A [`Dialect`] is the protocol of a signaling server, as a TOML file. [`shipped()`] names the dialects that come
//!   with the suite.
//! - A [`Target`] is the URL of the server, with headers and TLS settings.
//! - [`select()`] chooses cases by slug, group and level, and adds the cases that they need.
//! - [`run`] runs cases against a signaling server, over any network that implements [`Dial`](dial::Dial).
//!   [`stun::run`] does this for STUN and TURN servers.
//! - A [`Report`] has a [`CaseReport`] for each case: its [`Verdict`], remarks, and a [`Transcript`] of what all
//!   clients sent and received.
//! - [`Known`] marks known deviations in a report, and [`Requirements`] judges the user's own requirements.
//! - [`Restart`] brings a server back that a case has crashed.
//! - [`Recording`] and [`replay()`] save and repeat the exchange of a case. [`trial()`] tries a new dialect with two
//!   clients. [`Crowd`] makes clients for load tests.
//!
//! # Example
//! ```no_run
//! use std::sync::Arc;
//!
//! use conformance::dial::Tokio;
//! use conformance::{Dialect, Options, Selection, Show, Target, run, select};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let target: Target = "ws://127.0.0.1:8787/".parse()?;
//! let dialect = Arc::new(Dialect::load("mesh")?);
//! let cases = select(&Selection { groups: vec!["room".to_owned()], ..Selection::default() })?;
//! let report = run(Tokio, &target, &dialect, &cases, &Options::default()).await?;
//! print!("{}", report.text(Show::new("cargo xtask conformance --url ws://127.0.0.1:8787/")));
//! assert!(report.passed());
//! # Ok(())
//! # }
//! ```

pub mod case;
mod cases;
mod catalogue;
mod client;
pub mod crowd;
mod cx;
mod diagram;
pub mod dial;
mod entry;
mod env;
mod explain;
mod framing;
mod json;
mod known;
pub mod recording;
mod redact;
mod replay;
mod restart;
mod runner;
mod schedule;
mod select;
mod signaling;
mod stop;
pub mod stun;
mod style;
mod target;
mod text;
pub mod transcript;
mod trial;
pub mod verdict;
mod words;

pub use case::{Case, Citation, Level};
pub use cases::{all as cases, of_service as service_cases};
pub use catalogue::catalogue;
pub use crowd::{Crowd, CrowdError};
// The cases name the language of dialect files `crate::dialect`.
pub use dialect;
pub use dialect::{Audience, Dialect, DialectError, Problem, shipped, shipped_text};
pub use explain::explain;
pub use framing::error::TlsError;
pub use framing::stream::tls_config;
pub use framing::wire::{Arrival, Wire};
pub use known::{BadList, Known, Requirements};
pub use recording::{BadRecording, Recording};
pub use replay::{Played, Step, Unplayable, replay};
pub use restart::Restart;
pub use runner::Options;
pub use schedule::settle;
pub use select::{NoSuchCase, Selection, glob, select, select_from};
pub use signaling::run;
pub use target::{BadUrl, Target, Unreachable};
pub use text::{Show, with_cases};
pub use transcript::Transcript;
pub use trial::{Fit, Trial, fitting, trial};
pub use verdict::{CaseReport, Report, RequirementReport, Verdict};
