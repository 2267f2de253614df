//! Opens connections in any framing.

use std::sync::Arc;
use std::time::Duration;

use super::adapter::Adapter;
use super::cookies::Jar;
use super::error::TransportError;
use super::link::{Link, link};
use super::net::Net;
use super::post::Poster;
use super::socket::{Beat, Codec};
use super::socketio::{self, SocketIo};
use super::websocket::Handshake;
use super::{sse, websocket};
use crate::dialect::file::Framing;
use crate::dialect::shape::Values;
use crate::dialect::{Act, Dialect, Operation};
use crate::entry::{Connects, Did, Framed};
use crate::target::Target;
use crate::transcript::Log;

/// Connects clients of a dialect to a server.
pub(crate) struct Connector {
    net: Net,
    dialect: Arc<Dialect>,
    adapter: Adapter,
}

impl Connector {
    pub(crate) fn new(net: Net, dialect: Arc<Dialect>) -> Self {
        let command = dialect.file.connection.command.clone().unwrap_or_default();
        let adapter = Adapter::new(command, dialect.folder.clone(), dialect.file.connection.raw);
        Self { net, dialect, adapter }
    }

    /// Connects a client as the dialect describes.
    pub(crate) async fn connect(&self, log: &Log, client: usize, values: &Values) -> Result<Link, TransportError> {
        let (dialect, target) = (&self.dialect, &self.net.target);
        let url = dialect.url(target.url(), values);
        let framing = match dialect.file.connection.framing {
            Framing::WebSocket => Framed::Text,
            Framing::WebSocketBinary => Framed::Binary,
            Framing::SocketIo => Framed::SocketIo,
            Framing::Adapter => Framed::Adapter,
            Framing::Sse => Framed::Sse,
        };
        let url = if framing == Framed::SocketIo { socketio::url(&url) } else { url };
        let post = dialect.post_url(target.url(), values);
        let known = |name: &&str| values.get(*name).map(|value| ((*name).to_owned(), value.clone()));
        let values_of_client = ["room", "self", "role"].iter().filter_map(known);
        let connects = Connects {
            framing,
            path: Target::path_of(&url),
            post: post.map(|post| Target::path_of(&post)),
            anonymous: target.is_anonymous(),
            opening: self.net.opening.clone(),
            values: if framing == Framed::Adapter { values_of_client.collect() } else { Vec::new() },
        };
        let beat = dialect.file.heartbeat.as_ref().and_then(|beat| {
            let ping = dialect.render(Operation::Ping, &Act::default(), values).ok()?;
            Some(Beat { every: Duration::from_secs(u64::from(beat.every_s?.max(1))), ping })
        });
        self.open(log, client, &connects, &Jar::default(), beat).await
    }

    /// Opens a connection as an entry of a recording describes, in any framing. A WebSocket's handshake has the cookies
    /// that the client has received before.
    pub(crate) async fn open(
        &self,
        log: &Log,
        client: usize,
        connects: &Connects,
        cookies: &Jar,
        beat: Option<Beat>,
    ) -> Result<Link, TransportError> {
        log.keep(client, || Did::Connects(connects.clone()));
        let net = &self.net;
        let url = net.target.with_path(&connects.path);
        let subprotocol = self.dialect.file.connection.subprotocol.as_deref();
        let handshake = Handshake { url: &url, cookies, subprotocol, opening: &connects.opening };
        let post = connects.post.as_ref().map(|post| net.target.with_path(post));
        let opened = match connects.framing {
            Framed::Text => self.websocket(log, client, handshake, Codec::Text, beat, post).await,
            Framed::Binary => self.websocket(log, client, handshake, Codec::Binary, beat, None).await,
            Framed::SocketIo => {
                self.websocket(log, client, handshake, Codec::SocketIo(SocketIo::default()), beat, None).await
            }
            Framed::Sse => {
                let post = post.unwrap_or_else(|| url.clone());
                sse::connect(net, log, client, &url, &post).await
            }
            Framed::Adapter => self.adapter.connect(net, log, client, &url, &connects.values).await,
        };
        log.keep(client, || match &opened {
            Ok(_) => Did::Connected,
            Err(error) => Did::Fails(error.to_string()),
        });
        opened
    }

    async fn websocket(
        &self,
        log: &Log,
        client: usize,
        handshake: Handshake<'_>,
        codec: Codec,
        beat: Option<Beat>,
        post: Option<String>,
    ) -> Result<Link, TransportError> {
        let cookies = handshake.cookies.clone();
        let (stream, agreed) = websocket::open(&self.net, handshake).await?;
        let (mut link, mut commands, reporter) = link(log, client);
        if agreed.is_some() {
            reporter.note("agrees with the server to compress messages");
        }
        link.deflates = agreed.is_some();
        if let Some(post) = post {
            commands = Poster::new(&self.net, cookies, &post, reporter.clone()).between(commands);
        }
        let task = websocket::Task::new(stream, agreed, codec, beat, commands, reporter);
        self.net.dial.spawn_boxed(Box::pin(task.run()));
        Ok(link)
    }
}
