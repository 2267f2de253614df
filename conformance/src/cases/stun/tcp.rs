//! STUN over TCP: a stream of messages without extra framing.

use crate::stop::Stop;
use crate::stun::cx::StunCx;
use crate::stun::names::attr;
use crate::stun::wire::Class;

pub(super) async fn answers(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.tcp("ana").await?;
    for _ in 0..2 {
        let answer = ana.send_request(&cx.binding()).await?;
        let mapped = answer.xor_address(attr::XOR_MAPPED_ADDRESS);
        let Ok(Some(mapped)) = mapped else {
            return Err(Stop::fail("the answer over TCP has no valid XOR-MAPPED-ADDRESS"));
        };
        if cx.is_near() && mapped.ip() != cx.env.source {
            return Err(Stop::fail(format!(
                "over TCP, XOR-MAPPED-ADDRESS is {mapped}, but the connection comes from {}",
                cx.env.source
            )));
        }
    }
    Ok(())
}

pub(super) async fn split(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.tcp("ana").await?;
    // With an attribute, so that the body is split too.
    let request = cx.binding().with(attr::UNKNOWN_OPTIONAL, "a body of some bytes");
    let last = request.bytes.len() - 1;
    for (index, byte) in request.bytes.iter().enumerate() {
        // Each byte is a write of its own; Nagle's algorithm is off.
        ana.send(&[*byte], &format!("byte {index} of {last}")).await?;
        tokio::task::yield_now().await;
    }
    let answer = ana.answer(&request).await?;
    if answer.class != Class::Success {
        return Err(Stop::fail(format!("a request that arrives byte by byte is answered with `{answer}`")));
    }
    let [first, second] = [cx.binding(), cx.binding()];
    let together = [first.bytes.clone(), second.bytes.clone()].concat();
    ana.send(&together, "two requests at once").await?;
    let (one, _) = ana.next().await?;
    let (two, line) = ana.next().await?;
    // The server may answer in a different order (RFC 8489 §6.3.1.2).
    let mut ids = [one, two].map(|bytes| bytes.get(8..20).map(<[u8]>::to_vec));
    let mut expected = [first.id(), second.id()].map(|id| Some(id.to_vec()));
    ids.sort();
    expected.sort();
    if ids != expected {
        return Err(Stop::at("two requests in one segment are not both answered", line));
    }
    // Then a request in two halves, with the answer to another one in between.
    let (whole, half) = (cx.binding(), cx.binding());
    let begun = [whole.bytes.as_slice(), &half.bytes[..10]].concat();
    ana.send(&begun, "a request and half of the next").await?;
    ana.answer(&whole).await?;
    ana.send(&half.bytes[10..], "the other half").await?;
    ana.answer(&half).await.map(drop)
}
