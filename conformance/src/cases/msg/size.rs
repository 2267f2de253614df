//! Messages at the limit of the dialect, and over it.

use super::no_effect::{Bad, has_no_effect};
use super::{after, is_ours};
use crate::case::Case;
use crate::case::Level::Declared;
use crate::cases::DELIVERY;
use crate::cases::mesh::receiver;
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::dialect::file::Situation;
use crate::framing::link::Command;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "msg/large-payload",
        Declared,
        "A message of the maximum length that the dialect allows is relayed completely.",
        run!(large_payload),
    )
    .needs(DELIVERY)
    .requires(&[Feature::SizeLimit])
    .alone(),
    &Case::new(
        "msg/over-limit",
        Declared,
        "A message that is one byte longer than the dialect allows, or twice as long, is not relayed, and is answered as declared.",
        run!(over_limit),
    )
    .needs(DELIVERY)
    .requires(&[Feature::SizeLimit, Feature::Frames])
    .alone(),
];

async fn large_payload(cx: &mut Cx) -> Result<(), Stop> {
    let max = cx.file().signals.bytes_max.expect("the case requires a limit");
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let to = cx.has(Feature::Targeted).then(|| ben.id.clone()).filter(|id| !id.is_empty());
    for bytes in [max / 4, max] {
        let envelope = ana.signal_message(ana.plain_kind(), "\"\"", to.as_ref(), &ana.room)?.len();
        // The letters vary: in a run of equal ones, a part lost in the middle would go unnoticed.
        let letters = (b'a'..=b'z').cycle().take(bytes.saturating_sub(envelope)).map(char::from);
        let payload: String = letters.collect();
        let mark = ben.received.len();
        ana.send_word_to(to.as_ref().unwrap_or(&ben.id), &payload);
        cx.fence(&mut ana, &mut [&mut ben]).await.map_err(|stop| after(&format!("{bytes} bytes"), stop))?;
        let signals =
            ben.received[mark..].iter().filter(|received| received.event.is_signal() && !is_ours(&received.event));
        let signals: Vec<_> = signals.collect();
        if signals.iter().any(|received| received.event.has_word(&payload)) {
            continue;
        }
        return Err(match signals.first() {
            Some(received) => Stop::at(format!("a message of {bytes} bytes arrived changed"), received.line),
            None => Stop::fail(format!("a message of {bytes} bytes did not arrive")),
        });
    }
    Ok(())
}

async fn over_limit(cx: &mut Cx) -> Result<(), Stop> {
    if !cx.file().declares.binds(Situation::Oversize) {
        return Err(Stop::Unsupported("the dialect promises nothing about messages over its limit".to_owned()));
    }
    let max = cx.file().signals.bytes_max.expect("the case requires a limit");
    let bad = |ana: &Peer, ben: &Peer| {
        let message = |data: &str| ana.signal_message(ana.plain_kind(), data, receiver(cx, ben), &ana.room);
        let envelope = message("\"\"")?.len();
        let long = |bytes: usize| {
            let text = message(&quoted(&"x".repeat(bytes.saturating_sub(envelope))))?;
            Ok(Bad::new(format!("a message of {bytes} bytes, where {max} are allowed"), Command::Text(text)))
        };
        [max + 1, max * 2].into_iter().map(long).collect()
    };
    has_no_effect(cx, &bad, Situation::Oversize).await
}
