//! Users and calls against an independent model: after each random action, every client's queue contains exactly what
//! the model predicts, byte for byte.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Limits;
use crate::access::Grant;
use crate::session::close::Close;
use crate::session::queue::Queue;

const CLIENTS: usize = 4;
const NAMES: [&str; 5] = ["A", "B", "C", "D", "__proto__"];

#[derive(Clone, Debug)]
enum Action {
    Join(usize),
    Call(usize),
    Respond(bool, usize),
    Offer(usize),
    Describe(usize),
    End(usize),
    Garbage,
    /// The connection ends; a new client replaces it.
    Disconnect,
}

fn action() -> impl Strategy<Value = (usize, Action)> {
    let name = || 0..NAMES.len();
    let action = prop_oneof![
        4 => name().prop_map(Action::Join),
        6 => name().prop_map(Action::Call),
        4 => (any::<bool>(), name()).prop_map(|(accepted, caller)| Action::Respond(accepted, caller)),
        3 => name().prop_map(Action::Offer),
        1 => name().prop_map(Action::Describe),
        3 => name().prop_map(Action::End),
        1 => Just(Action::Garbage),
        1 => Just(Action::Disconnect),
    ];
    (0..CLIENTS, action)
}

/// What a reader of the promises would write: the names of clients, and a list of calls.
#[derive(Default)]
struct Model {
    ids: Vec<String>,
    names: [Option<usize>; CLIENTS],
    /// Caller, callee, and whether it was answered.
    calls: Vec<(usize, usize, bool)>,
    outbox: Vec<(usize, String)>,
}

impl Model {
    fn say(&mut self, to: usize, kind: &str, data: &str) {
        self.outbox.push((to, format!(r#"{{"type":"{kind}","data":{data}}}"#)));
    }

    fn error(&mut self, to: usize, code: &str) {
        // Only the code is compared.
        self.outbox.push((to, code.to_owned()));
    }

    fn list(&mut self, to: usize) {
        let mut names: Vec<_> = self.names.iter().flatten().map(|name| format!("{:?}", NAMES[*name])).collect();
        names.sort();
        self.say(to, "userList", &format!("[{}]", names.join(",")));
    }

    fn list_to_all(&mut self) {
        (0..CLIENTS)
            .filter(|client| self.names[*client].is_some())
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|to| self.list(to));
    }

    fn who(&self, name: usize) -> Option<usize> {
        self.names.iter().position(|known| *known == Some(name))
    }

    fn call_of(&self, client: usize) -> Option<(usize, usize, bool)> {
        self.calls.iter().copied().find(|(caller, callee, _)| *caller == client || *callee == client)
    }

    /// Ends a client's call, and notifies the other side.
    fn end(&mut self, client: usize, name: &str) {
        if let Some(call) = self.call_of(client) {
            self.calls.retain(|other| *other != call);
            let peer = if call.0 == client { call.1 } else { call.0 };
            self.say(peer, "callEnded", &format!(r#"{{"caller":"{name}"}}"#));
        }
    }

    fn answered(&mut self, caller: usize, accepted: bool, target: &str) {
        self.say(caller, "callAnswered", &format!(r#"{{"accepted":{accepted},"target":"{target}"}}"#));
    }

    fn step(&mut self, me: usize, action: &Action) {
        let name = match (self.names[me], action) {
            (_, Action::Garbage) => return self.error(me, "invalid-message"),
            (Some(name), _) => NAMES[name],
            (None, Action::Join(_) | Action::Disconnect) => "",
            (None, _) => return self.error(me, "not-joined"),
        };
        let call = self.call_of(me);
        match *action {
            Action::Garbage => unreachable!("dealt with"),
            Action::Join(new) => match self.who(new) {
                Some(holder) if holder == me => self.list(me),
                Some(_) => self.error(me, "username-taken"),
                None => {
                    self.end(me, name);
                    self.names[me] = Some(new);
                    self.list_to_all();
                }
            },
            Action::Disconnect => {
                self.end(me, name);
                if self.names[me].take().is_some() {
                    self.list_to_all();
                }
            }
            Action::Respond(accepted, caller) => match call {
                Some((from, to, false)) if to == me && self.who(caller) == Some(from) => {
                    self.calls.retain(|other| Some(*other) != call);
                    if accepted {
                        self.calls.push((from, me, true));
                    }
                    self.answered(from, accepted, name);
                }
                _ => self.error(me, "not-in-call"),
            },
            Action::Call(target) | Action::Describe(target) if self.who(target) == Some(me) => {
                self.error(me, "invalid-message");
            }
            Action::Call(target) | Action::Describe(target) | Action::Offer(target) | Action::End(target) => {
                let Some(other) = self.who(target) else { return self.error(me, "user-not-found") };
                let both = call.is_some_and(|(from, to, _)| (from, to) == (me, other) || (from, to) == (other, me));
                match action {
                    Action::Describe(_) => {
                        let target = NAMES[target];
                        let text =
                            format!(r#"{{"type":"video-offer","name":"{name}","target":"{target}","sdp":[ 1]}}"#);
                        self.outbox.push((other, text));
                    }
                    Action::Offer(_) if both => {
                        self.say(other, "offer", &format!(r#"{{"offer":{{"b":1, "a":2}},"caller":"{name}"}}"#));
                    }
                    Action::End(_) if both => self.end(me, name),
                    Action::Offer(_) | Action::End(_) => self.error(me, "not-in-call"),
                    _ if call == Some((other, me, false)) => {
                        self.calls.retain(|known| Some(*known) != call);
                        self.calls.push((other, me, true));
                        self.answered(other, true, name);
                    }
                    _ if call.is_some() => self.error(me, "busy"),
                    _ if self.call_of(other).is_some() => {
                        let target = NAMES[target];
                        let data = format!(r#"{{"accepted":false,"target":"{target}","reason":"busy"}}"#);
                        self.say(me, "callAnswered", &data);
                    }
                    _ => {
                        self.calls.push((me, other, false));
                        let id = self.ids[me].clone();
                        self.say(other, "incomingCall", &format!(r#"{{"caller":"{name}","callerId":"{id}"}}"#));
                    }
                }
            }
        }
    }
}

/// Every second client uses Socket.IO.
fn connect(endpoint: &Arc<Call>, client: usize) -> CallSession {
    let framing = if client.is_multiple_of(2) { Framing::WebSocket } else { Framing::SocketIo };
    let limits = Limits::default();
    let client = Client::new(Queue::alone(&limits), Grant::default(), &limits);
    CallSession::new(Arc::clone(endpoint), endpoint.issue_id(), client, framing)
}

/// Sends a message made by [`message`], in the client's framing.
fn say(session: &mut CallSession, text: &str) {
    let envelope = json::fields(text, &["type", "data"]);
    let ([Some(kind), data], Framing::SocketIo) = (envelope.unwrap_or_default(), session.output.framing) else {
        return session.text(text);
    };
    let content = data.map_or(text, RawValue::get);
    session.event(&Event::parse(&format!("[{kind},{content}]")).expect("an event"), &[]);
}

/// A Socket.IO packet in the form it has over WebSocket.
fn in_envelope(packet: &str) -> String {
    let event = Event::parse(&packet[2..]).expect("an event");
    let (kind, content) = (&event.name, event.argument.expect("it has data"));
    match &**kind {
        "video-offer" => format!(r#"{{"type":"{kind}",{}"#, &content.get()[1..]),
        _ => format!(r#"{{"type":"{kind}","data":{content}}}"#),
    }
}

fn message(action: &Action) -> String {
    match *action {
        Action::Join(name) => format!(r#"{{"type":"join","data":{{"username":"{}"}}}}"#, NAMES[name]),
        Action::Call(target) => format!(r#"{{"type":"call","data":{{"target":"{}"}}}}"#, NAMES[target]),
        Action::Respond(accepted, caller) => {
            let caller = NAMES[caller];
            format!(r#"{{"type":"callResponse","data":{{"accepted":{accepted},"caller":"{caller}"}}}}"#)
        }
        Action::Offer(target) => {
            let target = NAMES[target];
            format!(r#"{{"type":"offer","data":{{"caller":"liar","offer":{{"b":1, "a":2}},"target":"{target}"}}}}"#)
        }
        Action::Describe(target) => {
            format!(r#"{{"type":"video-offer","name":"liar","target":"{}","sdp":[ 1]}}"#, NAMES[target])
        }
        Action::End(target) => format!(r#"{{"type":"endCall","data":{{"target":"{}"}}}}"#, NAMES[target]),
        Action::Garbage => "{".to_owned(),
        Action::Disconnect => unreachable!("no message"),
    }
}

/// The messages queued since the last call; for an error, only its code.
fn received(queue: &Queue) -> Vec<String> {
    let code = |text: &str| {
        let rest = text.strip_prefix(r#"{"type":"error","data":{"code":""#)?;
        rest.split_once('"').map(|(code, _)| code.to_owned())
    };
    let messages = queue.drained();
    let texts = messages.iter().map(|message| message.to_text().expect("a text").to_owned());
    let texts = texts.map(|text| if text.starts_with("42") { in_envelope(&text) } else { text });
    texts.map(|text| code(&text).unwrap_or(text)).collect()
}

/// Between the decision to close a connection and the end of its task, another client may take its name.
#[test]
fn a_dead_holders_name_is_free_and_its_call_ends_once() {
    let endpoint = Arc::new(Call::new(1));
    let [mut dead, mut peer, mut new] = std::array::from_fn(|client| connect(&endpoint, client));
    say(&mut dead, &message(&Action::Join(0)));
    say(&mut peer, &message(&Action::Join(1)));
    say(&mut dead, &message(&Action::Call(1)));
    received(&peer.output.client);
    dead.output.client.close(Close::HeartbeatMissed);
    say(&mut peer, &message(&Action::Offer(0)));
    assert_eq!(received(&peer.output.client), ["user-not-found"]);
    say(&mut new, &message(&Action::Join(0)));
    say(&mut dead, &message(&Action::Offer(1)));
    drop(dead);
    let list = r#"{"type":"userList","data":["A","B"]}"#;
    assert_eq!(received(&peer.output.client), [r#"{"type":"callEnded","data":{"caller":"A"}}"#, list]);
    assert_eq!(received(&new.output.client), [list]);
    assert_eq!(endpoint.count(), (0, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everyone_receives_exactly_what_the_model_says(actions in vec(action(), 1..80)) {
        let endpoint = Arc::new(Call::new(1));
        let mut clients: Vec<_> = (0..CLIENTS).map(|client| connect(&endpoint, client)).collect();
        let mut model = Model::default();
        // Every client has a name at first, so that calls are more frequent than joins.
        let joins = (0..CLIENTS).map(|client| (client, Action::Join(client)));
        for (client, action) in joins.chain(actions) {
            model.ids = clients.iter().map(|session| session.id.as_str().to_owned()).collect();
            model.step(client, &action);
            match action {
                Action::Disconnect => clients[client] = connect(&endpoint, client),
                _ => say(&mut clients[client], &message(&action)),
            }
            let outbox = std::mem::take(&mut model.outbox);
            for (other, session) in clients.iter().enumerate() {
                let expected: Vec<_> = outbox.iter().filter(|(to, _)| *to == other).map(|(_, m)| m.clone()).collect();
                prop_assert_eq!(received(&session.output.client), expected, "client {} after {} {:?}", other, client, action);
            }
            prop_assert_eq!(endpoint.count(), (model.calls.len(), model.names.iter().flatten().count()));
        }
        drop(clients);
        prop_assert_eq!(endpoint.count(), (0, 0));
    }
}
