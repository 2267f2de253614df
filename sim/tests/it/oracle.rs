//! Each oracle reports when the very thing that it guards is broken, no other oracle does, and its message names the
//! problem. On unchanged records no oracle reports anything.
//!
//! Each test changes the record of a real run as a faulty server, NAT or client would have written it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use scenarios::{ActorIndex, Scenario, ServerProgram};
use sim::event::{
    Candidate, CandidateKind, ClientId, Event, Fault, Frame, Line, Member, Message, NatEvent, NodeId, PacketEvent,
    PeerChange, PeerEvent, PeerName, Protocol, Record, RoomName, SignalKind, Signaling, TrackKind, TransportAddress,
    What,
};
use sim::oracle::{Probes, judge, judge_live, left_to_the_server};

// ---- signaling

#[test]
fn what_really_happens_breaks_no_promise() {
    for case in [mesh_3(), same_lan(), leaving(), dropping(), two_rooms(), alone()] {
        assert_eq!(judge(&case.scenario, &case.record).0, [], "{}", case.scenario.name);
    }
}

#[test]
fn no_cross_room_leak_sees_a_room_that_was_never_requested() {
    let mut case = mesh_3();
    let at = case.arrival("ben", "ana", SignalKind::IceCandidate, 0);
    let Message::Signal { room, .. } = case.received_mut(at) else { unreachable!() };
    *room = "attic".into();
    case.turns_red(
        "no-cross-room-leak",
        &["ben received a candidate from ana", "room `attic`", "never requested to join"],
    );
}

#[test]
fn no_cross_room_leak_sees_a_signal_from_another_room() {
    for room in ["kitchen", "attic"] {
        let mut case = two_rooms();
        let at = case.arrival("ben", "ana", SignalKind::Offer, 0);
        let mut message = case.received(at).clone();
        let Message::Signal { room: of, .. } = &mut message else { unreachable!() };
        *of = room.into();
        let (when, eve) = (Duration::from_secs(8), case.node("eve"));
        case.insert(when, eve, What::Signaling(Signaling::Received(message)));
        case.turns_red("no-cross-room-leak", &["eve", "received an offer from ana"]);
    }
}

#[test]
fn no_delivery_after_leave_sees_a_signal_from_somebody_gone() {
    let mut case = leaving();
    let last = case.arrivals("ana", "ben").pop().expect("ben sent to ana");
    let signal = case.record.events.remove(last);
    let left = case.leave_notice("ana", "ben");
    case.record.events.insert(left + 1, Event { at: case.record.events[left].at, ..signal });
    case.turns_red("no-delivery-after-leave", &["ana received", "from ben", "this client left"]);
}

#[test]
fn no_delivery_after_leave_sees_a_signal_to_somebody_gone() {
    let mut case = mesh_3();
    let (ben, sent) = (case.id("ben"), case.sent("ana", "ben", SignalKind::IceCandidate, 0));
    let at = case.record.events[sent].at;
    let (cam, room) = (case.node("cam"), case.room());
    let notice = Event { at, node: cam, what: received(Message::PeerLeft { room, id: ben }) };
    case.record.events.insert(sent, notice);
    let found = case.violations();
    let found = found.iter().find(|(slug, _)| *slug == "no-delivery-after-leave").expect("it is red");
    assert!(found.1.contains("although cam had been notified"), "{}", found.1);
}

#[test]
fn no_delivery_after_leave_sees_news_of_a_room_left_behind() {
    let mut case = two_rooms();
    let at = case.arrival("ben", "ana", SignalKind::Offer, 0);
    let ben = case.node("ben");
    let joined = Message::Joined { room: "attic".into(), id: case.id("ben"), roster: Vec::new() };
    let join = Message::Join { room: "attic".into() };
    let when = case.record.events[at].at;
    case.record.events.insert(at, Event { at: when, node: ben, what: received(joined) });
    case.record.events.insert(at, Event { at: when, node: ben, what: What::Signaling(Signaling::Sent(join)) });
    let found = case.violations();
    let found = found.iter().find(|(slug, _)| *slug == "no-delivery-after-leave").expect("it is red");
    assert!(found.1.contains("has left that room for room `attic`"), "{}", found.1);
}

#[test]
fn per_pair_fifo_sees_two_signals_swapped() {
    let mut case = mesh_3();
    let [one, other] = case.arrivals("ben", "ana")[..2] else { panic!("ana sent two signals to ben") };
    let first = case.received(one).clone();
    let second = std::mem::replace(case.received_mut(other), first);
    *case.received_mut(one) = second;
    case.turns_red("per-pair-fifo", &["ben received an offer that ana", "after a candidate"]);
}

#[test]
fn at_most_once_sees_a_signal_come_twice() {
    let mut case = mesh_3();
    let at = case.arrival("ben", "ana", SignalKind::Offer, 0);
    case.record.events.insert(at + 1, case.record.events[at].clone());
    case.turns_red("at-most-once", &["ben received an offer twice", "ana", "sent it once"]);
}

#[test]
fn at_most_once_sees_a_signal_come_to_a_third() {
    let mut case = mesh_3();
    let (at, cam) = (case.arrival("ben", "ana", SignalKind::Offer, 0), case.node("cam"));
    let what = case.record.events[at].what.clone();
    case.insert(Duration::from_secs(8), cam, what);
    case.turns_red("at-most-once", &["cam received an offer", "ana", "to ben"]);
}

#[test]
fn tracks_arrive_sees_a_picture_that_was_agreed_on_and_never_comes() {
    let (agreed, arrived) = (Duration::from_secs(2), Duration::from_secs(9));
    let judged = |insert: &[(Duration, PeerChange)]| {
        let mut case = mesh_3();
        let (ana, peer) = (case.node("ana"), PeerName::Client(case.id("ben")));
        for (at, change) in insert {
            let event = PeerEvent { peer: peer.clone(), attempt: 1, change: change.clone() };
            case.insert(*at, ana, What::Peer(event));
        }
        let found = judge_live(&case.scenario, &case.record).0.into_iter();
        found
            .filter(|violation| violation.oracle == "tracks-arrive")
            .map(|violation| violation.message)
            .collect::<Vec<_>>()
    };
    let (track, plays) = (PeerChange::Track { kind: TrackKind::Video }, PeerChange::Plays { kind: TrackKind::Video });
    let missing = judged(&[(agreed, track.clone())]);
    assert!(missing.len() == 1 && missing[0].starts_with("ana is connected with ben"), "{missing:?}");
    assert!(missing[0].ends_with("but receives no picture"), "{missing:?}");
    assert_eq!(judged(&[(agreed, track.clone()), (arrived, plays)]), [""; 0]);
    assert_eq!(judged(&[(arrived, track)]), [""; 0], "it may still come");
}

#[test]
fn no_echo_to_sender_sees_a_signal_come_back() {
    let mut case = mesh_3();
    let (at, ana) = (case.arrival("ben", "ana", SignalKind::Offer, 0), case.node("ana"));
    let what = case.record.events[at].what.clone();
    case.insert(Duration::from_secs(8), ana, what);
    case.turns_red("no-echo-to-sender", &["ana", "received an offer from itself"]);
}

#[test]
fn no_echo_to_sender_sees_a_notice_about_itself() {
    let mut case = mesh_3();
    let (ana, room, id) = (case.node("ana"), case.room(), case.id("ana"));
    case.insert(Duration::from_secs(8), ana, received(Message::PeerJoined { room, member: Member { id, name: None } }));
    case.turns_red("no-echo-to-sender", &["ana", "a notice of its own joining"]);
}

#[test]
fn sender_identity_stamped_sees_another_sender() {
    let mut case = mesh_3();
    let at = case.arrival("ben", "ana", SignalKind::Offer, 0);
    case.stamp(at, Some("cam"));
    case.turns_red("sender-identity-stamped", &["ben received an offer that names cam", "but ana"]);
}

#[test]
fn sender_identity_stamped_sees_no_sender() {
    let mut case = mesh_3();
    let at = case.arrival("ben", "ana", SignalKind::Offer, 0);
    case.stamp(at, None);
    case.turns_red("sender-identity-stamped", &["ben received an offer that names no sender", "but ana"]);
}

#[test]
fn sender_identity_stamped_sees_a_forgery() {
    let mut case = mesh_3();
    let (ben, room, peer) = (case.node("ben"), case.room(), Some(case.id("ana")));
    let forged = Message::Signal { room, peer, kind: SignalKind::Hangup, payload: "{}".into() };
    case.insert(Duration::from_secs(8), ben, received(forged));
    case.turns_red("sender-identity-stamped", &["ben received a hangup that names ana", "no client sent it"]);
}

#[test]
fn unique_live_peer_id_sees_an_id_given_twice() {
    let mut case = two_rooms();
    let (at, id) = (case.joined("fay"), case.id("ana"));
    let Message::Joined { id: theirs, .. } = case.received_mut(at) else { unreachable!() };
    *theirs = id;
    case.turns_red("unique-live-peer-id", &["fay was given the id", "but ana still has it"]);
}

#[test]
fn unique_live_peer_id_sees_an_id_by_which_somebody_is_still_known() {
    let mut case = leaving();
    let id = case.id("ben");
    let known = |event: &Event| matches!(&event.what, What::Signaling(Signaling::Received(Message::PeerLeft { id: of, .. })) if *of == id);
    case.record.events.retain(|event| !known(event));
    let eve = case.joined("eve");
    let Message::Joined { id: theirs, .. } = case.received_mut(eve) else { unreachable!() };
    *theirs = id;
    let found = case.violations();
    let found = found.iter().find(|(slug, _)| *slug == "unique-live-peer-id").expect("it is red");
    assert!(found.1.contains("still lists ben, who left"), "{}", found.1);
}

#[test]
fn roster_matches_model_sees_somebody_missing() {
    let mut case = mesh_3();
    let (at, ana) = (case.joined("cam"), case.id("ana"));
    let Message::Joined { roster, .. } = case.received_mut(at) else { unreachable!() };
    roster.retain(|member| member.id != ana);
    case.turns_red("roster-matches-model", &["cam", "lacks ana"]);
}

#[test]
fn roster_matches_model_sees_somebody_too_many() {
    type Wrong = fn(&Case) -> Member;
    let wrong: [(&str, Wrong); 5] = [
        ("lists itself", |case| Member { id: case.id("cam"), name: Some("cam".into()) }),
        ("lists ana (id", |case| Member { id: case.id("ana"), name: Some("ana".into()) }),
        ("no client was given this id", |_| Member { id: "zzzzzzzzzz".into(), name: None }),
        ("calls ana", |case| Member { id: case.id("ana"), name: Some("anna".into()) }),
        ("who is in room `attic`", |case| Member { id: case.id("eve"), name: Some("eve".into()) }),
    ];
    for (words, member) in wrong {
        let mut case = if words.contains("attic") { two_rooms() } else { mesh_3() };
        let (at, member) = (case.joined("cam"), member(&case));
        let Message::Joined { roster, .. } = case.received_mut(at) else { unreachable!() };
        if words.contains("calls") {
            roster.retain(|listed| listed.id != member.id);
        }
        roster.push(member);
        case.turns_red("roster-matches-model", &["cam", words]);
    }
}

#[test]
fn roster_matches_model_sees_somebody_announced_twice() {
    let mut case = mesh_3();
    let at = case.join_notice("ana", "cam");
    case.record.events.insert(at + 1, case.record.events[at].clone());
    case.turns_red("roster-matches-model", &["ana received a join notice", "cam", "which was announced before"]);
}

#[test]
fn one_leave_notice_sees_a_second_notice() {
    let mut case = leaving();
    let at = case.leave_notice("ana", "ben");
    case.record.events.insert(at + 1, case.record.events[at].clone());
    case.turns_red("one-leave-notice", &["ana was notified twice that ben", "left"]);
}

#[test]
fn one_leave_notice_sees_a_client_that_was_not_notified() {
    let mut case = leaving();
    let at = case.leave_notice("ana", "ben");
    case.record.events.remove(at);
    case.turns_red("one-leave-notice", &["ana was not notified that ben", "but cam was"]);
}

#[test]
fn one_leave_notice_sees_a_notice_for_somebody_still_there() {
    let mut case = mesh_3();
    let (ana, room, id) = (case.node("ana"), case.room(), case.id("cam"));
    case.insert(Duration::from_secs(15), ana, received(Message::PeerLeft { room, id }));
    case.turns_red("one-leave-notice", &["ana was notified", "that cam", "it is still there"]);
}

#[test]
fn one_leave_notice_sees_a_notice_for_a_stranger() {
    let mut case = mesh_3();
    let (ana, room, id) = (case.node("ana"), case.room(), "zzzzzzzzzz".into());
    case.insert(Duration::from_secs(15), ana, received(Message::PeerLeft { room, id }));
    case.turns_red("one-leave-notice", &["ana was notified", "never that it had joined"]);
}

#[test]
fn ghosts_purged_sees_a_leave_without_a_notice() {
    let mut case = leaving();
    for reader in ["ana", "cam"] {
        let at = case.leave_notice(reader, "ben");
        case.record.events.remove(at);
    }
    case.turns_red("ghosts-purged", &["no client was notified that ben", "cam still lists"]);
}

#[test]
fn ghosts_purged_sees_a_ghost_on_a_roster() {
    let mut case = leaving();
    for reader in ["ana", "cam"] {
        let at = case.leave_notice(reader, "ben");
        case.record.events.remove(at);
    }
    let (at, id) = (case.joined("eve"), case.id("ben"));
    let Message::Joined { roster, .. } = case.received_mut(at) else { unreachable!() };
    roster.push(Member { id, name: Some("ben".into()) });
    case.turns_red("ghosts-purged", &["eve received a roster", "lists ben", "was gone at", "had to be removed"]);
}

#[test]
fn ghosts_purged_distinguishes_a_ghost_from_its_owners_next_connection() {
    let mut case = Case::of(
        r#"
        [server]
        heartbeat = "2s"
        [[actor]]
        name = "ana"
        [[actor]]
        name = "ben"
        [[step]]
        at = "5s"
        do = "power-loss"
        machine = "ben"
        [[step]]
        at = "16s"
        do = "boot"
        machine = "ben"
        "#,
    );
    assert_eq!(case.violations(), []);
    let at = case.leave_notice("ana", "ben");
    case.record.events.remove(at);
    case.turns_red("ghosts-purged", &["no client was notified that ben", "gone since 5.000 s", "ana still lists"]);
}

#[test]
fn rosters_converge_sees_somebody_who_was_not_announced() {
    let mut case = mesh_3();
    let at = case.join_notice("ana", "cam");
    case.record.events.remove(at);
    case.turns_red("rosters-converge", &["ana was not notified of cam"]);
}

#[test]
fn rosters_converge_sees_a_join_that_is_not_answered() {
    let mut case = alone();
    let at = case.joined("ana");
    case.record.events.remove(at);
    case.turns_red("rosters-converge", &["ana requested", "got no answer"]);
}

/// Ana's record if the server closes each of her connections, with this code, when she asks to join.
fn closed_again_and_again(times: usize, code: Option<u16>) -> Case {
    let mut case = alone();
    let (at, ana, room) = (case.joined("ana"), case.node("ana"), case.room());
    let template = case.record.events[at].clone();
    let ends = [Signaling::FrameReceived(Frame::Close(code)), Signaling::Closed { code, reason: "".into() }];
    let begins = [Signaling::Connected, Signaling::Sent(Message::Join { room })];
    let again = begins.iter().chain(&ends).cloned().cycle().take(4 * (times - 1));
    let all = ends.iter().cloned().chain(again);
    let events = all.map(|what| Event { what: What::Signaling(what), ..template.clone() });
    let (before, after) = case.record.events.split_at(at);
    let after = after.iter().filter(|event| event.node != ana || !matches!(event.what, What::Signaling(_)));
    case.record.events = before.iter().cloned().chain(events).chain(after.cloned()).collect();
    case
}

#[test]
fn rosters_converge_sees_connections_that_are_closed_in_place_of_an_answer() {
    let is_red = |times, code| {
        let violations = closed_again_and_again(times, code).violations();
        violations.iter().any(|(oracle, message)| {
            *oracle == "rosters-converge" && message.contains(&format!("ana requested {times} times to join room"))
        })
    };
    assert!(is_red(3, None) && is_red(5, Some(1011)));
    // Now and then it may happen, and an application's code is a refusal.
    assert!(!is_red(2, None) && !is_red(5, Some(4001)) && !is_red(5, Some(1008)));
    // A client that closes its connections itself is answered with close frames.
    let mut case = closed_again_and_again(5, None);
    let close = What::Signaling(Signaling::FrameReceived(Frame::Close(None)));
    let sent = What::Signaling(Signaling::FrameSent(Frame::Close(None)));
    let twice = |event: Event| {
        let own = (event.what == close).then(|| Event { what: sent.clone(), ..event.clone() });
        own.into_iter().chain([event]).collect::<Vec<_>>()
    };
    case.record.events = std::mem::take(&mut case.record.events).into_iter().flat_map(twice).collect();
    assert!(case.violations().iter().all(|(oracle, _)| *oracle != "rosters-converge"), "{:?}", case.violations());
}

#[test]
fn payload_byte_exact_sees_one_byte() {
    let mut case = mesh_3();
    let at = case.arrival("ben", "ana", SignalKind::Offer, 0);
    let Message::Signal { payload, .. } = case.received_mut(at) else { unreachable!() };
    *payload = payload.replacen("IN IP4", "IN IP5", 1).into();
    case.turns_red("payload-byte-exact", &["ben received an offer from ana", "altered from byte", "IN IP4", "IN IP5"]);
}

#[test]
fn payload_byte_exact_tells_json_in_other_bytes_apart() {
    let altered = |alter: fn(&str) -> String| {
        let mut case = mesh_3();
        let at = case.arrival("ben", "ana", SignalKind::Offer, 0);
        let Message::Signal { payload, .. } = case.received_mut(at) else { unreachable!() };
        *payload = alter(payload).into();
        case
    };
    let spaced = altered(|payload| payload.replacen("{", "{ ", 1));
    spaced.turns_red("payload-byte-exact", &["both have the same JSON value", "`payload = \"json\"`"]);
    let changed = altered(|payload| payload.replacen("IN IP4", "IN IP5", 1));
    assert!(changed.violations().iter().all(|(_, message)| !message.contains("same JSON value")));
}

#[test]
fn backoff_as_specified_sees_a_wrong_attempt() {
    let mut case = dropping();
    let at = case.find(|event| matches!(event.what, What::Signaling(Signaling::Connecting { attempt: 1 })));
    case.record.events[at].what = What::Signaling(Signaling::Connecting { attempt: 3 });
    case.turns_red("backoff-as-specified", &["ben reported attempt 3", "this was attempt 1"]);
}

#[test]
fn backoff_as_specified_sees_a_wrong_pause() {
    let mut case = dropping();
    let at = case.find(|event| matches!(event.what, What::Signaling(Signaling::Connecting { attempt: 1 })));
    case.record.events[at].at += Duration::from_millis(700);
    case.turns_red("backoff-as-specified", &["ben dialled attempt 1 after 1.700 s instead of 1 s"]);
}

#[test]
fn backoff_as_specified_sees_a_client_that_does_not_return() {
    let mut case = dropping();
    let at = case.find(|event| matches!(event.what, What::Signaling(Signaling::Connecting { attempt: 1 })));
    let ben = case.node("ben");
    let mut index = 0;
    case.record.events.retain(|event| {
        index += 1;
        index <= at || event.node != ben || !matches!(event.what, What::Signaling(_))
    });
    let found = case.violations();
    assert!(
        found.iter().any(|(slug, words)| *slug == "backoff-as-specified" && words.contains("has not dialled again"))
    );
}

// ---- WebRTC

#[test]
fn single_glare_winner_sees_both_offers_answered() {
    let mut case = mesh_3();
    let (ana, ben, room) = (case.node("ana"), case.node("ben"), case.room());
    let signal = |peer, kind| Message::Signal { room: room.clone(), peer: Some(peer), kind, payload: "{}".into() };
    let arrival = case.arrival("ben", "ana", SignalKind::Offer, 0);
    let at = case.record.events[arrival].at;
    // ben offered just before ana's offer arrived. In the changed record ana answers ben's offer, and ben answers hers
    // as before.
    let events = [
        (ben, What::Signaling(Signaling::Sent(signal(case.id("ana"), SignalKind::Offer)))),
        (ana, received(signal(case.id("ben"), SignalKind::Offer))),
        (ana, What::Signaling(Signaling::Sent(signal(case.id("ben"), SignalKind::Answer)))),
    ];
    for (node, what) in events.into_iter().rev() {
        case.record.events.insert(arrival, Event { at, node, what });
    }
    case.turns_red("single-glare-winner", &["ana", "ben", "sent offers that crossed", "both offers were answered"]);
}

#[test]
fn single_glare_winner_sees_neither_offer_answered() {
    let mut case = mesh_3();
    let (ana, ben, room) = (case.node("ana"), case.node("ben"), case.room());
    let signal =
        |peer| Message::Signal { room: room.clone(), peer: Some(peer), kind: SignalKind::Offer, payload: "{}".into() };
    let (to_ana, to_ben) = (signal(case.id("ana")), signal(case.id("ben")));
    let events = [
        (ana, What::Signaling(Signaling::Sent(to_ben.clone()))),
        (ben, What::Signaling(Signaling::Sent(to_ana.clone()))),
        (ana, received(to_ben)),
        (ben, received(to_ana)),
    ];
    for (node, what) in events.into_iter().rev() {
        case.insert(Duration::from_secs(8), node, what);
    }
    case.turns_red("single-glare-winner", &["ana", "ben", "sent offers that crossed", "neither offer was answered"]);
}

#[test]
fn no_stale_generation_sees_an_old_candidate_and_an_old_description() {
    let mut case = mesh_3();
    let at = case.find(|event| {
        matches!(event.what, What::Peer(PeerEvent { change: PeerChange::Candidate { local: false, .. }, .. }))
    });
    let What::Peer(PeerEvent { change: PeerChange::Candidate { ufrag, .. }, .. }) = &mut case.record.events[at].what
    else {
        unreachable!()
    };
    *ufrag = "yesterdays".into();
    case.turns_red("no-stale-generation", &["accepted the candidate", "generation `yesterdays`"]);

    let mut case = mesh_3();
    let is_remote = |event: &Event| {
        matches!(event.what, What::Peer(PeerEvent { change: PeerChange::Described { local: false, .. }, .. }))
    };
    let at = case.find(is_remote);
    let mut renewed = case.record.events[at].clone();
    let What::Peer(PeerEvent { change: PeerChange::Described { ufrag, .. }, .. }) = &mut renewed.what else {
        unreachable!()
    };
    *ufrag = "renewed".into();
    let old = case.record.events[at].clone();
    case.record.events.splice(at + 1..at + 1, [renewed, old]);
    let found = case.violations();
    assert!(
        found.iter().any(|(slug, words)| *slug == "no-stale-generation" && words.contains("which has been replaced"))
    );
}

#[test]
fn everyone_connected_sees_a_pair_that_never_heard_from_one_another() {
    let mut case = mesh_3();
    let (ben, ana) = (case.node("ben"), case.id("ana"));
    case.record.events.retain(|event| {
        let heard = matches!(&event.what, What::Peer(PeerEvent { peer, change: PeerChange::ChannelReceived { .. }, .. }) if peer.id() == Some(&ana));
        event.node != ben || !heard
    });
    case.turns_red(
        "everyone-connected",
        &["ana", "ben", "are not connected", "open data channel but received no message"],
    );
}

#[test]
fn everyone_connected_sees_a_list_that_the_nats_contradict() {
    let mut case = mesh_3();
    case.scenario.expect.unconnected.push((ActorIndex(0), ActorIndex(1)));
    case.turns_red("everyone-connected", &["lists ana and ben, but their NATs let them connect"]);

    let mut case = with_symmetric_nats();
    case.turns_red("everyone-connected", &["does not list ana and ben, but their NATs keep them apart"]);
    case.scenario.expect.unconnected.push((ActorIndex(1), ActorIndex(0)));
    case.turns_red("everyone-connected", &["ana and ben are connected, but `expect.unconnected` lists them"]);
}

#[test]
fn best_path_chosen_sees_a_detour() {
    let mut case = same_lan();
    let srflx = Candidate { kind: CandidateKind::Srflx, address: "198.51.100.10:50170".parse().expect("an address") };
    let (ana, ben) = (case.node("ana"), case.id("ben"));
    case.select(ana, ben, srflx);
    case.turns_red(
        "best-path-chosen",
        &["ana reaches ben at 198.51.100.10:50170", "the peer's own address 192.168.1.11"],
    );

    let relay = Candidate { kind: CandidateKind::Relay, ..srflx };
    let cam = case.id("cam");
    let mut case = same_lan();
    case.select(ana, cam, relay);
    case.turns_red("best-path-chosen", &["ana reaches cam through a relay"]);
}

#[test]
fn mapped_address_true_sees_a_wrong_port() {
    for mut case in [mesh_3(), two_rooms()] {
        let at =
            case.find(|event| matches!(event.what, What::Peer(PeerEvent { change: PeerChange::Mapped { .. }, .. })));
        let What::Peer(PeerEvent { change: PeerChange::Mapped { mapped, .. }, .. }) = &mut case.record.events[at].what
        else {
            unreachable!()
        };
        let address = *mapped;
        *mapped = TransportAddress::new(address.ip(), address.port() ^ 1);
        case.turns_red("mapped-address-true", &["the STUN server reported", &format!("expected {address}")]);
    }
}

#[test]
fn mapped_address_true_follows_every_nat_on_the_way() {
    let mut case = Case::of(
        r#"
        [[network]]
        name = "provider"
        nat = "cgn-wired"
        [[actor]]
        name = "ana"
        nat = "home-linux"
        behind = "provider"
        [[actor]]
        name = "ben"
        "#,
    );
    assert_eq!(case.violations(), []);
    let provider = case.node("provider");
    case.record.events.retain(|event| event.node != provider || !matches!(event.what, What::Nat(NatEvent::Used(_))));
    case.turns_red("mapped-address-true", &["the STUN server reported", "to ana", "expected no response"]);
}

// ---- packets and what is left

#[test]
fn packet_conservation_sees_a_packet_vanish() {
    let mut case = mesh_3();
    let at = case.find(
        |event| matches!(&event.what, What::Packet(PacketEvent::Delivered(view)) if view.protocol == Protocol::Udp),
    );
    case.record.events.remove(at);
    case.turns_red(
        "packet-conservation",
        &["1 packets were sent and neither delivered nor dropped", "0 are in flight"],
    );
}

#[test]
fn packet_conservation_sees_a_packet_come_from_nowhere() {
    let mut case = mesh_3();
    let at = case.find(
        |event| matches!(&event.what, What::Packet(PacketEvent::Delivered(view)) if view.protocol == Protocol::Udp),
    );
    case.record.events.insert(at + 1, case.record.events[at].clone());
    case.turns_red("packet-conservation", &["was delivered at", "no copy of it was in flight"]);
}

#[test]
fn packet_conservation_sees_a_payload_change_on_the_way() {
    let mut case = mesh_3();
    let at = case.find(
        |event| matches!(&event.what, What::Packet(PacketEvent::Delivered(view)) if view.protocol == Protocol::Udp),
    );
    let What::Packet(PacketEvent::Delivered(view)) = &mut case.record.events[at].what else { unreachable!() };
    view.digest ^= 1;
    case.turns_red("packet-conservation", &["with another payload"]);
}

#[test]
fn partition_holds_sees_a_packet_that_passes() {
    let mut case = mesh_3();
    let (ana, ben) = (case.node("ana"), case.node("ben"));
    let cut = Fault::Partition { from: vec![ana], to: vec![ben], one_way: true };
    case.insert(Duration::from_secs(15), ana, What::Fault(cut));
    case.turns_red("partition-holds", &["ben received packet", "from ana, from which a partition cuts it off"]);
}

#[test]
fn connection_ended_sees_a_connection_to_a_member_that_left() {
    let mut case = leaving();
    let (ana, ben) = (case.node("ana"), case.id("ben"));
    case.record.events.retain(|event| {
        let closes = matches!(&event.what, What::Peer(PeerEvent { peer, change: PeerChange::Closed { .. }, .. }) if peer.id() == Some(&ben));
        !(event.node == ana && closes)
    });
    case.turns_red("connection-ended", &["ana still has a connection to ben", "was notified at 8."]);
}

#[test]
fn nothing_leaked_sees_what_is_left() {
    let mut case = mesh_3();
    let at = case.find(|event| matches!(event.what, What::Census(_)));
    let What::Census(census) = &mut case.record.events[at].what else { unreachable!() };
    (census.tasks, census.rooms) = (2, 1);
    case.turns_red("nothing-leaked", &["these remained: 2 running tasks, 1 rooms at the server"]);
    case.record.events.remove(at);
    case.turns_red("nothing-leaked", &["the record has no census"]);
}

#[test]
fn a_probe_that_a_scenario_expects_must_be_hit() {
    let mut case = mesh_3();
    case.scenario.expect.probes = vec!["nat-refused".into()];
    assert_eq!(case.violations(), []);
    case.scenario.expect.probes = vec!["glare".into()];
    case.turns_red("expected-probes", &["expects `glare`, which never occurred"]);
    // A server program closes connections when it likes. What that was to test is not tested, and no fault of the server.
    case.scenario.expect.probes = vec!["reconnected".into()];
    case.turns_red("expected-probes", &["expects `reconnected`, which never occurred"]);
    assert!(left_to_the_server(&case.scenario, &Probes::new()).is_empty());
    case.scenario.server.program = Some(ServerProgram::default());
    assert_eq!(case.violations(), []);
    assert_eq!(left_to_the_server(&case.scenario, &Probes::new()), ["reconnected"]);
    assert!(left_to_the_server(&case.scenario, &Probes::from([("reconnected", 1)])).is_empty());
    case.scenario.expect.probes = vec!["glare".into()];
    case.turns_red("expected-probes", &["expects `glare`, which never occurred"]);
}

#[test]
fn steps_take_effect_sees_a_step_that_does_nothing() {
    let mut case = mesh_3();
    let why = "cannot hang up on cam: it knows no such client";
    let (at, ana) = (Duration::from_secs(8), case.node("ana"));
    case.insert(at, ana, What::Fault(Fault::NoEffect { line: Line(12), why: why.into() }));
    case.scenario.idle_steps = true;
    assert_eq!(case.violations(), []);
    case.scenario.idle_steps = false;
    case.turns_red("steps-take-effect", &["the step on line 12 has no effect: ana cannot hang up on cam"]);
}

#[test]
fn steps_take_effect_sees_a_heal_of_nothing() {
    let mut case = mesh_3();
    let (at, world) = (Duration::from_secs(8), case.node("world"));
    let why = "there is no partition to heal";
    case.insert(at, world, What::Fault(Fault::NoEffect { line: Line(12), why: why.into() }));
    case.turns_red("steps-take-effect", &["the step on line 12 has no effect: there is no partition to heal"]);
}

// ---- helpers

/// A scenario and the record of its run, which a test then changes.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) record: Record,
}

pub(crate) fn mesh_3() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| Case::play(scenarios::load("mesh-3").expect("it is shipped"))).clone()
}

fn same_lan() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| Case::play(scenarios::load("same-lan").expect("it is shipped"))).clone()
}

/// mesh-3, but with NATs of ana and ben that prevent them from connecting.
fn with_symmetric_nats() -> Case {
    let mut case = mesh_3();
    let symmetric = scenarios::load("mesh-6-symmetric-no-turn").expect("it is shipped").networks[0].nat.clone();
    for actor in [0, 1] {
        let network = case.scenario.actors[actor].network.expect("it is behind a NAT");
        case.scenario.networks[network].nat.clone_from(&symmetric);
    }
    // What the NATs really did contradicts them.
    case.record.events.retain(|event| {
        let mapped = matches!(event.what, What::Peer(PeerEvent { change: PeerChange::Mapped { .. }, .. }));
        !mapped && !matches!(event.what, What::Nat(_))
    });
    case
}

/// ana, ben and cam are in a room. ben leaves, and long after that eve joins another room.
fn leaving() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    let text = r#"
        [[actor]]
        name = "ana"
        [[actor]]
        name = "ben"
        [[actor]]
        name = "cam"
        joins = "100ms"
        [[actor]]
        name = "eve"
        joins = "25s"
        [[step]]
        at = "8s"
        do = "leave"
        actor = "ben"
    "#;
    CASE.get_or_init(|| Case::of(text)).clone()
}

/// ben loses his signaling connection once.
fn dropping() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    let text = r#"
        [[actor]]
        name = "ana"
        [[actor]]
        name = "ben"
        [[step]]
        at = "8s"
        do = "drop"
        actor = "ben"
    "#;
    CASE.get_or_init(|| Case::of(text)).clone()
}

/// ana, ben and cam are in one room, eve is in another, and fay later joins a third. No peer has a NAT.
fn two_rooms() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    let text = r#"
        [[actor]]
        name = "ana"
        room = "kitchen"
        [[actor]]
        name = "ben"
        room = "kitchen"
        joins = "100ms"
        [[actor]]
        name = "cam"
        room = "kitchen"
        joins = "6s"
        [[actor]]
        name = "eve"
        room = "attic"
        joins = "2s"
        [[actor]]
        name = "fay"
        room = "cellar"
        joins = "9s"
    "#;
    CASE.get_or_init(|| Case::of(text)).clone()
}

fn alone() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| Case::of("[[actor]]\nname = \"ana\"\n")).clone()
}

pub(crate) fn received(message: Message) -> What {
    What::Signaling(Signaling::Received(message))
}

impl Case {
    pub(crate) fn of(actors: &str) -> Self {
        let text = format!("name = \"case\"\nduration = \"40s\"\n{actors}");
        Self::play(scenarios::parse("case.toml", &text).unwrap_or_else(|error| panic!("{error}")))
    }

    pub(crate) fn play(scenario: Scenario) -> Self {
        let record = sim::run::record(&Arc::new(scenario.clone()), 1).expect("it comes to its end");
        Self { scenario, record }
    }

    pub(crate) fn violations(&self) -> Vec<(&'static str, String)> {
        let (violations, _) = judge(&self.scenario, &self.record);
        violations.into_iter().map(|violation| (violation.oracle, violation.message)).collect()
    }

    /// Checks that exactly this oracle reports, and that one of its messages contains all these words.
    #[track_caller]
    pub(crate) fn turns_red(&self, slug: &str, words: &[&str]) {
        let violations = self.violations();
        assert!(!violations.is_empty(), "nothing is red");
        assert!(violations.iter().all(|(oracle, _)| *oracle == slug), "{violations:#?}");
        let has_all = |message: &str| words.iter().all(|words| message.contains(words));
        assert!(violations.iter().any(|(_, message)| has_all(message)), "{violations:#?}");
    }

    pub(crate) fn node(&self, name: &str) -> NodeId {
        // A NAT that belongs to one actor has the same name, and comes first.
        let node = self.record.nodes.iter().rposition(|node| &*node.name == name).expect("somebody is called so");
        NodeId(node as u16)
    }

    pub(crate) fn room(&self) -> RoomName {
        self.scenario.actors[0].room.as_str().into()
    }

    #[track_caller]
    pub(crate) fn find(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.record.events.iter().position(what).expect("it happened")
    }

    /// The index of the event in which a client was admitted.
    pub(crate) fn joined(&self, name: &str) -> usize {
        let node = self.node(name);
        self.find(|event| {
            event.node == node && matches!(event.what, What::Signaling(Signaling::Received(Message::Joined { .. })))
        })
    }

    pub(crate) fn id(&self, name: &str) -> ClientId {
        match self.received(self.joined(name)) {
            Message::Joined { id, .. } => id.clone(),
            _ => unreachable!("found as joined"),
        }
    }

    pub(crate) fn received(&self, index: usize) -> &Message {
        match &self.record.events[index].what {
            What::Signaling(Signaling::Received(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn received_mut(&mut self, index: usize) -> &mut Message {
        match &mut self.record.events[index].what {
            What::Signaling(Signaling::Received(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The indices of the events in which signals from one client arrived at another.
    pub(crate) fn arrivals(&self, to: &str, from: &str) -> Vec<usize> {
        let (node, id) = (self.node(to), self.id(from));
        let is_arrival = |event: &Event| matches!(&event.what, What::Signaling(Signaling::Received(Message::Signal { peer: Some(peer), .. })) if *peer == id);
        let events = self.record.events.iter().enumerate();
        events.filter(|(_, event)| event.node == node && is_arrival(event)).map(|(index, _)| index).collect()
    }

    /// The index of the event in which the `nth` signal of a kind from one client arrived at another.
    pub(crate) fn arrival(&self, to: &str, from: &str, kind: SignalKind, nth: usize) -> usize {
        let is_kind = |index: &usize| matches!(self.received(*index), Message::Signal { kind: of, .. } if *of == kind);
        self.arrivals(to, from).into_iter().filter(is_kind).nth(nth).expect("it arrived")
    }

    /// The index of the event in which the `nth` signal of a kind from one client to another was sent.
    pub(crate) fn sent(&self, from: &str, to: &str, kind: SignalKind, nth: usize) -> usize {
        let (node, id) = (self.node(from), self.id(to));
        let sent = |event: &Event| matches!(&event.what, What::Signaling(Signaling::Sent(Message::Signal { peer: Some(peer), kind: of, .. })) if *peer == id && *of == kind);
        let events = self.record.events.iter().enumerate();
        let mut sent = events.filter(|(_, event)| event.node == node && sent(event)).map(|(index, _)| index);
        sent.nth(nth).expect("it was sent")
    }

    pub(crate) fn leave_notice(&self, reader: &str, gone: &str) -> usize {
        let (node, id) = (self.node(reader), self.id(gone));
        self.find(|event| {
            event.node == node && matches!(&event.what, What::Signaling(Signaling::Received(Message::PeerLeft { id: of, .. })) if *of == id)
        })
    }

    pub(crate) fn join_notice(&self, reader: &str, new: &str) -> usize {
        let (node, id) = (self.node(reader), self.id(new));
        self.find(|event| {
            event.node == node && matches!(&event.what, What::Signaling(Signaling::Received(Message::PeerJoined { member, .. })) if member.id == id)
        })
    }

    /// Changes the sender that a signal names.
    pub(crate) fn stamp(&mut self, index: usize, from: Option<&str>) {
        let id = from.map(|from| self.id(from));
        let Message::Signal { peer, .. } = self.received_mut(index) else { panic!("it is a signal") };
        *peer = id;
    }

    /// Makes a client select another remote candidate.
    pub(crate) fn select(&mut self, node: NodeId, with: ClientId, other: Candidate) {
        for event in self.record.events.iter_mut().filter(|event| event.node == node) {
            if let What::Peer(PeerEvent { peer, change: PeerChange::Selected { remote, .. }, .. }) = &mut event.what
                && peer.id() == Some(&with)
            {
                *remote = other;
            }
        }
    }

    /// Inserts an event at a time.
    pub(crate) fn insert(&mut self, at: Duration, node: NodeId, what: What) {
        let index = self.find(|event| event.at >= at);
        self.record.events.insert(index, Event { at, node, what });
    }
}
