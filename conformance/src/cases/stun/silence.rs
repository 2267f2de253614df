//! What a server must not answer. Silence is proved: requests sent afterwards are answered, and nothing else arrives.

use crate::stop::Stop;
use crate::stun::client::shown;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method};
use crate::stun::wire::{Class, Draft, write_address};

/// Lengths of datagrams: as long as an Ethernet frame, above common buffers, and nearly as long as UDP allows.
const LENGTHS: [usize; 4] = [1_400, 3_000, 9_500, 60_000];
/// Where datagrams may be fragmented and lost, longer ones are not sent.
const FAR_BYTES_MAX: usize = 3_000;

pub(super) async fn bad_cookie(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let mut request = cx.binding();
    request.bytes[4..8].copy_from_slice(b"abcd");
    let answers = ana.answers_to(&request.bytes).await?;
    let Some(received) = answers.first() else { return Ok(()) };
    // RFC 8489 §11 lets a server support RFC 3489 clients: their transaction id has 16 bytes, and their address is not
    // XORed.
    let mapped = [&[0, 1, 0, 8][..], &write_address(ana.local)].concat();
    let is_old = received.bytes.starts_with(&[1, 1])
        && received.bytes.get(4..20) == request.bytes.get(4..20)
        && received.bytes.windows(mapped.len()).any(|window| window == mapped);
    if !is_old {
        return Err(Stop::at(
            "a request without the magic cookie is answered, but not as RFC 3489 defines",
            received.line,
        ));
    }
    cx.acceptable("a request without the magic cookie is answered as RFC 3489 defines");
    Ok(())
}

pub(super) async fn first_bits(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    for bits in [0x80, 0xc0] {
        let mut request = cx.binding();
        request.bytes[0] |= bits;
        ana.is_silent_on(&format!("a message that begins with 0x{:02x}", request.bytes[0]), &request.bytes).await?;
    }
    Ok(())
}

pub(super) async fn bad_length(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let with_software = cx.binding().with(attr::SOFTWARE, "four");
    let cases: [(&str, Draft); 5] = [
        ("a length field of 4 with nothing after the header", cx.binding().with_length(4)),
        ("a length field of 65,532 with nothing after the header", cx.binding().with_length(65_532)),
        ("a length field of 0 with an attribute after the header", with_software.clone().with_length(0)),
        ("a length field of 7, which is not a multiple of four", with_software.with_length(7)),
        ("a length field of 3 and three bytes", {
            let mut draft = cx.binding().with_length(3);
            draft.bytes.extend([0; 3]);
            draft
        }),
    ];
    for (what, draft) in cases {
        ana.is_silent_on(what, &draft.bytes).await?;
    }
    Ok(())
}

pub(super) async fn short(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let request = cx.binding().bytes;
    for length in [0, 1, 4, 8, 19] {
        ana.is_silent_on(&format!("a datagram of {length} bytes"), &request[..length]).await?;
    }
    Ok(())
}

pub(super) async fn long(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    for length in LENGTHS.into_iter().filter(|length| cx.is_near() || *length <= FAR_BYTES_MAX) {
        let after = |stop: Stop| stop.reworded(|why| format!("after datagrams of {length} bytes, {why}"));
        for (what, bytes) in [("zeros", vec![0; length]), ("ones", vec![0xff; length])] {
            if ana.can_send_to(&bytes, ana.server) {
                ana.is_silent_on(&format!("a datagram of {length} {what}"), &bytes).await.map_err(after)?;
            }
        }
        // Well-formed, but longer than any request. The server may have a limit.
        let request = cx.binding().with(attr::UNKNOWN_OPTIONAL, vec![0; length - 24]);
        if ana.can_send_to(&request.bytes, ana.server) {
            ana.fence().await.map_err(after)?;
        }
    }
    Ok(())
}

pub(super) async fn attribute_overrun(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let overrun = |length: u16| {
        let mut draft = cx.binding().with(attr::UNKNOWN_OPTIONAL, [0; 4]);
        draft.bytes[22..24].copy_from_slice(&length.to_be_bytes());
        draft
    };
    for draft in [overrun(5), overrun(8), overrun(0xffff)] {
        for received in ana.answers_to(&draft.bytes).await? {
            let message = received.message();
            let is_400 = message.is_ok_and(|message| matches!(message.error(), Ok(Some((400, _)))));
            if !is_400 {
                let why = format!(
                    "an attribute that extends beyond its message is answered with `{}`",
                    shown(&received.bytes)
                );
                return Err(Stop::at(why, received.line));
            }
            cx.remark("an attribute that extends beyond its message is answered with 400");
        }
    }
    Ok(())
}

pub(super) async fn unknown_method(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    for method in [method::UNASSIGNED, 0x000, 0xfff] {
        let draft = cx.request(method);
        for received in ana.answers_to(&draft.bytes).await? {
            let is_error = received.message().is_ok_and(|message| message.class == Class::Error);
            if !is_error {
                let why = format!("method 0x{method:03x} is answered with `{}`", shown(&received.bytes));
                return Err(Stop::at(why, received.line));
            }
            cx.acceptable(format!("method 0x{method:03x} is answered with an error instead of being ignored"));
        }
    }
    Ok(())
}

pub(super) async fn response_ignored(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let success = Draft::new(method::BINDING, Class::Success, cx.env.id());
    let success = success.with_xor_address(attr::XOR_MAPPED_ADDRESS, ana.local);
    ana.is_silent_on("a success response", &success.bytes).await?;
    let error = Draft::new(method::BINDING, Class::Error, cx.env.id()).with(attr::ERROR_CODE, [0, 0, 4, 0]);
    ana.is_silent_on("an error response", &error.bytes).await
}

pub(super) async fn indication(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    ana.is_silent_on("an indication", &cx.indication(method::BINDING).bytes).await?;
    let unknown = cx.indication(method::BINDING).with(attr::UNKNOWN_REQUIRED[0], [0; 4]);
    ana.is_silent_on("an indication with an unknown attribute", &unknown.bytes).await?;
    let sealed = cx.indication(method::BINDING).with_fingerprint();
    ana.is_silent_on("an indication with FINGERPRINT", &sealed.bytes).await
}
