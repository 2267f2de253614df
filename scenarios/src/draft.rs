//! An unfinished scenario: its networks and actors before they have addresses and steps.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use crate::file::External;
use crate::ice::IceServer;
use crate::ipv6::Ipv6Entry;
use crate::link::LinkEntry;
use crate::nat::NatBehavior;
use crate::scenario::{Actor, Move, Network, NetworkIndex};
use crate::shipped::Profile;
use crate::table::Lined;
use crate::value::Subnet;

/// The name of the server's machine in steps and messages. Actors cannot have this name.
pub(crate) const SERVER: &str = "server";
/// The name of the outermost network in messages. Networks cannot have this name.
pub(crate) const INTERNET: &str = "internet";

/// A private network before it has addresses.
pub(crate) struct Net<'a> {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) profile: &'a Profile,
    pub(crate) nat: Option<NatBehavior>,
    pub(crate) behind: Option<&'a Lined<String>>,
    pub(crate) subnet: Option<&'a Lined<Subnet>>,
    pub(crate) external: Option<&'a Lined<External>>,
    pub(crate) ipv6: Option<&'a Lined<Ipv6Entry>>,
    pub(crate) link: &'a LinkEntry,
}

/// The parts of the scenario that are known so far.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) networks: Vec<Network>,
    pub(crate) network_names: BTreeMap<String, NetworkIndex>,
    pub(crate) actors: Vec<Actor>,
    /// The indices of the actors that each name of an actor or group stands for.
    pub(crate) actor_names: BTreeMap<String, Range<usize>>,
    /// The addresses of NATs after reboots, by the number of the step in the file.
    pub(crate) new_addresses: BTreeMap<usize, Ipv4Addr>,
    /// Where actors move to, by the numbers of the step in the file and of the actor.
    pub(crate) moves: BTreeMap<(usize, usize), Move>,
}
