//! Channels: numbers, bindings and data.

use super::DATA;
use crate::case::Case;
use crate::case::Level::Must;
use crate::stop::Stop;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method};
use crate::stun::wire::{channel_data, read_channel_data};

const CHANNEL: &[&str] = &["turn/channel-data"];

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/channel-data", Must, "On a bound channel, data is relayed byte for byte in both directions as ChannelData.", |cx| {
        Box::pin(data(cx))
    })
    .needs(DATA)
    .cites(&[rfc!("8656", "12.5", "The server, on the other hand, MUST use the ChannelData message if a channel has been bound to the peer.")]),
    &Case::network("turn/channel-permission", Must, "A ChannelBind also installs a permission.", |cx| Box::pin(permission(cx)))
        .needs(CHANNEL)
        .cites(&[rfc!("8656", "12.2", "The server also installs or refreshes a permission for the IP address in the XOR-PEER-ADDRESS attribute as described in Section 9.")]),
    &Case::network("turn/channel-range", Must, "Channel numbers are 0x4000 to 0x4FFF; any other number is answered with 400.", |cx| {
        Box::pin(range(cx))
    })
    .needs(CHANNEL)
    .cites(&[
        rfc!("8656", "12.2", "The channel number is in the range 0x4000 through 0x4FFF (inclusive);"),
        rfc!("8656", "12.2", "If any of these tests fail, the server replies with a 400 (Bad Request) error."),
    ]),
    &Case::network("turn/channel-rebind", Must, "A channel has one peer and a peer one channel: anything else is answered with 400, the same pair again with success.", |cx| {
        Box::pin(rebind(cx))
    })
    .needs(CHANNEL)
    .cites(&[
        rfc!("8656", "12.2", "The channel number is not currently bound to a different transport address (same transport address is OK);"),
        rfc!("8656", "12.2", "The transport address is not currently bound to a different channel number."),
    ]),
    &Case::network("turn/channel-incomplete", Must, "A ChannelBind without CHANNEL-NUMBER or XOR-PEER-ADDRESS is answered with 400.", |cx| {
        Box::pin(incomplete(cx))
    })
    .needs(CHANNEL)
    .cites(&[rfc!("8656", "12.2", "The request contains both a CHANNEL-NUMBER and an XOR-PEER-ADDRESS attribute;")]),
    &Case::network("turn/channel-discard", Must, "ChannelData on an unbound channel, or shorter than its length field, is silently discarded.", |cx| {
        Box::pin(discard(cx))
    })
    .needs(CHANNEL)
    .cites(&[
        rfc!("8656", "12.6", "If the ChannelData message is received on a channel that is not bound to any peer, then the message is silently discarded."),
        rfc!("8656", "12.6", "If the ChannelData message is received in a UDP datagram, and if the UDP datagram is too short to contain the claimed length of the ChannelData message (i.e., the UDP header length field value is less than the ChannelData header length field value + 4 + 8), then the message is silently discarded."),
    ])
    .alone(),
    &Case::network("turn/channel-padding", Must, "Over UDP, ChannelData may be padded; the padding is not relayed.", |cx| {
        Box::pin(padding(cx))
    })
    .needs(CHANNEL)
    .cites(&[rfc!("8656", "12.5", "Over UDP, the padding is not required but MAY be included.")]),
];

async fn data(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.bind(cx, 0x4001, ben.local).await?.success("ChannelBind")?;
    let every: Vec<u8> = (0..=255).cycle().take(1200).collect();
    for data in [cx.word("a").into_bytes(), [cx.word("every-byte").as_bytes(), &every].concat()] {
        ana.send_on_channel(0x4001, &data);
        ben.receive_relayed_from(&data, ana.relayed).await?;
        let back: Vec<u8> = [b"back-", data.as_slice()].concat();
        ben.send_to(&back, ana.relayed);
        let carries = |bytes: &[u8]| bytes.windows(back.len()).any(|window| window == back);
        let received = ana.receive("its peer's data", |received| carries(&received.bytes)).await?;
        match read_channel_data(&received.bytes) {
            Some((0x4001, found)) if found == back => {}
            Some((0x4001, _)) => {
                return Err(Stop::at("ChannelData contains other bytes than the peer sent", received.line));
            }
            Some((other, _)) => {
                return Err(Stop::at(
                    format!("the data arrived on channel 0x{other:04x}, expected 0x4001"),
                    received.line,
                ));
            }
            None => {
                return Err(Stop::at(
                    "the data of a peer with a channel arrived, but not as ChannelData",
                    received.line,
                ));
            }
        }
    }
    Ok(())
}

async fn permission(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let [mut ben, cleo] = [cx.peer("ben").await?, cx.peer("cleo").await?];
    ana.bind(cx, 0x4000, ben.local).await?.success("ChannelBind")?;
    // Another port on the same address: permitted, but without a channel.
    let word = cx.word("another-port");
    cleo.send_to(word.as_bytes(), ana.relayed);
    ana.receive_data(word.as_bytes()).await?;
    let there = cx.word("there");
    ana.send_data(cx, ben.local, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await.map(drop)
}

async fn range(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let ip = cx.peer_ip()?;
    for (port, channel) in [(10, 0x4000), (11, 0x4fff)] {
        let answer = ana.bind(cx, channel, (ip, port).into()).await?;
        answer.success(&format!("channel 0x{channel:04x}"))?;
    }
    for (port, channel) in [(12, 0x0000), (13, 0x3fff), (14, 0x5000), (15, 0x7fff), (16, 0x8000), (17, 0xffff)] {
        let answer = ana.bind(cx, channel, (ip, port).into()).await?;
        answer.error(400, &format!("channel 0x{channel:04x}"))?;
    }
    Ok(())
}

async fn rebind(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    let other = (cx.peer_ip()?, 9).into();
    ana.bind(cx, 0x4000, ben.local).await?.success("ChannelBind")?;
    ana.bind(cx, 0x4000, other).await?.error(400, "a bound channel for another peer")?;
    ana.bind(cx, 0x4002, ben.local).await?.error(400, "a second channel for a bound peer")?;
    ana.bind(cx, 0x4000, ben.local).await?.success("the same pair again")?;
    let word = cx.word("still-bound");
    ana.send_on_channel(0x4000, word.as_bytes());
    ben.receive_relayed(word.as_bytes()).await.map(drop)
}

async fn incomplete(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let peer = (cx.peer_ip()?, 9).into();
    let answer = ana.request(cx, method::CHANNEL_BIND, |draft| draft.with_xor_address(attr::XOR_PEER_ADDRESS, peer));
    answer.await?.error(400, "a ChannelBind without CHANNEL-NUMBER")?;
    let answer = ana.request(cx, method::CHANNEL_BIND, |draft| draft.with(attr::CHANNEL_NUMBER, [0x40, 0, 0, 0]));
    answer.await?.error(400, "a ChannelBind without XOR-PEER-ADDRESS").map(drop)
}

async fn discard(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.bind(cx, 0x4000, ben.local).await?.success("ChannelBind")?;
    let evil = cx.word("evil");
    let mut lying = channel_data(0x4000, evil.as_bytes());
    lying[3] += 1;
    let messages = [
        ("ChannelData on an unbound channel", channel_data(0x4001, evil.as_bytes())),
        ("ChannelData on a reserved channel", channel_data(0x5000, evil.as_bytes())),
        ("ChannelData that is shorter than its length field", lying),
        ("three bytes of ChannelData", vec![0x40, 0, 0]),
    ];
    for (what, message) in messages {
        ana.is_silent_on(what, &message).await?;
        let there = cx.word("sentinel");
        ana.send_on_channel(0x4000, there.as_bytes());
        ben.receive_relayed(there.as_bytes()).await?;
        if let Some(received) = ben.received.first() {
            return Err(Stop::at(format!("{what} is relayed"), received.line));
        }
    }
    Ok(())
}

async fn padding(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.bind(cx, 0x4000, ben.local).await?.success("ChannelBind")?;
    let mut word = cx.word("odd");
    if word.len().is_multiple_of(4) {
        word.push('x');
    }
    let mut padded = channel_data(0x4000, word.as_bytes());
    padded.resize(padded.len().next_multiple_of(4), 0);
    ana.send(&padded);
    let received = ben.receive("the data", |received| received.bytes.starts_with(word.as_bytes())).await?;
    if received.bytes != word.as_bytes() {
        return Err(Stop::at("the padding of ChannelData is relayed to the peer", received.line));
    }
    Ok(())
}
