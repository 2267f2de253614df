//! The sessions of an endpoint, and the state that all endpoints of a server share.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};

use data_encoding::BASE64URL_NOPAD;
use rand_core::RngCore;

use super::dialect::EventDialect;
use super::engine::{Handshake, Packet};
use super::session::Session;
use super::settings::SocketIoSettings;
use super::socket::Socket;
use crate::access::Grant;
use crate::access::addresses::SessionSource;
use crate::config::Config;
use crate::cors::Cors;
use crate::handshake::Negotiable;
use crate::lock::Lock;
use crate::net::Network;
use crate::random::Random;
use crate::session::client::Client;
use crate::session::dialect::Dialect;
use crate::session::registry::Registry;

/// Random bytes in a session's id. Anyone who knows the id can act as the client, so it must not be guessable.
const SID_BYTES: usize = 15;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The state that all Socket.IO endpoints of a server share.
pub(crate) struct Engine {
    pub(crate) settings: SocketIoSettings,
    pub(crate) registry: Arc<Registry>,
    pub(super) cors: Cors,
    pub(super) negotiable: Negotiable,
    /// One random stream for all endpoints, so that their ids are independent of each other.
    sids: Lock<Random>,
    spawn: Box<dyn Fn(Task) + Send + Sync>,
}

/// An endpoint: a dialect, and its sessions.
pub(crate) struct SocketIo {
    engine: Arc<Engine>,
    dialect: Arc<dyn EventDialect>,
    sessions: Lock<BTreeMap<String, Arc<Session>>>,
}

impl Engine {
    pub(crate) fn new<N: Network>(net: N, registry: Arc<Registry>, config: &Config, cors: Cors) -> Self {
        // Not the stream of the client ids.
        let sids = config.entropy().stream(1);
        Self {
            settings: config.socketio.clone(),
            registry,
            cors,
            negotiable: Negotiable::of(config),
            sids: Lock::new(sids),
            spawn: Box::new(move |task| net.spawn(task)),
        }
    }

    fn sid(&self) -> String {
        let mut bytes = [0; SID_BYTES];
        self.sids.lock().fill_bytes(&mut bytes);
        BASE64URL_NOPAD.encode(&bytes)
    }
}

impl SocketIo {
    pub(crate) fn new(dialect: Arc<dyn EventDialect>, engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine, dialect, sessions: Lock::default() })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn dialect(&self) -> Arc<dyn Dialect> {
        Arc::clone(&self.dialect) as _
    }

    /// Opens a session, with the first packet in its queue. `None` if there are too many that have joined.
    pub(crate) fn open(
        self: &Arc<Self>,
        over_websocket: bool,
        grant: Grant,
        source: SessionSource,
    ) -> Option<Arc<Session>> {
        let Engine { settings, registry, .. } = &*self.engine;
        let limits = &registry.limits();
        let registration = registry.open_session(source.from())?;
        let queue = Arc::clone(&registration.queue);
        queue.bind(self.dialect.name());
        let sid = self.engine.sid();
        let handshake = Handshake {
            sid: sid.clone(),
            upgrades: if over_websocket { Vec::new() } else { vec!["websocket".to_owned()] },
            ping_interval: settings.ping_interval.as_millis() as u64,
            ping_timeout: settings.ping_timeout.as_millis() as u64,
            max_payload: settings.payload_bytes_max,
        };
        let handshake = serde_json::to_string(&handshake).expect("it consists of texts and numbers");
        queue.push(Packet::Open(&handshake).to_string().into());
        let client = Client::new(Arc::clone(&queue), grant, limits);
        let socket = Socket::new(Arc::clone(&self.dialect), client, settings.payload_bytes_max);
        let session = Arc::new(Session::new(sid, socket, queue, over_websocket, settings, limits));
        self.lock().insert(session.sid.clone(), Arc::clone(&session));
        let (endpoint, kept) = (Arc::clone(self), Arc::clone(&session));
        (self.engine.spawn)(Box::pin(async move {
            kept.keep().await;
            endpoint.lock().remove(&kept.sid);
            drop((registration, source));
        }));
        Some(session)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.sessions.lock()
    }
}
