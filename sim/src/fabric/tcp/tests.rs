//! TCP beside another implementation of the same rules, turmoil-net's: for random programs at both ends, what programs
//! see and every segment must be the same. And what that one does differently from a real machine.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net::{TcpListener, TcpStream};
use turmoil_net::{EnterGuard, KernelConfig, Net, Transport};

use super::{ConnectionId, Life, Service, Tcp};
use crate::event::TransportAddress;
use crate::event::{NodeId, PacketId};
use crate::fabric::index::HostIndex;
use crate::fabric::packet::{Body, Flags, Packet, Segment};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SERVICE: Service = Service { is_ipv6: false, port: PORT };
const PORT: u16 = 80;

/// Which end of the connection does something.
#[derive(Clone, Copy, Debug)]
enum End {
    Client,
    Server,
}

#[derive(Clone, Debug)]
enum Step {
    Write(End, usize),
    Read(End),
    ShutDown(End),
    Close(End),
    /// Everything that is sent arrives.
    Deliver,
    /// The next segment arrives, and nothing else.
    DeliverOne,
}

/// What a segment says: from the client or not, its numbers, flags, window and length.
type Seen = (bool, u32, u32, Flags, u16, usize);

/// What one step showed.
#[derive(Debug, PartialEq)]
enum Shown {
    Result(Option<Result<usize, io::ErrorKind>>),
    Segments(Vec<Seen>),
}

/// One implementation: two machines, a connection between them, and the segments on their way.
trait Machines {
    fn write(&mut self, end: End, length: usize) -> Poll<io::Result<usize>>;
    fn read(&mut self, end: End) -> Poll<io::Result<usize>>;
    fn shut_down(&mut self, end: End) -> Poll<io::Result<()>>;
    fn close(&mut self, end: End);
    /// Collects what is sent, and lets the first segments, at most this many, arrive. Returns what was collected.
    fn deliver(&mut self, at_most: usize) -> Vec<Seen>;
    fn is_quiet(&self) -> bool;
}

fn play(machines: &mut impl Machines, step: &Step, closed: &mut [bool; 2]) -> Shown {
    let result = |poll: Poll<io::Result<usize>>| match poll {
        Poll::Ready(result) => Shown::Result(Some(result.map_err(|error| error.kind()))),
        Poll::Pending => Shown::Result(None),
    };
    match *step {
        Step::Write(end, _) | Step::Read(end) | Step::ShutDown(end) | Step::Close(end) if closed[end as usize] => {
            Shown::Result(None)
        }
        Step::Write(end, length) => result(machines.write(end, length)),
        Step::Read(end) => result(machines.read(end)),
        Step::ShutDown(end) => result(machines.shut_down(end).map_ok(|()| 0)),
        Step::Close(end) => {
            closed[end as usize] = true;
            machines.close(end);
            Shown::Result(None)
        }
        Step::Deliver => {
            let mut all = machines.deliver(usize::MAX);
            while !machines.is_quiet() {
                all.extend(machines.deliver(usize::MAX));
            }
            Shown::Segments(all)
        }
        Step::DeliverOne => Shown::Segments(machines.deliver(1)),
    }
}

struct Ours {
    tcp: Tcp,
    ends: [(Life, Option<ConnectionId>); 2],
    on_their_way: VecDeque<Packet>,
}

impl Ours {
    fn connected() -> Self {
        let mut tcp = Tcp::default();
        let lives = [tcp.start(HostIndex(0), 0), tcp.start(HostIndex(1), 0)];
        tcp.listen(lives[1], SERVICE).expect("the port is free");
        let client =
            tcp.connect(lives[0], IpAddr::V4(CLIENT), TransportAddress::new(SERVER, PORT)).expect("there are ports");
        let mut ours = Self { tcp, ends: [(lives[0], Some(client)), (lives[1], None)], on_their_way: VecDeque::new() };
        while !ours.is_quiet() {
            ours.deliver(usize::MAX);
        }
        let Poll::Ready((accepted, _)) = ours.tcp.poll_accept(lives[1], SERVICE, &mut noop()) else {
            panic!("the connection is established");
        };
        ours.ends[1].1 = Some(accepted);
        ours
    }

    fn end(&self, end: End) -> (Life, ConnectionId) {
        let (life, id) = self.ends[end as usize];
        (life, id.expect("it is connected"))
    }
}

impl Machines for Ours {
    fn write(&mut self, end: End, length: usize) -> Poll<io::Result<usize>> {
        let (life, id) = self.end(end);
        self.tcp.poll_write(life, id, &mut noop(), &vec![7; length])
    }

    fn read(&mut self, end: End) -> Poll<io::Result<usize>> {
        let (life, id) = self.end(end);
        self.tcp.poll_read(life, id, &mut noop()).map_ok(|bytes| bytes.len())
    }

    fn shut_down(&mut self, end: End) -> Poll<io::Result<()>> {
        let (life, id) = self.end(end);
        self.tcp.shut_down(life, id)
    }

    fn close(&mut self, end: End) {
        let (life, id) = self.end(end);
        self.tcp.close(life, id, Duration::ZERO);
    }

    fn deliver(&mut self, at_most: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        for out in self.tcp.take_outgoing() {
            let from = if out.host == HostIndex(0) { CLIENT } else { SERVER };
            let Segment { seq, ack, flags, window, ref payload } = out.segment;
            seen.push((from == CLIENT, seq, ack, flags, window, payload.len()));
            let (src, dst) = (out.src, out.dst);
            let (id, origin, sent) = (PacketId(0), NodeId(0), Duration::ZERO);
            self.on_their_way.push_back(Packet::new(id, origin, sent, src, dst, Body::Tcp(out.segment)));
        }
        for _ in 0..at_most {
            let Some(packet) = self.on_their_way.pop_front() else { break };
            let Body::Tcp(segment) = &packet.body else { unreachable!("only TCP is sent") };
            let life = self.ends[usize::from(packet.dst.ip() == SERVER)].0;
            self.tcp.deliver(life, &packet, segment);
        }
        seen
    }

    fn is_quiet(&self) -> bool {
        self.on_their_way.is_empty() && !self.tcp.is_busy()
    }
}

struct Theirs {
    /// Dropped before the network that they belong to.
    ends: [Option<TcpStream>; 2],
    net: EnterGuard,
    hosts: [turmoil_net::HostId; 2],
    on_their_way: VecDeque<turmoil_net::Packet>,
    was_quiet: bool,
}

impl Theirs {
    fn connected() -> Self {
        let mut net = Net::with_config(KernelConfig::default().retx_threshold(u32::MAX).default_backlog(4_096));
        let hosts = [net.add_host(IpAddr::V4(CLIENT)), net.add_host(IpAddr::V4(SERVER))];
        let net = net.enter();
        let mut theirs = Self { net, hosts, ends: [None, None], on_their_way: VecDeque::new(), was_quiet: false };
        turmoil_net::set_current(hosts[1]);
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let Poll::Ready(Ok(listener)) = pin!(TcpListener::bind(any)).poll(&mut noop()) else {
            panic!("a bind never waits");
        };
        turmoil_net::set_current(hosts[0]);
        let mut dial = Box::pin(TcpStream::connect(SocketAddr::from((SERVER, PORT))));
        assert!(dial.as_mut().poll(&mut noop()).is_pending());
        while !theirs.is_quiet() {
            theirs.deliver(usize::MAX);
        }
        turmoil_net::set_current(hosts[0]);
        let Poll::Ready(Ok(client)) = dial.as_mut().poll(&mut noop()) else { panic!("it is established") };
        turmoil_net::set_current(hosts[1]);
        let Poll::Ready(Ok((server, _))) = listener.poll_accept(&mut noop()) else { panic!("it is established") };
        // Its end would be told to connections that are not accepted; there are none.
        drop(listener);
        theirs.ends = [Some(client), Some(server)];
        theirs
    }

    fn with<T>(&mut self, end: End, operation: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> T) -> T {
        turmoil_net::set_current(self.hosts[end as usize]);
        operation(Pin::new(self.ends[end as usize].as_mut().expect("it is not closed")), &mut noop())
    }
}

impl Machines for Theirs {
    fn write(&mut self, end: End, length: usize) -> Poll<io::Result<usize>> {
        self.was_quiet = false;
        self.with(end, |stream, cx| stream.poll_write(cx, &vec![7; length]))
    }

    fn read(&mut self, end: End) -> Poll<io::Result<usize>> {
        self.was_quiet = false;
        let mut bytes = vec![0; 64 * 1024];
        let mut buffer = ReadBuf::new(&mut bytes);
        self.with(end, |stream, cx| stream.poll_read(cx, &mut buffer)).map_ok(|()| buffer.filled().len())
    }

    fn shut_down(&mut self, end: End) -> Poll<io::Result<()>> {
        self.was_quiet = false;
        self.with(end, |stream, cx| stream.poll_shutdown(cx))
    }

    fn close(&mut self, end: End) {
        self.was_quiet = false;
        turmoil_net::set_current(self.hosts[end as usize]);
        self.ends[end as usize] = None;
    }

    fn deliver(&mut self, at_most: usize) -> Vec<Seen> {
        let mut out = Vec::new();
        self.net.egress_all(&mut out);
        let mut seen = Vec::new();
        for packet in out {
            let Transport::Tcp(segment) = &packet.payload else { unreachable!("only TCP is sent") };
            let turmoil_net::TcpFlags { fin, syn, rst, psh, ack, .. } = segment.flags;
            let flags = Flags { fin, syn, rst, psh, ack };
            let from_client = packet.src == IpAddr::V4(CLIENT);
            seen.push((from_client, segment.seq, segment.ack, flags, segment.window, segment.payload.len()));
            self.on_their_way.push_back(packet);
        }
        self.was_quiet = seen.is_empty() && self.on_their_way.is_empty();
        for _ in 0..at_most {
            let Some(packet) = self.on_their_way.pop_front() else { break };
            self.net.deliver(packet);
        }
        seen
    }

    fn is_quiet(&self) -> bool {
        self.was_quiet
    }
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = || prop_oneof![Just(End::Client), Just(End::Server)];
    let length = prop_oneof![1..2_000_usize, 1..200_000_usize];
    let step = prop_oneof![
        6 => (end(), length).prop_map(|(end, length)| Step::Write(end, length)),
        5 => end().prop_map(Step::Read),
        1 => end().prop_map(Step::ShutDown),
        1 => end().prop_map(Step::Close),
        4 => Just(Step::Deliver),
        4 => Just(Step::DeliverOne),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Up to the first RST: from then on ours does what a real machine does (see below).
    #[test]
    fn programs_and_the_network_see_what_another_implementation_shows(steps in steps()) {
        let (mut ours, mut theirs) = (Ours::connected(), Theirs::connected());
        let mut closed = [[false; 2]; 2];
        let is_reset = |shown: &Shown| matches!(shown, Shown::Segments(all) if all.iter().any(|seen| seen.3.rst));
        for step in &steps {
            let shown = play(&mut ours, step, &mut closed[0]);
            let expected = play(&mut theirs, step, &mut closed[1]);
            if is_reset(&shown) {
                break;
            }
            prop_assert_eq!(shown, expected, "after {:?}", step);
        }
    }
}

/// Turmoil-net's machines take data for ever that nobody can read.
#[test]
fn data_for_a_closed_socket_is_answered_with_an_rst() {
    let mut ours = Ours::connected();
    ours.close(End::Server);
    ours.deliver(usize::MAX);
    assert!(matches!(ours.write(End::Client, 10), Poll::Ready(Ok(10))));
    let mut all = Vec::new();
    while !ours.is_quiet() {
        all.extend(ours.deliver(usize::MAX));
    }
    assert!(all.iter().any(|(from_client, _, _, flags, ..)| !from_client && flags.rst), "{all:?}");
    assert!(
        matches!(ours.write(End::Client, 10), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset)
    );
}

/// A Linux kernel does so too, although the program still has the socket: `sim/tests/it/kernel`.
#[test]
fn a_segment_of_a_connection_that_was_reset_is_answered_with_an_rst() {
    let mut ours = Ours::connected();
    let (life, id) = ours.end(End::Server);
    assert!(ours.tcp.abort(life, id).is_some(), "the client does not hear of it");
    assert!(matches!(ours.write(End::Client, 10), Poll::Ready(Ok(10))));
    let mut all = Vec::new();
    while !ours.is_quiet() {
        all.extend(ours.deliver(usize::MAX));
    }
    assert_eq!(all.iter().filter(|seen| seen.3.rst).count(), 1, "an RST is not answered: {all:?}");
    assert!(
        matches!(ours.write(End::Client, 10), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset)
    );
}

#[test]
fn a_connection_that_both_sides_have_closed_is_forgotten_at_once() {
    for order in [[End::Client, End::Server], [End::Server, End::Client]] {
        for at_once in [false, true] {
            let mut ours = Ours::connected();
            for end in order {
                ours.close(end);
                while !at_once && !ours.is_quiet() {
                    ours.deliver(usize::MAX);
                }
            }
            while !ours.is_quiet() {
                ours.deliver(usize::MAX);
            }
            for end in order {
                let (life, id) = ours.end(end);
                assert_eq!(ours.tcp.stacks[&life].ends(id), None, "{order:?}, {end:?}, at once: {at_once}");
            }
        }
    }
}

/// The other side never closes: after a minute its segments belong to no connection.
#[test]
fn a_closed_connection_is_forgotten_after_a_minute() {
    let mut ours = Ours::connected();
    ours.close(End::Server);
    while !ours.is_quiet() {
        ours.deliver(usize::MAX);
    }
    assert_eq!(ours.tcp.next_overdue(), Some(Duration::from_secs(60)));
    ours.tcp.forget_overdue(Duration::from_secs(60));
    assert_eq!(ours.tcp.next_overdue(), None);
    assert!(ours.shut_down(End::Client).is_ready());
    let mut all = Vec::new();
    while !ours.is_quiet() {
        all.extend(ours.deliver(usize::MAX));
    }
    assert!(all.iter().any(|(from_client, _, _, flags, ..)| !from_client && flags.rst), "{all:?}");
}

#[test]
fn a_listener_that_ends_tells_those_who_wait() {
    let mut ours = Ours::connected();
    let server = TransportAddress::new(SERVER, PORT);
    let waiting =
        [0, 1].map(|_| ours.tcp.connect(ours.ends[0].0, IpAddr::V4(CLIENT), server).expect("there are ports"));
    while !ours.is_quiet() {
        ours.deliver(usize::MAX);
    }
    let half_open = ours.tcp.connect(ours.ends[0].0, IpAddr::V4(CLIENT), server).expect("there are ports");
    ours.deliver(1);
    ours.tcp.stop_listening(ours.ends[1].0, SERVICE);
    while !ours.is_quiet() {
        ours.deliver(usize::MAX);
    }
    let client = ours.ends[0].0;
    for id in waiting {
        let read = ours.tcp.poll_read(client, id, &mut noop());
        assert!(matches!(read, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    }
    let established = ours.tcp.poll_established(client, half_open, &mut noop());
    assert!(matches!(established, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused));
    // The connection that was accepted goes on.
    assert!(matches!(ours.write(End::Client, 10), Poll::Ready(Ok(10))));
    assert!(ours.tcp.listen(ours.ends[1].0, SERVICE).is_ok(), "the port is free again");
}

#[test]
fn nobody_listening_refuses() {
    let mut ours = Ours::connected();
    let dial = ours
        .tcp
        .connect(ours.ends[0].0, IpAddr::V4(CLIENT), TransportAddress::new(SERVER, PORT + 1))
        .expect("there are ports");
    while !ours.is_quiet() {
        ours.deliver(usize::MAX);
    }
    let established = ours.tcp.poll_established(ours.ends[0].0, dial, &mut noop());
    assert!(matches!(established, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused));
}

#[test]
fn ports_are_used_in_turn_and_not_twice() {
    let mut tcp = Tcp::default();
    let life = tcp.start(HostIndex(0), 200);
    let remote = TransportAddress::new(SERVER, PORT);
    let ids: Vec<_> = (0..3).map(|_| tcp.connect(life, IpAddr::V4(CLIENT), remote).expect("there are ports")).collect();
    let ports: BTreeMap<_, _> = tcp.take_outgoing().into_iter().map(|out| (out.src.port(), out.segment.seq)).collect();
    assert_eq!(ports.keys().copied().collect::<Vec<_>>(), [49_352, 49_353, 49_354]);
    assert_eq!(
        tcp.listen(life, Service { port: 49_353, ..SERVICE }).map_err(|error| error.kind()),
        Err(io::ErrorKind::AddrInUse)
    );
    tcp.close(life, ids[1], Duration::ZERO);
    assert_eq!(tcp.listen(life, Service { port: 49_353, ..SERVICE }).ok(), Some(49_353), "the port is free again");
}

/// What a life is told or asked after its end has no effect.
#[test]
fn a_life_that_is_over_is_silent() {
    let mut ours = Ours::connected();
    let (life, id) = ours.end(End::Server);
    assert!(matches!(ours.write(End::Server, 10), Poll::Ready(Ok(10))));
    ours.tcp.stop(life);
    assert!(ours.tcp.take_outgoing().is_empty());
    assert!(ours.tcp.poll_read(life, id, &mut noop()).is_pending());
    ours.tcp.close(life, id, Duration::ZERO);
    ours.tcp.stop_listening(life, SERVICE);
    assert!(!ours.tcp.is_busy() && ours.tcp.next_overdue().is_none());
}
