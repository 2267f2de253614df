//! Tests of what the simulator promises, from outside.

mod browser;
mod busy;
mod corpus;
mod determinism;
mod exhaustive;
mod faults;
mod firewalls;
mod foreign;
#[path = "../../../conformance/tests/it/installed.rs"]
mod installed;
mod ipv6;
mod kernel;
mod known_defects;
mod lasting;
mod libwebrtc;
mod links;
mod live;
mod loss;
mod matrix;
mod media;
#[allow(dead_code)] // some of its defects show in cases alone
#[path = "../../../conformance/tests/it/mini.rs"]
mod mini;
mod moving;
mod nat;
mod nat_model;
mod nat_probe;
mod negotiation;
mod nobody_in;
mod oracle;
mod oracle_docs;
mod oracle_nats;
mod oracle_relays;
mod oracle_roles;
mod packets;
mod played;
mod population;
mod port_prediction;
mod properties;
mod reachability;
mod real_servers;
mod regressions;
mod shrink;
mod sources;
mod stacks;
mod steps;
mod stories;
mod strangers;
mod timing;
mod turn;
mod turn_program;
