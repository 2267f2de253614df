//! What carries messages: each framing turns orders into bytes and bytes into news.

pub(crate) mod adapter;
pub(crate) mod http;
pub(crate) mod socketio;
pub(crate) mod sse;
pub(crate) mod stream;
pub(crate) mod websocket;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::case::Env;
use crate::dialect::file::Framing;
use crate::dialect::shape::Values;
use crate::dialect::{Act, Operation};
use crate::recording::{Connects, Did, Ended, Framed};
use crate::target::Target;
use crate::transcript::Log;
use socketio::SocketIo;
use websocket::{Connection, Request, Socket};

/// More than any correct server sends a client in a case.
pub(crate) const MESSAGES_MAX: usize = 20_000;
/// The same in bytes.
pub(crate) const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a connection is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    Text(String),
    Binary(Bytes),
    Ping(&'static [u8]),
    Close(u16),
    /// Bytes past the framing, with the words for them.
    Raw(Bytes, &'static str),
    /// Reads nothing any more, or again.
    Deaf(bool),
    /// Tells when all that came before is written.
    Written(oneshot::Sender<()>),
    /// Gives the socket away, once all is written; the task ends. Of WebSockets alone.
    HandOver(oneshot::Sender<Socket>),
}

/// What a connection tells, with the line of the log that shows it.
#[derive(Debug)]
pub(crate) enum News {
    Text(String),
    Binary,
    Pong(Bytes),
    /// It is over; nothing follows.
    End(End),
}

/// How a connection came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame came, perhaps with a code, and then the end of TCP.
    Closed(Option<u16>),
    /// TCP ended or broke without one.
    Lost,
    /// The server broke the framing rules.
    Broken(String),
    /// More came than we want to keep.
    Flood,
}

/// How messages stand in frames.
#[derive(Debug)]
pub(crate) enum Codec {
    Text,
    Binary,
    SocketIo(SocketIo),
}

/// Both ends of a connection's task.
pub(crate) type Ends = (UnboundedSender<Order>, UnboundedReceiver<(usize, News)>);

/// A heartbeat that a client sends by itself.
pub(crate) type Beat = Option<(Duration, String)>;

/// Connects a client as its dialect says.
pub(crate) async fn connect(env: &Arc<Env>, log: &Log, client: usize, values: &Values) -> Result<Ends, String> {
    let dialect = &env.dialect;
    let url = dialect.url(env.target.url(), values);
    let framing = match dialect.file.connection.framing {
        Framing::WebSocket => Framed::Text,
        Framing::WebSocketBinary => Framed::Binary,
        Framing::SocketIo => Framed::SocketIo,
        Framing::Adapter => Framed::Adapter,
        Framing::Sse => Framed::Sse,
    };
    let url = if framing == Framed::SocketIo { socketio::url(&url) } else { url };
    let post = dialect.post_url(env.target.url(), values).filter(|_| framing == Framed::Sse);
    let told = |name: &&str| values.get(*name).map(|value| ((*name).to_owned(), value.clone()));
    let values_of_client = ["room", "self", "role"].iter().filter_map(told);
    let connects = Connects {
        framing,
        path: Target::path_of(&url),
        post: post.map(|post| Target::path_of(&post)),
        anonymous: env.target.is_anonymous(),
        values: if framing == Framed::Adapter { values_of_client.collect() } else { Vec::new() },
    };
    let beat = dialect.file.heartbeat.as_ref().and_then(|beat| {
        let ping = dialect.render(Operation::Ping, &Act::default(), values).ok()?;
        Some((Duration::from_secs(u64::from(beat.every_s?.max(1))), ping))
    });
    open(env, log, client, &connects, beat).await
}

/// Opens a connection, whatever the dialect.
pub(crate) async fn open(
    env: &Arc<Env>,
    log: &Log,
    client: usize,
    connects: &Connects,
    beat: Beat,
) -> Result<Ends, String> {
    log.keep(client, || Did::Connects(connects.clone()));
    let url = env.target.with_path(&connects.path);
    let codec = match connects.framing {
        Framed::Text => Some(Codec::Text),
        Framed::Binary => Some(Codec::Binary),
        Framed::SocketIo => Some(Codec::SocketIo(SocketIo::default())),
        Framed::Sse | Framed::Adapter => None,
    };
    let opened = match codec {
        Some(codec) => websocket(env, log, client, &url, codec, beat).await,
        None if connects.framing == Framed::Sse => {
            let post = connects.post.as_ref().map_or_else(|| url.clone(), |post| env.target.with_path(post));
            sse::connect(env, log, client, &url, &post).await
        }
        None => {
            let values = connects.values.iter().cloned().collect();
            env.adapter.connect(env, log, client, &url, &values).await
        }
    };
    log.keep(client, || match &opened {
        Ok(_) => Did::Connected,
        Err(why) => Did::Fails(why.clone()),
    });
    opened
}

async fn websocket(
    env: &Arc<Env>,
    log: &Log,
    client: usize,
    url: &str,
    codec: Codec,
    beat: Beat,
) -> Result<Ends, String> {
    let request = Request { url, subprotocol: env.dialect.file.connection.subprotocol.as_deref() };
    let socket = websocket::open(&*env.dial, &env.target, request, env.patience).await?;
    let (orders, their_orders) = unbounded_channel();
    let (their_news, news) = unbounded_channel();
    let connection = Connection::new(socket, codec, beat, (their_orders, their_news), log.clone(), client);
    env.dial.spawn_boxed(Box::pin(connection.run()));
    Ok((orders, news))
}

impl End {
    /// As a recording has it.
    pub(crate) fn kept(&self) -> Did {
        let (code, how) = match self {
            Self::Closed(code) => (*code, "closed".to_owned()),
            Self::Lost => (None, "lost".to_owned()),
            Self::Broken(why) => (None, why.clone()),
            Self::Flood => (None, "a flood".to_owned()),
        };
        Did::Ended(Ended { code, how })
    }
}
