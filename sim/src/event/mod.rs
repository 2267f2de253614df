//! The record of a run: one typed stream that lists what happened, when and where.
//!
//! Only the world and its peers write it, through a [`Recorder`]. The timeline, oracles, hash, snapshots and reports
//! read it and nothing else.

pub mod datagrams;
mod machine;
mod names;
mod node;
mod packet;
mod peer;
mod program;
mod record;
mod signaling;
mod what;

pub use machine::{Census, Fault, Line, MachineEvent};
pub use names::{ClientId, PeerName, RoomName};
pub use node::{Node, NodeId, NodeKind};
pub use packet::{Drop, Mapping, NatEvent, PacketEvent, PacketId, PacketView, Protocol, Refusal, TransportAddress};
pub use peer::{Candidate, CandidateKind, Closed, DtlsState, IceState, PeerChange, PeerEvent, TrackKind, TurnChange};
pub use program::ProgramEvent;
pub use record::{Record, Recorder};
pub use signaling::{CallStep, ClientState, Frame, Member, Message, Refused, SignalKind, Signaling};
pub use what::{Event, What};
