//! The promises that every run must keep. An oracle checks one promise and has one file.
//!
//! An oracle sees only what crosses the wire and what clients experience, never a server's internals, so it can judge
//! any server. [`judge_with`] also accepts oracles from other crates: `examples/own_oracle.rs` shows how to write one.

mod call_states;
mod cx;
mod faults;
mod history;
mod model;
mod relays;
mod signals;
mod situations;
mod tcp;
mod webrtc;

use std::collections::BTreeSet;
use std::time::Duration;

use scenarios::Scenario;

use crate::event::{Event, Record, What};
use situations::Situations;

pub use cx::{AnyOracle, Judges, Oracle, OracleCx, Probes, Violation};
pub use expected_probes::left_to_the_server;
pub use situations::Situation;

/// Declares the oracles. Each line is a file and the type in it that implements [`Oracle`].
macro_rules! oracles {
    ($($file:ident::$oracle:ident),* $(,)?) => {
        $(mod $file;)*

        /// All oracles. Causes come before what follows from them: who is not admitted is not connected either.
        fn all() -> Vec<AnyOracle> {
            vec![$(AnyOracle::new($file::$oracle::default())),*]
        }
    };
}

oracles! {
    server_stays_up::ServerStaysUp,
    shutdown_obeyed::ShutdownObeyed,
    client_stays_up::ClientStaysUp,
    somebody_joins::SomebodyJoins,
    programs_join::ProgramsJoin,
    signaling_kept::SignalingKept,
    steps_take_effect::StepsTakeEffect,
    no_cross_room_leak::NoCrossRoomLeak,
    no_delivery_after_leave::NoDeliveryAfterLeave,
    per_pair_fifo::PerPairFifo,
    at_most_once::AtMostOnce,
    no_echo_to_sender::NoEchoToSender,
    sender_identity_stamped::SenderIdentityStamped,
    unique_live_peer_id::UniqueLivePeerId,
    roster_matches_model::RosterMatchesModel,
    one_leave_notice::OneLeaveNotice,
    role_exclusive::RoleExclusive,
    states_as_specified::StatesAsSpecified,
    legal_signaling_state::LegalSignalingState,
    single_glare_winner::SingleGlareWinner,
    answer_matches_offer::AnswerMatchesOffer,
    no_stale_generation::NoStaleGeneration,
    payload_byte_exact::PayloadByteExact,
    mapped_address_true::MappedAddressTrue,
    transaction_id_echoed::TransactionIdEchoed,
    no_open_relay::NoOpenRelay,
    turn_permission_enforced::TurnPermissionEnforced,
    turn_expiry_honoured::TurnExpiryHonoured,
    nat_table_sound::NatTableSound,
    packet_conservation::PacketConservation,
    partition_holds::PartitionHolds,
    ghosts_purged::GhostsPurged,
    nobody_kept_out::NobodyKeptOut,
    backoff_as_specified::BackoffAsSpecified,
    rosters_converge::RostersConverge,
    nobody_left_ringing::NobodyLeftRinging,
    call_end_agreed::CallEndAgreed,
    user_state_true::UserStateTrue,
    relay_only_obeyed::RelayOnlyObeyed,
    everyone_connected::EveryoneConnected,
    relayed_as_expected::RelayedAsExpected,
    connected_as_expected::ConnectedAsExpected,
    best_path_chosen::BestPathChosen,
    connection_kept::ConnectionKept,
    connection_ended::ConnectionEnded,
    consent_honoured::ConsentHonoured,
    tracks_arrive::TracksArrive,
    media_flows::MediaFlows,
    nothing_leaked::NothingLeaked,
    expected_probes::ExpectedProbes,
}

/// Glare's oracles that can judge records of this kind.
pub fn oracles(records: Judges) -> Vec<AnyOracle> {
    all().into_iter().filter(|oracle| [records, Judges::Both].contains(&oracle.judges)).collect()
}

/// The promise of the oracle with this slug, in one sentence; `None` if Glare has no such oracle.
pub fn promise(slug: &str) -> Option<&'static str> {
    all().iter().find(|oracle| oracle.slug == slug).map(|oracle| oracle.promise)
}

/// Glare's oracles: the slug, the promise, and which records each can judge.
pub fn list() -> Vec<(&'static str, &'static str, Judges)> {
    all().iter().map(|oracle| (oracle.slug, oracle.promise, oracle.judges)).collect()
}

/// Judges the record of a simulation by all oracles that apply to simulations.
pub fn judge(scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes) {
    judge_with(oracles(Judges::Simulations), scenario, record)
}

/// Judges a record from real sockets by all oracles that apply to real sockets.
pub fn judge_live(scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes) {
    judge_with(oracles(Judges::RealSockets), scenario, record)
}

/// Judges the record of a simulation, and collects the situations that the oracles' model meets.
pub(crate) fn judge_noting(scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes, BTreeSet<Situation>) {
    let mut situations = Situations::default();
    let note = |event: &Event, cx: &OracleCx<'_>| situations.observe(event, cx);
    let (violations, probes) = judge_and(oracles(Judges::Simulations), scenario, record, note);
    (violations, probes, situations.into_met())
}

/// Judges a record by the given oracles.
pub fn judge_with(oracles: Vec<AnyOracle>, scenario: &Scenario, record: &Record) -> (Vec<Violation>, Probes) {
    judge_and(oracles, scenario, record, |_, _| {})
}

/// Judges a record. `note` also sees each event that is not about a packet, until the end of the scenario.
fn judge_and(
    mut oracles: Vec<AnyOracle>,
    scenario: &Scenario,
    record: &Record,
    mut note: impl FnMut(&Event, &OracleCx<'_>),
) -> (Vec<Violation>, Probes) {
    // Most events of a record are about packets, and few oracles look at those. Those oracles come first, so that the
    // others can be skipped.
    oracles.sort_by_key(|oracle| !oracle.sees_packets);
    let seeing_packets = oracles.partition_point(|oracle| oracle.sees_packets);
    let mut cx = OracleCx::new(scenario, record);
    let mut is_over = false;
    for (index, event) in record.events.iter().enumerate() {
        let is_end = event.what == What::TearDown;
        let is_packet = matches!(event.what, What::Packet(_) | What::Nat(_));
        let active = if is_packet { seeing_packets } else { oracles.len() };
        for oracle in &mut oracles[..active] {
            if is_end {
                cx.set_place(oracle.slug, None, index, event.at);
                oracle.settle(&mut cx);
            }
            cx.set_place(oracle.slug, Some(index), index, event.at);
            oracle.observe(event, &mut cx);
        }
        is_over |= is_end;
        if !is_packet && !is_over {
            note(event, &cx);
        }
        cx.model.advance(index, event);
    }
    let end = record.events.last().map_or(Duration::ZERO, |event| event.at);
    for oracle in &mut oracles {
        cx.set_place(oracle.slug, None, record.events.len().saturating_sub(1), end);
        oracle.finish(&mut cx);
    }
    cx.into_findings()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_oracle_says_what_it_promises() {
        for oracle in all() {
            assert!(oracle.promise.ends_with('.') && !oracle.promise.contains('\n'), "{}", oracle.slug);
            assert_eq!(promise(oracle.slug), Some(oracle.promise), "two oracles have this slug");
        }
        assert_eq!(promise("unheard-of"), None);
    }
}
