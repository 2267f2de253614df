//! Broadcasts: what comes back to the sender, and what a latecomer gets.

use super::DELIVERY;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "bcast/echo-as-declared",
        Declared,
        "A sender receives its own signal exactly once if the dialect declares it, and never otherwise.",
        run!(echo_as_declared),
    )
    .needs(DELIVERY),
    &Case::new(
        "bcast/late-listener",
        Declared,
        "A client that connects later receives nothing sent before, and everything sent after.",
        run!(late_listener),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Broadcast, Feature::Crowd]),
];

async fn echo_as_declared(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let word = cx.word("echo");
    ana.send_word(&ben, &word);
    ben.until("ana's signal", |event| event.has_word(&word)).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ben.received_once("ana's signal", |event| event.has_word(&word))?;
    if !cx.file().signals.echo {
        return ana.never_received("received her own signal", |event| event.has_word(&word));
    }
    ana.received_once("her own signal, which this dialect echoes", |event| event.has_word(&word))?;
    cx.quality("the server echoes every signal to its sender, which must distinguish it from the signals of others");
    Ok(())
}

async fn late_listener(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let (early, late) = (cx.word("early"), cx.word("late"));
    ana.broadcast_word(&early);
    ben.until("ana's signal", |event| event.has_word(&early)).await?;
    let mut cleo = cx.join("cleo", &room).await?;
    cx.settle(&mut ana, &mut cleo).await.map_err(Stop::into_setup)?;
    ana.broadcast_word(&late);
    cleo.until("the signal that ana sent after cleo joined", |event| event.has_word(&late)).await?;
    cx.fence(&mut ben, &mut [&mut cleo]).await?;
    cleo.never_received("received a signal that was sent before she joined", |event| event.has_word(&early))
}
