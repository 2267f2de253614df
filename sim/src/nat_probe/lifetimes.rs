//! How long mappings live without traffic (RFC 5780 §4.6).
//!
//! A socket sends, is then silent, and after a time another socket asks the server to answer to the first one's external
//! port. The answer arrives only if the mapping is still there, and nothing has refreshed it. Each time is asked of a
//! socket of its own, and all at once, so the probe takes as long as the longest time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use server::net::{Network, Udp};
use tokio::time::{Instant, sleep, sleep_until};

use super::exchange::{Prober, receive};
use super::wire::{self, Answer, Wish};
use super::{Plan, Unknown};

/// Number of times that are asked.
const STEPS: u32 = 40;
/// How long the socket of a stream sends before it is silent: longer than Linux needs to call an exchange a stream.
const STREAM: Duration = Duration::from_secs(3);
/// How long to wait for an answer after the silence, and how often to ask.
const PATIENCE: Duration = Duration::from_millis(700);
/// How many sockets ask after the silence, in case a datagram is lost.
const ASKERS: usize = 3;
/// How many ask if the NAT has several external addresses: each may get another one, and only one with that of the silent
/// socket can reach it. With four addresses, one time in a million none does.
const ASKERS_MANY: usize = 48;

/// How long a mapping lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// It was still there after this time.
    pub lives: Duration,
    /// It was gone after this time; `None` if it was there after the longest time.
    pub gone: Option<Duration>,
}

/// How long mappings live, by what was said before the silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// A question without an answer.
    pub question: Lifetime,
    /// A question and its answer.
    pub answer: Lifetime,
    /// Questions and answers for three seconds.
    pub stream: Lifetime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Talk {
    Question,
    Answer,
    Stream,
}

/// Probes all lifetimes up to `longest`.
/// `has_many_addresses`: whether the NAT uses several external addresses.
pub(super) async fn probe<N: Network>(
    prober: &Prober<N>,
    longest: Duration,
    has_many_addresses: bool,
) -> io::Result<Result<Lifetimes, Unknown>> {
    let askers = if has_many_addresses { ASKERS_MANY } else { ASKERS };
    if let Some(unknown) = lacks_response_port(prober, askers).await? {
        return Ok(Err(unknown));
    }
    let step = Duration::from_millis((longest.as_millis() as u64).div_ceil(u64::from(STEPS)).max(1000));
    let times: Vec<Duration> = (1..=STEPS).map(|number| step * number).filter(|time| *time <= longest).collect();
    let of = async |talk| {
        let asked = join_all(times.iter().map(|time| outlives(prober, talk, *time, askers))).await;
        let asked: Vec<bool> = asked.into_iter().collect::<io::Result<_>>()?;
        // Up to the first time at which it was gone.
        let lived = asked.iter().take_while(|is_there| **is_there).count();
        let lives = lived.checked_sub(1).map_or(Duration::ZERO, |last| times[last]);
        io::Result::Ok(Lifetime { lives, gone: times.get(lived).copied() })
    };
    let (question, answer, stream) = tokio::join! { biased; of(Talk::Question), of(Talk::Answer), of(Talk::Stream) };
    Ok(Ok(Lifetimes { question: question?, answer: answer?, stream: stream? }))
}

/// Why the server's answers to other ports do not come, if they do not.
async fn lacks_response_port<N: Network>(prober: &Prober<N>, askers: usize) -> io::Result<Option<Unknown>> {
    for _ in 0..askers {
        let (asker, silent) = (prober.socket().await?, prober.socket().await?);
        let Some(mapped) = prober.mapped(&silent).await else { continue };
        let wish = Wish { response_port: Some(mapped.port()), ..Wish::default() };
        let id = prober.transaction();
        let _ = asker.send_to(&wire::request(id, wish), prober.plan.server).await;
        let until = Instant::now() + PATIENCE;
        let read = |datagram: &[u8]| wire::answer(datagram, id);
        let (arrived, back) = tokio::join! { biased; receive(&silent, until, read), receive(&asker, until, read) };
        match (arrived, back) {
            (Some((Answer::Success { .. }, _)), _) => return Ok(None),
            (_, Some((Answer::Error(code), _))) => return Ok(Some(Unknown::ResponsePortRefused(code))),
            // It ignores what was asked.
            (_, Some((Answer::Success { .. }, _))) => return Ok(Some(Unknown::NoResponsePort)),
            _ => {}
        }
    }
    Ok(Some(Unknown::NoResponsePort))
}

/// Whether a new mapping is still there after a time.
async fn outlives<N: Network>(prober: &Prober<N>, talk: Talk, time: Duration, askers: usize) -> io::Result<bool> {
    let Plan { server, .. } = prober.plan;
    let start = Instant::now();
    let (silent, mapped, since) = match talk {
        Talk::Question => {
            let Some(asked) = question(prober, askers).await? else { return Ok(false) };
            asked
        }
        Talk::Answer | Talk::Stream => {
            let silent = prober.socket().await?;
            let mut since = Instant::now();
            let Some(mut mapped) = prober.mapped(&silent).await else { return Ok(false) };
            while talk == Talk::Stream && start.elapsed() < STREAM {
                sleep(Duration::from_millis(500)).await;
                since = Instant::now();
                mapped = prober.mapped(&silent).await.unwrap_or(mapped);
            }
            (silent, mapped, since)
        }
    };
    sleep_until(since + time).await;
    // The answer may go to a port of another external address. The askers cannot see that, so all ask at once.
    let mut sockets = Vec::new();
    for _ in 0..askers {
        sockets.push(prober.socket().await?);
    }
    let wish = Wish { response_port: Some(mapped.port()), ..Wish::default() };
    let ids: Vec<_> = sockets.iter().map(|_| prober.transaction()).collect();
    for (asker, id) in sockets.iter().zip(&ids) {
        let _ = asker.send_to(&wire::request(*id, wish), server).await;
    }
    let read = |datagram: &[u8]| ids.iter().find_map(|id| wire::answer(datagram, *id));
    Ok(receive(&silent, Instant::now() + PATIENCE, read).await.is_some())
}

/// A socket that has sent once and heard nothing, its external address, and when it has sent. The server's answer went to
/// another socket.
async fn question<N: Network>(prober: &Prober<N>, askers: usize) -> io::Result<Option<(N::Udp, SocketAddr, Instant)>> {
    for _ in 0..askers {
        let (silent, helper) = (prober.socket().await?, prober.socket().await?);
        let Some(helped) = prober.mapped(&helper).await else { continue };
        let id = prober.transaction();
        let wish = Wish { response_port: Some(helped.port()), ..Wish::default() };
        let since = Instant::now();
        let _ = silent.send_to(&wire::request(id, wish), prober.plan.server).await;
        let read = |datagram: &[u8]| wire::answer(datagram, id);
        if let Some((Answer::Success { mapped, .. }, _)) = receive(&helper, since + PATIENCE, read).await {
            return Ok(Some((silent, mapped, since)));
        }
    }
    Ok(None)
}
