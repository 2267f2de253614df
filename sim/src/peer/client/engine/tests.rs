//! The clients without sockets: what they send and record for what arrives.

use std::sync::Arc;
use std::time::Duration;

use scenarios::Role;

use super::{Engine, engine};
use crate::dialects::Spoken;
use crate::event::{Message, NodeId, NodeKind, Recorder, Refused, Signaling, What};
use crate::peer::client::codec::Args;
use crate::peer::client::cx::{ClientCx, Media, Outgoing};
use crate::peer::client::scripted::Script;
use crate::peer::client::{Command, Config, Directory};

/// A client of a dialect that makes no WebRTC connections, and what it did.
struct Client {
    engine: Box<dyn Engine>,
    cx: ClientCx,
    recorder: Recorder,
    node: NodeId,
    received: Vec<Message>,
}

impl Client {
    fn of(dialect: &str, name: &str, plays: Role, contacts: &[&str]) -> Self {
        let recorder = Recorder::new(tokio::time::Instant::now());
        let node = recorder.node(name, NodeKind::World);
        let config = Config {
            families: crate::peer::client::Families::IPV4,
            name: name.into(),
            plays,
            spoken: Spoken::load(dialect).expect("it is shipped"),
            room: "r".into(),
            contacts: contacts.iter().map(|name| Arc::from(*name)).collect(),
            directory: Directory::default(),
            server: "192.0.2.1:1".parse().expect("an address"),
            endpoint: None,
            ice_servers: Vec::new(),
            config: None,
            ice_transport_policy: scenarios::IceTransportPolicy::All,
            heartbeat: Duration::from_secs(20),
            webrtc: false,
            stack: scenarios::Stack::Rtc,
            media: None,
            sections: crate::peer::stack::MediaSections::default(),
            keys: None,
            beside_programs: false,
            timing: scenarios::Timing::default(),
            seed: 1,
        };
        let engine = engine(&config, 0);
        let cx = ClientCx::new(config, recorder.clone(), node, Media::Scripted(Script::new(node, Duration::ZERO)));
        Self { engine, cx, recorder, node, received: Vec::new() }
    }

    fn member(dialect: &str) -> Self {
        Self::of(dialect, "ana", Role::Mesh, &["ben", "cleo"])
    }

    fn connects(&mut self) -> Vec<String> {
        self.engine.on_connected(&mut self.cx);
        self.sent()
    }

    fn receives(&mut self, text: &str) -> Vec<String> {
        self.engine.on_text(text, false, &mut self.cx);
        self.sent()
    }

    fn loses(&mut self) {
        self.engine.on_lost(false, &mut self.cx);
    }

    fn orders(&mut self, command: &Command) -> (Result<(), &'static str>, Vec<String>) {
        (self.engine.on_command(command, &mut self.cx), self.sent())
    }

    /// The texts that it sends.
    fn sent(&mut self) -> Vec<String> {
        for signal in std::mem::take(&mut self.cx.signals) {
            self.engine.send_signal(signal, &mut self.cx);
        }
        let text = |outgoing| if let Outgoing::Text(text, _) = outgoing { Some(text) } else { None };
        std::mem::take(&mut self.cx.outbox).into_iter().filter_map(text).collect()
    }

    /// The messages that it has received, decoded.
    fn received(&mut self) -> &[Message] {
        let record = self.recorder.take();
        let new = record.events.into_iter().filter(|event| event.node == self.node);
        self.received.extend(new.filter_map(|event| match event.what {
            What::Signaling(Signaling::Received(message)) => Some(message),
            _ => None,
        }));
        &self.received
    }
}

/// Whether exactly these texts were sent, each of which begins like this.
#[track_caller]
fn begin_like(sent: &[String], beginnings: &[&str]) {
    let fits =
        sent.len() == beginnings.len() && sent.iter().zip(beginnings).all(|(text, begin)| text.starts_with(begin));
    assert!(fits, "{sent:#?}\n{beginnings:#?}");
}

#[test]
fn the_members_that_are_notified_offer_to_the_newcomer() {
    let mut ana = Client::member("mesh");
    assert_eq!(ana.connects(), [r#"{"action":"join","roomId":"r","name":"ana"}"#]);
    let roster = r#"{"action":"joined","roomId":"r","clientId":"a","peers":[{"clientId":"b","name":"ben"}]}"#;
    assert!(ana.receives(roster).is_empty(), "who is there offers");
    begin_like(
        &ana.receives(r#"{"action":"peer-joined","roomId":"r","peer":{"clientId":"c","name":"cleo"}}"#),
        &[
            r#"{"action":"signal","roomId":"r","type":"offer","to":"c","data":{"type":"offer","#,
            r#"{"action":"signal","roomId":"r","type":"ice-candidate","to":"c","data":{"candidate":"#,
        ],
    );
    assert_eq!(ana.engine.known_as("cleo", &ana.cx).iter().map(|id| &**id).collect::<Vec<_>>(), ["c"]);
    ana.receives(r#"{"action":"peer-left","roomId":"r","clientId":"c"}"#);
    assert!(ana.engine.known_as("cleo", &ana.cx).is_empty());
    ana.engine.leave(&mut ana.cx);
    assert_eq!(ana.sent(), [r#"{"action":"leave","roomId":"r"}"#]);
}

#[test]
fn orders_find_a_client_whose_name_the_server_does_not_tell() {
    let mut ana = Client::member("mesh");
    ana.connects();
    ana.receives(r#"{"action":"joined","roomId":"r","clientId":"a","peers":[{"clientId":"c"},{"clientId":"d"}]}"#);
    assert!(ana.engine.known_as("cleo", &ana.cx).is_empty(), "cleo has received no id");
    for id in ["old", "c"] {
        ana.cx.config.directory.enter(&"cleo".into(), &id.into());
    }
    let known = ana.engine.known_as("cleo", &ana.cx);
    assert_eq!(known.iter().map(|id| &**id).collect::<Vec<_>>(), ["c"], "her id of a life that is over is not there");
}

#[test]
fn a_payload_is_kept_byte_for_byte() {
    let mut ana = Client::member("mesh");
    let payload = r#"{"z":1,"a":1.0,"n":12345678901234567890123}"#;
    ana.receives(&format!(r#"{{"action":"signal","roomId":"r","from":"b","type":"answer","data":{payload}}}"#));
    let [Message::Signal { payload: received, .. }] = ana.received() else { panic!("not a signal") };
    assert_eq!(&**received, payload);
}

#[test]
fn what_is_not_of_the_dialect_is_unknown() {
    let mut ana = Client::member("mesh");
    let texts = ["", "null", "[]", "{}", r#"{"action":"zzz"}"#, r#"{"action":"joined"}"#, r#"{"action":1}"#];
    texts.iter().for_each(|text| assert!(ana.receives(text).is_empty()));
    assert_eq!(ana.received(), texts.map(|_| Message::Unknown));
}

#[test]
fn a_client_that_knows_the_others_offers_to_all_of_them_and_comes_back_under_its_id() {
    let mut ana = Client::member("peerjs");
    let path = ana.engine.speaker().codec.path("/peerjs");
    assert!(path.starts_with("/peerjs?key=peerjs&id=r-ana&token="), "{path}");
    assert!(ana.connects().is_empty(), "connecting is joining");
    let offers = [
        r#"{"type":"OFFER","dst":"r-ben","payload":{"sdp":{"type":"offer","#,
        r#"{"type":"CANDIDATE","dst":"r-ben","payload":{"sdp":{"candidate":"#,
        r#"{"type":"OFFER","dst":"r-cleo","payload":{"sdp":{"type":"offer","#,
        r#"{"type":"CANDIDATE","dst":"r-cleo","payload":{"sdp":{"candidate":"#,
    ];
    begin_like(&ana.receives(r#"{"type":"OPEN"}"#), &offers);
    ana.loses();
    ana.connects();
    begin_like(&ana.receives(r#"{"type":"OPEN"}"#), &offers);
    let admitted = Message::Admitted { room: "r".into(), id: "r-ana".into() };
    assert_eq!(ana.received(), [admitted.clone(), admitted]);
    assert_eq!(ana.engine.speaker().codec.path("/peerjs"), path, "the same token in one life");
    ana.loses();
    ana.connects();
    ana.receives(r#"{"type":"ID-TAKEN"}"#);
    assert!(matches!(ana.received(), [_, _, Message::Refused { .. }]));
}

#[test]
fn a_client_skips_what_is_for_others_and_its_own() {
    let mut ana = Client::member("y-webrtc");
    assert_eq!(ana.connects(), [r#"{"type":"subscribe","topics":["r"]}"#, r#"{"type":"ping"}"#]);
    let announced = ana.receives(r#"{"type":"pong"}"#);
    assert_eq!(announced, [r#"{"type":"publish","topic":"r","data":{"type":"announce","from":"r-ana"}}"#]);
    assert!(ana.receives(&announced[0]).is_empty(), "its own announcement");
    let to = |from: &str, to: &str| {
        format!(
            r#"{{"type":"publish","topic":"r","data":{{"type":"signal","from":"{from}","to":"{to}","signal":{{"type":"offer","data":{{"a":1}}}}}}}}"#
        )
    };
    assert!(ana.receives(&to("r-ben", "r-cleo")).is_empty() && ana.receives(&to("r-ana", "r-ben")).is_empty());
    assert_eq!(ana.receives(&to("r-ben", "r-ana")).len(), 2, "an answer and a candidate");
    let announced = r#"{"type":"publish","topic":"r","data":{"type":"announce","from":"r-cleo"}}"#;
    begin_like(
        &ana.receives(announced)[..1],
        &[r#"{"type":"publish","topic":"r","data":{"type":"signal","from":"r-ana","to":"r-cleo","#],
    );
}

#[test]
fn who_cannot_join_a_room_opens_it() {
    let mut ana = Client::member("rtcmulticonnection");
    begin_like(&ana.connects(), &[r#"18["join-room","#]);
    begin_like(&ana.receives(r#"["ack",18,[false,"Room not available"]]"#), &[r#"37["open-room","#]);
    begin_like(&ana.receives(r#"["ack",37,[false,"Room not available"]]"#), &[r#"54["join-room","#]);
    assert!(ana.receives(r#"["ack",54,[false,"Room full"]]"#).is_empty() && ana.engine.deadline().is_some());
    ana.loses();
    ana.connects();
    let offers = ana.receives(r#"["ack",72,[true]]"#);
    begin_like(&offers[..1], &[r#"["RTCMultiConnection-Message",{"remoteUserId":"r-ben","sender":"r-ana","#]);
}

#[test]
fn a_description_without_candidates_waits_for_them() {
    let mut ana = Client::member("webrtc-star");
    assert_eq!(ana.connects().len(), 1);
    assert!(ana.receives(r#"["ws-peer","ben"]"#).is_empty());
    assert!(ana.engine.deadline().is_some());
}

#[test]
fn a_newcomer_hands_its_offers_to_the_server_and_the_answer_shows_whom_one_has_reached() {
    let mut ana = Client::member("bittorrent-tracker");
    assert!(ana.connects().is_empty(), "the offers wait for their candidates");
    assert!(ana.engine.deadline().is_some());
    let peers: Vec<_> = [0, 1].map(|number| format!("open offer 0.{}", number + 1)).into();
    let sessions = peers.iter().map(|peer| ana.engine.speaker_mut().codec.session_with(&peer.as_str().into()));
    let sessions: Vec<_> = sessions.collect();
    assert_ne!(sessions[0], sessions[1]);
    ana.engine.speaker_mut().send_plain(dialect::Operation::Leave, &mut ana.cx);
    begin_like(&ana.sent(), &[r#"{"action":"announce","event":"stopped","info_hash":"glare-swarm-"#]);
    let own = ana.engine.speaker_mut().codec.own_id().expect("it has chosen one");
    let room = ana.engine.speaker().codec.spoken().room_of("r");
    let offer = format!(
        r#"{{"action":"announce","info_hash":"{room}","peer_id":"-GL0001-ben","offer_id":"x","offer":{{"type":"offer","sdp":{{"description":{{"a":1}},"candidates":[]}}}}}}"#
    );
    assert!(ana.receives(&offer).is_empty(), "the answer waits for its candidates too");
    let joined = format!(r#"{{"action":"announce","info_hash":"{room}","interval":120,"complete":0,"incomplete":2}}"#);
    ana.receives(&joined);
    ana.receives(&joined);
    let admitted = Message::Admitted { room: "r".into(), id: own };
    assert_eq!(ana.received().iter().filter(|message| **message == admitted).count(), 1, "each request is answered");
    let answer = |session: &str| {
        format!(
            r#"{{"action":"announce","info_hash":"{room}","peer_id":"-GL0001-ben","offer_id":{session},"answer":{{"type":"answer","sdp":{{"description":{{"a":1}},"candidates":[]}}}}}}"#
        )
    };
    assert!(ana.engine.own_deadline().is_some());
    ana.receives(&answer(&sessions[1]));
    ana.receives(&answer(&sessions[1]));
    assert!(ana.received().iter().all(|message| *message != Message::Unknown));
}

#[test]
fn a_list_of_offers_names_the_session_of_each() {
    let mut ana = Client::member("bittorrent-tracker");
    let args = Args { offers: Some(r#"[[{"a":1},"s1"],[{"a":2},"s2"]]"#), wanted: Some("2"), ..Args::default() };
    let text = ana.engine.speaker_mut().codec.write(dialect::Operation::Join, &args).expect("it has a message");
    let offers = r#""numwant":2,"offers":[{"offer":{"type":"offer","sdp":{"a":1}},"offer_id":"s1"},{"offer":{"type":"offer","sdp":{"a":2}},"offer_id":"s2"}]}"#;
    assert!(text.ends_with(offers), "{text}");
    let none = ana.engine.speaker_mut().codec.write(dialect::Operation::Join, &Args::default());
    assert!(none.is_some_and(|text| text.ends_with(r#""left":1}"#)));
}

#[test]
fn a_response_is_known_by_the_number_of_its_request_and_a_request_of_the_server_is_answered() {
    let mut ana = Client::member("protoo");
    assert_eq!(
        ana.connects(),
        [r#"{"request":true,"id":18,"method":"join","data":{"displayName":"ana"}}"#],
        "the first message of the first operation"
    );
    ana.receives(r#"{"response":true,"id":21,"ok":true,"data":{"peers":[]}}"#);
    assert!(ana.received().is_empty(), "it answers a signal, not the join");
    ana.receives(r#"{"response":true,"id":18,"ok":true,"data":{"peers":[{"id":"r-ben","displayName":"ben"}]}}"#);
    assert!(matches!(ana.received(), [Message::Joined { roster, .. }] if roster.len() == 1));
    let offer = r#"{"request":true,"id":7000001,"method":"signal","data":{"from":"r-ben","kind":"offer","data":{"type":"offer"}}}"#;
    let sent = ana.receives(offer);
    begin_like(
        &sent,
        &[
            r#"{"response":true,"id":7000001,"ok":true,"data":{}}"#,
            r#"{"request":true,"id":39,"method":"signal","data":{"to":"r-ben","kind":"answer","#,
            r#"{"request":true,"id":57,"method":"signal","data":{"to":"r-ben","kind":"candidate","#,
        ],
    );
}

#[test]
fn a_sender_offers_when_its_viewer_is_ready() {
    let mut ana = Client::of("sender-viewer", "ana", Role::Sender, &["ben"]);
    assert_eq!(ana.connects(), [r#"{"type":"join","role":"sender","room":"r"}"#]);
    ana.receives(r#"{"type":"error","reason":"sender-already-exists"}"#);
    assert!(ana.engine.deadline().is_some(), "it asks again");
    ana.receives(r#"{"type":"joined","role":"sender","room":"r","clientId":"pj5ksv0o"}"#);
    assert_eq!(ana.engine.deadline(), None);
    begin_like(
        &ana.receives(r#"{"type":"viewer-ready"}"#),
        &[r#"{"type":"offer","sdp":{"type":"offer","#, r#"{"type":"ice-candidate","candidate":{"candidate":"#],
    );
    let taken = Message::Refused { why: Refused::RoleTaken, text: "sender-already-exists".into() };
    let admitted = Message::Admitted { room: "r".into(), id: "pj5ksv0o".into() };
    assert_eq!(ana.received(), [taken, admitted, Message::PartnerReady { room: "r".into() }]);
}

#[test]
fn users_call_and_the_caller_offers() {
    let mut ana = Client::of("call", "ana", Role::User, &["ben"]);
    assert_eq!(ana.connects(), [r#"{"type":"join","data":{"username":"ana"}}"#]);
    assert_eq!(ana.orders(&Command::Call("ben".into())).0, Err("it has not joined"));
    ana.receives(r#"{"type":"userList","data":["ben","ana"]}"#);
    let called = ana.orders(&Command::Call("ben".into()));
    assert_eq!(called, (Ok(()), vec![r#"{"type":"call","data":{"target":"ben"}}"#.to_owned()]));
    let offered = ana.receives(r#"{"type":"callAnswered","data":{"accepted":true,"target":"ben"}}"#);
    begin_like(
        &offered,
        &[
            r#"{"type":"offer","data":{"target":"ben","offer":{"#,
            r#"{"type":"iceCandidate","data":{"target":"ben","candidate":{"#,
        ],
    );
    let mut ben = Client::of("call", "ben", Role::User, &["ana"]);
    ben.receives(r#"{"type":"userList","data":["ben","ana"]}"#);
    ben.receives(r#"{"type":"incomingCall","data":{"caller":"ana","callerId":"x7"}}"#);
    let accepted = r#"{"type":"callResponse","data":{"accepted":true,"caller":"ana","callerId":"x7"}}"#;
    assert_eq!(ben.orders(&Command::Accept), (Ok(()), vec![accepted.to_owned()]));
}

/// cam's call was on its way to ana when she called ben.
#[test]
fn a_user_whose_call_is_refused_because_another_calls_it_is_free_afterwards() {
    let mut ana = Client::of("call", "ana", Role::User, &["ben", "cam"]);
    ana.connects();
    ana.receives(r#"{"type":"userList","data":["ben","cam","ana"]}"#);
    let call = Command::Call("ben".into());
    assert_eq!(ana.orders(&call).0, Ok(()));
    let rejected = ana.receives(r#"{"type":"incomingCall","data":{"caller":"cam","callerId":"x7"}}"#);
    begin_like(&rejected, &[r#"{"type":"callResponse","data":{"accepted":false,"caller":"cam""#]);
    assert_eq!(ana.orders(&call).0, Err("it is already in a call"));
    ana.receives(r#"{"type":"error","data":{"code":"busy"}}"#);
    assert!(matches!(ana.received().last(), Some(Message::Refused { why: Refused::Busy, .. })));
    assert_eq!(ana.orders(&call).0, Ok(()));
}

#[test]
fn over_socket_io_a_message_is_an_event() {
    let mut ana = Client::of("call-socketio", "ana", Role::User, &["ben"]);
    assert_eq!(ana.connects(), [r#"["join",{"username":"ana"}]"#]);
    ana.engine.on_text(r#"["connect",{"sid":"x"}]"#, true, &mut ana.cx);
    assert!(ana.received().is_empty(), "the layer's own report is no message of this dialect");
}

#[test]
fn clients_without_names_hear_each_other_and_skip_their_echoes() {
    let mut ana = Client::of("broadcast", "ana", Role::Broadcast, &["ben"]);
    assert!(ana.connects().is_empty());
    let theirs = r#"["receive-offer",{"description":{"type":"offer"},"candidates":[]}]"#;
    assert!(ana.receives(theirs).is_empty(), "its answer waits for its candidates");
    let due = ana.engine.deadline().expect("it waits");
    assert!(due > ana.cx.now());
    let mut ben = Client::of("relay", "ben", Role::Relay, &["ana"]);
    ben.connects();
    begin_like(
        &ben.receives(r#"{"type":"offer","offer":{"type":"offer"}}"#),
        &[r#"{"type":"answer","answer":{"type":"answer","#, r#"{"type":"candidate","candidate":{"candidate":"#],
    );
}
