//! A small STUN and TURN server with one optional defect, or with an unusual habit that is right. It has its own wire
//! code, shared neither with the suite nor with the reference server.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// The defect of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    Nothing,
    // STUN
    WrongTransactionId,
    NoXor,
    WrongXorPort,
    ConstantAddress,
    No420List,
    Wrong420List,
    IgnoresUnknown,
    AnswersFromAnotherPort,
    NeverAnswers,
    Garbage,
    Floods,
    AnswersTwice,
    AnswersIndications,
    AnswersResponses,
    AnswersBadCookie,
    AnswersBadLength,
    AnswersShort,
    DiesOfShort,
    DiesOfLong,
    BadPadding,
    WrongFingerprint,
    // TURN
    No401,
    SameNonce,
    AnyPassword,
    AnyNonce,
    UnsealedAnswers,
    AnyTransport,
    AllocatesAgain,
    RelaysInWithoutPermission,
    RelaysOutWithoutPermission,
    PermissionForPort,
    OpenRelay,
    WrongPeerAddress,
    TruncatesData,
    RefreshZeroKeeps,
    AnyChannel,
    RebindsChannels,
    DataOnBoundChannel,
    AnyUserRules,
    AnyFamily,
    ShortLifetime,
    OddPorts,
    ReadsBehindIntegrity,
    IgnoresFingerprint,
    DropsFingerprint,
    AnyNonceLater,
    AnyUserBinds,
    SharedQuota,
    LastPeerCounts,
    AllPeersReceive,
    PermitsGoodPeers,
    UnmapsPeers,
    CutsLongData,
    CutsLongDataToClients,
    PeerEndsRelay,
    LeaksPadding,
    LeaksPaddingOverTcp,
    DataFromAnotherPort,
    V6ByDefault,
    NothingByDefault,
    TunneledPeers,
    AnotherNameOfItself,
    RedirectsNowhere,
    RedirectsToItself,
}

/// What a server does that is right, but unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    Usual,
    /// Ten 401s per second; further requests without credentials get no answer.
    FewChallenges,
    /// Each nonce is accepted once.
    NonceOnce,
    /// Authenticated Allocate requests are answered with 300.
    Redirects(SocketAddr),
    /// It is on `[::1]`, and relays only there.
    OnlyV6,
    /// It relays on `127.0.0.1` and on `[::1]`.
    BothFamilies,
    /// A user may have forty allocations.
    Quota,
    /// It refuses its own machine as a peer.
    NotItself,
    /// It also serves TCP on the same port.
    Tcp,
    /// It still has allocations of an earlier run, of another user: every eighth port that it meets has one.
    Remembers,
}

/// One of so many ports has an allocation of an earlier run.
const REMEMBERED: usize = 8;

/// Allocations of one user at most.
const QUOTA: usize = 40;
/// The 401s in one second at most.
const CHALLENGES_MAX: usize = 10;

struct Allocation {
    relay: Arc<UdpSocket>,
    user: String,
    created_by: [u8; 12],
    answer: Vec<u8>,
    permissions: Vec<SocketAddr>,
    channels: BTreeMap<u16, SocketAddr>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Liar {
    lie: Lie,
    habit: Habit,
    address: SocketAddr,
    socket: UdpSocket,
    other: UdpSocket,
    allocations: Mutex<BTreeMap<SocketAddr, Allocation>>,
    /// How many nonces each client has used.
    nonces: Mutex<BTreeMap<SocketAddr, usize>>,
    /// When the present second began, and the 401s in it.
    challenges: Mutex<(Instant, usize)>,
    /// The ports of all clients, in the order in which they came.
    met: Mutex<Vec<SocketAddr>>,
    /// Clients over TCP.
    streams: Mutex<BTreeMap<SocketAddr, UnboundedSender<Vec<u8>>>>,
}

/// Starts the server on a free port.
pub(super) async fn start(lie: Lie) -> SocketAddr {
    start_with(lie, Habit::Usual).await
}

/// Starts a server with a habit on a free port.
pub(super) async fn start_with(lie: Lie, habit: Habit) -> SocketAddr {
    let ip: IpAddr = if habit == Habit::OnlyV6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let bind = || UdpSocket::bind((ip, 0));
    let (socket, listener) = loop {
        let socket = bind().await.expect("a port");
        // Another test may have the same port over TCP.
        if let Ok(listener) = TcpListener::bind(socket.local_addr().expect("bound")).await {
            break (socket, listener);
        }
    };
    let other = bind().await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let liar = Arc::new(Liar {
        lie,
        habit,
        address,
        socket,
        other,
        allocations: Mutex::default(),
        nonces: Mutex::default(),
        challenges: Mutex::new((Instant::now(), 0)),
        met: Mutex::default(),
        streams: Mutex::default(),
    });
    if habit == Habit::Tcp {
        tokio::spawn(liar.clone().serve_tcp(listener));
    }
    tokio::spawn(liar.serve());
    address
}

struct Request<'a> {
    kind: u16,
    id: [u8; 12],
    bytes: &'a [u8],
    attributes: Vec<(u16, usize, &'a [u8])>,
}

impl<'a> Request<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < 20 {
            return None;
        }
        let (mut attributes, mut at) = (Vec::new(), 20);
        while at + 4 <= bytes.len() {
            let (kind, length) = (u16_at(bytes, at), usize::from(u16_at(bytes, at + 2)));
            let value = bytes.get(at + 4..at + 4 + length)?;
            attributes.push((kind, at, value));
            at += 4 + length.next_multiple_of(4);
        }
        Some(Self { kind: u16_at(bytes, 0), id: bytes[8..20].try_into().ok()?, bytes, attributes })
    }

    fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes.iter().find(|(found, ..)| *found == kind).map(|(.., value)| *value)
    }

    /// The peers, with `None` for one of a family that does not exist.
    fn peers(&self) -> Vec<Option<SocketAddr>> {
        let values = self.attributes.iter().filter(|(kind, ..)| *kind == 0x12).map(|(.., value)| *value);
        values.map(|value| unxor(value, &self.id)).collect()
    }

    /// Forgets what is behind MESSAGE-INTEGRITY.
    fn cut(&mut self) {
        if let Some(at) = self.attributes.iter().position(|(kind, ..)| *kind == 8) {
            self.attributes.truncate(at + 1);
        }
    }

    /// Whether there is no FINGERPRINT, or a correct one.
    fn is_undamaged(&self) -> bool {
        let Some((_, at, value)) = self.attributes.iter().find(|(kind, ..)| *kind == 0x8028) else { return true };
        let crc = self.bytes[..*at].iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (!(crc & 1)).wrapping_add(1)))
        });
        (!crc ^ 0x5354_554e).to_be_bytes() == **value
    }

    fn is_sealed(&self, key: &[u8]) -> bool {
        let Some((_, at, value)) = self.attributes.iter().find(|(kind, ..)| *kind == 8) else { return false };
        let mut covered = self.bytes[..*at].to_vec();
        set_length(&mut covered, at + 24 - 20);
        hmac(key, &covered) == *value
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn set_length(bytes: &mut [u8], length: usize) {
    bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn message(kind: u16, id: [u8; 12]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &[0, 0, 0x21, 0x12, 0xa4, 0x42], &id].concat()
}

fn add(message: &mut Vec<u8>, kind: u16, value: &[u8], padding: u8) {
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), padding);
    let length = message.len() - 20;
    set_length(message, length);
}

fn plain(address: SocketAddr) -> Vec<u8> {
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    [&[0, family][..], &address.port().to_be_bytes(), &ip].concat()
}

fn xor(address: SocketAddr, id: &[u8; 12]) -> Vec<u8> {
    let mut value = plain(address);
    mask(&mut value, id);
    value
}

fn unxor(value: &[u8], id: &[u8; 12]) -> Option<SocketAddr> {
    let mut value = value.to_vec();
    mask(&mut value, id);
    let ip: IpAddr = match (value.get(1)?, value.len()) {
        (1, 8) => <[u8; 4]>::try_from(&value[4..]).ok()?.into(),
        (2, 20) => <[u8; 16]>::try_from(&value[4..]).ok()?.into(),
        _ => return None,
    };
    Some((ip, u16_at(&value, 2)).into())
}

fn mask(value: &mut [u8], id: &[u8; 12]) {
    let mask = [&[0x21, 0x12, 0x21, 0x12, 0xa4, 0x42][..], id].concat();
    value.iter_mut().skip(2).zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

fn seal(message: &mut Vec<u8>, key: &[u8]) {
    let mut covered = message.clone();
    set_length(&mut covered, message.len() + 24 - 20);
    add(message, 8, &hmac(key, &covered), 0);
}

fn error(request: &Request<'_>, code: u16) -> Vec<u8> {
    let mut answer = message(request.kind | 0x0110, request.id);
    add(&mut answer, 9, &[0, 0, (code / 100) as u8, (code % 100) as u8], 0);
    answer
}

impl Liar {
    async fn serve(self: Arc<Self>) {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer).await else { continue };
            let bytes = &buffer[..length];
            if self.lie == Lie::DiesOfShort && (1..20).contains(&length) || self.lie == Lie::DiesOfLong && length > 2048
            {
                return;
            }
            if self.lie == Lie::AnswersShort && length < 20 {
                self.send(&message(0x0111, [7; 12]), from).await;
            }
            self.clone().message(bytes, from).await;
        }
    }

    async fn message(self: Arc<Self>, bytes: &[u8], from: SocketAddr) {
        if bytes.first().is_some_and(|first| (0x40..0x80).contains(first)) {
            self.channel_data(bytes, from).await;
        } else if let Some(request) = Request::parse(bytes) {
            self.stun(request, from).await;
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, from)) = listener.accept().await {
            tokio::spawn(self.clone().serve_stream(stream, from));
        }
    }

    async fn serve_stream(self: Arc<Self>, stream: TcpStream, from: SocketAddr) {
        let (mut read, mut write) = stream.into_split();
        let (sender, mut answers) = unbounded_channel::<Vec<u8>>();
        self.streams.lock().await.insert(from, sender);
        tokio::spawn(async move {
            while let Some(answer) = answers.recv().await {
                let _ = write.write_all(&answer).await;
            }
        });
        let mut received = Vec::new();
        while read.read_buf(&mut received).await.is_ok_and(|read| read > 0) {
            while received.len() >= 4 {
                let length = usize::from(u16_at(&received, 2));
                let header = if received[0] < 0x40 { 20 } else { 4 };
                let whole = (header + length).next_multiple_of(4);
                if received.len() < whole {
                    break;
                }
                let message: Vec<u8> = received.drain(..whole).take(header + length).collect();
                self.clone().message(&message, from).await;
            }
        }
        self.streams.lock().await.remove(&from);
    }

    async fn send(&self, bytes: &[u8], to: SocketAddr) {
        if let Some(stream) = self.streams.lock().await.get(&to) {
            let mut bytes = bytes.to_vec();
            let padding = if self.lie == Lie::LeaksPaddingOverTcp { 0xa5 } else { 0 };
            bytes.resize(bytes.len().next_multiple_of(4), padding);
            let _ = stream.send(bytes);
            return;
        }
        let _ = match self.lie {
            Lie::AnswersFromAnotherPort => self.other.send_to(bytes, to).await,
            _ => self.socket.send_to(bytes, to).await,
        };
    }

    async fn stun(self: Arc<Self>, mut request: Request<'_>, from: SocketAddr) {
        let is_damaged = !request.is_undamaged();
        let has_fingerprint = request.get(0x8028).is_some();
        if self.lie != Lie::ReadsBehindIntegrity {
            request.cut();
        }
        let request = &request;
        let length = usize::from(u16_at(request.bytes, 2));
        if request.bytes[0] >= 0x40 {
            return;
        }
        if request.bytes[4..8] != [0x21, 0x12, 0xa4, 0x42] && self.lie != Lie::AnswersBadCookie {
            return;
        }
        if (length + 20 != request.bytes.len() || !length.is_multiple_of(4)) && self.lie != Lie::AnswersBadLength {
            return;
        }
        if is_damaged && (self.lie != Lie::IgnoresFingerprint || request.kind == 0x0001) {
            return;
        }
        match (request.kind, self.lie) {
            (_, Lie::NeverAnswers) => {}
            (0x0003..=0x0009, Lie::DropsFingerprint) if has_fingerprint => {}
            (0x0001, _) => self.binding(request, from).await,
            (0x0011, Lie::AnswersIndications) | (0x0101, Lie::AnswersResponses) => self.binding(request, from).await,
            (0x0016, _) => self.relay_out(request, from).await,
            (0x0003 | 0x0004 | 0x0008 | 0x0009, _) => self.turn(request, from).await,
            _ => {}
        }
    }

    async fn binding(&self, request: &Request<'_>, from: SocketAddr) {
        let sealed_at = request.attributes.iter().position(|(kind, ..)| *kind == 8).unwrap_or(usize::MAX);
        let known = [0x0006, 0x0008, 0x0014, 0x0015, 0x001c];
        let unknown: Vec<u16> = request.attributes.iter().take(sealed_at).map(|(kind, ..)| *kind).collect();
        let unknown: Vec<u16> = unknown.into_iter().filter(|kind| *kind < 0x8000 && !known.contains(kind)).collect();
        if !unknown.is_empty() && self.lie != Lie::IgnoresUnknown {
            let mut answer = error(request, 420);
            let list: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
            match self.lie {
                Lie::No420List => {}
                Lie::Wrong420List => add(&mut answer, 0x000a, &[0x12, 0x34], 0),
                _ => add(&mut answer, 0x000a, &list, 0),
            }
            return self.send(&answer, from).await;
        }
        let mut answer = message(0x0101, request.id);
        if self.lie == Lie::WrongTransactionId {
            answer[19] ^= 1;
        }
        let mut address = xor(from, &request.id);
        match self.lie {
            Lie::NoXor => {
                address = plain(from);
            }
            Lie::WrongXorPort => address[3] ^= 1,
            Lie::ConstantAddress => address = xor((Ipv4Addr::LOCALHOST, 1).into(), &request.id),
            _ => {}
        }
        add(&mut answer, 0x0020, &address, 0);
        add(&mut answer, 0x8022, b"liar 1.0!", if self.lie == Lie::BadPadding { b' ' } else { 0 });
        if self.lie == Lie::WrongFingerprint {
            add(&mut answer, 0x8028, &[1, 2, 3, 4], 0);
        }
        match self.lie {
            Lie::Garbage => self.send(&[0xa5; 37], from).await,
            Lie::AnswersTwice => {
                self.send(&answer, from).await;
                self.send(&answer, from).await;
            }
            Lie::Floods => {
                for _ in 0..2_000 {
                    self.send(b"flood", from).await;
                }
                self.send(&answer, from).await;
            }
            _ => self.send(&answer, from).await,
        }
    }

    async fn turn(self: Arc<Self>, request: &Request<'_>, from: SocketAddr) {
        let used = self.nonces.lock().await.get(&from).copied().unwrap_or_default();
        let nonce = match self.lie {
            Lie::SameNonce => "nonce".to_owned(),
            _ => format!("nonce-{}-{used}", from.port()),
        };
        let challenge = |code| {
            let mut answer = error(request, code);
            if self.lie != Lie::No401 {
                add(&mut answer, 0x0014, b"liars", 0);
            }
            add(&mut answer, 0x0015, nonce.as_bytes(), 0);
            answer
        };
        if request.get(8).is_none() {
            let (began, count) = &mut *self.challenges.lock().await;
            if began.elapsed() > Duration::from_secs(1) {
                (*began, *count) = (Instant::now(), 0);
            }
            *count += 1;
            if self.habit == Habit::FewChallenges && *count > CHALLENGES_MAX {
                return;
            }
            return self.send(&challenge(401), from).await;
        }
        let (Some(user), Some(_), Some(sent_nonce)) = (request.get(6), request.get(0x14), request.get(0x15)) else {
            return self.send(&error(request, 400), from).await;
        };
        let user = String::from_utf8_lossy(user).into_owned();
        if self.habit == Habit::Remembers && request.kind == 0x0003 {
            let mut met = self.met.lock().await;
            if !met.contains(&from) {
                met.push(from);
            }
            // As coturn: whoever asks there is told first that the port is another's.
            if met.iter().position(|port| *port == from).is_some_and(|at| at % REMEMBERED == REMEMBERED - 1) {
                return self.send(&error(request, 437), from).await;
            }
        }
        let password = match user.as_str() {
            "u" => "p",
            "v" => "q",
            _ if self.lie == Lie::AnyPassword => "p",
            _ => return self.send(&challenge(401), from).await,
        };
        let key = Md5::digest(format!("{user}:liars:{password}"));
        if !request.is_sealed(&key) && self.lie != Lie::AnyPassword {
            return self.send(&challenge(401), from).await;
        }
        let any_nonce = self.lie == Lie::AnyNonce || self.lie == Lie::AnyNonceLater && request.kind != 0x0003;
        if sent_nonce != nonce.as_bytes() && !any_nonce {
            return self.send(&challenge(438), from).await;
        }
        if self.habit == Habit::NonceOnce {
            self.nonces.lock().await.insert(from, used + 1);
        }
        if let (Habit::Redirects(alternate), 0x0003) = (self.habit, request.kind) {
            let mut answer = error(request, 300);
            match self.lie {
                Lie::RedirectsNowhere => {}
                Lie::RedirectsToItself => add(&mut answer, 0x8023, &plain(self.address), 0),
                _ => add(&mut answer, 0x8023, &plain(alternate), 0),
            }
            seal(&mut answer, &key);
            return self.send(&answer, from).await;
        }
        let mut answer = self.clone().granted(request, from, &user).await;
        if self.lie != Lie::UnsealedAnswers {
            seal(&mut answer, &key);
        }
        self.send(&answer, from).await;
    }

    async fn granted(self: Arc<Self>, request: &Request<'_>, from: SocketAddr, user: &str) -> Vec<u8> {
        let mut allocations = self.allocations.lock().await;
        let unknown = request.attributes.iter().find(|(kind, ..)| (0x7000..0x8000).contains(kind));
        if let Some((kind, ..)) = unknown {
            let mut answer = error(request, 420);
            add(&mut answer, 0x000a, &kind.to_be_bytes(), 0);
            return answer;
        }
        let lifetime = request.get(0x0d).map(|value| u32::from_be_bytes(value.try_into().expect("four bytes")));
        let granted = lifetime.unwrap_or(600).clamp(600, 3600);
        let granted = if self.lie == Lie::ShortLifetime { lifetime.unwrap_or(10) } else { granted };
        if request.kind == 0x0003 {
            if let Some(existing) = allocations.get(&from) {
                if existing.created_by == request.id {
                    return existing.answer.clone();
                }
                if self.lie != Lie::AllocatesAgain {
                    return error(request, 437);
                }
            }
            match request.get(0x19) {
                Some([17, _, _, _]) => {}
                Some([_, _, _, _]) if self.lie == Lie::AnyTransport => {}
                Some([_, _, _, _]) => return error(request, 442),
                _ => return error(request, 400),
            }
            for optional in [0x1a, 0x22] {
                if request.get(optional).is_some() {
                    let mut answer = error(request, 420);
                    add(&mut answer, 0x000a, &optional.to_be_bytes(), 0);
                    return answer;
                }
            }
            let family = match (request.get(0x17), self.lie) {
                (Some(family), _) => family[0],
                (None, Lie::V6ByDefault) => 2,
                (None, Lie::NothingByDefault) => 0,
                (None, _) => 1,
            };
            let has_family = match self.habit {
                Habit::OnlyV6 => family == 2,
                Habit::BothFamilies => family == 1 || family == 2,
                _ => family == 1,
            };
            if !has_family {
                return error(request, 440);
            }
            if request.get(0x18) == Some(&[0x80]) {
                return error(request, 508);
            }
            let counts = |allocation: &&Allocation| allocation.user == user || self.lie == Lie::SharedQuota;
            if self.habit == Habit::Quota && allocations.values().filter(counts).count() >= QUOTA {
                return error(request, 486);
            }
            let relay = self.relay_socket(family == 1, request.get(0x18).is_some()).await;
            let mut answer = message(0x0103, request.id);
            add(&mut answer, 0x0016, &xor(relay.local_addr().expect("bound"), &request.id), 0);
            add(&mut answer, 0x0020, &xor(from, &request.id), 0);
            add(&mut answer, 0x000d, &granted.to_be_bytes(), 0);
            let relay = Arc::new(relay);
            let task = tokio::spawn(self.clone().relay_in(Arc::clone(&relay), from));
            let (permissions, channels) = (Vec::new(), BTreeMap::new());
            let (user, created_by) = (user.to_owned(), request.id);
            let allocation =
                Allocation { relay, user, created_by, answer: answer.clone(), permissions, channels, task };
            allocations.insert(from, allocation);
            return answer;
        }
        let Some(allocation) = allocations.get_mut(&from) else { return error(request, 437) };
        let any_user = self.lie == Lie::AnyUserRules || self.lie == Lie::AnyUserBinds && request.kind == 0x0009;
        if allocation.user != user && !any_user {
            return error(request, 441);
        }
        let is_v4 = allocation.relay.local_addr().expect("bound").is_ipv4();
        if request.kind == 0x0004 {
            if request.get(0x17).is_some_and(|family| (family[0] == 1) != is_v4) {
                return error(request, 443);
            }
            let mut answer = message(0x0104, request.id);
            if lifetime == Some(0) {
                if self.lie != Lie::RefreshZeroKeeps {
                    allocations.remove(&from);
                }
                add(&mut answer, 0x000d, &[0; 4], 0);
            } else {
                add(&mut answer, 0x000d, &granted.to_be_bytes(), 0);
            }
            return answer;
        }
        let mut peers = Vec::new();
        let mut refused = None;
        for peer in request.peers() {
            match peer {
                None => refused = Some(400),
                Some(peer) if self.lie == Lie::AnyFamily && peer.is_ipv4() != is_v4 => {
                    peers.push((Ipv4Addr::LOCALHOST, 9).into());
                }
                Some(SocketAddr::V6(peer)) if self.lie == Lie::UnmapsPeers && peer.ip().to_ipv4_mapped().is_some() => {
                    peers.push(SocketAddr::new(IpAddr::from(*peer.ip()).to_canonical(), peer.port()));
                }
                Some(peer) if peer.is_ipv4() != is_v4 => refused = refused.or(Some(443)),
                Some(peer) if !self.is_allowed(peer.ip()) => refused = refused.or(Some(403)),
                Some(peer) => peers.push(peer),
            }
        }
        if let Some(code) = refused {
            if self.lie == Lie::PermitsGoodPeers {
                allocation.permissions.extend(peers);
            }
            return error(request, code);
        }
        if peers.is_empty() {
            return error(request, 400);
        }
        if request.kind == 0x0009 {
            let Some(number) = request.get(0x0c).map(|value| u16_at(value, 0)) else { return error(request, 400) };
            if !(0x4000..0x5000).contains(&number) && self.lie != Lie::AnyChannel {
                return error(request, 400);
            }
            let peer = if self.lie == Lie::LastPeerCounts { peers[peers.len() - 1] } else { peers[0] };
            let clash = allocation.channels.iter().any(|(n, bound)| (*n == number) != (*bound == peer));
            if clash && self.lie != Lie::RebindsChannels {
                return error(request, 400);
            }
            allocation.channels.insert(number, peer);
        }
        allocation.permissions.extend(peers);
        message(request.kind | 0x0100, request.id)
    }

    /// Whether a peer may have this address.
    fn is_allowed(&self, peer: IpAddr) -> bool {
        let is_tunneled = match peer {
            IpAddr::V4(_) => false,
            IpAddr::V6(ip) => matches!(ip.segments(), [0x2001, 0, ..] | [0x2002, ..]),
        };
        // A permission for `0.0.0.0` leads to the own machine too.
        let is_own = match peer.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified() && self.lie != Lie::AnotherNameOfItself,
            IpAddr::V6(ip) => ip.segments()[..7] == [0; 7] || !matches!(ip.segments()[0], 0x2001 | 0x2002),
        };
        !(is_tunneled && self.lie != Lie::TunneledPeers || is_own && self.habit == Habit::NotItself)
    }

    async fn relay_socket(&self, is_v4: bool, even: bool) -> UdpSocket {
        let ip: IpAddr = if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        loop {
            let socket = UdpSocket::bind((ip, 0)).await.expect("a port");
            let is_even = socket.local_addr().expect("bound").port().is_multiple_of(2);
            if !even || is_even != (self.lie == Lie::OddPorts) {
                return socket;
            }
        }
    }

    async fn relay_in(self: Arc<Self>, relay: Arc<UdpSocket>, client: SocketAddr) {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((length, peer)) = relay.recv_from(&mut buffer).await else { continue };
            let mut data = &buffer[..length];
            if self.lie == Lie::PeerEndsRelay && length > 2048 {
                return;
            }
            let allocations = self.allocations.lock().await;
            let Some(allocation) = allocations.get(&client) else { continue };
            let permitted = allocation.permissions.iter().any(|permitted| {
                permitted.ip() == peer.ip() && (self.lie != Lie::PermissionForPort || permitted.port() == peer.port())
            });
            if !permitted && self.lie != Lie::RelaysInWithoutPermission {
                continue;
            }
            match self.lie {
                Lie::TruncatesData => data = &data[..data.len().min(512)],
                Lie::CutsLongDataToClients => data = &data[..data.len().min(1500)],
                _ => {}
            }
            let channel = allocation.channels.iter().find(|(_, bound)| **bound == peer).map(|(number, _)| *number);
            let answer = match channel {
                Some(number) if self.lie != Lie::DataOnBoundChannel => {
                    [&number.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
                }
                _ => {
                    let mut indication = message(0x0017, [9; 12]);
                    let port = peer.port() ^ u16::from(self.lie == Lie::WrongPeerAddress);
                    add(&mut indication, 0x0012, &xor((peer.ip(), port).into(), &[9; 12]), 0);
                    add(&mut indication, 0x0013, data, if self.lie == Lie::LeaksPadding { 0xa5 } else { 0 });
                    indication
                }
            };
            drop(allocations);
            match self.lie {
                Lie::DataFromAnotherPort => drop(self.other.send_to(&answer, client).await),
                Lie::AnswersFromAnotherPort => drop(self.socket.send_to(&answer, client).await),
                _ => self.send(&answer, client).await,
            }
        }
    }

    async fn relay_out(&self, request: &Request<'_>, from: SocketAddr) {
        let (peers, Some(mut data)) = (request.peers(), request.get(0x13)) else { return };
        let peers: Vec<SocketAddr> = peers.into_iter().flatten().collect();
        let Some(peer) = (if self.lie == Lie::LastPeerCounts { peers.last() } else { peers.first() }) else { return };
        if self.lie == Lie::CutsLongData {
            data = &data[..data.len().min(1500)];
        }
        if request.attributes.iter().any(|(kind, ..)| (0x7000..0x8000).contains(kind)) {
            return;
        }
        let allocations = self.allocations.lock().await;
        match allocations.get(&from) {
            Some(allocation) => {
                let permitted = allocation.permissions.iter().any(|permitted| permitted.ip() == peer.ip());
                if permitted || self.lie == Lie::RelaysOutWithoutPermission {
                    let _ = allocation.relay.send_to(data, peer).await;
                }
                if permitted && self.lie == Lie::AllPeersReceive {
                    for peer in peers.iter().skip(1) {
                        let _ = allocation.relay.send_to(data, peer).await;
                    }
                }
            }
            None if self.lie == Lie::OpenRelay => {
                let _ = self.other.send_to(data, peer).await;
            }
            None => {}
        }
    }

    async fn channel_data(&self, bytes: &[u8], from: SocketAddr) {
        let allocations = self.allocations.lock().await;
        let Some(allocation) = allocations.get(&from) else { return };
        if bytes.len() < 4 {
            return;
        }
        let (number, length) = (u16_at(bytes, 0), usize::from(u16_at(bytes, 2)));
        if let (Some(peer), Some(data)) = (allocation.channels.get(&number), bytes.get(4..4 + length)) {
            let _ = allocation.relay.send_to(data, peer).await;
        }
    }
}

/// A bound port that never answers.
pub(super) async fn nobody() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// Limit for any run, whatever the server does.
pub(super) const LIMIT: Duration = Duration::from_secs(300);
