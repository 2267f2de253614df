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
        "A sender hears its own signal exactly once if the dialect says so, and never otherwise.",
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
    ana.tell(&ben, &word);
    ben.until("ana's signal", |event| event.says(&word)).await?;
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    ben.heard_once("ana's signal", |event| event.says(&word))?;
    if !cx.file().signals.echo {
        return ana.never_heard("heard her own signal", |event| event.says(&word));
    }
    ana.heard_once("her own signal, which comes back in this dialect", |event| event.says(&word))?;
    cx.quality("every signal comes back to its sender, who must tell it from those of others");
    Ok(())
}

async fn late_listener(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let (early, late) = (cx.word("early"), cx.word("late"));
    ana.say(&early);
    ben.until("ana's signal", |event| event.says(&early)).await?;
    let mut cleo = cx.join("cleo", &room).await?;
    cx.settle(&mut ana, &mut cleo).await.map_err(Stop::into_setup)?;
    ana.say(&late);
    cleo.until("what ana says after cleo came", |event| event.says(&late)).await?;
    cx.fence(&mut ben, &mut [&mut cleo]).await?;
    cleo.never_heard("heard what was said before she came", |event| event.says(&early))
}
