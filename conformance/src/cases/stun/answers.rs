//! What a valid request gets.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::time::timeout;

use crate::stop::Stop;
use crate::stun::client::{Answer, UdpClient};
use crate::stun::cx::StunCx;
use crate::stun::env::StunEnv;
use crate::stun::names::{attr, attribute_name, method};
use crate::stun::wire::{Class, Draft};

/// An answer this many times as long as its request makes the server useful for amplification attacks.
const AMPLIFICATION_MAX: f64 = 10.0;

pub(super) async fn binding(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let answer = ana.send_request(&cx.binding()).await?;
    let answer = answer.success("a Binding request")?;
    if answer.message.method != method::BINDING {
        return Err(answer.stop("the answer has another method"));
    }
    Ok(())
}

async fn binding_answer(cx: &StunCx, client: &mut UdpClient) -> Result<Answer, Stop> {
    client.send_request(&cx.binding()).await?.success("a Binding request")
}

pub(super) async fn xor_v4(cx: &mut StunCx) -> Result<(), Stop> {
    if cx.env.server.is_ipv6() && !cx.env.addresses.iter().any(SocketAddr::is_ipv4) {
        return Err(Stop::Unsupported("the server was given as an IPv6 address".to_owned()));
    }
    let v4 = cx.env.addresses.iter().copied().find(SocketAddr::is_ipv4).unwrap_or(cx.env.server);
    let mut ana = at(cx, v4, "ana").await?.ok_or_else(|| Stop::Setup(format!("no route to {v4}")))?;
    // From two ports: a constant address in the answers would not pass.
    let answer = binding_answer(cx, &mut ana).await?;
    cx.check_mapped(&ana, &answer, attr::XOR_MAPPED_ADDRESS)?;
    let mut ben = at(cx, v4, "ben").await?.ok_or_else(|| Stop::Setup(format!("no route to {v4}")))?;
    let answer = binding_answer(cx, &mut ben).await?;
    cx.check_mapped(&ben, &answer, attr::XOR_MAPPED_ADDRESS)
}

pub(super) async fn xor_v6(cx: &mut StunCx) -> Result<(), Stop> {
    let known = cx.env.addresses.iter().copied().find(SocketAddr::is_ipv6);
    let loopback: SocketAddr = (IpAddr::V6(Ipv6Addr::LOCALHOST), cx.env.server.port()).into();
    let nothing = || Stop::Unsupported("no IPv6 address of the server is known".to_owned());
    let is_guess = known.is_none();
    let v6 = known.or(cx.env.server.ip().is_loopback().then_some(loopback)).ok_or_else(nothing)?;
    let Some(mut ana) = at(cx, v6, "ana").await? else { return Err(nothing()) };
    let answer = if is_guess {
        // No such address was given, so waiting for the full patience would be a waste. Another program may have the port
        // there: only an answer to the request shows a STUN server.
        match timeout(cx.env.rto * 2, binding_answer(cx, &mut ana)).await {
            Ok(Ok(answer)) => answer,
            _ => return Err(nothing()),
        }
    } else {
        binding_answer(cx, &mut ana).await?
    };
    cx.check_mapped(&ana, &answer, attr::XOR_MAPPED_ADDRESS)?;
    // With another transaction id, because half of the XOR mask comes from it.
    let answer = binding_answer(cx, &mut ana).await?;
    cx.check_mapped(&ana, &answer, attr::XOR_MAPPED_ADDRESS)
}

/// A client that sends to another address of the server; `None` if this machine has no route there.
async fn at(cx: &StunCx, server: SocketAddr, name: &str) -> Result<Option<UdpClient>, Stop> {
    let Ok(source) = cx.env.net.source_boxed(server).await else { return Ok(None) };
    let mut client = UdpClient::open(&cx.env, &cx.log, name, (source, 0).into()).await?;
    client.server = server;
    Ok(Some(client))
}

pub(super) async fn no_mixup(cx: &mut StunCx) -> Result<(), Stop> {
    const CLIENTS: usize = 32;
    let mut running = tokio::task::JoinSet::new();
    for index in 0..CLIENTS {
        let mut client = cx.client(&format!("client {index}")).await?;
        let (request, cx) = (cx.binding(), StunCx { env: Arc::<StunEnv>::clone(&cx.env), log: cx.log.clone() });
        running.spawn(async move {
            let answer = client.send_request(&request).await?.success("a Binding request")?;
            cx.check_mapped(&client, &answer, attr::XOR_MAPPED_ADDRESS)?;
            client.fence().await?;
            let again = client.received.iter().filter(|received| received.is_of(request.id())).count();
            if again >= answer.sent {
                let last = client.received.last().expect("there is one");
                return Err(Stop::at(format!("expected one answer to a request, received {}", again + 1), last.line));
            }
            Ok(())
        });
    }
    while let Some(outcome) = running.join_next().await {
        outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    }
    Ok(())
}

pub(super) async fn transaction_id(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    for id in [[0; 12], [0xff; 12], *b"\x21\x12\xa4\x42\x21\x12\xa4\x42\x21\x12\xa4\x42"] {
        ana.received.clear();
        let request = Draft::new(method::BINDING, Class::Request, id);
        let answer = ana.send_request(&request).await.map_err(|stop| {
            stop.reworded(|why| format!("{why}; the transaction id was {}", crate::stun::wire::hex(&id)))
        })?;
        cx.check_mapped(&ana, &answer.success("it")?, attr::XOR_MAPPED_ADDRESS)?;
    }
    Ok(())
}

pub(super) async fn retransmit(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let request = cx.binding();
    let first = ana.send_request(&request).await?.success("a Binding request")?;
    let second = ana.send_request(&request).await?.success("a Binding request, sent again,")?;
    let mapped = [&first, &second].map(|answer| answer.message.xor_address(attr::XOR_MAPPED_ADDRESS));
    if mapped[0] != mapped[1] {
        return Err(second.stop("the retransmission is answered with another address"));
    }
    Ok(())
}

pub(super) async fn source_address(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    ana.send_request(&cx.binding()).await?.comes_from(ana.server)
}

pub(super) async fn every_address(cx: &mut StunCx) -> Result<(), Stop> {
    let mut tested = 0;
    for address in cx.other_addresses() {
        tested += usize::from(cx.answers_at(address).await?);
    }
    if tested == 0 {
        return Err(Stop::Unsupported("no other address of the server is known".to_owned()));
    }
    Ok(())
}

pub(super) async fn well_formed(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let requests = [cx.binding(), cx.binding().with_fingerprint(), cx.binding().with(attr::SOFTWARE, "four")];
    for request in requests {
        let answer = ana.send_request(&request).await?;
        if let Some(fault) = answer.message.faults().first() {
            return Err(answer.stop(fault.clone()));
        }
        let strange = answer.message.attributes.iter().map(|attribute| attribute.kind).find(|kind| {
            let known = matches!(
                *kind,
                attr::MAPPED_ADDRESS
                    | attr::ERROR_CODE
                    | attr::UNKNOWN_ATTRIBUTES
                    | attr::XOR_MAPPED_ADDRESS
                    | attr::REALM
                    | attr::NONCE
                    | attr::MESSAGE_INTEGRITY
                    | attr::MESSAGE_INTEGRITY_SHA256
                    // SOURCE-ADDRESS and CHANGED-ADDRESS of RFC 3489.
                    | 0x0004
                    | 0x0005
            );
            *kind < 0x8000 && !known
        });
        if let Some(kind) = strange {
            let name = attribute_name(kind);
            return Err(answer.stop(format!("the answer has a {name}, an unknown comprehension-required attribute")));
        }
        answer.code()?;
    }
    Ok(())
}

pub(super) async fn software(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let answer = binding_answer(cx, &mut ana).await?;
    match answer.message.get(attr::SOFTWARE) {
        // Many servers leave it out on purpose (RFC 8489 §16.1.2 gives the reason).
        None => cx.acceptable("the answer has no SOFTWARE"),
        Some(name) if std::str::from_utf8(name).is_ok_and(|name| name.chars().count() < 128) => {
            cx.remark(format!("SOFTWARE is {:?}", String::from_utf8_lossy(name)));
        }
        Some(_) => return Err(answer.stop("SOFTWARE is not UTF-8 of less than 128 characters")),
    }
    Ok(())
}

pub(super) async fn fingerprint(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let answer = ana.send_request(&cx.binding().with_fingerprint()).await?.success("a request with FINGERPRINT")?;
    if let Some(fault) = answer.message.faults().iter().find(|fault| fault.contains("FINGERPRINT")) {
        return Err(answer.stop(fault.clone()));
    }
    if !answer.message.has(attr::FINGERPRINT) {
        cx.acceptable("a request with FINGERPRINT is answered without one");
    }
    Ok(())
}

pub(super) async fn amplification(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let requests = [("Binding", cx.binding()), ("Binding with FINGERPRINT", cx.binding().with_fingerprint())];
    let mut worst: f64 = 0.0;
    let mut factors = Vec::new();
    for (what, request) in requests {
        let answer = ana.send_request(&request).await?;
        let factor = answer.message.bytes.len() as f64 / answer.request_bytes as f64;
        factors.push(format!("{what} {factor:.1}"));
        worst = worst.max(factor);
    }
    cx.remark(format!("bytes in the answer per byte of the request: {}", factors.join(", ")));
    if worst > AMPLIFICATION_MAX {
        cx.acceptable(format!("an answer has {worst:.1} times the bytes of the request"));
    }
    Ok(())
}
