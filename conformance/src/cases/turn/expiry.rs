//! Lifetimes that run out. These cases wait for minutes and run only with `--slow`.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{DATA, PERMISSION_CHECK};
use crate::case::Case;
use crate::case::Level::Must;
use crate::stop::Stop;
use crate::stun::client::UdpClient;
use crate::stun::cx::StunCx;
use crate::stun::names::attr;
use crate::stun::turn::Allocation;

/// Lifetime of a permission, RFC 8656 §9.
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// Lifetime of a channel binding, RFC 8656 §12.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// Tolerance: clocks may tick in seconds, and a server may check lifetimes only now and then.
const LEEWAY: Duration = Duration::from_secs(10);
/// Time between two checks that the server still answers.
const TICK: Duration = Duration::from_secs(20);

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/permission-300", Must, "A permission lasts 300 s, whatever data is relayed; a CreatePermission renews it.", |cx| {
        Box::pin(permission(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8656", "9", "The Permission Lifetime MUST be 300 seconds (= 5 minutes)."),
        PERMISSION_CHECK,
        rfc!("8656", "11.2", "Note that a Send indication never causes the server to refresh the permission."),
    ])
    .slow(),
    &Case::network("turn/channel-600", Must, "A channel lasts 600 s; then its number can be bound to another peer.", |cx| {
        Box::pin(channel(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8656", "12", "A channel binding lasts for 10 minutes unless refreshed."),
        rfc!("8656", "12", "Once unbound, the channel number can be bound to a different transport address, and the transport address can be bound to a different channel number."),
    ])
    .slow(),
    &Case::network("turn/allocation-expiry", Must, "An allocation ends with its lifetime, not before and not much later; data does not extend it.", |cx| {
        Box::pin(allocation(cx))
    })
    .needs(DATA)
    .cites(&[rfc!("8656", "6", "Allocations can only be refreshed using the Refresh request; sending data to a peer does not refresh an allocation.")])
    .slow(),
];

/// Waits until a time, and checks meanwhile that the server answers and, with `ben`, that permitted data passes.
async fn until(at: Instant, cx: &StunCx, ana: &mut Allocation, ben: Option<&mut UdpClient>) -> Result<(), Stop> {
    let mut ben = ben;
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(TICK)).await;
        ana.fence().await?;
        if let Some(ben) = ben.as_deref_mut()
            && Instant::now() < at
        {
            passes(cx, ana, ben).await?;
        }
    }
}

/// Checks that data passes in both directions.
async fn passes(cx: &StunCx, ana: &mut Allocation, ben: &mut UdpClient) -> Result<(), Stop> {
    let (there, back) = (cx.word("there"), cx.word("back"));
    ana.send_data(cx, ben.local, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await?;
    ben.send_to(back.as_bytes(), ana.relayed);
    ana.receive_data(back.as_bytes()).await.map(drop)
}

async fn permission(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    let start = Instant::now();
    ana.permit(cx, &ben).await?;
    until(start + PERMISSION_LIFETIME - LEEWAY, cx, &mut ana, Some(&mut ben)).await?;
    passes(cx, &mut ana, &mut ben).await.map_err(|stop| {
        stop.reworded(|why| format!("{} s after a CreatePermission: {why}", start.elapsed().as_secs()))
    })?;
    ana.refresh(cx, None).await?.success("a Refresh")?;
    until(start + PERMISSION_LIFETIME + LEEWAY, cx, &mut ana, None).await?;
    let (late, late_out) = (cx.word("late"), cx.word("late"));
    ben.send_to(late.as_bytes(), ana.relayed);
    ana.send_data(cx, ben.local, late_out.as_bytes());
    ben.fence().await?;
    super::permission::comes_behind(cx, &mut ana, &mut ben).await?;
    passes(cx, &mut ana, &mut ben).await?;
    let age = (PERMISSION_LIFETIME + LEEWAY).as_secs();
    if let Some(received) = ana.received_data(late.as_bytes()) {
        return Err(Stop::at(
            format!("data of a peer still reached the client {age} s after the CreatePermission"),
            received.line,
        ));
    }
    match ben.received.iter().find(|received| received.bytes == late_out.as_bytes()) {
        Some(received) => Err(Stop::at(
            format!("data of the client still reached a peer {age} s after the CreatePermission"),
            received.line,
        )),
        None => Ok(()),
    }
}

async fn channel(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    let other = (cx.peer_ip()?, 9).into();
    let start = Instant::now();
    ana.bind(cx, 0x4000, ben.local).await?.success("ChannelBind")?;
    for part in [PERMISSION_LIFETIME, CHANNEL_LIFETIME - LEEWAY] {
        until(start + part - LEEWAY, cx, &mut ana, None).await?;
        ana.permit(cx, &ben).await?;
        ana.refresh(cx, None).await?.success("a Refresh")?;
    }
    let word = cx.word("still-bound");
    ana.send_on_channel(0x4000, word.as_bytes());
    ben.receive_relayed(word.as_bytes()).await?;
    ana.bind(cx, 0x4000, other).await?.error(400, "a bound channel for another peer")?;
    until(start + CHANNEL_LIFETIME + LEEWAY, cx, &mut ana, None).await?;
    let late = cx.word("late");
    ana.is_silent_on("ChannelData on an expired channel", &crate::stun::wire::channel_data(0x4000, late.as_bytes()))
        .await?;
    let there = cx.word("sentinel");
    ana.send_data(cx, ben.local, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await?;
    if let Some(received) = ben.received.iter().find(|received| received.bytes == late.as_bytes()) {
        return Err(Stop::at("a channel is still bound 610 s after its ChannelBind", received.line));
    }
    ana.bind(cx, 0x4000, other).await?.success("an expired channel for another peer").map(drop)
}

async fn allocation(cx: &mut StunCx) -> Result<(), Stop> {
    // The server grants its shortest lifetime.
    let extend = |draft: crate::stun::wire::Draft| draft.with(attr::LIFETIME, 1_u32.to_be_bytes());
    let start = Instant::now();
    let mut ana = cx.allocation_with("ana", extend).await.map_err(Stop::into_setup)?;
    let mut ben = cx.peer("ben").await?;
    let lifetime = Duration::from_secs(u64::from(ana.lifetime));
    ana.permit(cx, &ben).await?;
    if lifetime > LEEWAY * 2 {
        until(start + lifetime - LEEWAY, cx, &mut ana, None).await?;
        ana.permit(cx, &ben).await.map_err(|stop| {
            stop.reworded(|why| format!("{} s after the Allocate: {why}", start.elapsed().as_secs()))
        })?;
        passes(cx, &mut ana, &mut ben).await?;
    }
    until(start + lifetime + LEEWAY, cx, &mut ana, None).await?;
    let late = cx.word("late");
    ben.send_to(late.as_bytes(), ana.relayed);
    ben.fence().await?;
    ana.fence().await?;
    if let Some(received) = ana.received_data(late.as_bytes()) {
        return Err(Stop::at("data is still relayed 10 s after the allocation's end", received.line));
    }
    ana.refresh(cx, None).await?.error(437, "a Refresh 10 s after the allocation's end")?;
    let again = ana.allocate_again(cx).await?;
    again.success("an Allocate on the port whose allocation has ended").map(drop)
}
