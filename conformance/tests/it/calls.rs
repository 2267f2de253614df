//! A server of the dialect `call`, written by hand from the protocol's description. It is right unless it is given a
//! flaw. Where the protocol leaves a choice, it chooses differently from the reference server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;

use conformance::Verdict;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::small::{self, Clients, Did};
use crate::{ask_as, dialect, each_is_found, text};

/// A call between two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    caller: usize,
    callee: usize,
    answered: bool,
}

/// What a server remembers besides its clients.
#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// Names that are not given away again, for a flaw.
    kept: BTreeSet<String>,
    /// A candidate held back, for a flaw.
    held: Option<(usize, String)>,
    /// How often anybody has called, for a flaw.
    called: usize,
}

type Fields = BTreeMap<String, Box<RawValue>>;

/// Handles one event. A flaw is the empty string, or one of the names in [`FLAWS`].
struct Handler<'a> {
    flaw: &'static str,
    state: &'a mut State,
    clients: &'a mut Clients,
    me: usize,
}

async fn start(flaw: &'static str) -> SocketAddr {
    let state = Mutex::new(State::default());
    small::start(move |clients, me, did| {
        let state = &mut *state.lock().expect("no panic");
        Handler { flaw, state, clients, me }.handle(did);
    })
    .await
}

impl Handler<'_> {
    fn is(&self, flaw: &str) -> bool {
        self.flaw == flaw
    }

    fn send(&self, to: usize, kind: &str, data: &Value) {
        self.clients.send(to, json!({ "data": data, "type": kind }).to_string());
    }

    /// Sends JSON whose payload keeps its bytes.
    fn send_raw(&self, to: usize, kind: &str, data: &str) {
        self.clients.send(to, format!(r#"{{"data":{data},"type":"{kind}"}}"#));
    }

    fn error(&self, code: &str) {
        let silent = match self.flaw {
            "taken-untold" => code == "username-taken",
            "not-joined-untold" => code == "not-joined",
            "absent-untold" => code == "user-not-found",
            "busy-untold" => code == "busy",
            "no-call-untold" => code == "not-in-call",
            "malformed-untold" => code == "invalid-message",
            _ => false,
        };
        let code = if self.is("one-code") { "error" } else { code };
        let data = json!({ "code": code });
        if self.is("errors-to-all") {
            self.clients.connected.keys().for_each(|client| self.send(*client, "error", &data));
        } else if !silent {
            self.send(self.me, "error", &data);
        }
    }

    fn name(&self, client: usize) -> Option<String> {
        self.clients.connected.get(&client)?.name.clone()
    }

    fn named(&self, name: &str) -> Option<usize> {
        let folded = |name: &str| match self.flaw {
            "names-folded" => name.to_lowercase(),
            "names-trimmed" => name.trim().to_owned(),
            _ => name.to_owned(),
        };
        let client = self
            .clients
            .connected
            .iter()
            .find(|(_, client)| client.name.as_deref().is_some_and(|other| folded(other) == folded(name)));
        client.map(|(number, _)| *number)
    }

    fn call_of(&self, client: usize) -> Option<Call> {
        self.state.calls.iter().copied().find(|call| call.caller == client || call.callee == client)
    }

    fn other(&self, client: usize) -> Option<usize> {
        self.call_of(client).map(|call| if call.caller == client { call.callee } else { call.caller })
    }

    /// The list, to everybody who is connected, the newest first.
    fn list(&self) {
        let mut names: Vec<_> =
            self.clients.connected.values().rev().filter_map(|client| client.name.clone()).collect();
        if self.is("list-with-gone") {
            names.extend(self.state.kept.iter().cloned());
        }
        if self.is("list-doubled") {
            names.extend(names.first().cloned());
        }
        for client in self.clients.connected.keys() {
            let skipped = match self.flaw {
                "list-to-idle" => self.call_of(*client).is_some(),
                "list-to-newest" => self.clients.connected.keys().next_back() != Some(client),
                _ => false,
            };
            if !skipped {
                self.send(*client, "userList", &json!(names));
            }
        }
    }

    fn end(&mut self, client: usize, name: &str) {
        let Some(other) = self.other(client) else { return };
        self.state.calls.retain(|call| call.caller != client && call.callee != client);
        let ended = json!({ "caller": name });
        match self.flaw {
            "death-ringing-rejects" if !self.clients.connected.contains_key(&client) => {
                self.send(other, "callAnswered", &json!({ "accepted": false, "target": name }));
            }
            "end-told-to-all" => {
                self.clients.others(client, |_| true).into_iter().for_each(|to| self.send(to, "callEnded", &ended));
            }
            "end-told-twice" => (0..2).for_each(|_| self.send(other, "callEnded", &ended)),
            _ => self.send(other, "callEnded", &ended),
        }
    }

    fn handle(&mut self, did: Did) {
        let text = match did {
            Did::Connects(_) => return,
            Did::Sends(Message::Text(text)) if text.len() <= 262_144 => text.to_string(),
            Did::Sends(Message::Text(_)) => return self.clients.close(self.me, 1009),
            Did::Sends(_) => return self.clients.close(self.me, 1003),
            Did::Leaves(gone) => {
                let Some(name) = gone.name else { return };
                let answered = self.call_of(self.me).is_some_and(|call| call.answered);
                match self.flaw {
                    "death-in-call-untold" if answered => {
                        self.state.calls.retain(|call| call.caller != self.me && call.callee != self.me);
                    }
                    "death-ringing-untold" if !answered => {
                        self.state.calls.retain(|call| call.caller != self.me && call.callee != self.me);
                    }
                    _ => self.end(self.me, &name),
                }
                if ["list-with-gone", "names-kept"].contains(&self.flaw) {
                    self.state.kept.insert(name);
                }
                if !self.is("leave-unlisted") {
                    self.list();
                }
                return;
            }
        };
        let Ok(envelope) = serde_json::from_str::<Fields>(&text) else {
            if self.is("bad-json-closes") {
                return self.clients.close(self.me, 1007);
            }
            return self.error("invalid-message");
        };
        let kind = string(&envelope, "type").unwrap_or_default();
        if kind == "video-offer" || kind == "video-answer" {
            return self.by_name(&kind, &envelope);
        }
        let data: Option<Fields> = envelope.get("data").and_then(|data| serde_json::from_str(data.get()).ok());
        let Some(data) = data else { return self.error("invalid-message") };
        match kind.as_str() {
            "join" => self.join(&data),
            "call" => self.call(&data),
            "callResponse" => self.respond(&data),
            "endCall" => self.end_call(&data),
            "offer" | "answer" | "iceCandidate" | "mediaStateChange" => self.relay(&kind, &data),
            _ if self.is("unknown-ignored") => {}
            _ => self.error("invalid-message"),
        }
    }

    /// The client that a field names, once everything that comes before is right.
    fn target(&self, data: &Fields, field: &str) -> Option<usize> {
        let Some(target) = string(data, field) else {
            self.error("invalid-message");
            return None;
        };
        if self.name(self.me).is_none() && !self.is("not-joined-may-call") {
            self.error("not-joined");
            return None;
        }
        let client = self.named(&target);
        if client.is_none() {
            self.error("user-not-found");
        }
        client
    }

    fn join(&mut self, data: &Fields) {
        let name = match data.get("username").map(|name| name.get()) {
            Some(number) if self.is("numbers-are-names") && number.parse::<f64>().is_ok() => Some(number.to_owned()),
            _ => string(data, "username"),
        };
        let Some(mut name) = name else { return self.error("invalid-message") };
        let length = match self.flaw {
            "names-in-bytes" => name.len(),
            "names-in-utf16" => name.encode_utf16().count(),
            "names-one-longer" => name.chars().count() - 1,
            "names-cut" => 1,
            _ => name.chars().count(),
        };
        if self.is("names-cut") {
            name = name.chars().take(64).collect();
        }
        if length > 64 || (name.is_empty() && !self.is("empty-names")) {
            return self.error("invalid-message");
        }
        if self.is("proto-refused") && name == "__proto__" {
            return self.error("username-taken");
        }
        match self.named(&name) {
            Some(holder) if holder == self.me => return self.list(),
            Some(holder) if self.is("takes-over") => {
                self.clients.connected.get_mut(&holder).expect("connected").name = None;
            }
            Some(_) => return self.error("username-taken"),
            None if self.is("names-kept") && self.state.kept.contains(&name) => return self.error("username-taken"),
            None => {}
        }
        if let Some(old) = self.name(self.me) {
            match self.flaw {
                "rename-keeps-call" => {}
                "rename-untold" => self.state.calls.retain(|call| call.caller != self.me && call.callee != self.me),
                "rename-keeps-ringing" if self.call_of(self.me).is_some_and(|call| !call.answered) => {}
                _ => self.end(self.me, &name),
            }
            if self.is("rename-keeps-name") {
                self.state.kept.insert(old);
            }
        }
        self.clients.connected.get_mut(&self.me).expect("connected").name = Some(name);
        if self.is("rename-keeps-name") {
            let names: Vec<_> = self.clients.connected.values().filter_map(|client| client.name.clone()).collect();
            let names: Vec<_> = names.into_iter().chain(self.state.kept.iter().cloned()).collect();
            return self.clients.connected.keys().for_each(|client| self.send(*client, "userList", &json!(names)));
        }
        self.list();
    }

    fn call(&mut self, data: &Fields) {
        let Some(target) = self.target(data, "target") else {
            if self.is("absent-calls") && self.name(self.me).is_some() {
                self.state.calls.push(Call { caller: self.me, callee: usize::MAX, answered: false });
            }
            return;
        };
        let me = self.me;
        let mine = self.name(me).unwrap_or_default();
        if target == me && !self.is("self-call-rings") {
            if self.is("self-call-calls") {
                self.state.calls.push(Call { caller: me, callee: me, answered: false });
            }
            return self.error("invalid-message");
        }
        if let Some(call) = self.call_of(me) {
            if call.caller == target && !call.answered && !self.is("call-back-busy") {
                self.connect(target, me);
                if self.is("call-back-told-to-both") {
                    self.send(me, "callAnswered", &json!({ "accepted": true, "target": self.name(target) }));
                }
                if self.is("call-back-rings") {
                    self.send(target, "incomingCall", &json!({ "caller": mine, "callerId": "c" }));
                }
                return;
            }
            if !self.is("busy-may-call") {
                return self.error("busy");
            }
        }
        if self.call_of(target).is_some() {
            let mut busy = json!({ "accepted": false, "target": self.name(target), "reason": "busy" });
            if self.is("busy-without-reason") {
                busy.as_object_mut().expect("an object").remove("reason");
            }
            if self.is("busy-is-an-error") {
                return self.error("busy");
            }
            if self.is("busy-told-twice") {
                self.send(me, "callAnswered", &busy);
            }
            if self.is("busy-keeps-calling") {
                self.state.calls.push(Call { caller: me, callee: usize::MAX, answered: false });
            }
            return self.send(me, "callAnswered", &busy);
        }
        let claimed = string(data, "caller").filter(|_| self.is("caller-of-a-call-claimed"));
        self.state.called += 1;
        let caller_id = match self.flaw {
            "caller-id-shared" => "connection".to_owned(),
            "caller-id-of-a-call" => format!("call-{}", self.state.called),
            "caller-id-is-name" => mine.clone(),
            _ => format!("connection-{me}"),
        };
        let rings = json!({ "caller": claimed.unwrap_or(mine), "callerId": caller_id });
        self.state.calls.push(Call { caller: me, callee: target, answered: false });
        if self.is("call-rings-at-all") {
            self.clients.others(me, |_| true).into_iter().for_each(|to| self.send(to, "incomingCall", &rings));
        } else {
            self.send(target, "incomingCall", &rings);
        }
    }

    fn connect(&mut self, caller: usize, callee: usize) {
        for call in self.state.calls.iter_mut().filter(|call| call.caller == caller && call.callee == callee) {
            call.answered = true;
        }
        self.send(caller, "callAnswered", &json!({ "accepted": true, "target": self.name(callee) }));
    }

    fn respond(&mut self, data: &Fields) {
        let accepted = match data.get("accepted").map(|accepted| accepted.get()) {
            Some("true") => true,
            Some("false") => false,
            Some(_) if self.is("any-truth") => true,
            _ => return self.error("invalid-message"),
        };
        // The right server insists on the caller's id.
        if self.flaw.is_empty() && string(data, "callerId").is_none() {
            return self.error("invalid-message");
        }
        let Some(caller) = self.target(data, "caller") else { return };
        let me = self.me;
        let answer = json!({ "accepted": accepted, "target": self.name(me) });
        let call = self.call_of(me).filter(|call| (call.caller, call.callee) == (caller, me));
        match call {
            Some(call) if !call.answered => {}
            Some(_) if self.is("reject-ends") && !accepted => {
                self.state.calls.retain(|call| call.callee != me);
                return;
            }
            Some(_) if self.is("second-answer-told") => return self.send(caller, "callAnswered", &answer),
            _ if self.is("anybody-answers") => return self.send(caller, "callAnswered", &answer),
            None if self.is("late-answer-connects") && accepted && self.call_of(caller).is_none() => {
                self.state.calls.push(Call { caller, callee: me, answered: true });
                return;
            }
            None if self.is("callers-answer") => {
                if let Some(call) = self.call_of(me).filter(|call| call.caller == me && call.callee == caller) {
                    self.connect(call.caller, call.callee);
                }
                return self.error("not-in-call");
            }
            _ => return self.error("not-in-call"),
        }
        if accepted {
            return self.connect(caller, me);
        }
        if !self.is("rejected-stays-busy") {
            self.state.calls.retain(|call| call.callee != me);
        }
        self.send(caller, "callAnswered", &answer);
        if self.is("rejection-told-twice") {
            self.send(caller, "callAnswered", &answer);
        }
    }

    fn end_call(&mut self, data: &Fields) {
        let Some(target) = self.target(data, "target") else { return };
        let me = self.me;
        let mine = self.name(me).unwrap_or_default();
        let mine = string(data, "caller").filter(|_| self.is("caller-of-an-end-claimed")).unwrap_or(mine);
        if self.is("anybody-ends") && self.call_of(target).is_some() {
            return self.end(target, &mine);
        }
        if self.is("end-of-whatever") && self.call_of(me).is_some() {
            return self.end(me, &mine);
        }
        if self.is("cancel-ignored") && self.call_of(me).is_some_and(|call| !call.answered) {
            return;
        }
        if self.other(me) != Some(target) {
            // It ignores the end of a call that does not exist.
            return match self.flaw {
                "end-told-anyway" => self.send(target, "callEnded", &json!({ "caller": mine })),
                "end-of-no-call-malformed" => self.error("invalid-message"),
                _ => {}
            };
        }
        if self.is("only-callers-end") && self.call_of(me).is_some_and(|call| call.callee == me) {
            return self.error("not-in-call");
        }
        self.end(me, &mine);
        if self.is("end-echoed") {
            self.send(me, "callEnded", &json!({ "caller": mine }));
        }
    }

    fn relay(&mut self, kind: &str, data: &Fields) {
        let me = self.me;
        let field = match kind {
            "offer" => "offer",
            "answer" => "answer",
            "iceCandidate" => "candidate",
            _ => "enabled",
        };
        let Some(payload) = data.get(field).map(|payload| payload.get()) else {
            return self.error("invalid-message");
        };
        let is_state = kind == "mediaStateChange";
        let payload = if self.is("any-truth") && is_state && payload != "false" { "true" } else { payload };
        let media = string(data, "mediaType");
        if is_state && (media.is_none() || !["true", "false"].contains(&payload)) {
            return self.error("invalid-message");
        }
        let Some(target) = self.target(data, "target") else { return };
        // It insists on an answered call.
        let in_call = self.other(me) == Some(target) && self.call_of(me).is_some_and(|call| call.answered);
        let lenient = match self.flaw {
            "offer-without-call" => kind == "offer",
            "candidate-without-call" => kind == "iceCandidate",
            "media-without-call" => kind == "mediaStateChange",
            "answer-in-any-call" => kind == "answer" && self.call_of(me).is_some(),
            "not-joined-may-call" => self.name(me).is_none(),
            _ => false,
        };
        if !in_call && !lenient {
            return self.error("not-in-call");
        }
        let mine = self.name(me).unwrap_or_default();
        let claimed = |field: &str, flaw: &str| string(data, field).filter(|_| self.is(flaw)).unwrap_or(mine.clone());
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("it was parsed").to_string();
        let reserialised = (self.is("candidates-reserialised") && kind == "iceCandidate").then(|| json(payload));
        let payload = reserialised.as_deref().unwrap_or(payload);
        let extra = match data.get("glare") {
            Some(extra) if self.is("unknown-fields-kept") => format!(r#","glare":{}"#, extra.get()),
            _ => String::new(),
        };
        let body = match kind {
            "offer" => format!(r#"{{"caller":{},"offer":{payload}{extra}}}"#, quoted(&mine)),
            "answer" => {
                let name = quoted(&claimed("answerer", "answerer-claimed"));
                format!(r#"{{"answerer":{name},"answer":{payload}{extra}}}"#)
            }
            "iceCandidate" => {
                let name = quoted(&claimed("sender", "sender-claimed"));
                format!(r#"{{"sender":{name},"candidate":{payload}{extra}}}"#)
            }
            _ => {
                let name = quoted(&claimed("sender", "sender-of-media-claimed"));
                let media = quoted(&media.unwrap_or_default());
                format!(r#"{{"sender":{name},"mediaType":{media},"enabled":{payload}}}"#)
            }
        };
        let kind = if self.is("answers-are-offers") && kind == "answer" { "offer" } else { kind };
        let body = if self.is("answers-are-offers") {
            body.replace("answerer", "caller").replace("answer", "offer")
        } else {
            body
        };
        let targets = match (self.flaw, kind) {
            ("media-to-all", "mediaStateChange") => self.clients.others(me, |_| true),
            ("candidates-to-all", "iceCandidate") => self.clients.others(me, |_| true),
            ("media-twice", "mediaStateChange") | ("answers-twice", "answer") => vec![target, target],
            ("candidates-echoed", "iceCandidate") => vec![target, me],
            _ => vec![target],
        };
        let held = self.state.held.take();
        if self.is("candidates-late") && kind == "iceCandidate" && held.is_none() {
            self.state.held = Some((target, body));
            return;
        }
        targets.into_iter().for_each(|to| self.send_raw(to, kind, &body));
        if let Some((to, body)) = held {
            self.send_raw(to, "iceCandidate", &body);
        }
    }

    fn by_name(&mut self, kind: &str, message: &Fields) {
        let Some(sdp) = message.get("sdp").map(|sdp| sdp.get()) else { return self.error("invalid-message") };
        let me = self.me;
        let mine = self.name(me);
        let Some(target) = string(message, "target") else { return self.error("invalid-message") };
        if mine.is_none() && !self.is("by-name-unjoined") {
            return self.error("not-joined");
        }
        let Some(to) = self.named(&target) else {
            if !self.is("by-name-absent-untold") {
                self.error("user-not-found");
            }
            return;
        };
        if self.is("by-name-needs-call") && self.other(me) != Some(to) {
            return self.error("not-in-call");
        }
        let claimed = string(message, "name").filter(|_| self.is("by-name-claimed"));
        let name = quoted(&claimed.or(mine).unwrap_or_default());
        let text = format!(r#"{{"type":"{kind}","name":{name},"target":{},"sdp":{sdp}}}"#, quoted(&target));
        let receivers = match self.flaw {
            "by-name-to-all" => self.clients.others(me, |_| true),
            "by-name-twice" => vec![to, to],
            _ => vec![to],
        };
        receivers.into_iter().for_each(|to| self.clients.send(to, text.clone()));
    }
}

fn string(fields: &Fields, name: &str) -> Option<String> {
    serde_json::from_str(fields.get(name)?.get()).ok()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_server_has_no_failure() {
    let address = start("").await;
    let report = ask_as(&dialect("call"), &format!("ws://{address}/"), &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let asked = |prefix: &str| {
        let cases = report.cases.iter().filter(|case| case.case.slug.starts_with(prefix));
        cases.filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })).count()
    };
    assert!(asked("call/") >= 35 && asked("") >= 75, "{} and {}\n{}", asked("call/"), asked(""), text(&report));
}

/// Each flaw, and the case that finds it. Other cases may find it as well.
const FLAWS: &[(&str, &str)] = &[
    ("list-to-idle", "call/user-list"),
    ("list-to-newest", "call/user-list"),
    ("list-with-gone", "call/user-list"),
    ("list-doubled", "call/user-list"),
    ("leave-unlisted", "call/user-list"),
    ("names-folded", "call/name-exact"),
    ("names-trimmed", "call/name-exact"),
    ("proto-refused", "call/name-exact"),
    ("names-in-bytes", "call/name-limits"),
    ("names-in-utf16", "call/name-limits"),
    ("names-one-longer", "call/name-limits"),
    ("names-cut", "call/name-limits"),
    ("empty-names", "call/name-limits"),
    ("numbers-are-names", "call/name-limits"),
    ("takes-over", "call/name-taken"),
    ("taken-untold", "call/name-taken"),
    ("names-kept", "call/name-reuse"),
    ("rename-keeps-call", "call/rename"),
    ("rename-keeps-ringing", "call/rename"),
    ("rename-untold", "call/rename"),
    ("rename-keeps-name", "call/rename"),
    ("not-joined-may-call", "call/not-joined"),
    ("not-joined-untold", "call/not-joined"),
    ("self-call-rings", "call/self-call"),
    ("self-call-calls", "call/self-call"),
    ("malformed-untold", "call/self-call"),
    ("absent-calls", "call/absent"),
    ("absent-untold", "call/absent"),
    ("call-rings-at-all", "call/accept"),
    ("caller-id-shared", "call/caller-id"),
    ("caller-id-of-a-call", "call/caller-id"),
    ("caller-id-is-name", "call/caller-id"),
    ("busy-without-reason", "call/busy"),
    ("busy-is-an-error", "call/busy"),
    ("busy-told-twice", "call/busy"),
    ("busy-keeps-calling", "call/busy"),
    ("busy-may-call", "call/caller-busy"),
    ("busy-untold", "call/caller-busy"),
    ("rejected-stays-busy", "call/reject"),
    ("rejection-told-twice", "call/reject"),
    ("anybody-answers", "call/foreign-answer"),
    ("callers-answer", "call/wrong-answer"),
    ("no-call-untold", "call/wrong-answer"),
    ("second-answer-told", "call/second-answer"),
    ("reject-ends", "call/second-answer"),
    ("late-answer-connects", "call/late-answer"),
    ("call-back-busy", "call/call-back"),
    ("call-back-told-to-both", "call/call-back"),
    ("call-back-rings", "call/call-back"),
    ("cancel-ignored", "call/cancel"),
    ("end-told-to-all", "call/end"),
    ("end-told-twice", "call/end"),
    ("end-echoed", "call/end"),
    ("end-told-anyway", "call/end"),
    ("end-of-no-call-malformed", "call/end"),
    ("only-callers-end", "call/end"),
    ("anybody-ends", "call/foreign-end"),
    ("end-of-whatever", "call/foreign-end"),
    ("death-in-call-untold", "call/partner-dies"),
    ("death-ringing-untold", "call/callee-dies-ringing"),
    ("death-ringing-rejects", "call/callee-dies-ringing"),
    ("offer-without-call", "call/outside"),
    ("candidate-without-call", "call/outside"),
    ("media-without-call", "call/outside"),
    ("answer-in-any-call", "call/outside"),
    ("media-to-all", "call/media-state"),
    ("media-twice", "call/media-state"),
    ("candidates-to-all", "call/once"),
    ("candidates-echoed", "call/once"),
    ("answers-twice", "call/once"),
    ("candidates-late", "call/order"),
    ("answerer-claimed", "call/stamped"),
    ("sender-claimed", "call/stamped"),
    ("sender-of-media-claimed", "call/stamped"),
    ("caller-of-a-call-claimed", "call/stamped"),
    ("caller-of-an-end-claimed", "call/stamped"),
    ("by-name-needs-call", "call/by-name"),
    ("by-name-claimed", "call/by-name"),
    ("by-name-to-all", "call/by-name"),
    ("by-name-twice", "call/by-name"),
    ("by-name-unjoined", "call/by-name-refused"),
    ("by-name-absent-untold", "call/by-name-refused"),
    ("answers-are-offers", "mesh/kinds"),
    ("candidates-reserialised", "msg/payload-kinds"),
    ("unknown-fields-kept", "msg/unknown-fields"),
    ("bad-json-closes", "msg/not-json"),
    ("malformed-untold", "msg/null"),
    ("unknown-ignored", "msg/unknown-type"),
    ("not-joined-untold", "msg/not-joined"),
    ("not-joined-may-call", "msg/not-joined"),
    ("malformed-untold", "msg/missing-field"),
    ("any-truth", "msg/wrong-type"),
    ("errors-to-all", "msg/wrong-type"),
    ("one-code", "call/absent"),
    ("one-code", "msg/unknown-type"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_flaw_is_found() {
    each_is_found(&dialect("call"), FLAWS, async |flaw| format!("ws://{}/", start(flaw).await)).await;
}
