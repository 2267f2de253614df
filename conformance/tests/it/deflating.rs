//! A server of the dialect `relay` that speaks permessage-deflate, written frame by frame: correct unless it is given a
//! flaw.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use conformance::{Report, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::between::head;
use crate::innocent::{parse, undeclared};
use crate::{ask_as, text};

/// The suite's own. Its other side is tested with what zlib writes, and against npm's `ws`.
#[allow(dead_code)] // errors are only told
#[path = "../../src/framing/deflate.rs"]
mod deflate;

use deflate::{Deflater, Inflater};

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// It forgets earlier messages of a client that may refer to them.
    ForgetsClientContext,
    /// It refers to earlier messages, although it agreed not to.
    KeepsOwnContext,
    /// It refers farther back than agreed.
    LargeWindow,
    /// It sends the end of each message that RFC 7692 leaves out.
    SendsTail,
    /// It marks messages as compressed that are not.
    MarksPlainText,
    /// It marks all frames of a message, not only the first.
    MarksAllFrames,
    /// It does not take a message without compression for what it is.
    InflatesPlainText,
    /// It takes each frame for a message of its own.
    InflatesEachFrame,
    /// It compresses although nothing was agreed.
    CompressesUnasked,
    /// It agrees to offers that it does not understand.
    IgnoresUnknownParameters,
}

/// How a server compresses.
#[derive(Clone, Copy, Default)]
struct Manner {
    flaw: Option<Flaw>,
    /// It tells clients to use a window of this many bits, where they allow it.
    client_bits: Option<u8>,
    /// It tells clients to forget earlier messages.
    client_forgets: bool,
    /// It limits its own window, unasked.
    own_bits: Option<u8>,
    /// It sends each message in two frames.
    in_fragments: bool,
    /// It does not compress what it sends.
    only_reads: bool,
}

/// What a server and a client have agreed to.
struct Agreed {
    header: String,
    inflater: Inflater,
    deflater: Deflater,
}

impl Manner {
    /// The answer to the first offer that is valid.
    fn agrees(self, offers: &str) -> Option<Agreed> {
        offers.split(',').find_map(|offer| self.agrees_to(offer))
    }

    fn agrees_to(self, offer: &str) -> Option<Agreed> {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return None;
        }
        let mut known = BTreeMap::new();
        for part in parts {
            let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
            let bits = || value.and_then(|value| value.parse().ok()).filter(|bits| (8..=15).contains(bits));
            let valid = match name {
                "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                "server_max_window_bits" => bits().is_some(),
                "client_max_window_bits" => value.is_none() || bits().is_some(),
                _ => false,
            };
            if !valid && self.flaw != Some(Flaw::IgnoresUnknownParameters) || known.insert(name, bits()).is_some() {
                return None;
            }
        }
        let mut header = "permessage-deflate".to_owned();
        let forgets = known.contains_key("server_no_context_takeover");
        if forgets {
            header.push_str("; server_no_context_takeover");
        }
        if self.client_forgets {
            header.push_str("; client_no_context_takeover");
        }
        let own_bits = known.get("server_max_window_bits").copied().flatten().or(self.own_bits);
        if let Some(bits) = own_bits {
            header.push_str(&format!("; server_max_window_bits={bits}"));
        }
        let client_bits = known.get("client_max_window_bits").and_then(|asked| self.client_bits.min(*asked).or(*asked));
        if let Some(bits) = client_bits {
            header.push_str(&format!("; client_max_window_bits={bits}"));
        }
        let takeover = !forgets || self.flaw == Some(Flaw::KeepsOwnContext);
        let own_bits = own_bits.filter(|_| self.flaw != Some(Flaw::LargeWindow)).unwrap_or(15);
        let forgotten = self.client_forgets || self.flaw == Some(Flaw::ForgetsClientContext);
        Some(Agreed {
            header,
            inflater: Inflater::new(client_bits.unwrap_or(15), !forgotten),
            deflater: Deflater::new(own_bits, takeover),
        })
    }
}

/// What the task that writes to a client is given.
enum Outgoing {
    Message(String),
    /// A frame of this first byte.
    Control(u8, Vec<u8>),
}

/// The clients, each with its path.
type Clients = Arc<Mutex<BTreeMap<usize, (String, UnboundedSender<Outgoing>)>>>;

/// Starts a server; it lives as long as the test's runtime.
async fn start(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    let clients = Clients::default();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            number += 1;
            let clients = Arc::clone(&clients);
            tokio::spawn(async move {
                serve(stream, number, &clients, manner).await;
                clients.lock().expect("no panic").remove(&number);
            });
        }
    });
    address
}

async fn serve(mut stream: TcpStream, number: usize, clients: &Clients, manner: Manner) -> Option<()> {
    let (head, arrived) = head(&mut stream).await?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let agreed = header("Sec-WebSocket-Extensions").and_then(|offers| manner.agrees(offers));
    let accept = derive_accept_key(header("Sec-WebSocket-Key")?.as_bytes());
    let extensions = agreed.as_ref().map(|agreed| format!("Sec-WebSocket-Extensions: {}\r\n", agreed.header));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{}\r\n",
        extensions.unwrap_or_default()
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    let (read, write) = stream.into_split();
    let (out, outgoing) = unbounded_channel();
    clients.lock().expect("no panic").insert(number, (path.clone(), out.clone()));
    let (inflater, mut deflater) = agreed.map(|agreed| (agreed.inflater, agreed.deflater)).unzip();
    if manner.flaw == Some(Flaw::CompressesUnasked) {
        deflater.get_or_insert_with(|| Deflater::new(15, true));
    }
    tokio::spawn(writes(write, outgoing, deflater, manner));
    let relay = |message: String| {
        for (other, (room, out)) in &*clients.lock().expect("no panic") {
            if *other != number && *room == path {
                let _ = out.send(Outgoing::Message(message.clone()));
            }
        }
    };
    reads(Frames { read, arrived }, inflater, manner.flaw, &out, relay).await;
    // A protocol error, unless the client has closed.
    let _ = out.send(Outgoing::Control(0x88, 1002_u16.to_be_bytes().to_vec()));
    Some(())
}

/// Sends messages and control frames until a close frame is sent.
async fn writes(
    mut write: OwnedWriteHalf,
    mut outgoing: UnboundedReceiver<Outgoing>,
    mut deflater: Option<Deflater>,
    manner: Manner,
) -> Option<()> {
    while let Some(next) = outgoing.recv().await {
        match next {
            Outgoing::Control(first, payload) => {
                write.write_all(&frame(first, &payload)).await.ok()?;
                if first == 0x88 {
                    break;
                }
            }
            Outgoing::Message(text) => {
                let (mut payload, marked) = match &mut deflater {
                    Some(_) if manner.flaw == Some(Flaw::MarksPlainText) => (text.into_bytes(), 0x40),
                    Some(deflater) if !manner.only_reads => (deflater.message(text.as_bytes()), 0x40),
                    _ => (text.into_bytes(), 0),
                };
                if manner.flaw == Some(Flaw::SendsTail) && marked > 0 {
                    payload.extend([0, 0, 0xff, 0xff]);
                }
                let all = if manner.flaw == Some(Flaw::MarksAllFrames) { marked } else { 0 };
                let bytes = if manner.in_fragments || all > 0 {
                    let (begin, end) = payload.split_at(payload.len() / 2);
                    [frame(0x01 | marked, begin), frame(0x89, b"still there?"), frame(all, b""), frame(0x80 | all, end)]
                        .concat()
                } else {
                    frame(0x81 | marked, &payload)
                };
                write.write_all(&bytes).await.ok()?;
            }
        }
    }
    write.shutdown().await.ok()
}

/// Reads until the client closes, or breaks a rule.
async fn reads(
    mut frames: Frames,
    mut inflater: Option<Inflater>,
    flaw: Option<Flaw>,
    out: &UnboundedSender<Outgoing>,
    relay: impl Fn(String),
) -> Option<()> {
    let mut message: Option<(bool, Vec<u8>)> = None;
    loop {
        let (first, payload) = frames.next().await?;
        let marked = first & 0x40 != 0;
        match first & 0x0f {
            0x8 => return out.send(Outgoing::Control(0x88, payload)).ok(),
            0x9 => out.send(Outgoing::Control(0x8a, payload)).ok()?,
            0xa => {}
            0x1 if message.is_none() && (!marked || inflater.is_some()) => message = Some((marked, payload)),
            0x0 if !marked => message.as_mut()?.1.extend(payload),
            _ => return None,
        }
        if first & 0x30 != 0 {
            return None;
        }
        let is_whole = first & 0x88 == 0x80 || (flaw == Some(Flaw::InflatesEachFrame) && first & 0x08 == 0);
        if is_whole {
            let (marked, payload) = message.take()?;
            let marked = marked || flaw == Some(Flaw::InflatesPlainText);
            let text = match &mut inflater {
                Some(inflater) if marked => inflater.message(&payload, 1 << 20).ok()?,
                _ => payload,
            };
            relay(String::from_utf8(text).ok()?);
        }
    }
}

/// The frames of a client.
struct Frames {
    read: OwnedReadHalf,
    arrived: Vec<u8>,
}

impl Frames {
    /// The first byte and the payload of the next frame.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let header = self.take(2).await?;
        let length = match header[1].checked_sub(0x80)? {
            126 => u64::from(u16::from_be_bytes(self.take(2).await?.try_into().ok()?)),
            127 => u64::from_be_bytes(self.take(8).await?.try_into().ok()?),
            length => u64::from(length),
        };
        let mask = self.take(4).await?;
        let mut payload = self.take(usize::try_from(length).ok().filter(|length| *length <= 1 << 20)?).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some((header[0], payload))
    }

    async fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        while self.arrived.len() < bytes {
            if self.read.read_buf(&mut self.arrived).await.ok()? == 0 {
                return None;
            }
        }
        Some(self.arrived.drain(..bytes).collect())
    }
}

/// A frame of a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

const ASKED: [&str; 9] = [
    "ws/chromium-handshake",
    "ws/firefox-handshake",
    "ws/deflate",
    "ws/deflate-parameters",
    "ws/extension-subset",
    "ws/frag-interleave",
    "ws/rsv",
    "mesh/*",
    "msg/browser-description",
];

async fn report(manner: Manner) -> Report {
    let url = format!("ws://{}/relay", start(manner).await);
    ask_as(&parse(&undeclared()), &url, &ASKED).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correct_server_may_compress_in_any_manner() {
    for manner in [
        Manner::default(),
        Manner { client_forgets: true, own_bits: Some(9), ..Manner::default() },
        Manner { client_bits: Some(8), own_bits: Some(8), ..Manner::default() },
        Manner { in_fragments: true, ..Manner::default() },
        Manner { only_reads: true, client_bits: Some(10), ..Manner::default() },
    ] {
        let report = report(manner).await;
        let shown = text(&report);
        assert!(report.passed(), "{shown}");
        for slug in &ASKED[..7] {
            assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}\n{shown}");
        }
        assert!(
            report
                .case("ws/firefox-handshake")
                .expect("it ran")
                .notes
                .remarks
                .iter()
                .any(|remark| { remark.contains("messages are compressed: the server agrees to permessage-deflate") })
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_flaw_is_found_by_the_right_case() {
    for (flaw, case, says) in [
        (Flaw::ForgetsClientContext, "ws/chromium-handshake", "the server agreed to permessage-deflate, and then: "),
        (
            Flaw::KeepsOwnContext,
            "ws/deflate",
            "server_no_context_takeover; client_no_context_takeover: the server agreed",
        ),
        (Flaw::LargeWindow, "ws/deflate", "bytes back, and the window has 512 bytes"),
        (Flaw::SendsTail, "ws/firefox-handshake", "a compressed message ends within a block"),
        (Flaw::MarksPlainText, "ws/firefox-handshake", "the server broke the framing rules (a compressed message "),
        (Flaw::MarksAllFrames, "ws/chromium-handshake", "the server broke the framing rules"),
        (Flaw::InflatesPlainText, "ws/deflate", "the server agreed to permessage-deflate, and then: "),
        (Flaw::InflatesEachFrame, "ws/deflate", "the server agreed to permessage-deflate, and then: "),
        (Flaw::IgnoresUnknownParameters, "ws/deflate-parameters", "is not valid, and the server agrees to"),
    ] {
        let report = report(Manner { flaw: Some(flaw), ..Manner::default() }).await;
        let verdict = &report.case(case).expect("it ran").verdict;
        assert!(
            matches!(verdict, Verdict::Fail { why, .. } if why.contains(says)),
            "{flaw:?}: {verdict:?}\n{}",
            text(&report)
        );
        // Without compression nothing is wrong.
        assert_eq!(report.case("mesh/fifo").expect("it ran").verdict, Verdict::Pass, "{flaw:?}\n{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_message_without_agreement_breaks_the_rules() {
    let report = report(Manner { flaw: Some(Flaw::CompressesUnasked), ..Manner::default() }).await;
    let shown = text(&report);
    assert!(shown.contains("the server broke the framing rules (Reserved bits are non-zero)"), "{shown}");
    assert!(!report.passed());
}
