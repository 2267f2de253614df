//! Many clients, large volumes, and slow readers.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{DELIVERY, QUICK};
use crate::case::Case;
use crate::case::Level::{Declared, May, Should};
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::file::Addressing;
use crate::dialect::{Event, EventName, Feature};
use crate::framing::link::{Command, End};
use crate::framing::websocket::frame;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "load/slow-consumer",
        Should,
        "A member that does not read does not delay the others, and the server does not queue messages for it without limit.",
        run!(slow_consumer),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Frames])
    .alone(),
    &Case::new(
        "load/reconnect-storm",
        Declared,
        "After forty members have joined and left at once, none of them is still listed.",
        run!(reconnect_storm),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Crowd])
    .alone(),
    &Case::new(
        "load/rate-limit",
        May,
        "Each of 200 signals sent at once arrives, or its sender is notified or disconnected: none is lost silently.",
        run!(rate_limit),
    )
    .needs(DELIVERY)
    .alone(),
    &Case::new(
        "load/half-open-detected",
        Declared,
        "A member whose machine disappeared is dropped within the time that the dialect allows, and announced as left where leaves are.",
        run!(half_open_detected),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Frames, Feature::DeadAfter])
    .slow(),
    &Case::new(
        "load/half-open-soon",
        Declared,
        "Where the dialect allows a member at most 5 s of silence, one whose machine disappeared is dropped soon after that time, and announced as left where leaves are.",
        run!(half_open_soon),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Frames, Feature::DeadAfter]),
    &Case::new(
        "load/idle-stays",
        Declared,
        "A member that sends nothing but answers pings is still connected when an unresponsive one would have been dropped.",
        run!(idle_stays),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Frames, Feature::DeadAfter])
    .slow(),
];

/// What the buffers of the network hold at most between a server and a client nearby that does not read: on Linux up to
/// 4 MiB to send and 6 MiB to receive. Between distant ones, proxies may hold more.
const NETWORK_BYTES_MAX: usize = 10 * 1024 * 1024;
/// The longest time that a signal takes over a server nearby.
const NEAR: Duration = Duration::from_millis(40);

/// The shortest time in which one of a few signals arrives: on a busy machine, most take longer.
async fn quickest_signal(cx: &Cx, from: &mut Peer, to: &mut Peer) -> Result<Duration, Stop> {
    const SIGNALS: usize = 5;
    let mut quickest = Duration::MAX;
    for _ in 0..SIGNALS {
        let start = Instant::now();
        cx.fence(from, &mut [&mut *to]).await?;
        quickest = quickest.min(start.elapsed());
    }
    Ok(quickest)
}

async fn slow_consumer(cx: &mut Cx) -> Result<(), Stop> {
    const SIGNALS_MIN: usize = 96;
    const SIGNALS_MAX: usize = 2_000;
    const SIGNAL_BYTES_MAX: usize = 120 * 1024;
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    // Others must be served meanwhile: a third member, or two members of another room.
    let mut cleo = None;
    let mut others = None;
    if cx.has(Feature::Crowd) {
        let mut third = cx.join("cleo", &room).await?;
        cx.settle(&mut ana, &mut third).await.map_err(Stop::into_setup)?;
        cleo = Some(third);
    } else {
        others = Some(cx.members(&cx.room(), ["cleo", "dora"]).await?);
    }
    let is_near = quickest_signal(cx, &mut ana, &mut ben).await? < NEAR;
    ben.command(Command::Deaf(true));
    let to = (cx.file().signals.addressing != Addressing::Broadcast && !ben.id.is_empty()).then(|| ben.id.clone());
    // A signal must not be longer than the dialect allows, with everything around its payload.
    let empty = ana.signal_message(ana.plain_kind(), &quoted("00-"), to.as_ref(), &ana.room)?.len();
    let signal_bytes = cx.file().signals.bytes_max.map_or(SIGNAL_BYTES_MAX, |max| SIGNAL_BYTES_MAX.min(max));
    let filler = "x".repeat(signal_bytes.saturating_sub(empty));
    // More than the server may queue.
    let limit = cx.file().signals.queued_bytes_max.filter(|_| is_near);
    let more = limit.map_or(0, |limit| (limit + NETWORK_BYTES_MAX) / signal_bytes + 1);
    let signals = SIGNALS_MIN.max(if more <= SIGNALS_MAX { more } else { 0 });
    // On a slow line, fewer signals have to do. On a busy machine, the second half gets as much time as the first.
    let start = Instant::now();
    let has_time = |sent: usize| start.elapsed() < cx.env.net.patience * if sent * 2 >= signals { 4 } else { 2 };
    let who = ben.who();
    let mut sent = 0;
    while sent < signals && has_time(sent) {
        ana.signal(ana.plain_kind(), &quoted(&format!("{sent}-{filler}")), to.as_ref())?;
        sent += 1;
        let wait =
            |why| format!("ben does not read, and {sent} signals of {} are queued for him: {why}", kib(signal_bytes));
        if !ana.written().await {
            return Err(ana.stop(wait("the server accepts no more data from ana".to_owned())));
        }
        ana.catch_up();
        if ana.count(|event| event.is_left(&who) || event.is(EventName::Ended)) > 0 {
            break;
        }
        if sent % 8 == 0 {
            let served = match (&mut cleo, &mut others) {
                (Some(cleo), _) => cx.fence(&mut ana, &mut [cleo]).await,
                (None, Some([cleo, dora])) => cx.fence(cleo, &mut [dora]).await,
                (None, None) => Ok(()),
            };
            served.map_err(|stop| stop.reworded(wait))?;
        }
    }
    // What the server has not read from ana yet, it does not queue for ben.
    ana.command(Command::Raw(frame(0x89, b"all-read"), "a ping"));
    let is_all_read = ana.until_pong(b"all-read").await.is_ok();
    ben.command(Command::Deaf(false));
    let mut received = cx.fence(&mut ana, &mut [&mut ben]).await;
    let mut before = 0;
    // On a busy machine, it takes long until so much has arrived.
    while received.is_err() && ben.end.is_none() && ben.received.len() > before {
        before = ben.received.len();
        received = cx.fence(&mut ana, &mut [&mut ben]).await;
    }
    let numbers: Vec<usize> = ben
        .received
        .iter()
        .filter_map(|received| received.event.data.as_ref()?.trim_start_matches('"').split('-').next()?.parse().ok())
        .collect();
    if numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(Stop::fail("ben started to read again and received the queued signals out of order or twice"));
    }
    match (received, &ben.end) {
        (_, Some(End::Closed(Some(code)))) => {
            cx.remark(format!(
                "the server closes a member that does not read with {code} after {} signals",
                numbers.len()
            ));
            Ok(())
        }
        (_, Some(_)) => {
            cx.remark("the server disconnects a member that does not read");
            Ok(())
        }
        (Ok(()), None) if numbers.len() == sent => {
            let queued = kib(sent * signal_bytes);
            let kept = format!("the server queued {queued} for a member that does not read");
            // The network holds some of it too.
            if let Some(limit) = limit.filter(|limit| is_all_read && sent * signal_bytes > limit + NETWORK_BYTES_MAX) {
                let limit = kib(limit);
                return Err(Stop::fail(format!(
                    "{kept}; the dialect's limit is {limit}, then it disconnects the member"
                )));
            }
            if signal_bytes < SIGNAL_BYTES_MAX {
                cx.remark(format!("{kept}; signals of this dialect are too short to test more"));
            } else if sent == signals {
                cx.acceptable(format!("{kept}; many such members can exhaust its memory"));
            } else {
                cx.remark(format!("{kept}; the connection is too slow to test more"));
            }
            Ok(())
        }
        (Ok(()), None) => {
            let lost = sent - numbers.len();
            Err(Stop::fail(format!(
                "ben did not read for a while: {lost} of {sent} signals were dropped, and he was not notified"
            )))
        }
        (Err(stop), None) => Err(stop),
    }
}

/// A number of bytes, rounded down for people.
fn kib(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / (1024 * 1024)),
    }
}

async fn reconnect_storm(cx: &mut Cx) -> Result<(), Stop> {
    const MEMBERS_MAX: usize = 40;
    // Besides ana, ben and the one who looks at the list.
    let members = cx.file().room.members_max.map_or(MEMBERS_MAX, |max| MEMBERS_MAX.min(max.saturating_sub(3)));
    if members == 0 {
        return Err(Stop::Unsupported("the dialect allows too few members".to_owned()));
    }
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let storm = join_all((0..members).map(|number| {
        let (cx, room) = (&*cx, &room);
        async move {
            let peer = cx.join(&format!("p{number}"), room).await?;
            if number % 2 == 0 {
                peer.hang_up()
            } else {
                peer.close().await
            }
            Ok::<_, Stop>(())
        }
    }));
    for joined in storm.await {
        joined.map_err(|stop| match stop {
            Stop::Setup(why) => Stop::fail(format!("{members} members joined at once: {why}")),
            other => other,
        })?;
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await?;
    if !cx.has(Feature::Roster) || cx.file().roster.of_server {
        return Ok(());
    }
    // No client is notified when the last connections are noticed to be lost; a client that joins sees it.
    let mut attempts = cx.attempts();
    loop {
        let mut late = cx.connect("late", &room).await?;
        let listed = late.join(&room, None).await?;
        let ghosts = listed.iter().filter(|member| member.id != ana.id && member.id != ben.id).count();
        if ghosts == 0 {
            return Ok(());
        }
        if attempts.are_over() {
            return Err(Stop::fail(format!(
                "{members} members have joined and left, but {ghosts} of them are still listed"
            )));
        }
        let who = late.who();
        late.close().await;
        if cx.has(Feature::LeaveNotice) {
            ana.until("the leave notice for the last one", |event| event.is_left(&who)).await?;
        }
        attempts.pause().await;
    }
}

async fn rate_limit(cx: &mut Cx) -> Result<(), Stop> {
    const SIGNALS: usize = 200;
    let [ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let mut ana = ana;
    let words: Vec<_> = (0..SIGNALS).map(|_| cx.word("much")).collect();
    words.iter().for_each(|word| ana.send_word(&ben, word));
    let last = cx.fence(&mut ana, &mut [&mut ben]).await;
    let received = words.iter().filter(|word| ben.count(|event| event.has_word(word)) > 0).count();
    ana.catch_up();
    let notified = ana.count(Event::is_error) > 0 || ana.end.is_some();
    if received == SIGNALS {
        return Ok(());
    }
    if notified {
        cx.remark(format!(
            "{received} of {SIGNALS} signals sent at once arrived; the sender was notified or disconnected"
        ));
        return Ok(());
    }
    last?;
    Err(Stop::fail(format!("{received} of {SIGNALS} signals sent at once arrived, and the sender was not notified")))
}

/// How long a client may be silent before the server drops it.
fn dead_after(cx: &Cx) -> Duration {
    let seconds = cx.file().heartbeat.as_ref().and_then(|beat| beat.dead_after_s).unwrap_or_default();
    Duration::from_secs(u64::from(seconds))
}

async fn idle_stays(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let limit = dead_after(cx) * 5 / 4;
    tokio::select! { biased;
        _ = ana.ended() => return Err(ana.stop("ana sent nothing but answered pings, and her connection ended".to_owned())),
        _ = ben.ended() => return Err(ben.stop("ben sent nothing but answered pings, and his connection ended".to_owned())),
        () = sleep(limit) => {}
    }
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut ben, &mut [&mut ana]).await
}

async fn half_open_soon(cx: &mut Cx) -> Result<(), Stop> {
    let limit = dead_after(cx);
    if limit > QUICK {
        let limit = limit.as_secs();
        return Err(Stop::Unsupported(format!(
            "the dialect allows a member {limit} s of silence: use --slow, which runs load/half-open-detected"
        )));
    }
    half_open_detected(cx).await
}

async fn half_open_detected(cx: &mut Cx) -> Result<(), Stop> {
    let limit = dead_after(cx) + cx.env.net.patience;
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let gone = ben.who();
    // Ben stops reading and so answers no pings, while TCP stays up.
    ben.command(Command::Deaf(true));
    if !cx.has(Feature::LeaveNotice) {
        sleep(limit).await;
        ben.command(Command::Deaf(false));
        if ben.ended_in_time().await.is_none() {
            let limit = dead_after(cx).as_secs();
            let why = format!("ben did not answer pings for longer than {limit} s, and is still connected");
            return Err(Stop::fail(why));
        }
        return Ok(());
    }
    ana.until_within("the leave notice for ben, who stopped answering", limit, |event| event.is_left(&gone)).await?;
    ana.received_once("the leave notice for ben", |event| event.is_left(&gone))
}
