//! Long datagrams. A server may have a limit, but must not relay a part, and must survive what is longer.

use tokio::time::timeout;

use super::DATA;
use crate::case::Case;
use crate::case::Level::Must;
use crate::stop::Stop;
use crate::stun::client::{Received, UdpClient};
use crate::stun::cx::StunCx;
use crate::stun::names::attr;
use crate::stun::turn::Allocation;
use crate::stun::wire::{Message, channel_data, read_channel_data};

/// Lengths of relayed data: below and above an Ethernet frame, above common buffers, and more than any client sends.
const LENGTHS: [usize; 6] = [1_400, 1_472, 1_500, 3_000, 9_500, 20_000];
/// Data of this length fits into a frame with all headers, so a server has little reason to drop it.
const COMMON_BYTES_MAX: usize = 1_400;
/// Lengths of datagrams that are not for the server.
const STRANGE_LENGTHS: [usize; 4] = [1_500, 3_000, 9_500, 60_000];
/// Where datagrams may be fragmented and lost, longer ones are not sent.
const FAR_BYTES_MAX: usize = 3_000;
const CHANNEL: u16 = 0x4000;
/// Transmissions of a sentinel at most.
const SENTINELS_MAX: u32 = 4;

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/data-long", Must, "Data of any length is relayed whole or not at all, as indications and on channels, in both directions.", |cx| {
        Box::pin(data_long(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8656", "11.2", "the data following the UDP header is the contents of the value field of the DATA attribute."),
        rfc!("8656", "11.3", "The DATA attribute is set to the value of the \"data octets\" field from the datagram, and the XOR-PEER-ADDRESS attribute is set to the source transport address of the received UDP datagram."),
    ])
    .alone(),
    &Case::network("turn/long-stranger", Must, "Long datagrams of strangers, to the server or to a relayed address, do not stop the relaying of others' data.", |cx| {
        Box::pin(long_stranger(cx))
    })
    .needs(DATA)
    .cites(&[super::PERMISSION_CHECK, rfc!("8489", "6.3", "If any errors are detected, the message is silently discarded.")])
    .alone(),
];

/// Whether these bytes contain a text.
fn contain(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// A text that nothing else sends, filled up to a length.
fn payload(cx: &StunCx, length: usize) -> (String, Vec<u8>) {
    let word = cx.word("long") + ".";
    let mut payload = word.clone().into_bytes();
    payload.extend((0..=255).cycle().take(length - payload.len()));
    (word, payload)
}

/// Whether the data arrived; a failure if a part of it did.
fn arrived(who: &UdpClient, word: &str, data: &[u8], way: &str) -> Result<bool, Stop> {
    let Some(received) = who.received.iter().find(|received| contain(&received.bytes, word)) else { return Ok(false) };
    let found = match (Message::parse(&received.bytes), read_channel_data(&received.bytes)) {
        (Ok(message), _) => message.get(attr::DATA).map(<[u8]>::to_vec),
        (Err(_), Some((_, data))) => Some(data.to_vec()),
        (Err(_), None) => Some(received.bytes.clone()),
    };
    let found = found.unwrap_or_default();
    if found == data {
        return Ok(true);
    }
    let why = format!("{} of {} bytes of data arrive {way}", found.len(), data.len());
    let why =
        if found.len() == data.len() { format!("{} bytes of data arrive changed {way}", data.len()) } else { why };
    Err(Stop::at(why, received.line))
}

/// Sends data to a peer, as an indication or on its channel, and returns whether the peer received it.
async fn to_peer(
    cx: &StunCx,
    ana: &Allocation,
    peer: &mut UdpClient,
    on_channel: bool,
    length: usize,
) -> Result<Option<bool>, Stop> {
    let (word, data) = payload(cx, length);
    let message = if on_channel { channel_data(CHANNEL, &data) } else { cx.send_indication(peer.local, &data).bytes };
    if !ana.can_send_to(&message, ana.server) {
        return Ok(None);
    }
    let (there, to) = (cx.word("sentinel"), peer.local);
    let send = || ana.send_data(cx, to, there.as_bytes());
    let what = format!("the relayed data {there:?}");
    sentinel(send, peer, &what, |received| received.bytes == there.as_bytes())
        .await
        .map_err(|stop| after(stop, length))?;
    arrived(peer, &word, &data, if on_channel { "at the peer, sent on a channel" } else { "at the peer" }).map(Some)
}

/// Sends data of a peer and returns whether the client received it.
async fn to_client(
    cx: &StunCx,
    ana: &mut Allocation,
    peer: &UdpClient,
    on_channel: bool,
    length: usize,
) -> Result<Option<bool>, Stop> {
    let (word, data) = payload(cx, length);
    if !peer.can_send_to(&data, ana.relayed) {
        return Ok(None);
    }
    let (back, to) = (cx.word("sentinel"), ana.relayed);
    let send = || {
        peer.send_to(back.as_bytes(), to);
    };
    sentinel(send, ana, "its peer's data", |received| contain(&received.bytes, &back))
        .await
        .map_err(|stop| after(stop, length))?;
    arrived(ana, &word, &data, if on_channel { "at the client as ChannelData" } else { "at the client" }).map(Some)
}

/// Sends data behind a long datagram, several times if needed: a datagram that fills the receive buffer of the server's
/// socket makes the system drop the next one, and the server never learns of it.
async fn sentinel(
    send: impl Fn(),
    receiver: &mut UdpClient,
    what: &str,
    wanted: impl Fn(&Received) -> bool,
) -> Result<(), Stop> {
    for _ in 1..SENTINELS_MAX {
        send();
        if let Ok(received) = timeout(receiver.patience() / SENTINELS_MAX, receiver.until(&wanted)).await {
            return received.map(drop);
        }
    }
    send();
    receiver.receive(what, wanted).await.map(drop)
}

fn after(stop: Stop, length: usize) -> Stop {
    stop.reworded(|why| format!("after data of {length} bytes, {why}"))
}

async fn data_long(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let [mut ben, mut cleo] = [cx.peer("ben").await?, cx.peer("cleo").await?];
    ana.permit(cx, &ben).await?;
    ana.bind(cx, CHANNEL, cleo.local).await?.success("ChannelBind")?;
    let mut dropped = Vec::new();
    for length in LENGTHS.into_iter().filter(|length| cx.is_near() || *length <= FAR_BYTES_MAX) {
        let ways = [
            ("to a peer", to_peer(cx, &ana, &mut ben, false, length).await?),
            ("to a peer on a channel", to_peer(cx, &ana, &mut cleo, true, length).await?),
            ("to the client", to_client(cx, &mut ana, &ben, false, length).await?),
            ("to the client on a channel", to_client(cx, &mut ana, &cleo, true, length).await?),
        ];
        for (way, relayed) in ways {
            match relayed {
                Some(false) if length <= COMMON_BYTES_MAX => {
                    cx.acceptable(format!("{length} bytes of data {way} are not relayed"));
                }
                Some(false) => dropped.push(format!("{length} {way}")),
                Some(true) | None => {}
            }
        }
    }
    if !dropped.is_empty() {
        cx.remark(format!("data of these lengths in bytes is not relayed: {}", dropped.join(", ")));
    }
    Ok(())
}

async fn long_stranger(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.permit(cx, &ben).await?;
    let mut mallory = cx.client("mallory").await?;
    let stranger = cx.stranger("stranger").await?;
    for length in STRANGE_LENGTHS.into_iter().filter(|length| cx.is_near() || *length <= FAR_BYTES_MAX) {
        let mut on_channel = vec![0x40; length];
        on_channel[2..4].copy_from_slice(&((length - 4) as u16).to_be_bytes());
        for bytes in [vec![0; length], vec![0xff; length], on_channel] {
            mallory.can_send_to(&bytes, mallory.server);
        }
        // A request that is well-formed, but longer than any other. The server may answer it or not.
        let request = cx.binding().with(attr::UNKNOWN_OPTIONAL, vec![0; length - 24]);
        mallory.can_send_to(&request.bytes, mallory.server);
        for peer in stranger.iter().chain([&mallory]) {
            peer.can_send_to(&vec![0; length], ana.relayed);
        }
        passes(cx, &mut ana, &mut ben)
            .await
            .map_err(|stop| stop.reworded(|why| format!("after datagrams of {length} bytes from a stranger, {why}")))?;
        mallory.received.clear();
    }
    Ok(())
}

/// Checks that requests are answered, and that data passes in both directions.
async fn passes(cx: &StunCx, ana: &mut Allocation, ben: &mut UdpClient) -> Result<(), Stop> {
    ana.permit(cx, ben).await?;
    let (there, back) = (cx.word("there"), cx.word("back"));
    let (to_ben, to_ana) = (ben.local, ana.relayed);
    let what = format!("the relayed data {there:?}");
    let send = || ana.send_data(cx, to_ben, there.as_bytes());
    sentinel(send, ben, &what, |received| received.bytes == there.as_bytes()).await?;
    let send = || {
        ben.send_to(back.as_bytes(), to_ana);
    };
    sentinel(send, ana, "its peer's data", |received| contain(&received.bytes, &back)).await
}
