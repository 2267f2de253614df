//! Ports of relayed transport addresses, and reservations of the next port.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand_core::RngCore;

use super::quotas::Hold;
use crate::lock::Lock;
use crate::net::Network;
use crate::random::Random;

/// Lifetime of a reservation.
//= https://www.rfc-editor.org/rfc/rfc8656#section-7.2-5.3
//# The server MUST hold this reservation for at least 30 seconds
pub(crate) const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
/// How many ports are tried before the request fails.
const TRIES: u32 = 1024;

/// What a client requests about the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortRequest {
    Any,
    Even,
    /// An even port, and a reservation of the next one.
    EvenAndNext,
}

/// Opens relay sockets and keeps reserved ones.
pub(crate) struct Ports<N: Network> {
    net: N,
    range: RangeInclusive<u16>,
    rng: Lock<Random>,
    /// By token, with the share of who reserved it.
    reserved: Lock<BTreeMap<u64, (Opened<N>, Hold)>>,
}

/// An open relay socket.
pub(crate) struct Opened<N: Network> {
    pub(crate) socket: N::Udp,
    /// Its relayed transport address, as sent to clients.
    pub(crate) advertised: SocketAddr,
}

impl<N: Network> Ports<N> {
    pub(crate) fn new(net: N, range: RangeInclusive<u16>, rng: Random) -> Self {
        Self { net, range, rng: Lock::new(rng), reserved: Lock::default() }
    }

    /// Opens a socket on a random free port; with [`PortRequest::EvenAndNext`] also reserves the next one for `next`,
    /// under the returned token.
    ///
    /// # Errors
    /// No suitable port is free, or the host cannot open a socket.
    pub(crate) async fn open(
        &self,
        bind: IpAddr,
        advertised: IpAddr,
        port_request: PortRequest,
        mut next: Option<Hold>,
    ) -> io::Result<(Opened<N>, Option<u64>)> {
        let (first, last) = (u32::from(*self.range.start()), u32::from(*self.range.end()));
        let (first, step) = match port_request {
            PortRequest::Any => (first, 1),
            PortRequest::Even | PortRequest::EvenAndNext => (first.next_multiple_of(2), 2),
        };
        let last = last.saturating_sub(u32::from(port_request == PortRequest::EvenAndNext));
        if first > last {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let count = (last - first) / step + 1;
        // RFC 6056 §3.3.1: a random start, then the next free one.
        let start = self.random() as u32 % count;
        for offset in 0..count.min(TRIES) {
            let port = (first + (start + offset) % count * step) as u16;
            let open = async |port| {
                let socket = self.net.bind_udp((bind, port).into()).await?;
                io::Result::Ok(Opened { socket, advertised: (advertised, port).into() })
            };
            let result = match (open(port).await, port_request) {
                (Ok(opened), PortRequest::EvenAndNext) => match open(port + 1).await {
                    Ok(reserved) => {
                        let hold = next.take().expect("whoever asks for two ports holds two");
                        Ok((opened, Some(self.reserve(reserved, hold))))
                    }
                    Err(error) => Err(error),
                },
                (Ok(opened), _) => Ok((opened, None)),
                (Err(error), _) => Err(error),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                done => return done,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Takes a reserved socket, which ends the reservation.
    pub(crate) fn take(&self, token: u64) -> Option<(Opened<N>, Hold)> {
        self.reserved.lock().remove(&token)
    }

    fn reserve(&self, socket: Opened<N>, hold: Hold) -> u64 {
        let token = self.random();
        self.reserved.lock().insert(token, (socket, hold));
        token
    }

    pub(crate) fn random(&self) -> u64 {
        self.rng.lock().next_u64()
    }
}
