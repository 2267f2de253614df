//! Each defect is found by the right case, and the report helps its author to understand it.

use std::collections::BTreeSet;
use std::time::Duration;

use conformance::{Report, Verdict};
use tokio::time::timeout;

use crate::mini::{self, Behaviour, Defect};
use crate::{ask, text};

/// Longer than any of these tests takes, even on the slowest machine.
const HANG: Duration = Duration::from_secs(300);

/// Runs the whole suite against a server with one defect.
async fn report(defect: Defect) -> Report {
    let behaviour = Behaviour { defect: Some(defect), ..Behaviour::default() };
    ask(mini::start(behaviour).await, &[]).await.expect("it is there")
}

/// Exactly these cases fail, and the reason of the first contains `says`.
async fn finds(defect: Defect, cases: &[&str], says: &str) -> Report {
    let report = report(defect).await;
    let text = text(&report);
    let failed: BTreeSet<_> = report
        .cases
        .iter()
        .filter(|case| matches!(case.verdict, Verdict::Fail { .. } | Verdict::HarnessError { .. }))
        .map(|case| case.case.slug)
        .collect();
    assert_eq!(failed, cases.iter().copied().collect(), "{defect:?}\n{text}");
    assert!(text.contains(&format!("FAIL  {}: {says}", cases[0])), "{defect:?}: {says:?} is not in\n{text}");
    report
}

macro_rules! killed {
    ($($name:ident: $defect:ident => [$($case:literal),+], $says:literal;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            finds(Defect::$defect, &[$($case),+], $says).await;
        }
    )+};
}

killed! {
    echo_to_sender: EchoToSender => ["mesh/broadcast-minus-self", "mesh/unicast", "mesh/kinds", "mesh/empty-target", "bcast/echo-as-declared", "bcast/everyone", "sec/room-as-receiver"], "ana received her own signal";
    from_taken_from_client: FromTakenFromClient => ["sec/from-spoof"], "cleo received a signal from eve";
    foreign_leave_believed: ForeignLeaveBelieved => ["sec/foreign-leave"], "ben received a leave notice for ana that another client caused";
    targeted_message_to_all: TargetedMessageToAll =>
        ["mesh/unicast", "mesh/kinds", "mesh/empty-target", "sec/cross-room-send", "sec/room-as-receiver", "sec/id-chosen", "sec/proto-key", "msg/wrong-type"], "ben received a signal that was for cleo only";
    mute_after_bad_json: MuteAfterBadJson =>
        ["msg/not-json", "msg/null", "msg/deep-nest"], "after ana's message (an empty text): ben did not receive ana's next signal within ";
    payload_reserialised: PayloadReserialised =>
        ["msg/payload-byte-exact", "msg/payload-kinds"], "order of keys is not preserved: ana sent {\"z\":1,\"a\":2,\"10\":3,\"9\":4}, ben received {";
    left_told_twice: LeftToldTwice =>
        ["room/leave-once", "room/abrupt-leave", "room/first-leaves", "room/leave-together", "room/join-burst", "room/ghost-join", "room/return"], "ana received the leave notice for cleo, who leaves, 2 times";
    ghost_after_abrupt_close: GhostAfterAbruptClose =>
        ["room/abrupt-leave", "room/first-leaves", "room/leave-together", "room/ghost-join", "load/reconnect-storm"], "ana did not receive the leave notice for cleo, who lost her connection, within ";
    room_ids_folded: RoomIdsFolded => ["room/id-case"], "a different room id (";
    room_ids_cut: RoomIdsCut => ["room/id-limits"], "eve joined with 65 code points";
    signals_into_foreign_rooms: SignalsIntoForeignRooms =>
        ["sec/cross-room-send", "sec/post-leave-send"], "ana received a signal from outside the room";
    candidate_before_offer_dropped: CandidateBeforeOfferDropped =>
        ["mesh/early-candidate", "mesh/kinds", "mesh/order-of-kinds", "msg/end-of-candidates", "msg/unknown-fields"], "ben received ana's offer out of order";
    reordered_sends: ReorderedSends => ["mesh/fifo"], "ben received ana's signal 1, expected 0";
    join_twice_is_two_members: JoinTwiceIsTwoMembers => ["room/double-join", "room/join-burst"], "cleo received the members: ";
    binary_obeyed: BinaryObeyed =>
        ["msg/binary"], "ben received a signal that ana's message caused: a signal in a binary frame";
    unbounded_queue: UnboundedQueue =>
        ["load/slow-consumer"], "the server queued 14 MiB for a member that does not read; the dialect's limit is 4 MiB";
    deflate_in_name_only: DeflateInNameOnly =>
        ["ws/chromium-handshake", "ws/firefox-handshake", "ws/deflate-parameters", "ws/deflate"],
        "the server agreed to permessage-deflate, and then: ana did not receive an answer to its join: its connection was ";
    offer_echoed: OfferEchoed =>
        ["ws/chromium-handshake", "ws/extension-subset", "ws/firefox-handshake", "ws/deflate-parameters", "ws/deflate"],
        "ana's handshake is Chromium's, and she cannot connect: ";
    extension_invented: ExtensionInvented =>
        ["ws/extension-subset", "ws/chromium-handshake", "ws/firefox-handshake", "ws/deflate-parameters", "ws/deflate"],
        "a handshake that offers no extension is answered, but it agrees to the extension `x-webkit-deflate-frame`, which was not offered";
    keep_alive_refused: KeepAliveRefused =>
        ["ws/firefox-handshake"], "ana's handshake is Firefox's, and she cannot connect: TCP is accepted; to the WebSocket upgrade the server answers HTTP 400";
    cookies_refused: CookiesRefused => ["ws/chromium-handshake", "ws/firefox-handshake"], "ana's handshake is Chromium's";
    long_messages_lost: LongMessagesLost =>
        ["msg/browser-description", "msg/large-payload", "load/slow-consumer"], "ben did not receive ana's offer with a description of 7";
    line_breaks_normalised: LineBreaksNormalised =>
        ["msg/browser-description", "msg/texts", "msg/payload-byte-exact", "msg/payload-kinds"], "a description of 7";
    markup_escaped: MarkupEscaped => ["msg/texts", "msg/payload-byte-exact", "msg/payload-kinds"], "markup: ana sent {\"of\":\"text-";
    line_separators_dropped: LineSeparatorsDropped => ["msg/texts", "msg/payload-byte-exact"], "line separators: ana sent {";
    half_surrogate_replaced: HalfSurrogateReplaced =>
        ["msg/half-surrogate"], "the first half of a surrogate pair: ana sent {\"of\":\"half-";
    room_closed_by_half_surrogate: RoomClosedByHalfSurrogate => ["msg/half-surrogate"], "after ana's message (the first half of a surrogate pair): ";
    null_candidate_lost: NullCandidateLost =>
        ["msg/end-of-candidates"], "ben did not receive ana's candidate with null as the end of candidates: null";
    empty_candidate_lost: EmptyCandidateLost => ["msg/end-of-candidates"], "an empty candidate: ana sent {";
    repetitions_lost: RepetitionsLost =>
        ["mesh/same-twice", "mesh/one-offerer"], "ana sent the same offer three times, and ben received it 2 times";
    equal_payloads_lost: EqualPayloadsLost =>
        ["mesh/same-twice", "mesh/one-offerer"], "ana sent the same offer three times, and ben received it 1 times";
    answers_delayed: AnswersDelayed =>
        ["mesh/order-of-kinds", "mesh/same-twice", "bcast/order", "msg/payload-kinds", "msg/browser-description"], "ana received ben's ";
    candidates_delayed: CandidatesDelayed =>
        ["mesh/order-of-kinds", "mesh/early-candidate", "mesh/same-twice", "bcast/order", "msg/payload-kinds", "msg/end-of-candidates"], "ben received ana's ";
    no_limit: NoLimit => ["ws/oversize"], "ben received a signal of 2 MiB; the dialect's limit is 256 KiB";
}

/// Defects of two lives of one client, of isolation, of those who leave, and of counting, each with the cases that must
/// find it. Other cases may find it as well.
const LIVES: &[(Defect, &[&str])] = &[
    (Defect::JoinTwiceIsTwoMembers, &["room/join-burst"]),
    (Defect::LeaveStrikesAgain, &["room/leave-and-join"]),
    (Defect::QuickCloserStays, &["room/ghost-join"]),
    (Defect::GhostAfterAbruptClose, &["room/ghost-join"]),
    (Defect::LeftToldTwice, &["room/return"]),
    (Defect::LastRoomListed, &["room/move", "room/leave-and-join"]),
    (Defect::RoomIsReceiver, &["sec/room-as-receiver"]),
    (Defect::IdBelieved, &["sec/id-chosen"]),
    (Defect::LanguageWordsLost, &["sec/proto-used"]),
    (Defect::FirstTakesTheRoomAlong, &["room/first-leaves"]),
    (Defect::OneLeaveTold, &["room/leave-together"]),
    (Defect::LeftToldEverywhere, &["room/first-leaves", "room/leave-together", "sec/cross-room-leak"]),
    (Defect::AnswersDoubled, &["mesh/kinds"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lives_and_those_who_leave() {
    let mut missed = Vec::new();
    for (defect, cases) in LIVES {
        let server = || mini::start(Behaviour { defect: Some(*defect), ..Behaviour::default() });
        let report = ask(server().await, cases).await.expect("it is there");
        for case in *cases {
            let verdict = &report.case(case).expect("it ran").verdict;
            if !matches!(verdict, Verdict::Fail { .. }) {
                missed.push(format!("{defect:?}: {case} is {verdict:?}"));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_with_oneself_fails_at_once_and_the_rest_is_not_tested() {
    let report = report(Defect::RosterWithOneself).await;
    let ack = report.case("room/join-ack").expect("it ran");
    assert!(
        matches!(&ack.verdict, Verdict::Fail { why, line: Some(_) } if why.contains("the list of members is not empty"))
    );
    let others = report.cases.iter().filter(|case| case.case.needs.contains(&"mesh/delivery"));
    let mut others = others.filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. }));
    assert!(others.all(|case| matches!(&case.verdict, Verdict::NotTested { why } if why.starts_with("needs "))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_delivers_nothing_is_told_so_once() {
    let report = report(Defect::SignalsNowhere).await;
    let failed: Vec<_> = report.cases.iter().filter(|case| matches!(case.verdict, Verdict::Fail { .. })).collect();
    assert_eq!(failed.len(), 1, "{}", text(&report));
    assert_eq!(failed[0].case.slug, "mesh/delivery");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_is_blamed_on_the_case_that_killed_it() {
    let report = report(Defect::DeadAfterBadJson).await;
    let text = text(&report);
    assert!(matches!(report.case("msg/not-json").expect("it ran").verdict, Verdict::Fail { .. }), "{text}");
    assert!(text.contains("afterwards the server does not serve a new client"), "{text}");
    let after = report.case("ws/rsv").expect("it is listed");
    assert_eq!(
        after.verdict,
        Verdict::NotTested { why: "the server has not answered since msg/not-json".to_owned() },
        "{text}"
    );
    assert!(report.case("room/join-once").is_some_and(|case| case.verdict == Verdict::Pass), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_evidence_is_a_transcript_over_all_clients() {
    let report = finds(Defect::FromTakenFromClient, &["sec/from-spoof"], "cleo received a signal from eve").await;
    let text = text(&report);
    let evidence = text.split("FAIL  sec/from-spoof").nth(1).expect("it failed");
    let shown = evidence.lines().find(|line| line.starts_with(" !")).expect("a line is marked");
    assert!(shown.contains("cleo") && shown.contains("← {\"data\":\"from-ben-"), "{text}");
    assert!(evidence.contains("eve   → {\"action\":\"signal\""), "{text}");
    assert!(evidence.contains("again  glare conformance --url URL --case sec/from-spoof"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    let case =
        json["cases"].as_array().expect("a list").iter().find(|case| case["slug"] == "sec/from-spoof").expect("there");
    assert_eq!(case["verdict"], "fail");
    let line = case["line"].as_u64().expect("a number") as usize;
    assert_eq!(case["transcript"][line]["client"], "cleo");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_and_garbage_are_findings_and_end_in_time() {
    for (defect, says) in [
        (Defect::FloodsAfterJoin, "the server flooded it"),
        (Defect::GarbageForJoined, "ana did not receive an answer to its join within"),
    ] {
        let report = timeout(HANG, report(defect)).await.expect("it ends");
        let text = text(&report);
        assert!(!report.passed());
        assert!(text.contains(says), "{defect:?}\n{text}");
    }
}
