//! A UDP socket with faults.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Faults, Name, Service, Traffic, Way};
use crate::datagrams::{self, Borrowed, Buffers, Sent};
use crate::lock::Lock;
use crate::net::{Network, Udp};
use crate::stun::message::{Message, attribute};

/// How many datagrams wait at most in each direction; what comes then is lost.
const WAITING_MAX: usize = 10_000;

/// A datagram that waits for its time. Those with the same time keep their order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    at: Instant,
    number: u64,
    bytes: Vec<u8>,
    /// The client, and the address of this host that it uses.
    client: SocketAddr,
    own: Option<IpAddr>,
}

/// Datagrams that wait, the first one on top.
#[derive(Default)]
struct Queue {
    number: u64,
    heap: BinaryHeap<Reverse<Late>>,
}

impl Queue {
    fn push(&mut self, at: Instant, bytes: &[u8], client: SocketAddr, own: Option<IpAddr>) {
        if self.heap.len() < WAITING_MAX {
            self.number += 1;
            self.heap.push(Reverse(Late { at, number: self.number, bytes: bytes.to_vec(), client, own }));
        }
    }

    fn first(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(late)| late.at)
    }

    fn pop(&mut self, now: Instant) -> Option<Late> {
        self.first().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(late)| late)
    }
}

/// What waits to be sent.
#[derive(Default)]
struct Outgoing {
    queue: Lock<Queue>,
    /// Notified when something comes that is to be sent first.
    changed: Notify,
}

/// A UDP socket; that of TURN has faults, those of relays have none.
pub struct FaultyUdp<U> {
    socket: Arc<U>,
    faults: Option<Faults>,
    incoming: Lock<Queue>,
    outgoing: Arc<Outgoing>,
}

impl<U: Udp> FaultyUdp<U> {
    pub(super) fn new<N: Network<Udp = U>>(net: &N, socket: U, faults: Option<Faults>) -> Self {
        let (socket, outgoing) = (Arc::new(socket), Arc::<Outgoing>::default());
        if faults.is_some() {
            net.spawn(send_late(Arc::downgrade(&socket), outgoing.clone()));
        }
        Self { socket, faults, incoming: Lock::default(), outgoing }
    }

    /// When a datagram passes; `None` if it is lost.
    fn due(&self, client: SocketAddr, way: Way, bytes: usize) -> Option<Instant> {
        let traffic = Traffic { service: Service::Turn, client, way, bytes };
        self.faults.as_ref().map_or_else(|| Some(Instant::now()), |faults| faults.datagram(traffic))
    }

    /// Learns the name of a TURN client from its requests.
    fn listen(&self, datagram: &[u8], from: SocketAddr) {
        let Some(faults) = &self.faults else { return };
        let user = Message::parse(datagram).and_then(|message| message.attribute(attribute::USERNAME));
        if let Some(user) = user.and_then(|user| std::str::from_utf8(user).ok()) {
            faults.name(Service::Turn, from, Name::User(user.to_owned()));
        }
    }
}

/// Sends what is late, until the socket is closed.
async fn send_late<U: Udp>(socket: std::sync::Weak<U>, outgoing: Arc<Outgoing>) {
    loop {
        let first = outgoing.queue.lock().first();
        match first {
            None => outgoing.changed.notified().await,
            Some(at) => tokio::select! {
                biased;
                () = sleep_until(at) => {}
                () = outgoing.changed.notified() => {}
            },
        }
        let Some(socket) = socket.upgrade() else { return };
        while let Some(late) = { outgoing.queue.lock().pop(Instant::now()) } {
            // An error here concerns its destination.
            let mut datagram = datagrams::Outgoing::default();
            datagram.push(&[&late.bytes], 0, late.own, late.client);
            let _ = socket.send_all(&datagram);
        }
    }
}

impl<U> Drop for FaultyUdp<U> {
    fn drop(&mut self) {
        self.outgoing.changed.notify_one();
    }
}

impl<U: Udp> FaultyUdp<U> {
    /// Waits until something has arrived, or until what is late is due. What arrives goes into the queue, `received` puts it
    /// there.
    async fn await_incoming<R>(
        &self,
        receiving: impl Future<Output = io::Result<R>>,
        received: impl FnOnce(R),
    ) -> io::Result<()> {
        let first = self.incoming.lock().first();
        let arrived = tokio::select! {
            biased;
            () = sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => None,
            arrived = receiving => Some(arrived?),
        };
        if let Some(arrived) = arrived {
            received(arrived);
        }
        Ok(())
    }

    /// Puts a datagram that has arrived into the queue, unless it is lost.
    fn take(&self, data: &[u8], from: SocketAddr, own: Option<IpAddr>) {
        self.listen(data, from);
        if let Some(at) = self.due(from, Way::FromClient, data.len()) {
            self.incoming.lock().push(at, data, from, own);
        }
    }

    /// The next datagram of the queue that is due.
    fn next(&self) -> Option<Late> {
        self.incoming.lock().pop(Instant::now())
    }
}

impl<U: Udp> Udp for FaultyUdp<U> {
    const CAN_FORBID_FRAGMENTS: bool = U::CAN_FORBID_FRAGMENTS;

    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        if self.faults.is_none() {
            return self.socket.send_to(datagram, to).await;
        }
        match self.due(to, Way::ToClient, datagram.len()) {
            None => {}
            Some(at) if at <= Instant::now() => return self.socket.send_to(datagram, to).await,
            Some(at) => {
                self.outgoing.queue.lock().push(at, datagram, to, None);
                self.outgoing.changed.notify_one();
            }
        }
        Ok(datagram.len())
    }

    fn send_all(&self, outgoing: &datagrams::Outgoing) -> Sent {
        if self.faults.is_none() {
            return self.socket.send_all(outgoing);
        }
        let mut held = 0;
        let at_once = outgoing.filtered(|datagram, source, to| {
            let due = self.due(to, Way::ToClient, datagram.len());
            if due.is_some_and(|at| at <= Instant::now()) {
                return true;
            }
            if let Some(at) = due {
                self.outgoing.queue.lock().push(at, datagram, to, source);
                self.outgoing.changed.notify_one();
            }
            held += 1;
            false
        });
        let mut sent = if at_once.is_empty() { Sent::default() } else { self.socket.send_all(&at_once) };
        // To the server, what is late or lost has been sent.
        sent.datagrams += held;
        sent
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.faults.is_none() {
            return self.socket.recv_from(buffer).await;
        }
        let mut space = vec![0; buffer.len()];
        loop {
            let mut arrived = None;
            self.await_incoming(self.socket.recv_from(&mut space), |it| arrived = Some(it)).await?;
            if let Some((length, from)) = arrived {
                self.take(&space[..length], from, None);
            }
            if let Some(late) = self.next() {
                let length = late.bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&late.bytes[..length]);
                return Ok((length, late.client));
            }
        }
    }

    async fn receive<'b>(&self, buffers: &'b Buffers) -> io::Result<Borrowed<'b>> {
        if self.faults.is_none() {
            return self.socket.receive(buffers).await;
        }
        loop {
            let take_all = |batch: Borrowed<'_>| {
                batch.received.datagrams().for_each(|it| self.take(it.data, it.from, it.destination));
            };
            self.await_incoming(self.socket.receive(buffers), take_all).await?;
            if let Some(late) = self.next() {
                let mut batch = buffers.take();
                let room = batch.received.room();
                let length = late.bytes.len().min(room.len());
                room[..length].copy_from_slice(&late.bytes[..length]);
                batch.received.arrived(length, late.client, late.own);
                return Ok(batch);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
