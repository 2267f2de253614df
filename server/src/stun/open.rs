//! Opens the sockets of the STUN service: UDP and TCP on one port, and three more for RFC 5780.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::net::{Listener, Network, Udp};
use crate::{TRIES, opened};

/// The open sockets.
pub(crate) struct Sockets<N: Network> {
    /// One, or four in the order of [`Origin::addresses`](super::Origin).
    pub(crate) udp: Arc<[N::Udp]>,
    /// Further ones at the first address.
    pub(crate) readers: Vec<N::Udp>,
    /// Their addresses.
    pub(crate) addresses: Arc<[SocketAddr]>,
    pub(crate) tcp: N::Listener,
}

/// Opens UDP and TCP on `address`, with so many readers of UDP, and, with `alternate`, UDP on the other three of {address, alternate} × {port,
/// port}.
///
/// # Errors
/// An address is in use or not this host's, or `alternate` does not differ from `address` in IP address and port.
pub(crate) async fn open<N: Network>(
    net: &N,
    address: SocketAddr,
    alternate: Option<SocketAddr>,
    readers: usize,
) -> io::Result<Sockets<N>> {
    if let Some(alternate) = alternate {
        check(address, alternate).map_err(|why| {
            let message = format!("use {alternate} as the alternate address of stun on {address}: {why}");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
    }
    let is_chosen_here = address.port() != 0 && alternate.is_none_or(|alternate| alternate.port() != 0);
    for _ in 1..TRIES {
        match try_open(net, address, alternate, readers).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !is_chosen_here => {}
            done => return done,
        }
    }
    try_open(net, address, alternate, readers).await
}

fn check(address: SocketAddr, alternate: SocketAddr) -> Result<(), &'static str> {
    if address.ip().is_unspecified() || alternate.ip().is_unspecified() {
        return Err("RFC 5780 needs two addresses of this host, not a wildcard");
    }
    if address.is_ipv4() != alternate.is_ipv4() {
        return Err("both must be IPv4 or both IPv6");
    }
    if address.ip() == alternate.ip() {
        return Err("the IP addresses must differ");
    }
    if address.port() == alternate.port() && address.port() != 0 {
        return Err("the ports must differ");
    }
    Ok(())
}

async fn try_open<N: Network>(
    net: &N,
    address: SocketAddr,
    alternate: Option<SocketAddr>,
    readers: usize,
) -> io::Result<Sockets<N>> {
    let bind = |address| opened("stun", address, net.bind_udp(address), Udp::local_addr);
    let several = net.bind_udp_several(address, readers);
    let (mut readers, address) = opened("stun", address, several, |sockets| sockets[0].local_addr()).await?;
    let first = readers.remove(0);
    let (tcp, _) = opened("stun over TCP", address, net.listen(address), Listener::local_addr).await?;
    let (mut udp, mut addresses) = (vec![first], vec![address]);
    if let Some(alternate) = alternate {
        let (last, alternate) = bind(alternate).await?;
        for address in [(address.ip(), alternate.port()).into(), (alternate.ip(), address.port()).into()] {
            udp.push(bind(address).await?.0);
            addresses.push(address);
        }
        udp.push(last);
        addresses.push(alternate);
    }
    Ok(Sockets { udp: udp.into(), addresses: addresses.into(), readers, tcp })
}
