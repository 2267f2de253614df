//! A UDP client of a STUN or TURN server: it sends requests, collects what arrives, and proves that the server stays
//! silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::env::StunEnv;
use super::names::{attr, method};
use super::net::DynDatagram;
use super::wire::{Class, Draft, HEADER_BYTES, Malformed, Message, TransactionId, hex, read_channel_data};
use crate::entry::{Did, Octets};
use crate::stop::Stop;
use crate::transcript::{LineKind, Log};
use crate::words::human;

/// The longest datagram that a client reads.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// More datagrams than this in one case count as a flood.
const RECEIVED_MAX: usize = 5_000;
/// The longest interval between two transmissions of a request is this part of the patience: a server that limits its
/// answers drops some requests on purpose.
const WAITS_PER_PATIENCE: u32 = 6;
/// Sentinels are sent one after another. The second gives time to a server that handles requests in parallel.
const SENTINELS: usize = 2;
/// Most servers that a client is redirected from.
const REDIRECTS_MAX: usize = 3;

/// One socket on a fresh port.
pub(crate) struct UdpClient {
    pub(crate) name: String,
    pub(crate) socket: Arc<dyn DynDatagram>,
    pub(crate) local: SocketAddr,
    pub(crate) server: SocketAddr,
    env: Arc<StunEnv>,
    log: Log,
    index: usize,
    buffer: Vec<u8>,
    /// Number of datagrams of any kind that arrived.
    arrived: usize,
    /// The requests that have been answered.
    answered: Vec<TransactionId>,
    /// The servers that have redirected this client to another.
    left: Vec<SocketAddr>,
    /// Whether it was ever granted an allocation.
    allocated: bool,
    /// Datagrams that no wait has returned, in order of arrival.
    pub(crate) received: Vec<Received>,
}

/// A datagram that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    /// The transcript line that shows it.
    pub(crate) line: usize,
}

/// The parsed answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) message: Message,
    pub(crate) from: SocketAddr,
    pub(crate) line: usize,
    /// How often the request had been sent when the answer arrived.
    pub(crate) sent: usize,
    /// Length of the request.
    pub(crate) request_bytes: usize,
}

impl Received {
    /// Whether it carries this transaction id, however malformed it is otherwise.
    pub(crate) fn is_of(&self, id: TransactionId) -> bool {
        self.bytes.get(8..HEADER_BYTES) == Some(&id[..])
    }

    pub(crate) fn message(&self) -> Result<Message, Malformed> {
        Message::parse(&self.bytes)
    }
}

impl Answer {
    /// The answer, if it is a success response; otherwise a failure that shows it. `to` names the request.
    pub(crate) fn success(self, to: &str) -> Result<Self, Stop> {
        match self.message.class {
            Class::Success => Ok(self),
            _ => Err(self.stop(format!("{to} is answered with {}, expected a success", self.in_words()))),
        }
    }

    /// The answer, if it is an error response with this code; otherwise a failure that shows it.
    pub(crate) fn error(self, code: u16, to: &str) -> Result<Self, Stop> {
        if self.code()? == Some(code) {
            return Ok(self);
        }
        Err(self.stop(format!("{to} is answered with {}, expected {code}", self.in_words())))
    }

    /// The code of an error response; `None` for a success.
    pub(crate) fn code(&self) -> Result<Option<u16>, Stop> {
        if self.message.class != Class::Error {
            return Ok(None);
        }
        match self.message.error() {
            Ok(Some((code, _))) => Ok(Some(code)),
            Ok(None) => Err(self.stop("the error response has no ERROR-CODE")),
            Err(Malformed(why)) => Err(self.stop(format!("the error response {why}"))),
        }
    }

    /// The server to which the answer redirects the client, if it is a 300 (Try Alternate).
    //= https://www.rfc-editor.org/rfc/rfc8489#section-10
    //# The client looks for an ALTERNATE-SERVER attribute
    //# in the error response.  If one is found, then the client considers
    //# the current transaction as failed and reattempts the request with the
    //# server specified in the attribute, using the same transport protocol
    //# used for the previous request.
    pub(crate) fn alternate(&self) -> Result<Option<SocketAddr>, Stop> {
        if !matches!(self.message.error(), Ok(Some((300, _)))) {
            return Ok(None);
        }
        match self.message.address(attr::ALTERNATE_SERVER) {
            Ok(Some(alternate)) if alternate.is_ipv4() == self.from.is_ipv4() => Ok(Some(alternate)),
            Ok(Some(alternate)) => {
                let why = format!("{} redirects to {alternate}, an address of another family", self.from);
                Err(self.stop(why))
            }
            Ok(None) => Err(self.stop("the 300 (Try Alternate) has no ALTERNATE-SERVER")),
            Err(Malformed(why)) => Err(self.stop(format!("the 300 (Try Alternate) {why}"))),
        }
    }

    /// The failure for a refused Allocate.
    pub(crate) fn refused(&self) -> Stop {
        self.stop(format!("an Allocate with credentials is answered with {}", self.in_words()))
    }

    pub(crate) fn in_words(&self) -> String {
        match (self.message.class, self.message.error()) {
            (Class::Success, _) => "a success".to_owned(),
            (Class::Error, Ok(Some((code, phrase)))) => format!("{code} ({phrase})"),
            _ => format!("`{}`", self.message),
        }
    }

    /// Checks that the answer comes from the address that the request was sent to.
    pub(crate) fn comes_from(&self, server: SocketAddr) -> Result<(), Stop> {
        if self.from == server {
            return Ok(());
        }
        Err(self.stop(format!(
            "the request was sent to {server}, but the answer comes from {}: NATs block such an answer",
            self.from
        )))
    }

    /// A failure that this answer shows.
    pub(crate) fn stop(&self, why: impl Into<String>) -> Stop {
        Stop::at(why, self.line)
    }

    /// The address in a required attribute, with the XOR undone.
    pub(crate) fn xor_address(&self, kind: u16) -> Result<SocketAddr, Stop> {
        self.need(kind, self.message.xor_address(kind))
    }

    pub(crate) fn address(&self, kind: u16) -> Result<SocketAddr, Stop> {
        self.need(kind, self.message.address(kind))
    }

    fn need(&self, kind: u16, read: Result<Option<SocketAddr>, Malformed>) -> Result<SocketAddr, Stop> {
        match read {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err(self.stop(format!("the answer has no {}", super::names::attribute_name(kind)))),
            Err(Malformed(why)) => Err(self.stop(format!("the answer {why}"))),
        }
    }
}

impl UdpClient {
    pub(crate) async fn open(env: &Arc<StunEnv>, log: &Log, name: &str, local: SocketAddr) -> Result<Self, Stop> {
        let setup = |error: std::io::Error| Stop::Setup(format!("{name} has no UDP socket on {local}: {error}"));
        let socket = env.bind(local).await.map_err(setup)?;
        let local = socket.local().map_err(setup)?;
        Ok(Self {
            name: name.to_owned(),
            socket,
            local,
            server: env.server,
            env: Arc::clone(env),
            log: log.clone(),
            index: log.client(name),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            received: Vec::new(),
            arrived: 0,
            answered: Vec::new(),
            left: Vec::new(),
            allocated: false,
        })
    }

    /// Sends a datagram to the server; returns the transcript line.
    pub(crate) fn send(&self, bytes: &[u8]) -> usize {
        self.send_to(bytes, self.server)
    }

    /// Sends a datagram to any address; returns the transcript line.
    pub(crate) fn send_to(&self, bytes: &[u8], to: SocketAddr) -> usize {
        self.transmit(bytes, to).0
    }

    /// Sends a datagram that may be too long for this machine's network; returns whether it was sent.
    pub(crate) fn can_send_to(&self, bytes: &[u8], to: SocketAddr) -> bool {
        self.transmit(bytes, to).1
    }

    fn transmit(&self, bytes: &[u8], to: SocketAddr) -> (usize, bool) {
        let address = if to == self.server { String::new() } else { format!(" to {to}") };
        let words = format!("{}{address}", shown(bytes));
        let line = self.log.push(self.index, LineKind::Sends, &words);
        self.log.keep(self.index, || Did::SendsBytes(Octets::new(bytes, words)));
        let sent = self.socket.send_now(bytes, to);
        if let Err(error) = &sent {
            self.note(&format!("cannot send to {to}: {error}"));
        }
        (line, sent.is_ok())
    }

    pub(crate) fn received_anything(&self) -> bool {
        self.arrived > 0
    }

    /// How long to wait for an answer.
    pub(crate) fn patience(&self) -> Duration {
        self.env.patience
    }

    pub(crate) fn note(&self, text: &str) {
        self.log.push(self.index, LineKind::Note, text);
    }

    /// Sends a request, and retransmits it at growing intervals until it is answered. If the server redirects the client
    /// to another one, the request and everything after it goes there.
    pub(crate) async fn send_request(&mut self, request: &Draft) -> Result<Answer, Stop> {
        loop {
            let answer = self.send_request_after(request, None).await?;
            let Some(alternate) = answer.alternate()? else { return Ok(answer) };
            if alternate == self.server || self.left.contains(&alternate) || self.left.len() >= REDIRECTS_MAX {
                return Err(answer.stop(format!("{} redirects again, to {alternate}", self.server)));
            }
            self.left.push(self.server);
            self.server = alternate;
        }
    }

    /// Like [`send_request`](Self::send_request), but sends `before` ahead of each transmission of the request.
    async fn send_request_after(&mut self, request: &Draft, before: Option<&[u8]>) -> Result<Answer, Stop> {
        let (id, start) = (request.id(), Instant::now());
        let (mut wait, mut sent, mut first) = (self.env.rto, 0, None);
        let wait_max = (self.env.patience / WAITS_PER_PATIENCE).max(self.env.rto);
        // A late copy of the answer that redirected this client does not count.
        let left = self.left.clone();
        let answers = |received: &Received| received.is_of(id) && !left.contains(&received.from);
        while start.elapsed() < self.env.patience {
            if let Some(before) = before {
                self.send(before);
            }
            let line = self.send(&request.bytes);
            first.get_or_insert(line);
            sent += 1;
            let left = self.env.patience.saturating_sub(start.elapsed());
            // Wait out the rest rather than retransmit just before giving up.
            let now = if left < wait * 2 { left } else { wait };
            if let Ok(received) = timeout(now, self.until(answers)).await {
                let received = received?;
                self.answered.push(id);
                let message = received.message();
                let message = message.map_err(|Malformed(why)| Stop::at(format!("the answer {why}"), received.line))?;
                self.note_earlier(&message);
                let request_bytes = request.bytes.len();
                return Ok(Answer { message, from: received.from, line: received.line, sent, request_bytes });
            }
            wait = (wait * 2).min(wait_max);
        }
        let (what, patience) = (shown(&request.bytes), human(self.env.patience));
        // A datagram that came instead is better evidence than the request.
        let (others, line) = match self.received.last() {
            Some(other) => (format!("; {} other datagrams arrived", self.received.len()), Some(other.line)),
            None => (String::new(), first),
        };
        let why = format!("no answer to `{what}` within {patience}, sent {sent} times{others}");
        Err(Stop::Fail { why, line })
    }

    /// Notes a 437 to an Allocate of a client that never had an allocation: its port still has one of another run.
    fn note_earlier(&mut self, answer: &Message) {
        if answer.method != method::ALLOCATE {
            return;
        }
        self.allocated |= answer.class == Class::Success;
        if !self.allocated && matches!(answer.error(), Ok(Some((437, _)))) {
            self.log.by_chance("the server still had an allocation of an earlier run at a client's port");
        }
    }

    /// Receives datagrams until one is wanted, and keeps the others in `received`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Received) -> bool) -> Result<Received, Stop> {
        loop {
            let received = self.next_datagram().await;
            if wanted(&received) {
                return Ok(received);
            }
            if self.received.len() >= RECEIVED_MAX {
                let why = format!("{} is flooded: more than {RECEIVED_MAX} unexpected datagrams", self.name);
                return Err(Stop::at(why, received.line));
            }
            self.received.push(received);
        }
    }

    async fn next_datagram(&mut self) -> Received {
        loop {
            match self.socket.receive_boxed(&mut self.buffer).await {
                Ok((length, from)) => {
                    self.arrived += 1;
                    let bytes = self.buffer[..length].to_vec();
                    let address = if from == self.server { String::new() } else { format!(" from {from}") };
                    let words = format!("{}{address}", shown(&bytes));
                    let line = self.log.push(self.index, LineKind::Hears, &words);
                    self.log.keep(self.index, || Did::HearsBytes(Octets::new(&bytes, words)));
                    return Received { from, bytes, line };
                }
                // The error may concern an earlier datagram whose receiver was unreachable. The pause keeps a lasting
                // error from blocking the thread.
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Waits for a datagram that is not an answer to a request: it is already in `received`, or arrives within the
    /// patience.
    pub(crate) async fn receive(&mut self, what: &str, wanted: impl Fn(&Received) -> bool) -> Result<Received, Stop> {
        if let Some(at) = self.received.iter().position(&wanted) {
            return Ok(self.received.remove(at));
        }
        match timeout(self.env.patience, self.until(wanted)).await {
            Ok(received) => received,
            Err(_) => {
                Err(Stop::fail(format!("{} did not receive {what} within {}", self.name, human(self.env.patience))))
            }
        }
    }

    /// Waits until the server has handled everything sent before: sentinels sent afterwards are answered.
    pub(crate) async fn fence(&mut self) -> Result<(), Stop> {
        self.fence_after(None).await
    }

    async fn fence_after(&mut self, before: Option<&[u8]>) -> Result<(), Stop> {
        if self.local.is_ipv4() != self.server.is_ipv4() {
            // A peer of the other family cannot send requests. All that remains is to wait for what is on its way.
            return match timeout(self.env.rto, self.until(|_| false)).await {
                Ok(flooded) => flooded.map(drop),
                Err(_) => Ok(()),
            };
        }
        for index in 0..SENTINELS {
            let sentinel = self.env.sentinel();
            let before = before.filter(|_| index == 0);
            let answer = self.send_request_after(&sentinel, before).await;
            answer.map_err(|stop| stop.reworded(|why| format!("the sentinel sent after it: {why}")))?;
        }
        Ok(())
    }

    /// Sends something that the server must not answer, and proves that it does not: sentinels sent afterwards are
    /// answered, and nothing else arrives.
    pub(crate) async fn is_silent_on(&mut self, what: &str, bytes: &[u8]) -> Result<(), Stop> {
        match self.answers_to(bytes).await?.first() {
            None => Ok(()),
            Some(received) => Err(Stop::at(format!("{what} is answered: {}", shown(&received.bytes)), received.line)),
        }
    }

    /// Like [`is_silent_on`](Self::is_silent_on), but returns what arrived.
    pub(crate) async fn answers_to(&mut self, bytes: &[u8]) -> Result<Vec<Received>, Stop> {
        self.received.clear();
        self.fence_after(Some(bytes)).await?;
        let mut received = std::mem::take(&mut self.received);
        // A second answer to an earlier request or a sentinel is not an answer to these bytes.
        received.retain(|received| !self.answered.iter().any(|id| received.is_of(*id)));
        Ok(received)
    }
}

/// Bytes as the transcript shows them: a STUN message in words, anything else in hexadecimal digits.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const BYTES_MAX: usize = 32;
    if let Ok(message) = Message::parse(bytes) {
        return message.to_string();
    }
    if let Some((channel, data)) = read_channel_data(bytes) {
        return format!("ChannelData 0x{channel:04x} {}", printable(data));
    }
    printable(&bytes[..bytes.len().min(BYTES_MAX)])
        + &if bytes.len() > BYTES_MAX { format!("… ({} bytes)", bytes.len()) } else { String::new() }
}

fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "no bytes".to_owned(),
        Ok(text) if text.chars().all(|c| !c.is_control()) => format!("{text:?}"),
        _ => hex(bytes),
    }
}
