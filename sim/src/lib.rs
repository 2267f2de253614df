//! The deterministic world: network, NATs, hosts, peers, faults, events and the oracles that judge them.
