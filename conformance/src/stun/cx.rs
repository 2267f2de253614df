//! The context of a case for a STUN or TURN server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::client::{Answer, UdpClient};
use super::env::StunEnv;
use super::names::{attr, method};
use super::wire::{Class, Draft};
use crate::stop::{Running, Stop};
use crate::transcript::Log;

/// The function of a case for a STUN or TURN server.
pub(crate) type CaseFn = for<'a> fn(&'a mut StunCx) -> Running<'a>;

/// The context of one case: it makes clients and keeps the log.
pub(crate) struct StunCx {
    pub(crate) env: Arc<StunEnv>,
    pub(crate) log: Log,
}

impl StunCx {
    /// A client on a fresh port.
    pub(crate) async fn client(&self, name: &str) -> Result<UdpClient, Stop> {
        UdpClient::open(&self.env, &self.log, name, (self.env.source, 0).into()).await
    }

    /// A request with a fresh transaction id.
    pub(crate) fn request(&self, method: u16) -> Draft {
        Draft::new(method, Class::Request, self.env.id())
    }

    pub(crate) fn binding(&self) -> Draft {
        self.request(method::BINDING)
    }

    pub(crate) fn indication(&self, method: u16) -> Draft {
        Draft::new(method, Class::Indication, self.env.id())
    }

    /// A word that nothing else sends.
    pub(crate) fn word(&self, about: &str) -> String {
        format!("{about}-{}", self.env.fresh.fetch_add(1, Relaxed))
    }

    /// Notes an observation that is not a failure.
    pub(crate) fn remark(&self, remark: impl Into<String>) {
        self.log.remark(remark.into());
    }

    /// Notes that the server does something other than required, which is allowed.
    pub(crate) fn acceptable(&self, choice: impl Into<String>) {
        self.log.choice(choice.into());
    }

    pub(crate) fn is_near(&self) -> bool {
        self.env.is_near()
    }

    /// Other addresses at which the server may answer: those of its name and, on this machine, another one of the
    /// loopback network.
    pub(crate) fn other_addresses(&self) -> Vec<SocketAddr> {
        let server = self.env.server;
        let named = self.env.addresses.iter().copied().filter(|address| address.is_ipv4() == server.is_ipv4());
        let mut addresses: Vec<SocketAddr> = named.filter(|address| *address != server).collect();
        if self.is_near() {
            let loopback = if server.ip().is_loopback() {
                self.env.net.another(server.ip())
            } else {
                Some(if server.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() })
            };
            addresses.extend(loopback.map(|ip| SocketAddr::new(ip, server.port())));
        }
        addresses
    }

    /// Whether the server listens at this address too. If it does, it must answer from there.
    pub(crate) async fn answers_at(&self, address: SocketAddr) -> Result<bool, Stop> {
        let mut probe = self.client(&format!("probe of {address}")).await?;
        let request = self.env.sentinel();
        probe.send_to(&request.bytes, address);
        // Nobody may listen there, so the answers to later requests end the wait.
        probe.fence().await?;
        let Some(received) = probe.received.iter().find(|received| received.is_of(request.id())) else {
            return Ok(false);
        };
        if received.from == address {
            return Ok(true);
        }
        let why = format!(
            "the request was sent to {address}, but the answer comes from {}: NATs block such an answer",
            received.from
        );
        Err(Stop::at(why, received.line))
    }

    /// Compares the address in an answer with the client's own.
    pub(crate) fn check_mapped(&self, client: &UdpClient, answer: &Answer, kind: u16) -> Result<(), Stop> {
        let mapped = answer.xor_address(kind)?;
        let name = super::names::attribute_name(kind);
        if mapped == client.local {
            return Ok(());
        }
        let local = client.local;
        if answer.message.address(kind) == Ok(Some(local)) {
            return Err(answer.stop(format!("{name} is {local} without the XOR")));
        }
        let old = answer.message.address(attr::MAPPED_ADDRESS);
        if self.env.is_near_to(client.server) || mapped.is_ipv4() != local.is_ipv4() {
            return Err(answer.stop(format!("{name} is {mapped}, but {} sends from {local}", client.name)));
        }
        if let Ok(Some(old)) = old
            && old != mapped
        {
            return Err(answer.stop(format!("{name} is {mapped}, but MAPPED-ADDRESS is {old}")));
        }
        self.remark(format!("a NAT lies in between, so {name} cannot be checked completely: {mapped} for {local}"));
        Ok(())
    }

    /// A peer for TURN clients, on an address to which the server relays.
    pub(crate) async fn peer(&self, name: &str) -> Result<UdpClient, Stop> {
        UdpClient::open(&self.env, &self.log, name, (self.peer_ip()?, 0).into()).await
    }

    pub(crate) fn peer_ip(&self) -> Result<IpAddr, Stop> {
        self.env.peers.ok_or_else(|| {
            Stop::Setup(format!(
                "the server relays to no address of this machine ({}): allow such peers for the test",
                self.env.source
            ))
        })
    }

    /// A peer on a different address from [`peer`](Self::peer); `None` if this machine has only one.
    pub(crate) async fn stranger(&self, name: &str) -> Result<Option<UdpClient>, Stop> {
        match self.env.net.another(self.peer_ip()?) {
            Some(other) => Ok(UdpClient::open(&self.env, &self.log, name, (other, 0).into()).await.ok()),
            None => Ok(None),
        }
    }
}
