//! A conformance suite for signaling, STUN and TURN servers, whatever their implementation.
//!
//! [`run`] runs [`Case`]s against the signaling server at a [`Target`], over any network that implements
//! [`Dial`](dial::Dial). It returns a [`Report`]: the findings, each with a transcript of what all clients sent and
//! received. [`stun::run`] does this for STUN and TURN servers. [`Crowd`] makes clients for load tests instead. Nothing
//! here depends on the reference server: the suite has its own wire code, and it judges behaviour, never wording.

pub mod case;
mod cases;
mod catalogue;
mod client;
pub mod crowd;
mod cx;
mod diagram;
pub mod dial;
mod dialect;
mod entry;
mod env;
mod framing;
mod json;
mod known;
pub mod recording;
mod redact;
mod replay;
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
pub use dialect::{Audience, Dialect, DialectError, Problem, shipped};
pub use framing::error::TlsError;
pub use framing::stream::tls_config;
pub use framing::wire::{Arrival, Wire};
pub use known::{BadList, Known, Requirements};
pub use recording::{BadRecording, Recording};
pub use replay::{Played, Step, Unplayable, replay};
pub use runner::Options;
pub use schedule::settle;
pub use select::{NoSuchCase, Selection, glob, select, select_from};
pub use signaling::run;
pub use target::{BadUrl, Target, Unreachable};
pub use text::Show;
pub use transcript::Transcript;
pub use trial::{Trial, trial};
pub use verdict::{CaseReport, Report, RequirementReport, Verdict};
