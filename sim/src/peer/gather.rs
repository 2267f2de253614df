//! Gathers a client's candidates: the addresses at which others can reach its sockets. RFC 8445 §5.1.1.
//!
//! Sans-IO. It comes between the sockets and the peer connections: it consumes the responses of STUN and TURN servers, and
//! passes all other datagrams on. To the peer connections, a relayed candidate is a base like any socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use scenarios::IceTransportPolicy;

use crate::event::{CandidateKind, PeerChange, PeerEvent, PeerName};
use crate::peer::path::{Path, Transmit};
use crate::peer::stack::LocalCandidate;
use crate::peer::stun::BindingClient;
use crate::peer::turn::{self, Credential, TurnClient};

/// How long a mapped address is considered valid.
const FRESH: Duration = Duration::from_secs(5);

/// A candidate of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub(crate) candidate: LocalCandidate,
    /// When the candidate becomes too old for a new ICE generation. `None`: it is valid as long as the socket is open.
    pub(crate) until: Option<Instant>,
}

/// What the gatherer sends or reports.
#[derive(Debug)]
pub(crate) enum Output {
    Transmit(Transmit),
    /// A message to send to a server over TCP, or over TLS.
    Stream {
        server: SocketAddr,
        tls: bool,
        message: BytesMut,
    },
    Event(PeerEvent),
    Gathered(Gathered),
}

/// A STUN or TURN server, as a client knows it. W3C WebRTC §4.2.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IceServer {
    pub(crate) address: SocketAddr,
    /// The credential for its TURN server, if it has one.
    pub(crate) turn: Option<Credential>,
    /// Whether its TURN server is also used over TCP.
    pub(crate) tcp: bool,
    /// Whether it is at this address over TLS only, for TURN: a `turns:` URL.
    pub(crate) tls: bool,
}

/// Gathers the candidates of all sockets of a client, and relays what relayed candidates send and receive.
pub(crate) struct Gatherer {
    servers: Vec<IceServer>,
    policy: IceTransportPolicy,
    seed: u64,
    sockets: Vec<Socket>,
    sockets_opened: u64,
    outputs: VecDeque<Output>,
}

struct Socket {
    base: SocketAddr,
    /// The local preference of its candidates.
    preference: u16,
    /// What it has at each server.
    services: Vec<Service>,
}

struct Service {
    server: SocketAddr,
    /// Whether it is reached over TCP, with or without TLS.
    is_tcp: bool,
    is_tls: bool,
    /// `None` if its answer is not needed.
    binding: Option<BindingClient>,
    /// Until when the mapped address is considered valid; `None` if it is not known.
    mapped_until: Option<Instant>,
    turn: Option<TurnClient>,
}

impl Service {
    /// `number` is that of the server. `seed` determines the transaction ids.
    fn new(number: usize, server: &IceServer, policy: IceTransportPolicy, relays_ipv6: bool, seed: u64) -> Self {
        let seed = |offset: u64| seed.wrapping_add((number as u64) << 16).wrapping_add(offset << 32);
        let binding = (policy == IceTransportPolicy::All).then(|| BindingClient::new(seed(0)));
        let turn = server
            .turn
            .clone()
            .map(|credential| TurnClient::new(credential, false, seed(1)).relaying_ipv6(relays_ipv6));
        Self { server: server.address, is_tcp: false, is_tls: false, binding, mapped_until: None, turn }
    }

    /// The same server over TCP or TLS, which is used for TURN only.
    fn over_tcp(number: usize, server: &IceServer, relays_ipv6: bool, seed: u64) -> Option<Self> {
        let seed = seed.wrapping_add((number as u64) << 16).wrapping_add(2 << 32);
        let credential = server.turn.clone().filter(|_| server.tcp || server.tls)?;
        let turn = Some(TurnClient::new(credential, true, seed).relaying_ipv6(relays_ipv6));
        let is_tls = server.tls;
        Some(Self { server: server.address, is_tcp: true, is_tls, binding: None, mapped_until: None, turn })
    }

    /// Whether this is the relay with this relayed transport address.
    fn relays(&self, base: SocketAddr) -> bool {
        self.turn.as_ref().and_then(TurnClient::relayed) == Some(base)
    }
}

impl Gatherer {
    /// A gatherer without sockets. Without servers it finds only host candidates. `seed` determines the transaction
    /// ids.
    pub(crate) fn new(servers: Vec<IceServer>, policy: IceTransportPolicy, seed: u64) -> Self {
        Self { servers, policy, seed, sockets: Vec::new(), sockets_opened: 0, outputs: VecDeque::new() }
    }

    /// Replaces all servers and sockets. What the old ones had is forgotten: nobody can be told.
    pub(crate) fn replace(&mut self, servers: Vec<IceServer>, bases: &[SocketAddr]) {
        self.servers = servers;
        self.sockets.clear();
        self.add_sockets(bases);
    }

    /// Adds the sockets of a client, by their local addresses.
    pub(crate) fn add_sockets(&mut self, bases: &[SocketAddr]) {
        for base in bases {
            self.add_socket(*base, bases.len() == 1);
        }
    }

    /// Adds a socket, by its local address. It uses the servers of its family.
    ///
    /// Of two sockets, that of IPv6 has the higher preference, so that its candidates of each type come first, then those
    /// of IPv4, then the next type (RFC 8421 §4).
    ///
    /// A socket of IPv6 gets relayed candidates of IPv6, unless `is_alone`: a client without IPv4 gets those of IPv4, with
    /// which it reaches clients without IPv6. What it reaches over IPv6, it reaches without a relay.
    fn add_socket(&mut self, base: SocketAddr, is_alone: bool) {
        let seed = self.seed.wrapping_add(self.sockets_opened);
        self.sockets_opened += 1;
        let relays_ipv6 = base.is_ipv6() && !is_alone;
        let servers = self.servers.iter().enumerate();
        let servers = servers.filter(|(_, server)| server.address.is_ipv4() == base.is_ipv4());
        let services = servers.flat_map(|(number, server)| {
            let over_udp = || Service::new(number, server, self.policy, relays_ipv6, seed);
            [(!server.tls).then(over_udp), Service::over_tcp(number, server, relays_ipv6, seed)]
        });
        let services = services.flatten().collect();
        let preference = u16::MAX - u16::from(base.is_ipv4() && !is_alone);
        self.sockets.push(Socket { base, preference, services });
        if self.policy == IceTransportPolicy::All {
            let candidate = LocalCandidate { kind: CandidateKind::Host, address: base, base, preference };
            self.outputs.push_back(Output::Gathered(Gathered { candidate, until: None }));
        }
    }

    /// Requests the mapped and the relayed addresses that are unknown or no longer valid.
    pub(crate) fn gather(&mut self, now: Instant) {
        for service in self.sockets.iter_mut().flat_map(|socket| &mut socket.services) {
            if service.mapped_until.is_none_or(|until| until <= now)
                && let Some(binding) = &mut service.binding
            {
                binding.start(now);
            }
            if let Some(turn) = &mut service.turn {
                turn.start(now);
            }
        }
        self.collect();
    }

    /// Handles a datagram. Returns it for the peer connections, unless it comes from a STUN server; if a TURN server
    /// relayed it, returns what the peer has sent.
    pub(crate) fn on_datagram<'d>(&mut self, path: Path, datagram: &'d [u8], now: Instant) -> Option<(Path, &'d [u8])> {
        let socket = self.sockets.iter_mut().find(|socket| socket.base == path.base)?;
        let Some(service) = socket.services.iter_mut().find(|service| service.server == path.remote && !service.is_tcp)
        else {
            return Some((path, datagram));
        };
        if TurnClient::carries_data(datagram) {
            let turn = service.turn.as_ref()?;
            let (remote, data) = turn.data(datagram)?;
            return Some((Path { remote, base: turn.relayed()? }, data));
        }
        if let Some(mapped) = service.binding.as_mut().and_then(|binding| binding.on_datagram(datagram)) {
            let until = now + FRESH;
            service.mapped_until = Some(until);
            let preference = socket.preference;
            self.on_mapped(path.base, mapped, preference, until);
        } else if let Some(turn) = &mut service.turn {
            turn.on_response(datagram, now);
            self.collect();
        }
        None
    }

    /// Handles a message that a server has sent over TCP. If it relays what a peer has sent, returns that.
    pub(crate) fn on_stream<'d>(
        &mut self,
        server: SocketAddr,
        message: &'d [u8],
        now: Instant,
    ) -> Option<(Path, &'d [u8])> {
        let turn = self.over_tcp(server)?;
        if TurnClient::carries_data(message) {
            let (remote, data) = turn.data(message)?;
            return Some((Path { remote, base: turn.relayed()? }, data));
        }
        turn.on_response(message, now);
        self.collect();
        None
    }

    /// Notes that the TCP connection to a server has ended.
    pub(crate) fn on_stream_end(&mut self, server: SocketAddr) {
        if let Some(turn) = self.over_tcp(server) {
            turn.disconnected();
        }
        self.collect();
    }

    fn over_tcp(&mut self, server: SocketAddr) -> Option<&mut TurnClient> {
        let mut services = self.sockets.iter_mut().flat_map(|socket| &mut socket.services);
        services.find(|service| service.is_tcp && service.server == server)?.turn.as_mut()
    }

    /// Handles a mapped address that the STUN server reported.
    fn on_mapped(&mut self, base: SocketAddr, mapped: SocketAddr, preference: u16, until: Instant) {
        self.report(PeerChange::Mapped { base: base.into(), mapped: mapped.into() });
        // Without a NAT, the mapped address equals the base, and the candidate is redundant (RFC 8445 §5.1.3).
        if mapped != base {
            let candidate = LocalCandidate { kind: CandidateKind::Srflx, address: mapped, base, preference };
            self.outputs.push_back(Output::Gathered(Gathered { candidate, until: Some(until) }));
        }
    }

    fn report(&mut self, change: PeerChange) {
        self.outputs.push_back(Output::Event(PeerEvent { peer: PeerName::None, attempt: 0, change }));
    }

    /// Sends a datagram of a peer connection on its way. Returns it unless it goes through a relay.
    pub(crate) fn route(&mut self, transmit: Transmit, now: Instant) -> Option<Transmit> {
        let Path { remote, base } = transmit.path;
        if self.sockets.iter().any(|socket| socket.base == base) {
            return Some(transmit);
        }
        // The relay of an older ICE generation may be gone.
        let service = self.sockets.iter_mut().flat_map(|socket| &mut socket.services);
        if let Some(turn) = service.into_iter().find(|service| service.relays(base)).and_then(|it| it.turn.as_mut()) {
            turn.send(remote, &transmit.bytes, now);
            self.collect();
        }
        None
    }

    /// Deletes the allocations at TURN servers.
    pub(crate) fn release(&mut self, now: Instant) {
        for turn in self.sockets.iter_mut().flat_map(|socket| &mut socket.services).flat_map(|it| &mut it.turn) {
            turn.release(now);
        }
        self.collect();
    }

    /// Takes over the outputs of the TURN clients.
    fn collect(&mut self) {
        for Socket { base, services, preference } in &mut self.sockets {
            for Service { server, turn, is_tcp, is_tls, .. } in services {
                while let Some(output) = turn.as_mut().and_then(TurnClient::poll_output) {
                    self.outputs.push_back(match output {
                        turn::Output::Send(message) if *is_tcp => {
                            Output::Stream { server: *server, tls: *is_tls, message }
                        }
                        turn::Output::Send(bytes) => {
                            let path = Path { remote: *server, base: *base };
                            Output::Transmit(Transmit { path, bytes })
                        }
                        turn::Output::Confirmed { relayed, until } => {
                            //= https://www.rfc-editor.org/rfc/rfc8445#section-5.1.1.2
                            //# The base of a relayed candidate is that candidate itself.
                            // Over TLS, each datagram costs the most, so it is what remains if nothing else works.
                            let preference = preference.saturating_sub(u16::from(*is_tls) * 2);
                            let kind = CandidateKind::Relay;
                            let candidate = LocalCandidate { kind, address: relayed, base: relayed, preference };
                            Output::Gathered(Gathered { candidate, until: Some(until) })
                        }
                        turn::Output::Change(change) => {
                            let server = (*server).into();
                            let change = PeerChange::Turn { server, tcp: *is_tcp, change };
                            Output::Event(PeerEvent { peer: PeerName::None, attempt: 0, change })
                        }
                    });
                }
            }
        }
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let services = self.sockets.iter().flat_map(|socket| &socket.services);
        let of_service = |service: &Service| {
            let binding = service.binding.as_ref().and_then(BindingClient::deadline);
            binding.into_iter().chain(service.turn.as_ref().and_then(TurnClient::deadline)).min()
        };
        services.filter_map(of_service).min()
    }

    /// Sends the requests that are due.
    pub(crate) fn on_time(&mut self, now: Instant) {
        for Socket { base, services, .. } in &mut self.sockets {
            for Service { server, binding, turn, .. } in services {
                if let Some(binding) = binding
                    && let Some(request) = binding.poll(now)
                {
                    let path = Path { remote: *server, base: *base };
                    self.outputs.push_back(Output::Transmit(Transmit { path, bytes: request.into() }));
                }
                if let Some(turn) = turn {
                    turn.on_time(now);
                }
            }
        }
        self.collect();
    }

    /// The next output of the inputs so far. Call it after each input until it returns `None`.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "198.51.100.1:3478";
    const BASE: &str = "10.0.0.2:5000";

    /// A gatherer with one socket, and the current time.
    struct Bench {
        gatherer: Gatherer,
        now: Instant,
    }

    impl Bench {
        fn new(stun: Option<&str>) -> Self {
            #[allow(clippy::disallowed_methods)] // only differences count
            let now = Instant::now();
            let servers = stun.map(|stun| IceServer { address: address(stun), turn: None, tcp: false, tls: false });
            let mut gatherer = Gatherer::new(servers.into_iter().collect(), IceTransportPolicy::All, 1);
            gatherer.add_sockets(&[address(BASE)]);
            Self { gatherer, now }
        }

        /// Advances time, and returns all outputs.
        fn wait(&mut self, millis: u64) -> Vec<Output> {
            self.now += Duration::from_millis(millis);
            self.gatherer.on_time(self.now);
            self.outputs()
        }

        /// Starts to gather, and returns the request that is sent.
        fn request(&mut self) -> Transmit {
            self.gatherer.gather(self.now);
            let [Output::Transmit(request)] = <[Output; 1]>::try_from(self.wait(0)).expect("one output") else {
                panic!("not a request")
            };
            request
        }

        /// Lets the server answer a request, and returns all outputs.
        fn answer(&mut self, request: &Transmit, mapped: &str) -> Vec<Output> {
            let response = response(&request.bytes, address(mapped));
            assert_eq!(self.gatherer.on_datagram(request.path, &response, self.now), None);
            self.outputs()
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.gatherer.poll_output()).collect()
        }
    }

    #[test]
    fn a_socket_is_a_host_candidate_and_without_a_server_that_is_all() {
        let mut bench = Bench::new(None);
        assert_eq!(gathered(&bench.outputs()), [(CandidateKind::Host, address(BASE))]);
        bench.gatherer.gather(bench.now);
        assert_eq!(bench.gatherer.deadline(), None);
    }

    #[test]
    fn the_server_says_what_the_server_reflexive_candidate_is() {
        let mut bench = Bench::new(Some(SERVER));
        bench.outputs();
        let request = bench.request();
        assert_eq!(request.path, Path { remote: address(SERVER), base: address(BASE) });
        let outputs = bench.answer(&request, "203.0.113.9:40000");
        assert!(matches!(&outputs[0], Output::Event(PeerEvent { change: PeerChange::Mapped { .. }, .. })));
        assert_eq!(gathered(&outputs), [(CandidateKind::Srflx, address("203.0.113.9:40000"))]);
        assert!(bench.answer(&request, "203.0.113.9:40001").is_empty(), "the transaction is over");
    }

    #[test]
    fn an_answer_counts_for_five_seconds() {
        let mut bench = Bench::new(Some(SERVER));
        let request = {
            bench.outputs();
            bench.request()
        };
        bench.answer(&request, "203.0.113.9:40000");
        bench.wait(4_999);
        bench.gatherer.gather(bench.now);
        assert!(bench.wait(0).is_empty());
        bench.wait(1);
        assert_ne!(bench.request().bytes, request.bytes, "a transaction of its own");
    }

    #[test]
    fn a_mapped_address_that_is_the_base_is_no_candidate() {
        let mut bench = Bench::new(Some(SERVER));
        bench.outputs();
        let request = bench.request();
        assert_eq!(gathered(&bench.answer(&request, BASE)), []);
    }

    //= https://www.rfc-editor.org/rfc/rfc8489#section-6.2.1
    //# For example, assuming an RTO of 500ms, requests would be sent at times 0 ms, 500 ms, 1500 ms, 3500 ms, 7500 ms,
    //# 15500 ms, and 31500 ms.
    #[test]
    fn requests_are_sent_again_seven_in_all() {
        let mut bench = Bench::new(Some(SERVER));
        bench.outputs();
        bench.gatherer.gather(bench.now);
        let start = bench.now;
        let mut sent = Vec::new();
        while let Some(deadline) = bench.gatherer.deadline() {
            let pause = (deadline - bench.now).as_millis() as u64;
            if !bench.wait(pause).is_empty() {
                sent.push((bench.now - start).as_millis());
            }
        }
        assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15500, 31500]);
    }

    #[test]
    fn what_is_not_from_the_server_is_passed_on() {
        let mut bench = Bench::new(Some(SERVER));
        let path = Path { remote: address("203.0.113.1:9"), base: address(BASE) };
        assert_eq!(bench.gatherer.on_datagram(path, b"peer", bench.now), Some((path, &b"peer"[..])));
    }

    fn gathered(outputs: &[Output]) -> Vec<(CandidateKind, SocketAddr)> {
        let gathered = outputs.iter().filter_map(|output| match output {
            Output::Gathered(Gathered { candidate, .. }) => Some((candidate.kind, candidate.address)),
            Output::Transmit(_) | Output::Stream { .. } | Output::Event(_) => None,
        });
        gathered.collect()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// A success response with XOR-MAPPED-ADDRESS. RFC 8489 §14.2.
    fn response(request: &[u8], mapped: SocketAddr) -> Vec<u8> {
        let SocketAddr::V4(mapped) = mapped else { panic!("IPv4") };
        let cookie = 0x2112_A442_u32;
        let mut response = vec![1, 1, 0, 12];
        response.extend(&request[4..20]);
        response.extend([0, 0x20, 0, 8, 0, 1]);
        response.extend((mapped.port() ^ (cookie >> 16) as u16).to_be_bytes());
        response.extend((mapped.ip().to_bits() ^ cookie).to_be_bytes());
        response
    }
}
