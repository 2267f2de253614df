//! The connection to the queue, and what is in it: a stream of work for all campaigns, and a stream of results.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, RetentionPolicy, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use futures_util::StreamExt as _;

use super::wire::Work;

/// Work of all campaigns.
pub(super) const WORK: &str = "glare-work";
/// Results of all campaigns.
pub(super) const RESULTS: &str = "glare-results";
/// The consumer that all workers share.
const WORKERS: &str = "workers";
/// Work and results of a campaign that nobody goes on with are dropped after this time. Its store has all that it has taken.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Work is delivered to another worker if its worker has said nothing for this long.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(10);
/// A campaign may hold results for as long as it runs: a new call gets them again, because it makes a new consumer.
const RESULT_ACK_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Messages that all workers together, or a campaign, may have without having acknowledged them.
const UNACKNOWLEDGED_MAX: i64 = 1_000_000;
/// Longest time for one attempt to connect.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest time for one answer of the queue.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Pause before something is tried again.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// How long a queue that was there may be away.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// The flags of a queue.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Flags {
    /// NATS server with JetStream through which workers on any machines play the stories
    #[arg(long, value_name = "nats://HOST:PORT")]
    pub(crate) queue: Option<Address>,
    /// Time to wait for a queue that cannot be reached [default: none at the start, 30s later]
    #[arg(long, value_name = "TIME", value_parser = scenarios::time, requires = "queue")]
    pub(crate) wait: Option<Duration>,
}

/// The address of a queue. It may hold a password, so it is shown without.
#[derive(Clone, Debug)]
pub(crate) struct Address(ServerAddr);

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = "must be the address of a NATS server, such as `nats://127.0.0.1:4222`, or `tls://…`";
        let address: ServerAddr = text.parse().map_err(|_| anyhow!(wrong))?;
        if !["nats", "tls"].contains(&address.scheme()) || address.host().is_empty() {
            bail!(wrong);
        }
        Ok(Self(address))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address) = self;
        write!(f, "{}://{}:{}", address.scheme(), address.host(), address.port())
    }
}

impl Address {
    /// The name and the password in the address, or a token alone, which the library leaves to its caller.
    fn credentials(&self) -> Option<(String, Option<String>)> {
        let url = self.0.clone().into_inner();
        let name = decoded(url.username());
        (!name.is_empty()).then(|| (name, url.password().map(decoded)))
    }
}

/// Text of a URL with `%41` for `A`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = (*first == b'%').then(|| byte_of(after.get(..2)?)).flatten();
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn byte_of(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Why the queue cannot be used.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It cannot be reached, or was away for too long.
    Away(String),
    /// It can be reached, but is not what it must be.
    Unfit(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) | Self::Unfit(why) => f.write_str(why),
        }
    }
}

/// A connection to the queue.
pub(super) struct Link {
    address: Address,
    client: Client,
    context: Context,
    /// How often a connection was made.
    connected: Arc<AtomicU64>,
    away_max: Duration,
    /// Since when nothing has worked.
    trouble_since: Option<Instant>,
}

impl Link {
    /// Connects to the queue, and makes its streams unless they are there.
    ///
    /// # Errors
    /// It cannot be reached within `wait`, refuses the client, or has no JetStream.
    pub(super) async fn open(address: &Address, wait: Option<Duration>, name: &str) -> Result<Self, Trouble> {
        let start = crate::now();
        let patience = wait.unwrap_or_default();
        let connected = Arc::new(AtomicU64::new(0));
        let client = loop {
            match connect(address, name, &connected).await {
                Ok(client) => break client,
                Err(Trouble::Away(_)) if start.elapsed() < patience => tokio::time::sleep(PAUSE).await,
                Err(trouble) => return Err(trouble),
            }
        };
        let is_off = || !client.server_info().jetstream;
        while is_off() && start.elapsed() < patience {
            tokio::time::sleep(PAUSE).await;
        }
        if is_off() {
            let hint = "start it with `nats-server -js`";
            return Err(Trouble::Unfit(format!("the NATS server at {address} has no JetStream: {hint}")));
        }
        let context = jetstream::ContextBuilder::new().timeout(ANSWER_MAX).build(client.clone());
        let away_max = wait.unwrap_or(AWAY_MAX);
        let address = address.clone();
        let mut link = Self { address, client, context, connected, away_max, trouble_since: None };
        loop {
            match link.streams().await {
                Ok(()) => return Ok(link),
                Err(why) => link.endure(&why).await?,
            }
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// How often a connection was made: another number than before means that messages may have got lost on their way.
    pub(super) fn connections(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// The longest message.
    pub(super) fn payload_max(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// Sends what waits to be sent.
    pub(super) async fn flush(&self) {
        let _ = tokio::time::timeout(ANSWER_MAX, self.client.flush()).await;
    }

    async fn streams(&self) -> Result<(), String> {
        for (name, subjects) in [(WORK, "glare.work.>"), (RESULTS, "glare.results.>")] {
            let config = Config {
                name: name.to_owned(),
                subjects: vec![subjects.to_owned()],
                retention: RetentionPolicy::WorkQueue,
                max_age: KEPT,
                ..Config::default()
            };
            self.context.get_or_create_stream(config).await.map_err(|error| in_words(&error))?;
        }
        Ok(())
    }

    pub(super) async fn stream(&self, name: &str) -> Result<Stream, String> {
        self.streams().await?;
        self.context.get_stream(name).await.map_err(|error| in_words(&error))
    }

    /// The consumer that all workers share.
    pub(super) async fn work(&self) -> Result<Consumer<pull::Config>, String> {
        let config = pull::Config {
            durable_name: Some(WORKERS.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: UNACKNOWLEDGED_MAX,
            ..pull::Config::default()
        };
        let stream = self.stream(WORK).await?;
        stream.get_or_create_consumer(WORKERS, config).await.map_err(|error| in_words(&error))
    }

    /// A new consumer of the results with this subject: it delivers all that no consumer has acknowledged.
    pub(super) async fn results(&self, name: &str, subject: &str) -> Result<Consumer<pull::Config>, String> {
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: subject.to_owned(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: RESULT_ACK_WAIT,
            max_ack_pending: UNACKNOWLEDGED_MAX,
            ..pull::Config::default()
        };
        let stream = self.stream(RESULTS).await?;
        // There is none in a new campaign.
        let _ = stream.delete_consumer(name).await;
        stream.create_consumer(config).await.map_err(|error| in_words(&error))
    }

    /// Removes the messages with these subjects, one by one: NATS 2.9 lets the consumers of a stream skip the messages of others
    /// when some are purged by their subject. What cannot be removed is dropped by the queue after some days.
    pub(super) async fn remove(&self, name: &str, subjects: &str) {
        let Ok(stream) = self.stream(name).await else { return };
        let Ok(mut found) = stream.info_with_subjects(subjects).await else { return };
        while let Some(Ok((subject, count))) = found.next().await {
            for _ in 0..count {
                let Ok(last) = stream.get_last_raw_message_by_subject(&subject).await else { break };
                let _ = stream.delete_message(last.sequence).await;
            }
        }
    }

    /// Lets the workers get all work again if their consumer believes that there is none, although there is some.
    pub(super) async fn mend_work(&self) -> Result<(), String> {
        let mut work = self.work().await?;
        let stream = self.stream(WORK).await?;
        let info = work.info().await.map_err(|error| in_words(&error))?;
        if info.num_pending == 0 && info.num_ack_pending == 0 && stream.cached_info().state.messages > 0 {
            stream.delete_consumer(WORKERS).await.map_err(|error| in_words(&error))?;
            self.work().await?;
        }
        Ok(())
    }

    /// Something has worked.
    pub(super) fn works(&mut self) {
        self.trouble_since = None;
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Something has not worked: a pause before the next attempt, unless nothing has worked for too long.
    ///
    /// # Errors
    /// Nothing has worked for too long.
    pub(super) async fn endure(&mut self, why: &str) -> Result<(), Trouble> {
        let now = crate::now();
        let since = *self.trouble_since.get_or_insert(now);
        if now.duration_since(since) >= self.away_max {
            let (address, seconds) = (&self.address, self.away_max.as_secs());
            return Err(Trouble::Away(format!("the queue at {address} has not worked for {seconds} s: {why}")));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

async fn connect(address: &Address, name: &str, connected: &Arc<AtomicU64>) -> Result<Client, Trouble> {
    let count = Arc::clone(connected);
    let options = ConnectOptions::new()
        .name(name)
        .connection_timeout(CONNECT_MAX)
        .request_timeout(Some(ANSWER_MAX))
        .ping_interval(Duration::from_secs(5))
        .reconnect_delay_callback(|_| PAUSE)
        .event_callback(move |event| {
            if matches!(event, Event::Connected) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            async {}
        });
    let options = match address.credentials() {
        None => options,
        Some((name, Some(password))) => options.user_and_password(name, password),
        Some((token, None)) => options.token(token),
    };
    options.connect(address.0.clone()).await.map_err(|error| {
        let why = in_words(&error);
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => Trouble::Unfit(format!(
                "the queue at {address} refuses this client: {why}; write `nats://USER:PASSWORD@HOST:PORT`"
            )),
            ConnectErrorKind::Tls => Trouble::Unfit(format!("there is no TLS with the queue at {address}: {why}")),
            _ => {
                Trouble::Away(format!("the queue at {address} cannot be reached: {why}; is `nats-server -js` running?"))
            }
        }
    })
}

/// Publishes a batch of stories. One that waits in the queue already is not published twice.
pub(super) async fn publish(context: &Context, work: &Work) -> Result<(), String> {
    let json = serde_json::to_vec(work).expect("work has a JSON form");
    let message = PublishMessage::build().payload(json.into()).expected_last_subject_sequence(0);
    let published = match context.send_publish(work.subject(), message).await {
        Ok(published) => published.await,
        Err(error) => Err(error),
    };
    match published {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(()),
        Err(error) => Err(in_words(&error)),
    }
}

/// An error with all its causes, on one line.
pub(super) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_holds_is_used_and_its_password_is_not_shown() {
        let address = |text: &str| text.parse::<Address>().unwrap_or_else(|error| panic!("{error}"));
        let secret = address("tls://m%65:p%40%ss%C3%BC@host.example:5222");
        assert_eq!(secret.to_string(), "tls://host.example:5222");
        assert_eq!(secret.credentials(), Some(("me".to_owned(), Some("p@%ssü".to_owned()))));
        assert_eq!(address("nats://token@[::1]").credentials(), Some(("token".to_owned(), None)));
        assert_eq!(address("127.0.0.1").to_string(), "nats://127.0.0.1:4222");
        assert_eq!(address("127.0.0.1").credentials(), None);
        assert!("ws://127.0.0.1".parse::<Address>().is_err());
    }
}
