//! Tests like those of `oracle.rs`, for dialects without ids (senders and viewers, relays) and for calls.

use std::sync::OnceLock;
use std::time::Duration;

use sim::event::{
    CallStep, ClientState, Event, Message, NodeId, PeerChange, PeerEvent, Refused, RoomName, SignalKind, Signaling,
    What,
};

use crate::oracle::{Case, mesh_3, received};

#[test]
fn what_really_happens_breaks_no_promise() {
    for case in [two_shows(), calls(), relays(), glare(), shipped("call-across-framings")] {
        assert_eq!(case.violations(), [], "{}", case.scenario.name);
    }
}

// ---- roles and their states

#[test]
fn role_exclusive_sees_a_second_sender_let_in() {
    let mut case = shipped("sender-replaced");
    let (cam, refusal) = (case.node("cam"), case.message("cam", |m| matches!(m, Message::Refused { .. })));
    case.record.events[refusal] = Event {
        at: case.record.events[refusal].at,
        node: cam,
        what: received(Message::Admitted { room: "show".into(), id: "zzzzzzzzzz".into() }),
    };
    case.turns_red("role-exclusive", &["cam was admitted as sender of room `show`, but ana has been sender since"]);
}

#[test]
fn role_exclusive_sees_a_refusal_for_nobody() {
    let mut case = shipped("viewer-first");
    let (ana, admitted) = (case.node("ana"), case.message("ana", |m| matches!(m, Message::Admitted { .. })));
    let (at, text) = (case.record.events[admitted].at, "sender-already-exists".into());
    let refused = Message::Refused { why: Refused::RoleTaken, text };
    case.record.events.insert(admitted, Event { at, node: ana, what: received(refused) });
    case.turns_red("role-exclusive", &["ana was refused as sender of room `show`, but no client has this role"]);
}

#[test]
fn nobody_kept_out_sees_a_client_that_is_refused_to_the_end() {
    let mut case = shipped("ghost-holds-role");
    assert_eq!(case.violations(), []);
    // The server never notices that the machine of the first connection is gone.
    let noticed = case.message("ben", |m| matches!(m, Message::PartnerLeft { .. }));
    let end = case.find(|event| event.what == What::TearDown);
    let is_later = |index: usize, event: &Event| {
        (noticed..end).contains(&index) && matches!(event.what, What::Signaling(_) | What::Peer(_))
    };
    let events = std::mem::take(&mut case.record.events).into_iter().enumerate();
    case.record.events = events.filter(|(index, event)| !is_later(*index, event)).map(|(_, event)| event).collect();
    case.turns_red(
        "nobody-kept-out",
        &[
            "ana has been refused the role of sender in room `show` since 12.",
            "because of its own earlier connection, which it lost at 10.000 s; ben waits for it",
        ],
    );
}

#[test]
fn states_as_specified_sees_a_sender_that_does_not_know_its_viewer() {
    let mut case = two_shows();
    let at = case.state("ana", ClientState::Active);
    case.record.events.remove(at);
    case.turns_red("states-as-specified", &["ana is Waiting, but its viewer ben has been there since"]);
}

#[test]
fn states_as_specified_sees_a_partner_that_was_never_notified() {
    let mut case = two_shows();
    let notice = case.message("cam", |m| matches!(m, Message::PartnerLeft { .. }));
    case.record.events.remove(notice);
    let cam = case.node("cam");
    let is_waiting = |event: &Event| {
        event.node == cam && event.what == What::Signaling(Signaling::State { state: ClientState::Waiting })
    };
    let last = case.record.events.iter().rposition(is_waiting).expect("it waits in the end");
    case.record.events.remove(last);
    case.turns_red("states-as-specified", &["cam is Active, but its viewer has left and cam was not notified"]);
}

#[test]
fn states_as_specified_sees_a_step_that_is_none() {
    let mut case = two_shows();
    let at = case.state("ana", ClientState::Waiting);
    case.record.events.remove(at);
    case.turns_red("states-as-specified", &["ana, a sender, went from Init to Active"]);
}

#[test]
fn one_leave_notice_sees_a_second_notice_of_a_partner() {
    let mut case = two_shows();
    let notice = case.message("cam", |m| matches!(m, Message::PartnerLeft { .. }));
    case.record.events.insert(notice, case.record.events[notice].clone());
    case.turns_red("one-leave-notice", &["cam was notified 2 times that its viewer left, but only 1 can have"]);
}

// ---- dialects without ids

#[test]
fn no_cross_room_leak_sees_a_signal_that_names_nobody() {
    let mut case = two_shows();
    let mut message = case.record.events[case.offer_to("ben")].what.clone();
    let What::Signaling(Signaling::Received(Message::Signal { room, .. })) = &mut message else { unreachable!() };
    *room = "attic".into();
    let cam = case.node("cam");
    case.insert(Duration::from_secs(6), cam, message);
    case.turns_red(
        "no-cross-room-leak",
        &["cam, in room `attic`, received an offer from ana", "who is in room `kitchen`"],
    );
}

#[test]
fn no_echo_to_sender_sees_an_echo_that_names_nobody() {
    for (mut case, to, from) in [(two_shows(), "ben", "ana"), (relays(), "ben", "ana")] {
        let (what, from_node) = (case.record.events[case.offer_to(to)].what.clone(), case.node(from));
        case.insert(Duration::from_secs(10), from_node, what);
        case.turns_red("no-echo-to-sender", &["ana received an offer that it had sent itself"]);
    }
}

#[test]
fn at_most_once_sees_a_signal_that_names_nobody_come_twice() {
    for mut case in [two_shows(), relays()] {
        let at = case.offer_to("ben");
        case.record.events.insert(at + 1, case.record.events[at].clone());
        let found = case.violations();
        assert!(
            found.iter().any(|(slug, words)| *slug == "at-most-once" && words.contains("ben received an offer twice"))
        );
    }
}

#[test]
fn payload_byte_exact_sees_one_byte_of_whomever() {
    for mut case in [two_shows(), relays(), calls()] {
        let at = case.offer_to("ben");
        let Message::Signal { payload, .. } = case.received_mut(at) else { unreachable!() };
        *payload = payload.replacen("IN IP4", "IN IP5", 1).into();
        case.turns_red("payload-byte-exact", &["ben received an offer from ana", "IN IP4", "IN IP5"]);
    }
}

#[test]
fn sender_identity_stamped_sees_what_nobody_sent() {
    let mut case = two_shows();
    let (ana, room) = (case.node("ana"), "kitchen".into());
    let forged = Message::Signal { room, peer: None, kind: SignalKind::Answer, payload: "{}".into() };
    case.insert(Duration::from_secs(6), ana, received(forged));
    case.turns_red("sender-identity-stamped", &["ana received an answer", "no client sent it"]);
}

#[test]
fn sender_identity_stamped_sees_another_users_name() {
    let mut case = calls();
    let at = case.offer_to("ben");
    case.stamp(at, Some("cam"));
    case.turns_red("sender-identity-stamped", &["ben received an offer that names cam", "but ana"]);
}

#[test]
fn single_glare_winner_sees_offers_of_relays_that_nobody_answers() {
    let mut case = relays();
    let (ana, ben, room) = (case.node("ana"), case.node("ben"), RoomName::from("kitchen"));
    let offer = |payload: &str| Message::Signal {
        room: room.clone(),
        peer: None,
        kind: SignalKind::Offer,
        payload: payload.into(),
    };
    let events = [
        (ana, What::Signaling(Signaling::Sent(offer("1")))),
        (ben, What::Signaling(Signaling::Sent(offer("2")))),
        (ana, received(offer("2"))),
        (ben, received(offer("1"))),
    ];
    for (node, what) in events.into_iter().rev() {
        case.insert(Duration::from_secs(12), node, what);
    }
    case.turns_red("single-glare-winner", &["sent offers that crossed", "neither offer was answered"]);
}

#[test]
fn an_echo_is_no_fault_where_the_dialect_has_it_but_a_second_one_is() {
    let mut case = shipped("broadcast-two");
    assert_eq!(case.violations(), []);
    let echo = case.offer_to("ana");
    case.record.events.insert(echo + 1, case.record.events[echo].clone());
    case.turns_red("at-most-once", &["ana received an offer twice", "sent it once"]);
}

// ---- users

#[test]
fn roster_matches_model_sees_a_user_missing() {
    let mut case = calls();
    let at = case.joined("cam");
    let Message::Joined { roster, .. } = case.received_mut(at) else { unreachable!() };
    roster.retain(|member| *member.id != *"ana");
    case.turns_red("roster-matches-model", &["cam", "lacks ana"]);
}

#[test]
fn nobody_left_ringing_sees_a_caller_who_hung_up() {
    let mut case = calls();
    let notice = case.step("cam", CallStep::End);
    case.record.events.remove(notice);
    case.turns_red("nobody-left-ringing", &["cam rings for a call from ana", "but ana is in a call with ben"]);
}

#[test]
fn call_end_agreed_sees_one_side_that_was_not_notified() {
    let mut case = shipped("call-accept");
    let notice = case.step("ana", CallStep::End);
    case.record.events.remove(notice);
    case.turns_red("call-end-agreed", &["ana is in a call with ben (since", "but ben is free"]);
}

#[test]
fn call_end_agreed_sees_a_call_end_twice() {
    let mut case = shipped("call-accept");
    let notice = case.step("ana", CallStep::End);
    case.record.events.insert(notice + 1, case.record.events[notice].clone());
    case.turns_red("call-end-agreed", &["ana was notified of the end of a call with ben", "but has no such call"]);
}

#[test]
fn everyone_connected_sees_a_call_without_a_connection() {
    let mut case = calls();
    let ben = case.node("ben");
    case.record.events.retain(|event| {
        let heard = matches!(&event.what, What::Peer(PeerEvent { change: PeerChange::ChannelReceived { .. }, .. }));
        event.node != ben || !heard
    });
    case.turns_red("everyone-connected", &["ana", "ben", "are not connected", "received no message"]);
}

// ---- descriptions

#[test]
fn legal_signaling_state_sees_an_answer_without_an_offer() {
    let mut case = mesh_3();
    let answered = |event: &Event| {
        let What::Peer(PeerEvent { change: PeerChange::Described { local, kind, .. }, .. }) = &event.what else {
            return false;
        };
        *local && *kind == SignalKind::Answer
    };
    let at = case.find(answered);
    case.record.events.insert(at + 1, case.record.events[at].clone());
    case.turns_red("legal-signaling-state", &["answered in state Stable"]);
}

#[test]
fn legal_signaling_state_sees_an_offer_taken_over_an_own_one() {
    let mut case = glare();
    let at = case.find(|event| {
        matches!(&event.what, What::Peer(PeerEvent { attempt: 1, change: PeerChange::RolledBack, peer }) if **peer != *"other")
    });
    case.record.events.remove(at);
    let found = case.violations();
    let is_seen = |(slug, words): &(&str, String)| {
        *slug == "legal-signaling-state" && words.contains("accepted an offer in state HaveLocalOffer")
    };
    assert!(found.iter().any(is_seen), "{found:#?}");
    assert!(found.iter().all(|(slug, _)| ["legal-signaling-state", "expected-probes"].contains(slug)), "{found:#?}");
}

#[test]
fn answer_matches_offer_sees_one_answer_too_many() {
    let mut case = mesh_3();
    let at = case.sent("ben", "ana", SignalKind::Answer, 0);
    case.record.events.insert(at + 1, case.record.events[at].clone());
    case.turns_red("answer-matches-offer", &["ben received 1 offers from ana", "but sent 2 answers"]);
}

#[test]
fn answer_matches_offer_sees_an_answer_to_an_older_offer() {
    let mut case = mesh_3();
    let ana = case.node("ana");
    let own_offer = |event: &Event| {
        matches!(
            &event.what,
            What::Peer(PeerEvent { change: PeerChange::Described { local: true, kind: SignalKind::Offer, .. }, .. })
        )
    };
    let at = case.find(|event| event.node == ana && own_offer(event));
    let mut newer = case.record.events[at].clone();
    let What::Peer(PeerEvent { change: PeerChange::Described { ufrag, .. }, .. }) = &mut newer.what else {
        unreachable!()
    };
    let older = std::mem::replace(ufrag, "newer".into());
    case.record.events.insert(at + 1, newer);
    let words = format!("for its offer `newer`, but it was made for offer `{older}`");
    case.turns_red("answer-matches-offer", &["ana accepted an answer from ben", &words]);
}

// ---- helpers

fn shipped(name: &str) -> Case {
    Case::play(scenarios::load(name).expect("it is shipped"))
}

/// ana sends to ben in the room kitchen. cam sends to dia in the room attic, and dia leaves.
fn two_shows() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    let text = r#"
        [[actor]]
        name = "ana"
        plays = "sender"
        room = "kitchen"
        [[actor]]
        name = "ben"
        plays = "viewer"
        room = "kitchen"
        joins = "100ms"
        [[actor]]
        name = "cam"
        plays = "sender"
        room = "attic"
        [[actor]]
        name = "dia"
        plays = "viewer"
        room = "attic"
        joins = "1s"
        [[step]]
        at = "8s"
        do = "leave"
        actor = "dia"
    "#;
    CASE.get_or_init(|| Case::of(text)).clone()
}

/// ana calls cam without success, and then has a call with ben.
#[test]
fn user_state_true_sees_a_user_that_waits_for_a_call_that_was_rejected() {
    let mut case = calls();
    let cam = case.node("cam");
    let idle = |event: &Event| event.node == cam && matches!(event.what, What::Signaling(Signaling::State { .. }));
    let last = case.record.events.iter().rposition(idle).expect("it has had a call");
    case.record.events[last].what = What::Signaling(Signaling::State { state: ClientState::Calling });
    case.turns_red("user-state-true", &["cam is Calling, but its messages lead to"]);
}

fn calls() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    let text = r#"
        [[actor]]
        name = "ana"
        plays = "user"
        [[actor]]
        name = "ben"
        plays = "user"
        [[actor]]
        name = "cam"
        plays = "user"
        joins = "500ms"
        [[step]]
        at = "1s"
        do = "call"
        actor = "ana"
        with = "cam"
        [[step]]
        at = "2s"
        do = "hangup"
        actor = "ana"
        with = "cam"
        [[step]]
        at = "3s"
        do = "call"
        actor = "ana"
        with = "ben"
        [[step]]
        at = "4s"
        do = "accept"
        actor = "ben"
    "#;
    CASE.get_or_init(|| Case::of(text)).clone()
}

/// ana and ben meet in a room of a dialect without ids.
fn relays() -> Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    let text = r#"
        [[actor]]
        name = "ana"
        plays = "relay"
        room = "kitchen"
        [[actor]]
        name = "ben"
        plays = "relay"
        room = "kitchen"
        [[step]]
        at = "1s"
        do = "offer"
        actor = "ana"
        with = "ben"
    "#;
    CASE.get_or_init(|| Case::of(text)).clone()
}

fn glare() -> Case {
    shipped("glare-offer")
}

impl Case {
    /// The index of the event in which the first message that fulfils `is_so` arrived at a client.
    #[track_caller]
    fn message(&self, name: &str, is_so: impl Fn(&Message) -> bool) -> usize {
        let node: NodeId = self.node(name);
        self.find(|event| {
            let What::Signaling(Signaling::Received(message)) = &event.what else { return false };
            event.node == node && is_so(message)
        })
    }

    /// The index of the event in which the first offer arrived at a client.
    #[track_caller]
    fn offer_to(&self, name: &str) -> usize {
        self.message(name, |message| matches!(message, Message::Signal { kind: SignalKind::Offer, .. }))
    }

    /// The index of the event in which a client was first notified of a step of a call.
    #[track_caller]
    fn step(&self, name: &str, step: CallStep) -> usize {
        self.message(name, |message| matches!(message, Message::Call { step: of, .. } if *of == step))
    }

    /// The index of the event in which a client first entered a state.
    #[track_caller]
    fn state(&self, name: &str, state: ClientState) -> usize {
        let node = self.node(name);
        self.find(|event| event.node == node && event.what == What::Signaling(Signaling::State { state }))
    }
}
