//! The two transport addresses between which a datagram travels.

use std::net::SocketAddr;

use bytes::BytesMut;

/// The path of a datagram, as seen by this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    /// The other side's transport address: a peer's or a server's.
    pub(crate) remote: SocketAddr,
    /// This side's transport address: that of the socket which sends or receives the datagram. The base of a relayed
    /// candidate is the candidate itself. RFC 8445 §5.1.1.
    pub(crate) base: SocketAddr,
}

/// Whether a datagram is STUN, by its first byte. RFC 7983 §7.
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// A datagram to send.
#[derive(Debug)]
pub(crate) struct Transmit {
    pub(crate) path: Path,
    pub(crate) bytes: BytesMut,
}
