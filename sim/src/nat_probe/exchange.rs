//! Requests and answers, and the questions that take a few of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::{Dependence, Hairpinning};
use server::net::{Network, Udp};
use tokio::time::{Instant, timeout_at};

use super::wire::{self, Answer, TransactionId, Wish};
use super::{Plan, Unknown};

/// How long to wait for an answer, after each transmission of a request. RFC 8489 §6.2.1 waits longer; here no answer is
/// often the answer, and there are many questions.
const PATIENCE: [Duration; 3] = [Duration::from_millis(500), Duration::from_millis(1000), Duration::from_millis(1500)];
/// An error of a server that does not know an attribute.
const UNKNOWN_ATTRIBUTE: u16 = 420;

/// A machine that probes its NATs.
pub(super) struct Prober<N> {
    net: N,
    pub(super) plan: Plan,
    rng: Mutex<ChaCha8Rng>,
}

impl<N: Network> Prober<N> {
    pub(super) fn new(net: N, plan: Plan) -> Self {
        Self { net, plan, rng: Mutex::new(ChaCha8Rng::seed_from_u64(plan.seed)) }
    }

    /// A fresh socket.
    pub(super) async fn socket(&self) -> io::Result<N::Udp> {
        self.net.bind_udp(SocketAddr::new(self.plan.local, 0)).await
    }

    pub(super) fn transaction(&self) -> TransactionId {
        let mut id = [0; 12];
        self.rng.lock().expect("nothing panics while it holds it").fill_bytes(&mut id);
        id
    }

    /// Sends a request, and again while nothing comes. Returns the answer and its source.
    pub(super) async fn ask(&self, socket: &N::Udp, to: SocketAddr, wish: Wish) -> Option<(Answer, SocketAddr)> {
        self.ask_for(socket, to, wish, socket).await
    }

    /// The same, but the answer is expected at another socket.
    pub(super) async fn ask_for(
        &self,
        socket: &N::Udp,
        to: SocketAddr,
        wish: Wish,
        at: &N::Udp,
    ) -> Option<(Answer, SocketAddr)> {
        let id = self.transaction();
        let request = wire::request(id, wish);
        for patience in PATIENCE {
            // A network without a route is like one that loses everything.
            let _ = socket.send_to(&request, to).await;
            let read = |datagram: &[u8]| wire::answer(datagram, id);
            if let Some(found) = receive(at, Instant::now() + patience, read).await {
                return Some(found);
            }
        }
        None
    }

    /// The address under which the server sees a socket.
    pub(super) async fn mapped(&self, socket: &N::Udp) -> Option<SocketAddr> {
        match self.ask(socket, self.plan.server, Wish::default()).await? {
            (Answer::Success { mapped, .. }, _) => Some(mapped),
            (Answer::Error(_), _) => None,
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc5780#section-4.3
    //# This will require at most three tests.
    pub(super) async fn mapping(
        &self,
        socket: &N::Udp,
        mapped: SocketAddr,
        other: Option<SocketAddr>,
    ) -> Result<Dependence, Unknown> {
        let other = other.ok_or(Unknown::NoOtherAddress)?;
        let seen = async |to| match self.ask(socket, to, Wish::default()).await {
            Some((Answer::Success { mapped, .. }, _)) => Ok(mapped),
            _ => Err(Unknown::OtherAddressSilent),
        };
        let second = seen(SocketAddr::new(other.ip(), self.plan.server.port())).await?;
        if second == mapped {
            return Ok(Dependence::EndpointIndependent);
        }
        let third = seen(other).await?;
        Ok(if third == second { Dependence::AddressDependent } else { Dependence::AddressAndPortDependent })
    }

    /// `socket` has sent to the server's first address only.
    //= https://www.rfc-editor.org/rfc/rfc5780#section-4.4
    //# This will also require at most three tests.
    pub(super) async fn filtering(&self, socket: &N::Udp, other: Option<SocketAddr>) -> Result<Dependence, Unknown> {
        other.ok_or(Unknown::NoOtherAddress)?;
        for (change_ip, means) in [(true, Dependence::EndpointIndependent), (false, Dependence::AddressDependent)] {
            let wish = Wish { change_ip, change_port: true, response_port: None };
            match self.ask(socket, self.plan.server, wish).await {
                // From where it was asked for; a server may also ignore what it does not know.
                Some((Answer::Success { .. }, from)) if from != self.plan.server => return Ok(means),
                Some((Answer::Success { .. }, _)) => return Err(Unknown::ChangeRefused(UNKNOWN_ATTRIBUTE)),
                Some((Answer::Error(code), _)) => return Err(Unknown::ChangeRefused(code)),
                None => {}
            }
        }
        Ok(Dependence::AddressAndPortDependent)
    }

    /// Two sockets send to each other's external address. Each opens its own filter by that.
    pub(super) async fn hairpinning(&self, ends: [(&N::Udp, SocketAddr, SocketAddr); 2]) -> Hairpinning {
        let [(one, local, mapped), (two, two_local, two_mapped)] = ends;
        let id = self.transaction();
        let message = wire::request(id, Wish::default());
        for _ in PATIENCE {
            let _ = one.send_to(&message, two_mapped).await;
            let _ = two.send_to(&message, mapped).await;
            let read = |datagram: &[u8]| (wire::transaction(datagram)? == id).then_some(());
            let until = Instant::now() + PATIENCE[0];
            let (at_two, at_one) = tokio::join! { biased; receive(two, until, read), receive(one, until, read) };
            for (found, sender) in [(at_two, local), (at_one, two_local)] {
                if let Some(((), from)) = found {
                    let is_external = [mapped, two_mapped].iter().any(|mapped| mapped.ip() == from.ip());
                    return match () {
                        () if from == sender => Hairpinning::InternalSource,
                        () if is_external => Hairpinning::ExternalSource,
                        () => Hairpinning::RouterSource,
                    };
                }
            }
        }
        Hairpinning::Off
    }
}

/// The first datagram before `until` that can be read, and its source.
pub(super) async fn receive<T>(
    socket: &impl Udp,
    until: Instant,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<(T, SocketAddr)> {
    let mut buffer = [0; 1500];
    loop {
        // An error may be an ICMP message about an earlier datagram.
        let Ok((length, from)) = timeout_at(until, socket.recv_from(&mut buffer)).await.ok()? else { continue };
        if let Some(found) = read(&buffer[..length]) {
            return Some((found, from));
        }
    }
}
