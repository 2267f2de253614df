//! Tests of how long a side waits, when it hangs up, and when it offers again.

use std::time::Duration;

use super::pair::{Ana, Ben, with_pair};
use crate::event::{Closed, PeerChange, SignalKind};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_offerer_without_an_answer_hangs_up_and_offers_again_ever_later() {
    with_pair(|pair| {
        pair.signals(|_, _| None);
        pair.offer(Ana);
        pair.drive_for(30 * SECOND);
        assert_eq!(
            pair.timeline(Ana),
            [
                "0 opens to offer",
                "0 local offer",
                "6 closed: Timeout",
                "6 opens to offer",
                "6 local offer",
                "14 closed: Timeout",
                "15 opens to offer",
                "15 local offer",
                "25 closed: Timeout",
                "27 opens to offer",
                "27 local offer"
            ]
        );
    });
}

#[test]
fn an_answerer_waits_longer_and_does_not_offer() {
    with_pair(|pair| {
        pair.datagrams_arrive = false;
        pair.signals(|from, _| if from == Ana { AT_ONCE } else { None });
        pair.offer(Ana);
        pair.act(Ana, |ana, _, _| ana.set_signaling(false));
        pair.drive_for(60 * SECOND);
        assert_eq!(pair.timeline(Ben), ["0 opens to answer", "0 remote offer", "0 local answer", "10 closed: Timeout"]);
    });
}

#[test]
fn both_connect_at_the_second_try_where_the_first_offer_is_lost() {
    with_pair(|pair| {
        let mut lost = false;
        pair.signals(move |_, kind| {
            let is_first = kind == SignalKind::Offer && !std::mem::replace(&mut lost, true);
            if is_first { None } else { AT_ONCE }
        });
        pair.offer(Ana);
        pair.drive();
        assert_eq!(pair.timeline(Ana)[2..4], ["6 closed: Timeout", "6 opens to offer"]);
        assert_eq!(pair.timeline(Ben)[..3], ["0 candidate queued", "6 stale hangup", "6 opens to answer"]);
    });
}

#[test]
fn a_connected_side_waits_for_nothing() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.drive_for(60 * SECOND);
        assert!(pair.is_connected());
        assert!(pair.story(Ana).is_empty() && pair.story(Ben).is_empty());
    });
}

#[test]
fn without_signaling_nobody_is_hung_up_on() {
    with_pair(|pair| {
        pair.datagrams_arrive = false;
        pair.signals(|_, _| None);
        pair.offer(Ana);
        pair.act(Ana, |ana, _, _| ana.set_signaling(false));
        pair.drive_for(20 * SECOND);
        assert_eq!(pair.story(Ana), ["opens to offer", "local offer"]);
        pair.act(Ana, |ana, _, _| ana.set_signaling(true));
        pair.drive_for(SECOND);
        assert_eq!(pair.timeline(Ana)[2..4], ["20 closed: Timeout", "20 opens to offer"]);
    });
}

#[test]
fn after_a_hangup_the_offerer_offers_again() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.act(Ben, |ben, ana, now| ben.hangup(ana, now));
        pair.drive();
        assert_eq!(
            pair.story(Ana),
            ["closed: RemoteHangup", "opens to offer", "local offer", "remote answer", "connected"]
        );
        assert_eq!(pair.story(Ben), ["closed: Hangup", "opens to answer", "remote offer", "local answer", "connected"]);
    });
}

#[test]
fn a_hangup_that_crosses_an_offer_does_not_end_what_is_offered() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.act(Ben, |ben, ana, now| ben.hangup(ana, now));
        pair.act(Ana, |ana, ben, now| {
            ana.end(ben, Closed::Replaced, now);
            ana.offer(ben, now);
        });
        pair.drive();
        assert_eq!(
            pair.story(Ana),
            ["closed: Replaced", "opens to offer", "local offer", "stale hangup", "remote answer", "connected"]
        );
    });
}

#[test]
fn a_hangup_that_crosses_a_change_ends_in_a_new_connection() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.act(Ben, |ben, ana, now| ben.hangup(ana, now));
        pair.act(Ana, |ana, ben, now| ana.renegotiate(ben, now));
        pair.drive();
        assert_eq!(
            pair.story(Ana),
            ["local offer", "closed: RemoteHangup", "opens to offer", "local offer", "remote answer", "connected"]
        );
        assert_eq!(pair.story(Ben)[..3], ["closed: Hangup", "stale offer", "opens to answer"]);
    });
}

#[test]
fn a_path_that_breaks_and_heals_costs_an_ice_restart_by_the_offerer() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.clear();
        pair.datagrams_arrive = false;
        while pair.story(Ana).is_empty() {
            pair.step();
        }
        pair.datagrams_arrive = true;
        pair.drive_for(10 * SECOND);
        assert!(pair.is_connected());
        assert_eq!(pair.story(Ana), ["ICE restart", "local offer", "remote answer"]);
        assert_eq!(pair.story(Ben), ["remote offer", "local answer"]);
    });
}

#[test]
fn a_path_that_stays_broken_ends_in_a_new_connection() {
    with_pair(|pair| {
        pair.offer(Ana);
        pair.drive();
        pair.datagrams_arrive = false;
        pair.drive_for(40 * SECOND);
        assert!(pair.count(Ana, |change| *change == PeerChange::Closed { why: Closed::Timeout }) > 0);
        pair.datagrams_arrive = true;
        pair.drive();
    });
}

#[test]
fn a_side_that_ends_a_connection_forgets_its_failures() {
    with_pair(|pair| {
        pair.signals(|_, _| None);
        pair.offer(Ana);
        pair.drive_for(15 * SECOND);
        pair.act(Ana, |ana, ben, now| {
            ana.end(ben, Closed::PeerLeft, now);
            ana.offer(ben, now);
        });
        pair.clear();
        pair.drive_for(7 * SECOND);
        assert_eq!(pair.timeline(Ana)[0], "21 closed: Timeout");
    });
}
