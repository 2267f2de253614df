//! TURN over TCP between client and server; data to peers still goes over UDP.

use std::net::SocketAddr;

use tokio::time::{Instant, sleep};

use super::DATA;
use crate::case::Case;
use crate::case::Level::Should;
use crate::stop::Stop;
use crate::stun::auth::Auth;
use crate::stun::client::{Answer, UdpClient};
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method};
use crate::stun::tcp::TcpClient;
use crate::stun::wire::{Class, Draft, channel_data, hex, read_channel_data};

/// How often a request is sent, each time with another nonce or to another server.
const TRIES: usize = 4;
/// A byte that occurs in earlier data only.
const EARLIER: u8 = 0xa5;

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/tcp", Should, "Over TCP, ChannelData is padded to four bytes in both directions and may arrive in pieces.", |cx| {
        Box::pin(framing(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8656", "12.5", "Over TCP and TLS-over-TCP, the ChannelData message MUST be padded to a multiple of four bytes in order to ensure the alignment of subsequent messages."),
        rfc!("8656", "5", "To ensure interoperability, a TURN server MUST support the use of UDP transport between the client and the server, and it SHOULD support the use of TCP, TLS-over-TCP, and DTLS-over-UDP transports."),
    ]),
    &Case::network("turn/tcp-padding", Should, "Over TCP, the padding of ChannelData does not contain earlier data.", |cx| {
        Box::pin(padding(cx))
    })
    .needs(&["turn/allocate", "turn/data-both-ways", "turn/tcp"])
    .cites(&[
        rfc!("8656", "12.5", "The padding is not reflected in the length field of the ChannelData message, so the actual size of a ChannelData message (including padding) is (4 + Length) rounded up to the nearest multiple of 4 (see Section 14 of [RFC8489])."),
        rfc!("8489", "14", "The padding bits MUST be set to zero on sending and MUST be ignored by the receiver."),
    ]),
];

/// A client with an allocation over TCP, whose channel 0x4000 is bound to a peer.
struct Connected {
    ana: TcpClient,
    relayed: SocketAddr,
    ben: UdpClient,
}

/// Sends a request over TCP: again with a new nonce while the server answers with 438, and to the server that it
/// redirects to.
async fn send(cx: &StunCx, ana: &mut TcpClient, auth: &mut Auth, draft: impl Fn() -> Draft) -> Result<Answer, Stop> {
    let mut server = cx.env.server;
    let mut is_redirected = false;
    for _ in 0..TRIES {
        let message = ana.send_request(&auth.seal(draft())).await?;
        let answer = Answer { from: server, line: 0, sent: 1, request_bytes: 0, message };
        if let Some(alternate) = answer.alternate()? {
            *ana = cx.tcp_to("ana", alternate).await?;
            (server, is_redirected) = (alternate, true);
        } else if !auth.follows(&answer, is_redirected)? {
            return Ok(answer);
        }
    }
    Err(Stop::fail("the server accepts no nonce over TCP"))
}

async fn connected(cx: &StunCx) -> Result<Connected, Stop> {
    let mut ana = cx.tcp("ana").await?;
    let ben = cx.peer("ben").await?;
    let Some(challenge) = cx.env.challenge.clone() else {
        return Err(Stop::Setup("the server has sent no challenge".to_owned()));
    };
    let mut auth = Auth::borrowing(cx.credential()?, challenge);
    let probe = {
        let _turn = cx.env.unauthenticated.lock().await;
        ana.send_request(&cx.allocate_request()).await
    };
    // TURN over TCP is only a SHOULD; the server may offer just STUN on this port.
    probe.map_err(|_| Stop::Unsupported("the server has no TURN over TCP: an Allocate is not answered".to_owned()))?;
    let start = Instant::now();
    let allocated = loop {
        let answer = send(cx, &mut ana, &mut auth, || cx.allocate_request()).await?;
        match answer.code()? {
            // Other clients of this run, or of the run before, have used up the quota.
            Some(486) if start.elapsed() < cx.env.patience => sleep(cx.env.rto).await,
            _ => break answer,
        }
    };
    let allocated = granted(allocated, "an Allocate")?;
    let Ok(Some(relayed)) = allocated.message.xor_address(attr::XOR_RELAYED_ADDRESS) else {
        return Err(Stop::fail("an allocation over TCP has no valid XOR-RELAYED-ADDRESS"));
    };
    let bind = || {
        let draft = cx.request(method::CHANNEL_BIND).with(attr::CHANNEL_NUMBER, [0x40, 0, 0, 0]);
        draft.with_xor_address(attr::XOR_PEER_ADDRESS, ben.local)
    };
    granted(send(cx, &mut ana, &mut auth, bind).await?, "a ChannelBind")?;
    Ok(Connected { ana, relayed, ben })
}

fn granted(answer: Answer, what: &str) -> Result<Answer, Stop> {
    if answer.message.class == Class::Success {
        return Ok(answer);
    }
    Err(Stop::fail(format!("{what} over TCP is answered with `{}`", answer.message)))
}

async fn framing(cx: &mut StunCx) -> Result<(), Stop> {
    let Connected { mut ana, relayed, mut ben } = connected(cx).await?;

    // Lengths that need zero, one, two and three bytes of padding. Each message starts where the one before ended.
    let words = ["abcd", "abcde", "abcdef", "abcdefg"].map(|end| cx.word("tcp") + end);
    for word in &words {
        ben.send_to(word.as_bytes(), relayed);
    }
    for word in &words {
        let (channel, data, line) = ana.channel_data().await?;
        if channel != 0x4000 || data != word.as_bytes() {
            let found = String::from_utf8_lossy(&data).into_owned();
            return Err(Stop::at(
                format!("expected {word:?} on channel 0x4000, received {found:?} on channel 0x{channel:04x}"),
                line,
            ));
        }
    }
    let padded = |word: &str| {
        let mut bytes = channel_data(0x4000, word.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let together: Vec<u8> = words.iter().flat_map(|word| padded(word)).collect();
    ana.send(&together, "four times ChannelData at once").await?;
    for word in &words {
        ben.receive_relayed(word.as_bytes()).await?;
    }
    let word = cx.word("in-pieces");
    for (index, byte) in padded(&word).iter().enumerate() {
        ana.send(&[*byte], &format!("byte {index} of ChannelData")).await?;
        tokio::task::yield_now().await;
    }
    ben.receive_relayed(word.as_bytes()).await.map(drop)
}

async fn padding(cx: &mut StunCx) -> Result<(), Stop> {
    let Connected { mut ana, relayed, ben } = connected(cx).await?;
    // What the padding of shorter data would show.
    let long = [cx.word("secret").as_bytes(), &[EARLIER; 300]].concat();
    for data in [long].into_iter().chain(["x", "xy", "xyz", "xyz."].map(|end| (cx.word("short") + end).into_bytes())) {
        ben.send_to(&data, relayed);
        let (bytes, line) = ana.next().await?;
        if read_channel_data(&bytes).is_none_or(|(_, found)| found != data) {
            return Err(Stop::at("other data arrives than the peer sent", line));
        }
        let padding = bytes.get(4 + data.len()..).unwrap_or_default();
        if padding.contains(&EARLIER) {
            let why = format!("the padding of ChannelData over TCP is {}, bytes of earlier data", hex(padding));
            return Err(Stop::at(why, line));
        }
        if padding.iter().any(|byte| *byte != 0) {
            cx.acceptable(format!("the padding of ChannelData over TCP is {}, not zero", hex(padding)));
        }
    }
    Ok(())
}
