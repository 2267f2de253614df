//! The routes of a TCP address.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::api::{Api, IceService, Page};
use crate::config::Listen;
use crate::dialect::{DIALECTS, DialectEntry, Parts, SENDER_VIEWER, Served};
use crate::metrics::page::MetricsPage;
use crate::net::Network;
use crate::pages::{self, PageRoute, SOCKETIO_CLIENT};
use crate::session::dialect::{Dialect, WebSocketDialect};
use crate::socketio::{Engine, SocketIo};
use crate::{Shared, invalid};

/// The routes of one listening address.
pub(crate) struct Site {
    /// Its name in logs and errors.
    pub(crate) name: &'static str,
    /// Routes by path without the query, compared exactly.
    pub(crate) routes: Vec<(&'static str, Route)>,
    /// Answers requests for missing paths below `/api`.
    pub(crate) api: Option<Arc<Api>>,
    /// For operators: no TLS, and no limits by address.
    pub(crate) is_private: bool,
}

/// The endpoint at a path.
pub(crate) enum Route {
    /// A dialect's WebSocket.
    WebSocket(Arc<dyn WebSocketDialect>),
    /// Socket.IO.
    SocketIo(Arc<SocketIo>),
    /// A page for browsers.
    Page(PageRoute),
    /// An endpoint of the API.
    Api(Arc<Api>, Page),
    /// The metrics, for Prometheus.
    Metrics(MetricsPage),
    /// The health check, for load balancers.
    Health,
}

/// The shared state from which a server's sites are created.
pub(crate) struct Sites {
    shared: Arc<Shared>,
    /// By the names in [`DIALECTS`].
    dialects: BTreeMap<&'static str, Served>,
    engine: Arc<Engine>,
    api: Arc<Api>,
}

impl Sites {
    /// `stun` is this server's own STUN service, whose address the API gives to clients.
    pub(crate) fn new<N: Network>(net: N, shared: &Arc<Shared>, stun: Option<IceService>) -> Self {
        let cors = shared.cors.clone();
        let parts = Parts::new(shared.config.entropy());
        let sender_viewer = Arc::clone(&parts.sender_viewer);
        let engine = Engine::new(net, Arc::clone(&shared.registry), &shared.config, cors.clone());
        Self {
            shared: Arc::clone(shared),
            dialects: DIALECTS.iter().map(|entry| (entry.name, (entry.make)(&parts))).collect(),
            engine: Arc::new(engine),
            api: Arc::new(Api::new(sender_viewer, &shared.config, cors, stun)),
        }
    }

    /// # Errors
    /// There is no such dialect, or two have the same path.
    pub(crate) fn site(&self, listen: &Listen) -> io::Result<Site> {
        let mut routes = vec![("/healthz", Route::Health)];
        for name in &listen.dialects {
            let entry = DialectEntry::named(name).ok_or_else(|| {
                let names: Vec<_> = DIALECTS.iter().map(|entry| entry.name).collect();
                invalid(format!("serve `{name}`: no such dialect, there are {}", names.join(", ")))
            })?;
            if routes.iter().any(|(path, _)| *path == entry.path) {
                let (path, at) = (entry.path, listen.at);
                return Err(invalid(format!("serve `{name}` at {path} of {at}: another dialect has this path")));
            }
            routes.push((entry.path, self.route(entry)));
        }
        self.add_pages(&mut routes, listen);
        if listen.pages {
            self.add_api(&mut routes, listen);
        }
        let name = match &listen.dialects[..] {
            [name] if !listen.pages => *name,
            _ => "http",
        };
        let api = listen.pages.then(|| Arc::clone(&self.api));
        Ok(Site { name, routes, api, is_private: false })
    }

    /// Only `/metrics`, for operators.
    pub(crate) fn metrics(&self) -> Site {
        let page = MetricsPage::new(&self.shared, true);
        let routes = vec![("/healthz", Route::Health), ("/metrics", Route::Metrics(page))];
        Site { name: "metrics", routes, api: None, is_private: true }
    }

    fn route(&self, entry: &DialectEntry) -> Route {
        match self.dialects[entry.name].clone() {
            Served::WebSocket(dialect) => Route::WebSocket(dialect),
            Served::SocketIo(dialect) => Route::SocketIo(SocketIo::new(dialect, Arc::clone(&self.engine))),
        }
    }

    /// The pages for browsers, and Socket.IO's client for those of others.
    fn add_pages(&self, routes: &mut Vec<(&'static str, Route)>, listen: &Listen) {
        let settings = &self.shared.config.pages;
        if settings.served && listen.pages {
            let is_root_free = routes.iter().all(|(path, _)| *path != "/");
            routes.extend(pages::routes(is_root_free).map(|(path, page)| (path, Route::Page(page))));
        }
        let has_socketio = routes.iter().any(|(_, route)| matches!(route, Route::SocketIo(_)));
        if let Some(client) = settings.socketio_client.as_ref().filter(|_| has_socketio || listen.pages) {
            routes.push((SOCKETIO_CLIENT, Route::Page(PageRoute::SocketIoClient(client.clone()))));
        }
    }

    fn add_api(&self, routes: &mut Vec<(&'static str, Route)>, listen: &Listen) {
        let page = |page| Route::Api(Arc::clone(&self.api), page);
        routes.extend([("/api/config", page(Page::Config)), ("/api/health", page(Page::Health))]);
        if listen.dialects.contains(&SENDER_VIEWER) {
            routes.extend([("/api/status", page(Page::Status)), ("/api/kick", page(Page::Kick))]);
        }
        routes.push(("/metrics", Route::Metrics(MetricsPage::new(&self.shared, false))));
    }
}

impl Site {
    /// The dialects of its routes.
    pub(crate) fn dialects(&self) -> impl Iterator<Item = Arc<dyn Dialect>> {
        self.routes.iter().filter_map(|(_, route)| match route {
            Route::WebSocket(dialect) => Some(Arc::clone(dialect) as _),
            Route::SocketIo(endpoint) => Some(endpoint.dialect()),
            Route::Page(_) | Route::Api(..) | Route::Metrics(_) | Route::Health => None,
        })
    }
}
