//! Gathers a client's candidates: the addresses at which others can reach its sockets. RFC 8445 §5.1.1.
//!
//! Sans-IO. It comes first after the sockets: it consumes the responses of STUN servers, and passes all other datagrams
//! on to the peer connections.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::event::{CandidateKind, PeerChange, PeerEvent, PeerName};
use crate::peer::path::{Path, Transmit};
use crate::peer::stack::LocalCandidate;
use crate::peer::stun::BindingClient;

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
    Event(PeerEvent),
    Gathered(Gathered),
}

/// Gathers the candidates of all sockets of a client.
#[derive(Debug)]
pub(crate) struct Gatherer {
    stun: Option<SocketAddr>,
    seed: u64,
    sockets: Vec<Socket>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Socket {
    base: SocketAddr,
    binding: Option<BindingClient>,
    /// Until when its mapped address is considered valid; `None` if it has none.
    mapped_until: Option<Instant>,
}

impl Gatherer {
    /// A gatherer without sockets. Without a STUN server it finds only host candidates. `seed` determines the
    /// transaction ids.
    pub(crate) fn new(stun: Option<SocketAddr>, seed: u64) -> Self {
        Self { stun, seed, sockets: Vec::new(), outputs: VecDeque::new() }
    }

    /// Adds a socket, by its local address.
    pub(crate) fn add_socket(&mut self, base: SocketAddr) {
        let seed = self.seed.wrapping_add(self.sockets.len() as u64);
        let binding = self.stun.map(|server| BindingClient::new(server, seed));
        self.sockets.push(Socket { base, binding, mapped_until: None });
        let candidate = LocalCandidate { kind: CandidateKind::Host, address: base, base };
        self.outputs.push_back(Output::Gathered(Gathered { candidate, until: None }));
    }

    /// Requests the mapped addresses that are unknown or no longer valid.
    pub(crate) fn gather(&mut self, now: Instant) {
        for socket in &mut self.sockets {
            if socket.mapped_until.is_none_or(|until| until <= now)
                && let Some(binding) = &mut socket.binding
            {
                binding.start(now);
            }
        }
    }

    /// Handles a datagram. Returns it for the peer connections, unless it comes from a STUN server.
    pub(crate) fn on_datagram<'d>(&mut self, path: Path, datagram: &'d [u8], now: Instant) -> Option<(Path, &'d [u8])> {
        let socket = self.sockets.iter_mut().find(|socket| socket.base == path.base)?;
        let Some(binding) = socket.binding.as_mut().filter(|binding| binding.server == path.remote) else {
            return Some((path, datagram));
        };
        if let Some(mapped) = binding.on_datagram(datagram) {
            let until = now + FRESH;
            socket.mapped_until = Some(until);
            self.on_mapped(path.base, mapped, until);
        }
        None
    }

    /// Handles a mapped address that the STUN server reported.
    fn on_mapped(&mut self, base: SocketAddr, mapped: SocketAddr, until: Instant) {
        if let (SocketAddr::V4(base), SocketAddr::V4(mapped)) = (base, mapped) {
            let change = PeerChange::Mapped { base, mapped };
            self.outputs.push_back(Output::Event(PeerEvent { peer: PeerName::None, attempt: 0, change }));
        }
        // Without a NAT, the mapped address equals the base, and the candidate is redundant (RFC 8445 §5.1.3).
        if mapped != base {
            let candidate = LocalCandidate { kind: CandidateKind::Srflx, address: mapped, base };
            self.outputs.push_back(Output::Gathered(Gathered { candidate, until: Some(until) }));
        }
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.sockets.iter().filter_map(|socket| socket.binding.as_ref()?.deadline()).min()
    }

    /// Sends the requests that are due.
    pub(crate) fn on_time(&mut self, now: Instant) {
        for Socket { base, binding, .. } in &mut self.sockets {
            if let Some(binding) = binding
                && let Some(request) = binding.poll(now)
            {
                let bytes = request.into();
                let path = Path { remote: binding.server, base: *base };
                self.outputs.push_back(Output::Transmit(Transmit { path, bytes }));
            }
        }
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
            let mut gatherer = Gatherer::new(stun.map(address), 1);
            gatherer.add_socket(address(BASE));
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
            Output::Transmit(_) | Output::Event(_) => None,
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
