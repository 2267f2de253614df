//! Everything comes from the address that the client sent to.

use super::{ALLOCATE, DATA};
use crate::case::Case;
use crate::case::Level::Must;
use crate::stop::Stop;
use crate::stun::client::UdpClient;
use crate::stun::cx::StunCx;

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/source-address", Must, "Answers and peers' data come from the address that the client sends to.", |cx| {
        Box::pin(source_address(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8489", "6.3.1.2", "If the request was received over UDP or DTLS-over-UDP, the destination IP address and port of the response are the source IP address and port of the received request message, and the source IP address and port of the response are equal to the destination IP address and port of the received request message."),
        rfc!("8656", "12.5", "The ChannelData message is then sent on the 5-tuple associated with the allocation."),
    ]),
    &Case::network("turn/every-address", Must, "At each address of the server, requests are answered from that address, and data comes from there.", |cx| {
        Box::pin(every_address(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8489", "6.3.1.2", "If the request was received over UDP or DTLS-over-UDP, the destination IP address and port of the response are the source IP address and port of the received request message, and the source IP address and port of the response are equal to the destination IP address and port of the received request message.")]),
];

async fn source_address(cx: &mut StunCx) -> Result<(), Stop> {
    let mut client = cx.client("ana").await?;
    let challenge = cx.unauthenticated(&mut client, &cx.allocate_request()).await?;
    challenge.comes_from(client.server)?;
    all_from_its_server(cx, client).await
}

/// Checks from where answers and data come to a client.
async fn all_from_its_server(cx: &StunCx, mut client: UdpClient) -> Result<(), Stop> {
    let auth = cx.auth(&mut client).await?;
    let mut ana = cx.allocate(client, auth).await?;
    ana.granted.comes_from(ana.server)?;
    let [ben, cleo] = [cx.peer("ben").await?, cx.peer("cleo").await?];
    ana.permit(cx, &ben).await?;
    let bound = ana.bind(cx, 0x4000, cleo.local).await?.success("ChannelBind")?;
    bound.comes_from(ana.server)?;
    for peer in [&ben, &cleo] {
        let word = cx.word("back");
        peer.send_to(word.as_bytes(), ana.relayed);
        let carries = |bytes: &[u8]| bytes.windows(word.len()).any(|window| window == word.as_bytes());
        let received = ana.receive("its peer's data", |received| carries(&received.bytes)).await?;
        if received.from != ana.server {
            let why = format!(
                "the client sends to {}, but its peer's data comes from {}: NATs block it",
                ana.server, received.from
            );
            return Err(Stop::at(why, received.line));
        }
    }
    Ok(())
}

async fn every_address(cx: &mut StunCx) -> Result<(), Stop> {
    let mut tested = 0;
    for address in cx.other_addresses() {
        if cx.answers_at(address).await? {
            let mut client = cx.client("ana").await?;
            client.server = address;
            all_from_its_server(cx, client).await?;
            tested += 1;
        }
    }
    if tested == 0 {
        return Err(Stop::Unsupported("no other address of the server is known".to_owned()));
    }
    Ok(())
}
