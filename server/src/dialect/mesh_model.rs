//! The rooms against an independent model: after each random action, every client's queue contains exactly what the
//! model predicts, byte for byte.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::Limits;
use crate::access::Grant;
use crate::session::queue::Queue;

const CLIENTS: usize = 5;
const ROOMS: [&str; 3] = ["demo", "__proto__", "\\\"é"];

#[derive(Clone, Debug)]
enum Action {
    Join {
        client: usize,
        room: usize,
        name: Option<&'static str>,
    },
    Leave {
        client: usize,
        room: usize,
    },
    Signal {
        client: usize,
        room: usize,
        to: Target,
    },
    Garbage {
        client: usize,
    },
    /// The connection ends; a new client replaces it.
    Disconnect {
        client: usize,
    },
}

#[derive(Clone, Debug)]
enum Target {
    Everyone,
    Client(usize),
    Nobody,
}

fn action() -> impl Strategy<Value = Action> {
    let (client, room) = (0..CLIENTS, 0..ROOMS.len());
    let to = prop_oneof![
        3 => Just(Target::Everyone),
        4 => (0..CLIENTS).prop_map(Target::Client),
        1 => Just(Target::Nobody)
    ];
    let name = option::of(select(vec!["Alice", "B\\\"ob"]));
    prop_oneof![
        5 => (client.clone(), room.clone(), name).prop_map(|(client, room, name)| Action::Join { client, room, name }),
        2 => (client.clone(), room.clone()).prop_map(|(client, room)| Action::Leave { client, room }),
        5 => (client.clone(), room, to).prop_map(|(client, room, to)| Action::Signal { client, room, to }),
        1 => client.clone().prop_map(|client| Action::Garbage { client }),
        2 => client.prop_map(|client| Action::Disconnect { client }),
    ]
}

/// What a reader of the promises would write: lists of members, and strings.
#[derive(Default)]
struct Model {
    ids: Vec<String>,
    /// Per room, in joining order: client and name as JSON.
    rooms: [Vec<(usize, Option<String>)>; ROOMS.len()],
    outbox: Vec<(usize, String)>,
}

impl Model {
    fn say(&mut self, to: usize, message: String) {
        self.outbox.push((to, message));
    }

    fn error(&mut self, to: usize, message: &str) {
        self.say(to, format!(r#"{{"action":"error","message":"{message}"}}"#));
    }

    fn others(&self, room: usize, but: usize) -> Vec<usize> {
        self.rooms[room].iter().map(|(client, _)| *client).filter(|client| *client != but).collect()
    }

    fn is_in(&self, client: usize, room: usize) -> bool {
        self.rooms[room].iter().any(|(member, _)| *member == client)
    }

    fn peer(&self, client: usize, name: Option<&str>) -> String {
        let name = name.map(|name| format!(r#","name":"{name}""#)).unwrap_or_default();
        format!(r#"{{"clientId":"{}"{name}}}"#, self.ids[client])
    }

    fn leave_all(&mut self, client: usize) {
        for (room, room_id) in ROOMS.iter().enumerate() {
            if self.is_in(client, room) {
                self.rooms[room].retain(|(member, _)| *member != client);
                for other in self.others(room, client) {
                    let id = &self.ids[client];
                    self.say(other, format!(r#"{{"action":"peer-left","roomId":"{room_id}","clientId":"{id}"}}"#));
                }
            }
        }
    }

    fn step(&mut self, action: &Action) {
        match *action {
            Action::Join { client, room, name } => {
                let again = self.is_in(client, room);
                if !again {
                    self.leave_all(client);
                    self.rooms[room].push((client, None));
                    for other in self.others(room, client) {
                        let (room_id, peer) = (ROOMS[room], self.peer(client, name));
                        self.say(other, format!(r#"{{"action":"peer-joined","roomId":"{room_id}","peer":{peer}}}"#));
                    }
                }
                let me = self.rooms[room].iter_mut().find(|(member, _)| *member == client).expect("just joined");
                me.1 = name.map(str::to_owned).or(me.1.take());
                let peers: Vec<_> = self.rooms[room].iter().filter(|(member, _)| *member != client).collect();
                let peers: Vec<_> = peers.iter().map(|(member, name)| self.peer(*member, name.as_deref())).collect();
                let (room_id, id, peers) = (ROOMS[room], &self.ids[client], peers.join(","));
                self.say(
                    client,
                    format!(r#"{{"action":"joined","roomId":"{room_id}","clientId":"{id}","peers":[{peers}]}}"#),
                );
            }
            Action::Leave { client, room } if self.is_in(client, room) => self.leave_all(client),
            Action::Leave { client, .. } => self.error(client, "Not in this room"),
            Action::Signal { client, room, .. } if !self.is_in(client, room) => self.error(client, "Not in this room"),
            Action::Signal { client, room, ref to } => {
                let targets = match *to {
                    Target::Everyone => self.others(room, client),
                    Target::Client(target) if target != client && self.is_in(target, room) => vec![target],
                    Target::Client(target) => {
                        let id = self.ids[target].clone();
                        return self.error(client, &format!("Target client {id} not found or not in room"));
                    }
                    Target::Nobody => {
                        return self.error(client, "Target client nobody not found or not in room");
                    }
                };
                let (room_id, id) = (ROOMS[room], self.ids[client].clone());
                for target in targets {
                    self.say(
                        target,
                        format!(
                            r#"{{"action":"signal","roomId":"{room_id}","from":"{id}","type":"offer","data":{{"b":1, "a":[]}}}}"#
                        ),
                    );
                }
            }
            Action::Garbage { client } => self.error(client, "Invalid JSON"),
            Action::Disconnect { client } => self.leave_all(client),
        }
    }
}

struct System {
    mesh: Arc<Mesh>,
    clients: Vec<(MeshSession, Arc<Queue>)>,
}

impl System {
    fn connect(mesh: &Arc<Mesh>) -> (MeshSession, Arc<Queue>) {
        let queue = Queue::alone(&Limits::default());
        let client = Client::new(Arc::clone(&queue), Grant::default(), &Limits::default());
        (MeshSession::new(Arc::clone(mesh), client), queue)
    }

    fn step(&mut self, action: &Action) {
        let (client, message) = match *action {
            Action::Join { client, room, name } => {
                let name = name.map(|name| format!(r#","name":"{name}""#)).unwrap_or_default();
                (client, format!(r#"{{"action":"join","roomId":"{}"{name}}}"#, ROOMS[room]))
            }
            Action::Leave { client, room } => (client, format!(r#"{{"action":"leave","roomId":"{}"}}"#, ROOMS[room])),
            Action::Signal { client, room, ref to } => {
                let to = match to {
                    Target::Everyone => String::new(),
                    Target::Client(target) => format!(r#","to":"{}""#, self.clients[*target].0.id.as_str()),
                    Target::Nobody => r#","to":"nobody""#.to_owned(),
                };
                let room_id = ROOMS[room];
                let data = r#"{"b":1, "a":[]}"#;
                // The sender claims another id.
                let message = format!(
                    r#"{{"from":"liar","data":{data},"type":"offer","roomId":"{room_id}","action":"signal"{to}}}"#
                );
                (client, message)
            }
            Action::Garbage { client } => (client, "{".to_owned()),
            Action::Disconnect { client } => {
                self.clients[client] = Self::connect(&self.mesh);
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
        let mesh = Arc::new(Mesh::new(1));
        let clients = (0..CLIENTS).map(|_| System::connect(&mesh)).collect();
        let mut system = System { mesh: Arc::clone(&mesh), clients };
        let mut model = Model::default();
        for action in &actions {
            model.ids = system.clients.iter().map(|(session, _)| session.id.as_str().to_owned()).collect();
            model.step(action);
            system.step(action);
            let outbox = std::mem::take(&mut model.outbox);
            for client in 0..CLIENTS {
                if matches!(action, Action::Disconnect { client: gone } if *gone == client) {
                    continue;
                }
                let expected: Vec<_> = outbox.iter().filter(|(to, _)| *to == client).map(|(_, m)| m.clone()).collect();
                prop_assert_eq!(system.received(client), expected, "client {} after {:?}", client, action);
            }
            let rooms = model.rooms.iter().filter(|room| !room.is_empty()).count();
            prop_assert_eq!(mesh.count(), (rooms, model.rooms.iter().map(Vec::len).sum()));
        }
        drop(system);
        prop_assert_eq!(mesh.count(), (0, 0));
    }
}
