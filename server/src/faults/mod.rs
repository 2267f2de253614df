//! Faults that an operator orders while the server runs: signaling or TURN is cut, delayed, loses data or is slow, for one
//! client or all, for a time. For tests of pages in a browser, whose own "offline" switch leaves WebRTC alone.
//!
//! [`FaultyNetwork`] puts them between the server and its sockets. A server that is not started with one is not affected at
//! all. [`Endpoint`] takes the orders.

mod datagrams;
mod endpoint;
mod network;
mod order;
mod stream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rand_core::RngCore;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub use endpoint::Endpoint;
pub use network::FaultyNetwork;
use order::{Name, Order, Service, Traffic, Way};

use crate::lock::Lock;
use crate::random::{Entropy, Random};

/// The longest time for which a throttled datagram waits. One that would wait longer is lost, as in a router.
const QUEUE_MAX: Duration = Duration::from_secs(1);
/// How much later a piece of a TCP connection arrives that was lost: the usual minimum of a retransmission timer on Linux.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// A TURN client that sent no request for so long is not listed: it has sent two Refreshes less than it should.
const CLIENT_LIFETIME: Duration = Duration::from_secs(600);
/// The greatest number of clients that are known by name.
const CLIENTS_MAX: usize = 10_000;

/// A fault that is in force.
struct Fault {
    id: u64,
    order: Order,
    until: Option<Instant>,
    /// When the next byte of a throttled direction may pass, by the client.
    free: BTreeMap<(Service, SocketAddr, Way), Instant>,
}

struct State {
    last_id: u64,
    faults: Vec<Fault>,
    clients: BTreeMap<(Service, SocketAddr), (Name, Instant)>,
    random: Random,
}

/// The faults of a server. All clones are the same.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    /// Whether there are any, to look without the lock.
    any: AtomicBool,
    state: Lock<State>,
    /// Notified when faults begin or end.
    changed: Notify,
}

impl Default for Faults {
    fn default() -> Self {
        let random = Entropy::System.stream(0);
        let state = State { last_id: 0, faults: Vec::new(), clients: BTreeMap::new(), random };
        Self(Arc::new(Inner { any: AtomicBool::new(false), state: Lock::new(state), changed: Notify::new() }))
    }
}

/// A fault as the operator sees it.
#[derive(Serialize)]
pub(crate) struct FaultView {
    id: u64,
    #[serde(flatten)]
    order: Order,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_ms: Option<u64>,
}

/// A client as the operator sees it.
#[derive(Serialize)]
pub(crate) struct ClientView {
    on: Service,
    address: SocketAddr,
    /// Its TURN username.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Path and query of its first request, without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

impl Faults {
    /// Begins a fault.
    ///
    /// # Errors
    /// What is wrong with the order.
    fn begin(&self, order: Order) -> Result<FaultView, &'static str> {
        order.check()?;
        let mut state = self.0.state.lock();
        state.last_id += 1;
        let until = order.for_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        let fault = Fault { id: state.last_id, order, until, free: BTreeMap::new() };
        let view = fault.view();
        state.faults.push(fault);
        drop(state);
        self.has_changed(true);
        tracing::info!(fault = view.id, order = ?view.order, "a fault begins");
        Ok(view)
    }

    /// Ends one fault, or all. Returns how many.
    fn end(&self, id: Option<u64>) -> usize {
        let mut state = self.0.state.lock();
        state.expire();
        let before = state.faults.len();
        state.faults.retain(|fault| id.is_some_and(|id| fault.id != id));
        let (ended, any) = (before - state.faults.len(), !state.faults.is_empty());
        drop(state);
        self.has_changed(any);
        ended
    }

    fn has_changed(&self, any: bool) {
        self.0.any.store(any, Relaxed);
        self.0.changed.notify_waiters();
    }

    /// The faults in force, and the clients that are known.
    fn list(&self) -> (Vec<FaultView>, Vec<ClientView>) {
        let mut state = self.0.state.lock();
        state.expire();
        let clients = state.clients.iter().map(|((on, address), (name, _))| {
            let (user, request) = match name {
                Name::User(user) => (Some(user.clone()), None),
                Name::Request(target) => (None, Some(order::without_token(target))),
            };
            ClientView { on: *on, address: *address, user, request }
        });
        (state.faults.iter().map(Fault::view).collect(), clients.collect())
    }

    /// Notes what a client is called.
    pub(crate) fn name(&self, service: Service, client: SocketAddr, name: Name) {
        let mut state = self.0.state.lock();
        let now = Instant::now();
        if state.clients.len() >= CLIENTS_MAX {
            state.clients.retain(|(service, _), (_, seen)| *service == Service::Signaling || is_recent(*seen, now));
        }
        if state.clients.len() < CLIENTS_MAX {
            state.clients.insert((service, client), (name, now));
        }
    }

    /// Forgets a client whose connection has ended.
    pub(crate) fn forget(&self, service: Service, client: SocketAddr) {
        self.0.state.lock().clients.remove(&(service, client));
    }

    /// When a datagram passes; `None` if it is lost.
    pub(crate) fn datagram(&self, traffic: Traffic) -> Option<Instant> {
        let now = Instant::now();
        if !self.0.any.load(Relaxed) {
            return Some(now);
        }
        self.0.state.lock().decide(&traffic, now, |is_lost| (!is_lost).then_some(Duration::ZERO))
    }

    /// When a piece of a TCP connection passes. TCP repeats what is lost, so it is late.
    pub(crate) fn piece(&self, traffic: Traffic) -> Instant {
        let now = Instant::now();
        if !self.0.any.load(Relaxed) {
            return now;
        }
        let late = |is_lost: bool| Some(if is_lost { RETRANSMISSION } else { Duration::ZERO });
        self.0.state.lock().decide(&traffic, now, late).unwrap_or(now)
    }

    /// Waits while a TCP connection is cut.
    pub(crate) async fn passable(&self, traffic: Traffic) {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let Some(until) = self.0.state.lock().cut(&traffic) else { return };
            match until {
                None => changed.await,
                Some(until) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }
}

impl Fault {
    fn view(&self) -> FaultView {
        let remaining = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let remaining_ms = remaining.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        FaultView { id: self.id, order: self.order.clone(), remaining_ms }
    }
}

impl State {
    /// Removes what has expired.
    fn expire(&mut self) {
        let now = Instant::now();
        self.faults.retain(|fault| fault.until.is_none_or(|until| now < until));
        self.clients.retain(|(service, _), (_, seen)| *service == Service::Signaling || is_recent(*seen, now));
    }

    /// Calls `act` with each fault in force that concerns this traffic.
    fn each(&mut self, traffic: &Traffic, now: Instant, mut act: impl FnMut(&mut Fault, &mut Random)) {
        let Self { faults, clients, random, .. } = self;
        faults.retain(|fault| fault.until.is_none_or(|until| now < until));
        let name = clients.get(&(traffic.service, traffic.client)).map(|(name, _)| name);
        for fault in faults.iter_mut().filter(|fault| fault.order.concerns(traffic, name)) {
            act(fault, random);
        }
    }

    /// When something passes. `price` says what a loss costs: a time, or `None` for the thing itself.
    fn decide(&mut self, traffic: &Traffic, now: Instant, price: impl Fn(bool) -> Option<Duration>) -> Option<Instant> {
        let (mut at, mut is_lost) = (now, false);
        self.each(traffic, now, |Fault { order, free, .. }, random| {
            is_lost |= order.cut || random_share(random) * 100.0 < order.loss_percent;
            at += Duration::from_millis(order.delay_ms);
            if let Some(rate) = order.bytes_per_second {
                let free = free.entry((traffic.service, traffic.client, traffic.way)).or_insert(now);
                let begins = (*free).max(now);
                // What a datagram would wait for longer than routers keep it, it does not wait for at all.
                if traffic.service == Service::Turn && begins - now > QUEUE_MAX {
                    is_lost = true;
                    return;
                }
                *free = begins + Duration::from_secs_f64(traffic.bytes as f64 / rate as f64);
                at += *free - now;
            }
        });
        price(is_lost).map(|late| at + late)
    }

    /// Whether this traffic is cut, and until when, if that is known.
    fn cut(&mut self, traffic: &Traffic) -> Option<Option<Instant>> {
        let mut cut: Option<Option<Instant>> = None;
        self.each(traffic, Instant::now(), |fault, _| {
            if fault.order.cut {
                // The last one to end counts; one without an end ends last.
                cut = Some(match (cut, fault.until) {
                    (Some(None), _) | (_, None) => None,
                    (Some(Some(one)), Some(other)) => Some(one.max(other)),
                    (None, Some(until)) => Some(until),
                });
            }
        });
        cut
    }
}

fn is_recent(seen: Instant, now: Instant) -> bool {
    now < seen + CLIENT_LIFETIME
}

/// A random number from 0 to 1, without 1.
fn random_share(random: &mut Random) -> f64 {
    f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(order: serde_json::Value) -> Faults {
        let faults = Faults::default();
        faults.begin(serde_json::from_value(order).expect("an order")).expect("a right one");
        faults
    }

    fn traffic(service: Service, way: Way) -> Traffic {
        Traffic { service, client: ([192, 0, 2, 7], 5000).into(), way, bytes: 1000 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_when_its_time_is_over() {
        let faults = faults(json!({ "on": "turn", "cut": true, "for_ms": 500 }));
        let turn = traffic(Service::Turn, Way::FromClient);
        assert_eq!(faults.datagram(turn), None);
        assert_eq!(faults.datagram(traffic(Service::Signaling, Way::FromClient)), Some(Instant::now()));
        tokio::time::advance(Duration::from_millis(499)).await;
        assert_eq!(faults.datagram(turn), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(faults.datagram(turn), Some(Instant::now()));
        assert!(faults.list().0.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn faults_add_up_and_a_queue_has_an_end() {
        let faults = faults(json!({ "delay_ms": 30, "way": "to-client" }));
        faults.begin(serde_json::from_value(json!({ "bytes_per_second": 10_000 })).expect("an order")).expect("right");
        let start = Instant::now();
        let ms = |at: Option<Instant>| at.map(|at| (at - start).as_millis());
        // Each datagram takes 100 ms. The one that would wait for longer than a second is lost.
        let sent: Vec<_> = (0..13).map(|_| ms(faults.datagram(traffic(Service::Turn, Way::FromClient)))).collect();
        let waits = (1..=11).map(|n| Some(n * 100)).chain([None, None]).collect::<Vec<_>>();
        assert_eq!(sent, waits);
        assert_eq!(ms(faults.datagram(traffic(Service::Turn, Way::ToClient))), Some(130), "each way has its own queue");
        // TCP waits for as long as it takes.
        let pieces: Vec<_> =
            (0..13).map(|_| ms(Some(faults.piece(traffic(Service::Signaling, Way::FromClient))))).collect();
        assert_eq!(pieces[12], Some(1300));
    }

    #[tokio::test(start_paused = true)]
    async fn what_tcp_loses_is_late() {
        let faults = faults(json!({ "loss_percent": 100 }));
        let now = Instant::now();
        assert_eq!(faults.piece(traffic(Service::Signaling, Way::ToClient)), now + RETRANSMISSION);
        assert_eq!(faults.datagram(traffic(Service::Turn, Way::ToClient)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_meant_by_address_user_or_parameter() {
        let (client, other): (SocketAddr, SocketAddr) = (([192, 0, 2, 7], 5000).into(), ([192, 0, 2, 8], 5000).into());
        for (order, concerned) in [
            (json!({ "cut": true, "client": "192.0.2.7" }), [true, true]),
            (json!({ "cut": true, "client": "192.0.2.7:5000" }), [true, true]),
            (json!({ "cut": true, "client": "192.0.2.7:5001" }), [false, false]),
            (json!({ "cut": true, "client": "ana" }), [true, false]),
            (json!({ "cut": true, "client": "room=demo" }), [false, true]),
            (json!({ "cut": true, "client": "room" }), [false, false]),
            (json!({ "cut": true, "client": "demo" }), [false, false]),
        ] {
            let faults = faults(order.clone());
            faults.name(Service::Turn, client, Name::User("ana".to_owned()));
            faults.name(Service::Signaling, client, Name::Request("/relay?x=1&room=demo".to_owned()));
            let is_cut = |service, client| {
                let traffic = Traffic { service, client, way: Way::ToClient, bytes: 1 };
                faults.0.state.lock().cut(&traffic).is_some()
            };
            assert_eq!(
                [Service::Turn, Service::Signaling].map(|service| is_cut(service, client)),
                concerned,
                "{order}"
            );
            assert!(!is_cut(Service::Turn, other), "{order}");
        }
    }
}
