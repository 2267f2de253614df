//! A conformance suite for signaling servers, whatever their protocol.
//!
//! [`run`] asks a server at a [`Target`] the questions of some [`Case`]s, over any network that implements
//! [`Dial`](dial::Dial), and returns a [`Report`]: what was found, with the transcript over all clients behind each
//! finding. [`Crowd`] makes clients for whoever measures a server instead. Nothing here knows the reference server: the suite has its own wire code and judges behaviour, never wording.

pub mod case;
mod cases;
mod catalogue;
mod client;
pub mod crowd;
mod diagram;
pub mod dial;
mod dialect;
mod framing;
mod hint;
mod json;
mod known;
pub mod recording;
mod replay;
mod runner;
mod secrets;
mod select;
pub mod stun;
mod style;
mod target;
mod text;
pub mod transcript;
mod trial;
pub mod verdict;

pub use case::{Case, Citation, Level};
pub use cases::all as cases;
pub use catalogue::catalogue;
pub use crowd::Crowd;
pub use dialect::{Audience, Dialect, DialectError, Problem, shipped};
pub use framing::wire::{Arrival, Wire};
pub use known::{BadList, Known, Requirements};
pub use recording::{BadRecording, Recording};
pub use replay::{Played, Step, Unplayable, replay};
pub use runner::{Options, run};
pub use select::{NoSuchCase, Selection, glob, select, select_from};
pub use target::{BadUrl, Target, Unreachable};
pub use text::Show;
pub use transcript::Transcript;
pub use trial::{Trial, trial};
pub use verdict::{CaseReport, Report, RequirementReport, Verdict};
