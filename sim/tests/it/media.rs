//! Sound and picture: what one client sends arrives at the others, and the record says what a person would notice.

use std::time::Duration;

use sim::event::{Event, Fault, PeerChange, PeerEvent, TrackKind, What};
use sim::hash::event_hash;
use sim::media::{Flow, flows};

use crate::oracle::Case;

/// ana sends audio and video, ben sound, cam nothing.
const THREE: &str = "[[actor]]\nname = 'ana'\nnat = 'home-linux'\nmedia = ['audio', 'video']\n\
    [[actor]]\nname = 'ben'\nnat = 'home-median'\njoins = '100ms'\nmedia = ['audio']\n\
    [[actor]]\nname = 'cam'\njoins = '200ms'\n";

fn case(more: &str) -> Case {
    Case::of(&format!("{THREE}{more}"))
}

fn step(at: u32, what: &str) -> String {
    format!("[[step]]\nat = '{at}s'\ndo = {what}\n")
}

fn turn(at: u32, enabled: bool) -> String {
    step(at, &format!("'media'\nactor = 'ana'\nkind = 'audio'\nenabled = {enabled}"))
}

/// What has arrived, by the names of sender and receiver.
fn arrived(case: &Case) -> Vec<(String, Flow)> {
    let name =
        |flow: &Flow| format!("{} → {} {}", case.record.name(flow.from), case.record.name(flow.to), flow.kind.name());
    flows(&case.record).into_iter().map(|flow| (name(&flow), flow)).collect()
}

#[track_caller]
fn flow(case: &Case, name: &str) -> Flow {
    let all = arrived(case);
    let found = all.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name} in {all:?}")).1.clone()
}

fn changes<'c>(case: &'c Case, name: &str) -> impl Iterator<Item = (Duration, &'c PeerChange)> {
    let node = case.node(name);
    let of = move |event: &'c Event| match &event.what {
        What::Peer(PeerEvent { change, .. }) if event.node == node => Some((event.at, change)),
        _ => None,
    };
    case.record.events.iter().filter_map(of)
}

#[test]
fn everybody_receives_what_the_others_send_and_nothing_else() {
    let case = case("");
    assert_eq!(case.violations(), []);
    let names: Vec<_> = arrived(&case).into_iter().map(|(name, _)| name).collect();
    let all = [
        "ana → ben audio",
        "ana → ben video",
        "ana → cam audio",
        "ana → cam video",
        "ben → ana audio",
        "ben → cam audio",
    ];
    assert_eq!(names, all);
    for (name, flow) in arrived(&case) {
        // A packet every 100 ms, from the first second to the 40th.
        assert!((385..=396).contains(&flow.packets), "{name}: {flow:?}");
        assert_eq!((flow.lost, flow.longest_gap), (0, Duration::from_millis(100)), "{name}");
    }
    let sent = |change: &PeerChange| matches!(change, PeerChange::MediaSent { packets: 385..=396, .. });
    assert_eq!(changes(&case, "ana").filter(|(_, change)| sent(change)).count(), 4, "two tracks to two peers");
}

#[test]
fn a_viewer_without_tracks_receives_those_of_its_sender() {
    let text = "[[actor]]\nname = 'sue'\nplays = 'sender'\nmedia = { tracks = ['video'], interval = '20ms', size = '1000B' }\n\
        [[actor]]\nname = 'vic'\nplays = 'viewer'\nnat = 'symmetric'\n";
    let case = Case::of(text);
    assert_eq!(case.violations(), []);
    let flow = flow(&case, "sue → vic video");
    assert!((1900..=2000).contains(&flow.packets) && arrived(&case).len() == 1, "{flow:?}");
}

#[test]
fn the_receiver_sees_the_losses_of_the_path() {
    let case = case("link = { loss = '10%' }\n");
    let flow = flow(&case, "ana → cam video");
    assert!((7.0..14.0).contains(&flow.lost_percent()), "{flow:?}");
    assert!((385..=396).contains(&(flow.packets + flow.lost)), "{flow:?}");
    assert!(flow.longest_gap > Duration::from_millis(100), "{flow:?}");
    assert_eq!(self::flow(&case, "ana → ben audio").lost, 0, "these links lose nothing");
}

#[test]
fn a_track_that_is_turned_off_falls_silent_and_that_is_no_gap() {
    let case = case(&format!("{}{}", turn(10, false), turn(20, true)));
    assert_eq!(case.violations(), []);
    let told: Vec<_> = changes(&case, "ben")
        .filter(|(_, change)| matches!(change, PeerChange::Silent { .. } | PeerChange::Heard { .. }))
        .map(|(at, change)| (at.as_secs(), change.clone()))
        .collect();
    let [(11 | 12, PeerChange::Silent { kind: TrackKind::Audio }), (20, PeerChange::Heard { kind, gap_ms })] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(*kind == TrackKind::Audio && (9_900..=10_200).contains(gap_ms), "{gap_ms}");
    let flow = flow(&case, "ana → ben audio");
    assert!(flow.longest_gap <= Duration::from_millis(200) && (285..=296).contains(&flow.packets), "{flow:?}");
}

#[test]
fn a_track_that_is_added_later_reaches_who_offered_and_who_answered() {
    // ben answered ana's offer, and offered to cam.
    let case = case(&step(20, "'add-track'\nactor = 'ben'\nkind = 'video'"));
    assert_eq!(case.violations(), []);
    for to in ["ana", "cam"] {
        let flow = flow(&case, &format!("ben → {to} video"));
        assert!((190..=200).contains(&flow.packets), "{flow:?}");
    }
}

#[test]
fn two_tracks_that_are_added_at_once_both_arrive() {
    let text = "[[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\n[[step]]\nat = '10s'\ndo = 'add-track'\n\
        actor = ['ana', 'ben']\nkind = 'audio'\n";
    let case = Case::of(text);
    assert_eq!(case.violations(), []);
    for name in ["ana → ben audio", "ben → ana audio"] {
        let flow = flow(&case, name);
        assert!(flow.packets > 250, "{name}: {flow:?}");
    }
}

#[test]
fn a_cut_is_a_gap_and_the_lost_packets_are_counted_when_it_has_healed() {
    let cut = step(10, "'partition'\nfrom = 'ana'\nto = 'ben'");
    let case = case(&format!("{cut}[[step]]\nat = '12500ms'\ndo = 'heal'\n"));
    assert_eq!(case.violations(), []);
    let flow = flow(&case, "ana → ben audio");
    assert!((2_500..=2_700).contains(&flow.longest_gap.as_millis()), "{flow:?}");
    assert!((24..=27).contains(&flow.lost), "{flow:?}");
}

#[test]
fn media_do_not_make_runs_differ() {
    let play = || event_hash(&case("link = { loss = '5%', jitter = '20ms', duplicate = '1%' }\n").record);
    assert_eq!(play(), play());
}

// ---- the oracle

/// ben says that nothing of ana's picture arrived any more since 15 s.
fn silenced() -> Case {
    let mut case = case("");
    let (ben, peer) = (case.node("ben"), sim::event::PeerName::Client(case.id("ana")));
    let change = PeerChange::Silent { kind: TrackKind::Video };
    case.insert(Duration::from_secs(17), ben, What::Peer(PeerEvent { peer, attempt: 1, change }));
    case
}

#[test]
fn media_flows_sees_a_track_that_falls_silent_for_ever() {
    silenced().turns_red("media-flows", &["ana sends picture to ben", "nothing has arrived since 15.000 s"]);
}

#[test]
fn media_flows_sees_a_track_of_which_nothing_ever_arrives() {
    let mut case = case("");
    let ben = case.node("ben");
    let is_first = |event: &Event| {
        event.node == ben
            && matches!(event.what, What::Peer(PeerEvent { change: PeerChange::Plays { kind: TrackKind::Video }, .. }))
    };
    case.record.events.retain(|event| !is_first(event));
    case.turns_red("media-flows", &["ana sends picture to ben", "nothing of it has ever arrived"]);
}

#[test]
fn media_flows_sees_a_long_gap() {
    let mut case = silenced();
    let (ben, peer) = (case.node("ben"), sim::event::PeerName::Client(case.id("ana")));
    let change = PeerChange::Heard { kind: TrackKind::Video, gap_ms: 16_000 };
    case.insert(Duration::from_secs(31), ben, What::Peer(PeerEvent { peer, attempt: 1, change }));
    case.turns_red("media-flows", &["ana sent picture to ben all the time", "none arrived for 16.000 s"]);
}

#[test]
fn media_flows_excuses_what_can_explain_a_silence() {
    // A fault after which ICE may not have noticed yet that the way is dead.
    let mut hurt = silenced();
    let (at, world) = (Duration::from_secs(26), hurt.node("ben"));
    hurt.insert(at, world, What::Fault(Fault::NatReboot));
    assert_eq!(hurt.violations(), []);
    // A track that is turned off.
    let mut off = silenced();
    let (ana, peer) = (off.node("ana"), sim::event::PeerName::Client(off.id("ben")));
    let change = PeerChange::Sends { kind: TrackKind::Video, on: false };
    off.insert(Duration::from_secs(15), ana, What::Peer(PeerEvent { peer, attempt: 1, change }));
    assert_eq!(off.violations(), []);
    // A link that loses most of what it is given.
    let mut poor = silenced();
    poor.scenario.actors[0].link.up.loss_ppm = 900_000;
    assert_eq!(poor.violations(), []);
}
