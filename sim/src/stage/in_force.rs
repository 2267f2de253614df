//! The partitions and link settings that are in force, to notice steps that change nothing.

use std::collections::{BTreeMap, BTreeSet};

use scenarios::{ActorIndex, IceServerIndex, Link, Machine, NetworkIndex, Scenario};

use super::Ground;
use crate::event::NodeId;

pub(super) struct InForce {
    links: BTreeMap<NodeId, Link>,
    /// The senders and the receivers of each partition.
    partitions: Vec<[BTreeSet<NodeId>; 2]>,
}

impl InForce {
    /// The settings at the start of a scenario.
    pub(super) fn new(scenario: &Scenario, ground: &impl Ground) -> Self {
        let mut links = BTreeMap::from([(ground.machine(Machine::Server), scenario.server.link)]);
        for (index, network) in scenario.networks.iter().enumerate() {
            links.insert(ground.router(NetworkIndex(index)), network.link);
        }
        for (index, server) in scenario.ice_servers.iter().enumerate() {
            links.insert(ground.machine(Machine::IceServer(IceServerIndex(index))), server.link);
        }
        for (index, actor) in scenario.actors.iter().enumerate() {
            links.insert(ground.machine(Machine::Actor(ActorIndex(index))), actor.link);
        }
        Self { links, partitions: Vec::new() }
    }

    /// Changes the link of a node; returns false if it already has these settings.
    pub(super) fn set_link(&mut self, node: NodeId, link: Link) -> bool {
        self.links.insert(node, link) != Some(link)
    }

    /// Adds a partition; returns false if an earlier one already blocks all its packets.
    pub(super) fn partition(&mut self, from: &[NodeId], to: &[NodeId], one_way: bool) -> bool {
        let added = self.block(from, to);
        let added_back = !one_way && self.block(to, from);
        added || added_back
    }

    fn block(&mut self, from: &[NodeId], to: &[NodeId]) -> bool {
        let [from, to] = [from, to].map(|side| side.iter().copied().collect::<BTreeSet<_>>());
        let is_new =
            !self.partitions.iter().any(|[senders, receivers]| from.is_subset(senders) && to.is_subset(receivers));
        self.partitions.push([from, to]);
        is_new
    }

    /// Ends all partitions; returns false if there are none.
    pub(super) fn heal(&mut self) -> bool {
        !std::mem::take(&mut self.partitions).is_empty()
    }
}
