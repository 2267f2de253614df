//! The roles against an independent model: after each random action, every client's queue contains exactly what the
//! model predicts, byte for byte, and `/api/status` shows the clients of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::Limits;
use crate::access::Grant;

const CLIENTS: usize = 5;
/// In the order of their names, as the status lists them.
const ROOMS: [&str; 2] = ["__proto__", "r1"];

#[derive(Clone, Debug)]
enum Action {
    Join {
        client: usize,
        room: usize,
        role: &'static str,
    },
    /// An `offer`, `answer` or `ice-candidate`.
    Relay {
        client: usize,
        kind: &'static str,
    },
    Garbage {
        client: usize,
    },
    /// The server decides to close the connection, which is still open.
    Kick {
        client: usize,
    },
    /// The connection ends; a new client replaces it.
    Disconnect {
        client: usize,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let (client, room, role) = (0..CLIENTS, 0..ROOMS.len(), select(vec!["sender", "viewer"]));
    let kind = select(vec!["offer", "answer", "ice-candidate"]);
    prop_oneof![
        6 => (client.clone(), room, role).prop_map(|(client, room, role)| Action::Join { client, room, role }),
        5 => (client.clone(), kind).prop_map(|(client, kind)| Action::Relay { client, kind }),
        1 => client.clone().prop_map(|client| Action::Garbage { client }),
        1 => client.clone().prop_map(|client| Action::Kick { client }),
        2 => client.prop_map(|client| Action::Disconnect { client }),
    ]
}

fn other(role: &str) -> &'static str {
    if role == "sender" { "viewer" } else { "sender" }
}

/// A client's message to relay, with the envelope's fields in another order than the server writes them.
fn said(kind: &str) -> String {
    match kind {
        "ice-candidate" => r#"{"candidate":{"b":1, "a":[]},"x":0,"type":"ice-candidate"}"#.to_owned(),
        _ => format!(r#"{{"sdp":{{"b":1, "a":[]}},"from":"liar","type":"{kind}"}}"#),
    }
}

#[derive(Default)]
struct Model {
    /// The holders of roles by room, alive or about to be closed.
    holders: BTreeMap<(usize, &'static str), usize>,
    kicked: BTreeSet<usize>,
    ids: Vec<String>,
    outbox: Vec<(usize, String)>,
}

impl Model {
    fn say(&mut self, to: usize, message: impl Into<String>) {
        if !self.kicked.contains(&to) {
            self.outbox.push((to, message.into()));
        }
    }

    fn error(&mut self, to: usize, reason: &str) {
        self.say(to, format!(r#"{{"type":"error","reason":"{reason}"}}"#));
    }

    fn assignment(&self, client: usize) -> Option<(usize, &'static str)> {
        self.holders.iter().find(|(_, holder)| **holder == client).map(|(assignment, _)| *assignment)
    }

    fn live(&self, assignment: (usize, &'static str)) -> Option<usize> {
        self.holders.get(&assignment).copied().filter(|holder| !self.kicked.contains(holder))
    }

    fn free_role(&mut self, (room, role): (usize, &'static str)) {
        self.holders.remove(&(room, role));
        if let Some(peer) = self.live((room, other(role))) {
            self.say(peer, format!(r#"{{"type":"{role}-left"}}"#));
        }
    }

    fn step(&mut self, action: &Action) {
        match *action {
            Action::Kick { client } => _ = self.kicked.insert(client),
            Action::Disconnect { client } => {
                if let Some(assignment) = self.assignment(client) {
                    self.free_role(assignment);
                }
                self.kicked.remove(&client);
            }
            Action::Join { client, room, role } => self.join(client, (room, role)),
            Action::Relay { client, kind } => {
                let Some((room, role)) = self.assignment(client) else { return self.error(client, "not-joined") };
                if matches!((kind, role), ("offer", "viewer") | ("answer", "sender")) {
                    return self.error(client, "not-allowed");
                }
                let Some(peer) = self.live((room, other(role))) else { return self.error(client, "no-peer") };
                let payload = if kind == "ice-candidate" { "candidate" } else { "sdp" };
                self.say(peer, format!(r#"{{"type":"{kind}","{payload}":{{"b":1, "a":[]}}}}"#));
            }
            Action::Garbage { client } => self.error(client, "invalid-message"),
        }
    }

    fn join(&mut self, client: usize, assignment: (usize, &'static str)) {
        if let Some(old) = self.assignment(client).filter(|old| *old != assignment) {
            self.free_role(old);
        }
        let (room, role) = assignment;
        match self.holders.get(&assignment) {
            Some(holder) if *holder == client => {}
            Some(_) if self.live(assignment).is_some() => return self.error(client, &format!("{role}-already-exists")),
            Some(_) => self.free_role(assignment),
            None => {}
        }
        self.holders.insert(assignment, client);
        let (name, id) = (ROOMS[room], &self.ids[client]);
        self.say(client, format!(r#"{{"type":"joined","role":"{role}","room":"{name}","clientId":"{id}"}}"#));
        if let (Some(sender), Some(_)) = (self.live((room, "sender")), self.live((room, "viewer"))) {
            self.say(sender, r#"{"type":"viewer-ready"}"#);
        }
    }

    /// What `/api/status` shows.
    fn status(&self) -> String {
        let assignment = |assignment| match self.live(assignment) {
            Some(client) => format!(r#"{{"connected":true,"clientId":"{}"}}"#, self.ids[client]),
            None => r#"{"connected":false,"clientId":null}"#.to_owned(),
        };
        let is_used = |room: &usize| self.holders.keys().any(|(used, _)| used == room);
        let rooms = (0..ROOMS.len()).filter(is_used).map(|room| {
            let (name, sender, viewer) = (ROOMS[room], assignment((room, "sender")), assignment((room, "viewer")));
            format!(r#"{{"roomId":"{name}","sender":{sender},"viewer":{viewer}}}"#)
        });
        format!("[{}]", rooms.collect::<Vec<_>>().join(","))
    }
}

struct System {
    endpoint: Arc<SenderViewer>,
    clients: Vec<(Box<dyn Session>, Arc<Queue>)>,
}

impl System {
    fn connect(endpoint: &Arc<SenderViewer>) -> (Box<dyn Session>, Arc<Queue>) {
        let queue = Queue::alone(&Limits::default());
        let client = Client::new(Arc::clone(&queue), Grant::default(), &Limits::default());
        (Arc::clone(endpoint).open(None, client), queue)
    }

    /// The id that belongs to a client's connection.
    fn id(&self, client: usize) -> String {
        let state = self.endpoint.lock();
        let (id, _) =
            state.clients.iter().find(|(_, queue)| Arc::ptr_eq(queue, &self.clients[client].1)).expect("open");
        id.as_str().to_owned()
    }

    fn step(&mut self, action: &Action) {
        let (client, message) = match *action {
            Action::Join { client, room, role } => {
                (client, format!(r#"{{"room":"{}","role":"{role}","clientId":"liar","type":"join"}}"#, ROOMS[room]))
            }
            Action::Relay { client, kind } => (client, said(kind)),
            Action::Garbage { client } => (client, r#"{"type":"join","role":"admin","room":"r1"}"#.to_owned()),
            Action::Kick { client } => {
                let is_first = !self.clients[client].1.is_closing();
                assert_eq!(self.endpoint.kick(&self.id(client)), is_first);
                return;
            }
            Action::Disconnect { client } => {
                self.clients[client] = Self::connect(&self.endpoint);
                return;
            }
        };
        self.clients[client].0.text(&message);
    }

    fn received(&self, client: usize) -> Vec<String> {
        self.clients[client].1.drained().iter().map(ToString::to_string).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everyone_receives_exactly_what_the_model_says(actions in vec(action(), 1..60)) {
        let endpoint = Arc::new(SenderViewer::new(1));
        let clients = (0..CLIENTS).map(|_| System::connect(&endpoint)).collect();
        let mut system = System { endpoint: Arc::clone(&endpoint), clients };
        let mut model = Model::default();
        for action in &actions {
            // A connection that is being closed sends nothing more.
            let says = match *action {
                Action::Join { client, .. } | Action::Relay { client, .. } | Action::Garbage { client } => Some(client),
                Action::Kick { .. } | Action::Disconnect { .. } => None,
            };
            if says.is_some_and(|client| model.kicked.contains(&client)) {
                continue;
            }
            model.ids = (0..CLIENTS).map(|client| system.id(client)).collect();
            model.step(action);
            system.step(action);
            let outbox = std::mem::take(&mut model.outbox);
            for client in 0..CLIENTS {
                let expected: Vec<_> = outbox.iter().filter(|(to, _)| *to == client).map(|(_, m)| m.clone()).collect();
                prop_assert_eq!(system.received(client), expected, "client {} after {:?}", client, action);
            }
            let status = serde_json::to_string(&endpoint.status(None)).expect("it serialises");
            prop_assert_eq!(status, model.status(), "after {:?}", action);
        }
        drop(system);
        prop_assert_eq!(endpoint.count(), (0, 0));
        prop_assert!(endpoint.lock().clients.is_empty());
    }
}
