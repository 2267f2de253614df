//! What browsers and their users send: whole descriptions, unusual texts, the end of candidates.

use super::is_ours;
use super::json::survives;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::cases::DELIVERY;
use crate::cases::bystander::Bystanders;
use crate::cases::mesh::receiver;
use crate::cases::payloads::{self, DESCRIPTION_BYTES, TEXTS};
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::{Event, Feature, Kind};
use crate::stop::Stop;
use crate::words::cut;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "msg/browser-description",
        Declared,
        "A whole session description of a browser, as long as the dialect allows up to 72 KiB, arrives unchanged, once, and in its room only.",
        run!(browser_description),
    )
    .needs(DELIVERY),
    &Case::new(
        "msg/texts",
        Declared,
        "Texts with markup, line separators, control characters and any Unicode arrive unchanged, and once.",
        run!(unusual_texts),
    )
    .needs(DELIVERY),
    &Case::new(
        "msg/end-of-candidates",
        Declared,
        "The end of candidates arrives as it was sent, be it null or an empty candidate, and null is not the same as absent.",
        run!(end_of_candidates),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Candidates]),
];

async fn browser_description(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let mut sent = false;
    for (kind, name) in [(Kind::Offer, "offer"), (Kind::Answer, "answer")] {
        if cx.env.dialect.signal_operation(kind).is_none() {
            continue;
        }
        let (from, to) = way(kind, &mut ana, &mut ben);
        let envelope = from.signal_message(kind, "0", receiver(cx, to), &from.room)?.len();
        let limit = cx.file().signals.bytes_max.map_or(DESCRIPTION_BYTES, |max| DESCRIPTION_BYTES.min(max));
        let word = cx.word("stream");
        let Some(description) = payloads::description(name, &word, limit.saturating_sub(envelope)) else { continue };
        let payload = (format!("a description of {} bytes", description.len()), description);
        arrive(cx, from, to, kind, &[payload]).await?;
        sent = true;
    }
    bystanders.received_nothing(cx).await?;
    if sent {
        Ok(())
    } else {
        Err(Stop::Unsupported("the dialect has no signal that is long enough for a session description".to_owned()))
    }
}

async fn unusual_texts(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let word = cx.word("text");
    let payloads =
        TEXTS.map(|(what, text)| (what.to_owned(), format!(r#"{{"of":"{word}","text":{text},"key":{{{text}:1}}}}"#)));
    let kind = ana.plain_kind();
    arrive(cx, &mut ana, &mut ben, kind, &payloads).await?;
    bystanders.received_nothing(cx).await
}

async fn end_of_candidates(cx: &mut Cx) -> Result<(), Stop> {
    let bystanders = Bystanders::gather(cx).await?;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    arrive(cx, &mut ana, &mut ben, Kind::Candidate, &candidates(&cx.word("candidate"))).await?;
    arrive(cx, &mut ben, &mut ana, Kind::Candidate, &candidates(&cx.word("candidate"))).await?;
    bystanders.received_nothing(cx).await
}

/// A candidate, and all forms in which browsers and applications mark the end of candidates.
fn candidates(word: &str) -> Vec<(String, String)> {
    let line = format!("candidate:1 1 udp 2122260223 192.0.2.7 49203 typ host ufrag {word}");
    let forms = [
        (
            "a candidate",
            format!(r#"{{"candidate":"{line}","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"{word}"}}"#),
        ),
        (
            "a candidate with null for its section",
            format!(r#"{{"candidate":"{line}","sdpMid":null,"sdpMLineIndex":0}}"#),
        ),
        ("a candidate without a section", format!(r#"{{"candidate":"{line}","sdpMLineIndex":0}}"#)),
        (
            "an empty candidate",
            format!(r#"{{"candidate":"","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"{word}"}}"#),
        ),
        ("null as the end of candidates", "null".to_owned()),
    ];
    forms.map(|(what, payload)| (what.to_owned(), payload)).into()
}

/// A signal's sender and receiver. The dialect may fix who offers; then it is ana.
fn way<'a>(kind: Kind, ana: &'a mut Peer, ben: &'a mut Peer) -> (&'a mut Peer, &'a mut Peer) {
    if kind == Kind::Answer { (ben, ana) } else { (ana, ben) }
}

/// `from` sends these payloads, one after the other. All of them arrive unchanged, once each, and in this order. Each
/// must contain something unique, or the dialect rooms.
async fn arrive(
    cx: &Cx,
    from: &mut Peer,
    to: &mut Peer,
    kind: Kind,
    payloads: &[(String, String)],
) -> Result<(), Stop> {
    if cx.file().signals.echo {
        // What the receiver itself sent before must have come back.
        let word = cx.word("sentinel");
        to.broadcast_word(&word);
        to.until("its own signal", |event| event.has_word(&word)).await?;
    }
    let mark = to.received.len();
    for (_, payload) in payloads {
        from.signal(kind, payload, receiver(cx, to))?;
    }
    cx.fence(from, &mut [&mut *to]).await?;
    let of_kind = |event: &Event| {
        let own = !to.id.is_empty() && event.from.as_ref() == Some(&to.id);
        event.is_signal() && event.kind.is_none_or(|other| other == kind) && !own
    };
    let mut arrived =
        to.received[mark..].iter().filter(|received| of_kind(&received.event) && !is_ours(&received.event));
    let (sender, receiver) = (&from.name, &to.name);
    let mut before = None;
    for (what, payload) in payloads {
        let Some(next) = arrived.next() else {
            return Err(Stop::fail(format!(
                "{receiver} did not receive {sender}'s {kind} with {what}: {}",
                cut(payload, SHOWN)
            )));
        };
        let data = next.event.data.as_deref().unwrap_or("no data");
        if survives(payload, data) {
            before = Some(payload);
            continue;
        }
        if before.is_some_and(|before| survives(before, data)) {
            return Err(Stop::at(
                format!("{receiver} received {sender}'s {kind} twice: {}", cut(data, SHOWN)),
                next.line,
            ));
        }
        let (at, lengths) = difference(payload, data);
        return Err(Stop::at(
            format!(
                "{what}: {sender} sent {}, {receiver} received {}{lengths}",
                cut(&payload[at..], SHOWN),
                cut(&data[at..], SHOWN)
            ),
            next.line,
        ));
    }
    match arrived.next() {
        Some(more) => {
            Err(Stop::at(format!("{receiver} received a {kind} more often than {sender} sent it"), more.line))
        }
        None => Ok(()),
    }
}

/// How many characters of a payload a failure shows.
const SHOWN: usize = 160;

/// Where to begin to show two payloads that differ, and their lengths if they are long.
fn difference(sent: &str, arrived: &str) -> (usize, String) {
    if sent.len().max(arrived.len()) <= SHOWN {
        return (0, String::new());
    }
    let same = sent.bytes().zip(arrived.bytes()).take_while(|(a, b)| a == b).count();
    let begin = (0..=same.saturating_sub(SHOWN / 4)).rev();
    let at =
        begin.into_iter().find(|at| sent.is_char_boundary(*at) && arrived.is_char_boundary(*at)).unwrap_or_default();
    (at, format!(" (from byte {at} of {} sent and {} received)", sent.len(), arrived.len()))
}
