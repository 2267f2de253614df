//! Between which two transport addresses a datagram travels.

use std::net::SocketAddr;

use bytes::BytesMut;

/// One way of a datagram, as this side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    /// The other side's transport address: a peer's or a server's.
    pub(crate) remote: SocketAddr,
    /// This side's: the address of the socket that the datagram leaves from or arrived at. A relayed candidate is its own base.
    /// RFC 8445 §5.1.1.
    pub(crate) base: SocketAddr,
}

/// A datagram to send.
#[derive(Debug)]
pub(crate) struct Transmit {
    pub(crate) path: Path,
    pub(crate) bytes: BytesMut,
}
