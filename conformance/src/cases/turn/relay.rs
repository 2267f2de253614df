//! Send and Data indications.

use super::{ALLOCATE, DATA};
use crate::case::Case;
use crate::case::Level::{Must, Should};
use crate::stop::Stop;
use crate::stun::client::Answer;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method};
use crate::stun::turn::DEFAULT_LIFETIME;
use crate::stun::wire::channel_data;

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/data-both-ways", Must, "Data is relayed byte for byte: to the peer from the relayed address, and back with the peer's address.", |cx| {
        Box::pin(both_ways(cx))
    })
    .needs(ALLOCATE)
    .cites(&[
        rfc!("8656", "11.2", "the source transport address is the relayed transport address of the allocation, where the allocation is determined by the 5-tuple on which the Send indication arrived;"),
        rfc!("8656", "11.3", "The DATA attribute is set to the value of the \"data octets\" field from the datagram, and the XOR-PEER-ADDRESS attribute is set to the source transport address of the received UDP datagram."),
    ]),
    &Case::network("turn/padding-zero", Must, "The padding in whatever the server sends is zero: other bytes would be from its memory.", |cx| {
        Box::pin(padding(cx))
    })
    .needs(DATA)
    .cites(&[rfc!("8489", "14", "The padding bits MUST be set to zero on sending and MUST be ignored by the receiver.")]),
    &Case::network("turn/data-empty", Should, "An empty datagram is relayed too.", |cx| Box::pin(empty(cx)))
        .needs(DATA)
        .cites(&[rfc!("8656", "11.2", "Note that the DATA attribute is allowed to contain zero bytes of data.")])
    .alone(),
    &Case::network("turn/send-incomplete", Must, "A Send without DATA or XOR-PEER-ADDRESS, or with an unknown comprehension-required attribute, is discarded.", |cx| {
        Box::pin(incomplete(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8656", "11.2", "If one of these attributes is missing or invalid, then the message is discarded."),
        rfc!("8489", "6.3.2", "If the indication contains unknown comprehension-required attributes, the indication is discarded and processing ceases."),
    ])
    .alone(),
    &Case::network("turn/open-relay", Must, "Without an allocation nothing is relayed: Send and ChannelData are silently ignored.", |cx| {
        Box::pin(open_relay(cx))
    })
    .needs(DATA)
    .cites(&[rfc!("8656", "5", "For all TURN messages (including ChannelData) EXCEPT an Allocate request, if the 5-tuple does not identify an existing allocation, then the message MUST either be rejected with a 437 Allocation Mismatch error (if it is a request) or be silently ignored (if it is an indication or a ChannelData message).")]),
    &Case::network("turn/indications-silent", Must, "Indications of request methods are not answered.", |cx| {
        Box::pin(indications(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8489", "6.3.2", "No response is generated for an indication.")]),
];

async fn both_ways(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.permit(cx, &ben).await?;
    let every: Vec<u8> = (0..=255).cycle().take(1200).collect();
    let long: Vec<u8> = [cx.word("every-byte").as_bytes(), &every].concat();
    for data in [cx.word("a").into_bytes(), cx.word("some").into_bytes(), long] {
        ana.send_data(cx, ben.local, &data);
        ben.receive_relayed_from(&data, ana.relayed).await?;
        let back: Vec<u8> = [b"back-", data.as_slice()].concat();
        ben.send_to(&back, ana.relayed);
        let (received, from) = ana.receive_data(&back).await?;
        if from != ben.local {
            return Err(Stop::at(
                format!("{} sent the data, but XOR-PEER-ADDRESS is {from}", ben.local),
                received.line,
            ));
        }
    }
    Ok(())
}

async fn padding(cx: &mut StunCx) -> Result<(), Stop> {
    let is_zero =
        |answer: &Answer, what: &str| match answer.message.faults().iter().find(|fault| fault.contains("padding")) {
            Some(fault) => Err(answer.stop(format!("in the answer to {what}, {fault}"))),
            None => Ok(()),
        };
    let mut mallory = cx.client("mallory").await?;
    is_zero(&cx.unauthenticated(&mut mallory, &cx.allocate_request()).await?, "an Allocate without credentials")?;
    let mut ana = cx.allocation("ana").await?;
    is_zero(&ana.granted, "an Allocate")?;
    let [ben, cleo] = [cx.peer("ben").await?, cx.peer("cleo").await?];
    is_zero(&ana.create_permission(cx, &[ben.local]).await?, "a CreatePermission")?;
    is_zero(&ana.bind(cx, 0x4000, cleo.local).await?, "a ChannelBind")?;
    is_zero(&ana.refresh(cx, Some(DEFAULT_LIFETIME)).await?, "a Refresh")?;
    for peer in [&ben, &cleo] {
        // What the padding of shorter data would show.
        let long = [cx.word("secret").as_bytes(), &[0xa5; 300]].concat();
        for data in [long].into_iter().chain(["", "x", "xy", "xyz"].map(|end| (cx.word("short") + end).into_bytes())) {
            peer.send_to(&data, ana.relayed);
            let carries = |bytes: &[u8]| bytes.windows(data.len()).any(|window| window == data);
            let received = ana.receive("its peer's data", |received| carries(&received.bytes)).await?;
            match received.message() {
                Ok(message) => {
                    if let Some(fault) = message.faults().iter().find(|fault| fault.contains("padding")) {
                        return Err(Stop::at(format!("in a Data indication, {fault}"), received.line));
                    }
                }
                // ChannelData over UDP needs no padding. No sentence says what is in it.
                Err(_)
                    if received.bytes.get(4 + data.len()..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) =>
                {
                    cx.acceptable("the padding of ChannelData is not zero: it may be from the server's memory");
                }
                Err(_) => {}
            }
        }
    }
    Ok(())
}

async fn empty(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.permit(cx, &ben).await?;
    ana.send_data(cx, ben.local, b"");
    let there = cx.word("sentinel");
    ana.send_data(cx, ben.local, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await?;
    if !ben.received.iter().any(|received| received.bytes.is_empty()) {
        return Err(Stop::fail("a Send indication with empty DATA did not reach the peer, but the one after it did"));
    }
    ben.send_to(b"", ana.relayed);
    let back = cx.word("sentinel");
    ben.send_to(back.as_bytes(), ana.relayed);
    ana.receive_data(back.as_bytes()).await?;
    if ana.received_data(b"").is_none() {
        return Err(Stop::fail("an empty datagram of a peer did not reach the client, but the one after it did"));
    }
    Ok(())
}

async fn incomplete(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.permit(cx, &ben).await?;
    let evil = cx.word("evil");
    let send = || cx.indication(method::SEND);
    let peer = ben.local;
    let messages = [
        ("a Send without DATA", send().with_xor_address(attr::XOR_PEER_ADDRESS, peer)),
        ("a Send without XOR-PEER-ADDRESS", send().with(attr::DATA, &evil)),
        (
            "a Send with an unknown attribute",
            send()
                .with_xor_address(attr::XOR_PEER_ADDRESS, peer)
                .with(attr::UNKNOWN_REQUIRED[0], [0; 4])
                .with(attr::DATA, &evil),
        ),
    ];
    for (what, message) in messages {
        ana.is_silent_on(what, &message.bytes).await?;
        let there = cx.word("sentinel");
        ana.send_data(cx, peer, there.as_bytes());
        ben.receive_relayed(there.as_bytes()).await?;
        if let Some(received) = ben.received.first() {
            return Err(Stop::at(format!("{what} is relayed"), received.line));
        }
    }
    Ok(())
}

async fn open_relay(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.bind(cx, 0x4000, ben.local).await?.success("ChannelBind")?;
    let mut mallory = cx.client("mallory").await?;
    let evil = cx.word("evil");
    let send = cx.indication(method::SEND).with_xor_address(attr::XOR_PEER_ADDRESS, ben.local).with(attr::DATA, &evil);
    mallory.is_silent_on("a Send without an allocation", &send.bytes).await?;
    let on_channel = channel_data(0x4000, evil.as_bytes());
    mallory.is_silent_on("ChannelData without an allocation", &on_channel).await?;
    let there = cx.word("sentinel");
    ana.send_on_channel(0x4000, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await?;
    match ben.received.iter().find(|received| received.bytes == evil.as_bytes()) {
        Some(received) => Err(Stop::at("data of a client without an allocation reached a peer", received.line)),
        None => Ok(()),
    }
}

async fn indications(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    for method in [method::ALLOCATE, method::REFRESH, method::CREATE_PERMISSION, method::CHANNEL_BIND] {
        let name = crate::stun::names::method_name(method);
        ana.is_silent_on(&format!("an indication of {name}"), &cx.indication(method).bytes).await?;
    }
    Ok(())
}
