//! The world's end of one of the program's sockets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::stream::{Dial, Stream};
use crate::socket::SimUdp;

/// The id of a socket: the number of the process that made it, or 0 for the world, and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SocketId(pub(super) u32, pub(super) u32);

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for SocketId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (process, count) = text.split_once('.').ok_or(())?;
        Ok(Self(process.parse().map_err(|_| ())?, count.parse().map_err(|_| ())?))
    }
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Udp,
}

/// The options that decide whether two sockets can have one port.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sharing {
    /// `SO_REUSEADDR`
    pub(super) address: bool,
    /// `SO_REUSEPORT`
    pub(super) port: bool,
    /// `IPV6_V6ONLY`
    pub(super) only_v6: bool,
}

/// A socket of the program.
pub(super) struct Socket {
    pub(super) kind: Kind,
    pub(super) is_v6: bool,
    /// The process that bound or connected it last.
    pub(super) owner: u32,
    /// The world's end of the socket pair.
    pub(super) end: OwnedFd,
    pub(super) local: SocketAddr,
    pub(super) peer: Option<SocketAddr>,
    pub(super) sharing: Sharing,
    pub(super) state: State,
}

pub(super) enum State {
    Fresh,
    Bound,
    Listening,
    Connecting(Dial),
    Connected(Box<Stream>),
    /// A bound socket for datagrams; `None` if it is bound to the machine's own loopback address, which nothing of the
    /// network reaches. Sockets that share a port share this one.
    Datagrams(Option<Arc<SimUdp>>),
}

impl State {
    /// Its name in the protocol.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Bound | Self::Datagrams(_) => "bound",
            Self::Listening => "listening",
            Self::Connecting(_) => "connecting",
            Self::Connected(_) => "connected",
        }
    }
}

impl Socket {
    /// Whether the socket holds its port against this one, which wants it at `local`.
    pub(super) fn excludes(&self, local: SocketAddr, sharing: Sharing) -> bool {
        let bound = matches!(self.state, State::Bound | State::Listening | State::Datagrams(_));
        if !bound || self.local.port() != local.port() || (self.sharing.port && sharing.port) {
            return false;
        }
        if self.kind == Kind::Udp && self.sharing.address && sharing.address {
            return false;
        }
        let (ours, theirs) = (self.local.ip(), local.ip());
        if ours.is_ipv4() == theirs.is_ipv4() {
            return ours == theirs || ours.is_unspecified() || theirs.is_unspecified();
        }
        let takes_both = |ip: IpAddr, sharing: Sharing| ip.is_ipv6() && ip.is_unspecified() && !sharing.only_v6;
        takes_both(ours, self.sharing) || takes_both(theirs, sharing)
    }
}

/// The unspecified address of a family.
pub(super) fn unspecified(is_v6: bool) -> SocketAddr {
    let ip = if is_v6 { IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, 0)
}

/// An address as two words.
pub(super) fn words(address: SocketAddr) -> String {
    format!("{} {}", address.ip(), address.port())
}

/// What happened to descriptors: for each, whether there is something to read or it was closed, and whether it was
/// closed for good.
pub(super) fn look<'a>(ends: impl Iterator<Item = &'a OwnedFd>) -> Vec<PollFlags> {
    let mut fds: Vec<_> = ends.map(|end| PollFd::new(end, PollFlags::IN)).collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    while poll(&mut fds, Some(&now)) == Err(rustix::io::Errno::INTR) {}
    fds.iter().map(PollFd::revents).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn bound(kind: Kind, local: &str, sharing: Sharing) -> Socket {
        let (end, _) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a pair");
        let local: SocketAddr = local.parse().expect("an address");
        Socket { kind, is_v6: local.is_ipv6(), owner: 1, end, local, peer: None, sharing, state: State::Bound }
    }

    #[test]
    fn one_port_has_one_owner_unless_both_share_it() {
        let none = Sharing::default();
        let excludes = |kind, holds: &str, held: Sharing, wants: &str, sharing| {
            bound(kind, holds, held).excludes(wants.parse().expect("an address"), sharing)
        };
        assert!(excludes(Kind::Tcp, "0.0.0.0:80", none, "192.0.2.1:80", none));
        assert!(!excludes(Kind::Tcp, "0.0.0.0:80", none, "0.0.0.0:81", none));
        assert!(!excludes(Kind::Tcp, "127.0.0.1:80", none, "192.0.2.1:80", none));
        assert!(excludes(Kind::Tcp, "[::]:80", none, "0.0.0.0:80", none), "a v6 socket takes both families");
        assert!(!excludes(Kind::Tcp, "[::]:80", Sharing { only_v6: true, ..none }, "0.0.0.0:80", none));
        let port = Sharing { port: true, ..none };
        assert!(!excludes(Kind::Tcp, "0.0.0.0:80", port, "0.0.0.0:80", port));
        assert!(excludes(Kind::Tcp, "0.0.0.0:80", port, "0.0.0.0:80", none));
        let address = Sharing { address: true, ..none };
        assert!(excludes(Kind::Tcp, "0.0.0.0:80", address, "0.0.0.0:80", address));
        assert!(!excludes(Kind::Udp, "0.0.0.0:80", address, "0.0.0.0:80", address));
    }

    #[test]
    fn ids_are_two_numbers() {
        assert_eq!("3.14".parse(), Ok(SocketId(3, 14)));
        assert_eq!("3".parse::<SocketId>(), Err(()));
        assert_eq!(SocketId(0, 2).to_string(), "0.2");
    }
}
