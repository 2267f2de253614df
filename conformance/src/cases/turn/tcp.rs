//! TURN over TCP between client and server; data to peers still goes over UDP.

use super::DATA;
use crate::case::Case;
use crate::case::Level::Should;
use crate::stop::Stop;
use crate::stun::auth::Auth;
use crate::stun::client::Answer;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method};
use crate::stun::tcp::TcpClient;
use crate::stun::turn::UDP;
use crate::stun::wire::{Class, Draft, Message, channel_data};

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/tcp", Should, "Over TCP, ChannelData is padded to four bytes in both directions and may arrive in pieces.", |cx| {
        Box::pin(framing(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8656", "12.5", "Over TCP and TLS-over-TCP, the ChannelData message MUST be padded to a multiple of four bytes in order to ensure the alignment of subsequent messages."),
        rfc!("8656", "5", "To ensure interoperability, a TURN server MUST support the use of UDP transport between the client and the server, and it SHOULD support the use of TCP, TLS-over-TCP, and DTLS-over-UDP transports."),
    ]),
];

async fn granted(ana: &mut TcpClient, what: &str, request: &Draft) -> Result<Message, Stop> {
    let answer = ana.send_request(request).await?;
    if answer.class == Class::Success {
        Ok(answer)
    } else {
        Err(Stop::fail(format!("{what} over TCP is answered with `{answer}`")))
    }
}

async fn framing(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.tcp("ana").await?;
    let mut ben = cx.peer("ben").await?;
    let refused = ana.send_request(&cx.allocate_request()).await.map_err(|_| {
        // TURN over TCP is only a SHOULD; the server may offer just STUN on this port.
        Stop::Unsupported("the server has no TURN over TCP: an Allocate is not answered".to_owned())
    })?;
    let refused = Answer { from: cx.env.server, line: 0, sent: 1, request_bytes: 0, message: refused };
    let auth = Auth::challenged(cx.credential()?, &refused)?;
    let request = auth.seal(cx.request(method::ALLOCATE).with(attr::REQUESTED_TRANSPORT, UDP));
    let allocated = granted(&mut ana, "an Allocate", &request).await?;
    let Ok(Some(relayed)) = allocated.xor_address(attr::XOR_RELAYED_ADDRESS) else {
        return Err(Stop::fail("an allocation over TCP has no valid XOR-RELAYED-ADDRESS"));
    };
    let bind = cx.request(method::CHANNEL_BIND).with(attr::CHANNEL_NUMBER, [0x40, 0, 0, 0]);
    granted(&mut ana, "a ChannelBind", &auth.seal(bind.with_xor_address(attr::XOR_PEER_ADDRESS, ben.local))).await?;

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
