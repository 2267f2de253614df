//! Chooses the external port of a new mapping. RFC 4787 §4.2.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use scenarios::PortAllocation;

use crate::mapping::Protocol;
use crate::mapping::TransportAddress;

/// The first port of sequential allocation. It is far from the ports that hosts usually use, so that a port in a
/// timeline shows whether a NAT assigned it.
const SEQUENTIAL_FIRST: u16 = 20_000;
const BLOCK_PORTS: u16 = 64;
const BLOCKS: u16 = (u16::MAX - 1023) / BLOCK_PORTS;

/// The ports of one external address. UDP and TCP have 65,535 each; a block has the ports of both.
#[derive(Debug)]
pub(super) struct Ports {
    used: [BTreeSet<u16>; 2],
    /// For each protocol, the next port of sequential allocation. It never goes back, not even at a reboot. So a port
    /// whose mapping was just lost is the last to be assigned again, and stale traffic is not mistaken for that of a
    /// new mapping.
    next: [u16; 2],
    blocks: Vec<Block>,
    next_block: u16,
}

/// Ports reserved for one internal address.
#[derive(Debug)]
struct Block {
    number: u16,
    owner: IpAddr,
    next: u16,
    /// Number of mappings that use it. When the last one ends, the block is free again.
    mappings: usize,
}

impl Ports {
    pub(super) fn new() -> Self {
        Self { used: Default::default(), next: [SEQUENTIAL_FIRST; 2], blocks: Vec::new(), next_block: 0 }
    }

    /// Allocates a port for a new mapping; `None` if no port is free. No two mappings ever share a port.
    //= https://www.rfc-editor.org/rfc/rfc4787#section-4.2.1
    //# REQ-3:  A NAT MUST NOT have a "Port assignment" behavior of "Port
    //# overloading".
    pub(super) fn take(
        &mut self,
        allocation: PortAllocation,
        rng: &mut ChaCha8Rng,
        protocol: Protocol,
        internal: TransportAddress,
    ) -> Option<u16> {
        let used = &self.used[protocol as usize];
        let port = match allocation {
            PortAllocation::Preserve => first_free(used, range_of(internal.port()), internal.port())?,
            PortAllocation::Sequential => {
                let port = first_free(used, 1024..=u16::MAX, self.next[protocol as usize])?;
                self.next[protocol as usize] = port.checked_add(1).unwrap_or(1024);
                port
            }
            // One draw, then the next free port: this is close to uniform while most ports are free, and it always
            // terminates.
            PortAllocation::Random => first_free(used, 1024..=u16::MAX, 1024 + below(rng, u16::MAX - 1023))?,
            PortAllocation::Block => self.take_from_block(protocol, internal.ip())?,
            PortAllocation::PreserveOverloading => unreachable!("overloaded ports are not taken: see `overload`"),
        };
        self.used[protocol as usize].insert(port);
        Some(port)
    }

    fn take_from_block(&mut self, protocol: Protocol, owner: IpAddr) -> Option<u16> {
        let used = &self.used[protocol as usize];
        for block in self.blocks.iter_mut().filter(|block| block.owner == owner) {
            if let Some(port) = first_free(used, ports_of(block.number), block.next) {
                block.next =
                    if port == *ports_of(block.number).end() { *ports_of(block.number).start() } else { port + 1 };
                block.mappings += 1;
                return Some(port);
            }
        }
        let granted = self.blocks.iter().map(|block| block.number).collect();
        let number = first_free(&granted, 0..=BLOCKS - 1, self.next_block)?;
        self.next_block = (number + 1) % BLOCKS;
        let port = *ports_of(number).start();
        self.blocks.push(Block { number, owner, next: port + 1, mappings: 1 });
        Some(port)
    }

    pub(super) fn give_back(&mut self, protocol: Protocol, port: u16) {
        let was_used = self.used[protocol as usize].remove(&port);
        assert!(was_used, "every mapping's port was taken");
        if let Some(index) = self.blocks.iter().position(|block| ports_of(block.number).contains(&port)) {
            self.blocks[index].mappings -= 1;
            if self.blocks[index].mappings == 0 {
                self.blocks.remove(index);
            }
        }
    }

    /// Frees all ports, as a reboot does.
    pub(super) fn clear(&mut self) {
        self.used = Default::default();
        self.blocks.clear();
    }
}

/// The port of a new mapping if ports are overloaded: that of the internal endpoint's newest mapping, `newest`, or the
/// internal port, or a random one. `is_taken` says that another mapping has a port towards the same remote. `None` if all
/// are taken. As in `get_unique_tuple` of Linux (nf_nat_core.c).
pub(super) fn overload(
    rng: &mut ChaCha8Rng,
    internal_port: u16,
    newest: Option<u16>,
    is_taken: impl Fn(u16) -> bool,
) -> Option<u16> {
    if let Some(port) = newest.into_iter().chain([internal_port]).find(|port| !is_taken(*port)) {
        return Some(port);
    }
    let (first, last) = range_of(internal_port).into_inner();
    let drawn = first + below(rng, last - first + 1);
    (drawn..=last).chain(first..drawn).find(|port| !is_taken(*port))
}

/// The external ports that the NAT's behaviour allows for an internal port.
//= https://www.rfc-editor.org/rfc/rfc4787#section-4.2.1
//# a)  If the host's source port was in the range 0-1023, it is
//#     RECOMMENDED the NAT's source port be in the same range.  If the
//#     host's source port was in the range 1024-65535, it is
//#     RECOMMENDED that the NAT's source port be in that range.
fn range_of(internal_port: u16) -> RangeInclusive<u16> {
    if internal_port < 1024 { 1..=1023 } else { 1024..=u16::MAX }
}

fn ports_of(block: u16) -> RangeInclusive<u16> {
    let first = 1024 + block * BLOCK_PORTS;
    first..=first + (BLOCK_PORTS - 1)
}

/// The first unused number of `range`, searched from `from` with wrap-around.
fn first_free(used: &BTreeSet<u16>, range: RangeInclusive<u16>, from: u16) -> Option<u16> {
    let (first, last) = (u32::from(*range.start()), u32::from(*range.end()));
    let from = u32::from(from).clamp(first, last);
    let gap = |low: u32, end: u32| {
        let mut free = low;
        for &taken in used.range(low as u16..).take_while(|&&taken| u32::from(taken) < end) {
            if u32::from(taken) != free {
                break;
            }
            free += 1;
        }
        (free < end).then_some(free as u16)
    };
    gap(from, last + 1).or_else(|| gap(first, from))
}

/// A random number from 0 to `bound` - 1.
fn below(rng: &mut ChaCha8Rng, bound: u16) -> u16 {
    ((u64::from(rng.next_u32()) * u64::from(bound)) >> 32) as u16
}
