//! Tests of offers, answers and candidates, including early and stale ones.

use std::time::Duration;

use super::pair::{Ana, Ben, with_pair};
use crate::event::{PeerChange, SignalKind};
use crate::peer::negotiation::descriptions::EARLY_MAX;

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
const LATER: Option<Duration> = Some(Duration::from_millis(200));

#[test]
fn an_offer_is_answered_and_both_connect() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        assert_eq!(pair.story(Ana), ["opens to offer", "local offer", "remote answer", "connected"]);
        assert_eq!(pair.story(Ben), ["opens to answer", "remote offer", "local answer", "connected"]);
    });
}

#[test]
fn of_two_offers_that_cross_the_greater_session_stands() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.offer(Ben);
        let (greater, lesser) = if pair.session(Ana) > pair.session(Ben) { (Ana, Ben) } else { (Ben, Ana) };
        pair.drive();
        assert_eq!(
            pair.story(greater),
            ["opens to offer", "local offer", "stale offer", "candidate queued", "remote answer", "connected"]
        );
        assert_eq!(
            pair.story(lesser),
            [
                "opens to offer",
                "local offer",
                "rolled back",
                "closed: Replaced",
                "opens to answer",
                "remote offer",
                "local answer",
                "connected"
            ]
        );
    });
}

#[test]
fn an_offer_of_a_connection_that_has_ended_is_stale() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        // Ana hangs up while Ben's offer is on its way, and offers again at once.
        pair.act(Ben, |ben, ana, now| ben.renegotiate(ana, now));
        pair.act(Ana, |ana, ben, now| ana.hangup(ben, now));
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.story(Ana)[..4], ["closed: Hangup", "opens to offer", "local offer", "stale offer"]);
        assert!(!pair.story(Ana).contains(&"opens to answer".to_owned()), "{:?}", pair.story(Ana));
        pair.drive();
        assert_eq!(pair.story(Ben).last().map(String::as_str), Some("connected"));
    });
}

#[test]
fn of_two_changes_that_cross_the_one_of_the_first_offerer_stands() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.act(Ben, |ben, ana, now| ben.renegotiate(ana, now));
        pair.act(Ana, |ana, ben, now| ana.renegotiate(ben, now));
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.story(Ana), ["local offer", "stale offer", "remote answer"]);
        assert_eq!(pair.story(Ben), ["local offer", "rolled back", "remote offer", "local answer"]);
    });
}

#[test]
fn an_offer_waits_for_its_answer_before_the_next() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.act(Ana, |ana, ben, now| ana.renegotiate(ben, now));
        pair.drive();
        assert_eq!(pair.story(Ana), ["opens to offer", "local offer", "remote answer", "connected"]);
    });
}

#[test]
fn candidates_that_come_before_their_offer_are_kept_for_it() {
    with_pair(|pair| {
        pair.signals(|_, kind| if kind == SignalKind::Offer { LATER } else { AT_ONCE });
        pair.offer(Ana);
        pair.drive();
        let before = ["candidate queued", "opens to answer", "remote offer", "local answer", "connected"];
        assert_eq!(pair.story(Ben), before);
        assert_eq!(pair.count(Ben, is_remote_candidate), 1);
    });
}

#[test]
fn candidates_that_come_before_their_answer_are_kept_for_it() {
    with_pair(|pair| {
        pair.signals(|_, kind| if kind == SignalKind::Answer { LATER } else { AT_ONCE });
        pair.offer(Ana);
        pair.drive();
        let story = ["opens to offer", "local offer", "candidate queued", "remote answer", "connected"];
        assert_eq!(pair.story(Ana), story);
        assert_eq!(pair.count(Ana, is_remote_candidate), 1);
    });
}

#[test]
fn early_candidates_of_another_session_are_dropped() {
    with_pair(|pair| {
        pair.forge(Ana, SignalKind::IceCandidate, &candidate("another", "u1"));
        pair.offer(Ana);
        pair.drive();
        let story = ["candidate queued", "opens to answer", "remote offer", "local answer", "connected"];
        assert_eq!(pair.story(Ben), story);
        assert_eq!(pair.count(Ben, is_remote_candidate), 1);
    });
}

#[test]
fn early_candidates_are_bounded() {
    with_pair(|pair| {
        for _ in 0..=EARLY_MAX {
            pair.forge(Ana, SignalKind::IceCandidate, &candidate("another", "u1"));
        }
        assert_eq!(pair.story(Ben).len(), EARLY_MAX);
    });
}

#[test]
fn an_answer_that_nothing_waits_for_is_stale() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.repeat(Ben, SignalKind::Answer);
        assert_eq!(pair.story(Ana), ["stale answer"]);
    });
}

#[test]
fn an_answer_of_another_session_is_stale() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.forge(Ben, SignalKind::Answer, r#"{"session":"another","type":"answer","sdp":"v=0\r\n"}"#);
        pair.drive();
        assert_eq!(pair.story(Ana), ["opens to offer", "local offer", "stale answer", "remote answer", "connected"]);
    });
}

#[test]
fn a_candidate_of_an_older_generation_is_stale() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.act(Ana, |ana, ben, now| ana.restart_ice(ben, now));
        pair.drive_for(Duration::from_secs(1));
        pair.clear();
        pair.repeat(Ana, SignalKind::IceCandidate);
        assert_eq!(pair.story(Ben), ["stale icecandidate"]);
    });
}

#[test]
fn an_ice_restart_keeps_the_connection() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.act(Ben, |ben, ana, now| ben.restart_ice(ana, now));
        pair.drive_for(Duration::from_secs(5));
        assert_eq!(pair.story(Ben), ["ICE restart", "local offer", "remote answer"]);
        assert_eq!(pair.story(Ana), ["remote offer", "local answer"]);
        assert_eq!((pair.count(Ana, is_remote_candidate), pair.count(Ben, is_remote_candidate)), (1, 1));
        pair.act(Ben, |ben, _, now| ben.say("still here", now));
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.count(Ana, |c| *c == PeerChange::ChannelReceived { text: "still here".into() }), 1);
    });
}

#[test]
fn an_ice_restart_waits_for_the_answer_to_an_offer() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.act(Ana, |ana, ben, now| ana.restart_ice(ben, now));
        assert_eq!(pair.story(Ana), ["opens to offer", "local offer"]);
        pair.drive();
        let restart = ["opens to offer", "local offer", "remote answer", "ICE restart", "local offer", "remote answer"];
        assert_eq!(pair.story(Ana)[..6], restart);
    });
}

#[test]
fn of_two_ice_restarts_that_cross_the_connection_survives() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.act(Ben, |ben, ana, now| ben.restart_ice(ana, now));
        pair.act(Ana, |ana, ben, now| ana.restart_ice(ben, now));
        pair.drive_for(Duration::from_secs(5));
        assert_eq!(pair.story(Ana)[..4], ["ICE restart", "local offer", "stale offer", "candidate queued"]);
        assert_eq!(pair.story(Ben)[..5], ["ICE restart", "local offer", "rolled back", "remote offer", "local answer"]);
        pair.act(Ben, |ben, _, now| ben.say("still here", now));
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.count(Ana, |c| *c == PeerChange::ChannelReceived { text: "still here".into() }), 1);
    });
}

#[test]
fn a_candidate_that_is_gathered_late_is_trickled_once_for_each_generation() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.gather(Ana, "198.51.100.1:7000");
        pair.gather(Ana, "198.51.100.1:7000");
        pair.drive();
        assert_eq!(pair.count(Ana, is_local_candidate), 2);
        assert_eq!(pair.count(Ben, is_remote_candidate), 2);
        pair.act(Ana, |ana, ben, now| ana.restart_ice(ben, now));
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.count(Ana, is_local_candidate), 4);
        // Of the next generation too, when what was known is too old to begin with.
        pair.drive_for(Duration::from_secs(5));
        pair.act(Ana, |ana, ben, now| ana.restart_ice(ben, now));
        assert_eq!(pair.count(Ana, is_local_candidate), 5);
        pair.gather(Ana, "198.51.100.1:7001");
        assert_eq!(pair.count(Ana, is_local_candidate), 6);
    });
}

#[test]
fn what_is_no_payload_is_an_error_and_ends_nothing() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.forge(Ben, SignalKind::Answer, "{}");
        pair.drive();
        assert_eq!(pair.story(Ana)[2], "error: missing field `type` at line 1 column 2");
    });
}

fn is_remote_candidate(change: &PeerChange) -> bool {
    matches!(change, PeerChange::Candidate { local: false, .. })
}

fn is_local_candidate(change: &PeerChange) -> bool {
    matches!(change, PeerChange::Candidate { local: true, .. })
}

fn candidate(session: &str, ufrag: &str) -> String {
    format!(
        r#"{{"session":"{session}","candidate":"candidate:1 1 udp 2130706431 192.0.2.9 5000 typ host","sdpMid":"","sdpMLineIndex":0,"usernameFragment":"{ufrag}"}}"#
    )
}
