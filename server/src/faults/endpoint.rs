//! The endpoint that takes an operator's orders: `/faults` on a loopback address, with a token.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use super::{Faults, Order};
use crate::access::{bearer, is_same};
use crate::net::{Listener, Network};

/// Maximum size of an order, bytes.
const ORDER_BYTES_MAX: usize = 4 * 1024;
/// How long a connection may take for all that it asks.
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// The open endpoint.
pub struct Endpoint<N: Network> {
    net: N,
    listener: N::Listener,
    address: SocketAddr,
    faults: Faults,
    token: String,
}

impl<N: Network> Endpoint<N> {
    /// Opens it on this host's loopback address. Whoever has `token` may order faults. With port 0 the host chooses.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(net: N, port: u16, faults: Faults, token: String) -> io::Result<Self> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("open the faults on {at}: {error}"));
        let listener = net.listen(at).await.map_err(named)?;
        let address = listener.local_addr()?;
        Ok(Self { net, listener, address, faults, token })
    }

    /// Its address, with the chosen port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes orders until it is dropped.
    pub async fn serve(self) {
        let Self { net, listener, faults, token, .. } = self;
        loop {
            // An error here concerns one connection.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(crate::ACCEPT_RETRY).await;
                continue;
            };
            let (faults, token) = (faults.clone(), token.clone());
            net.spawn(async move {
                let service = service_fn(|request| respond(request, &faults, &token));
                let serving = http1::Builder::new()
                    .auto_date_header(false)
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(stream), service);
                // A connection that breaks has got its answer or does not want it.
                let _ = timeout(CONNECTION_MAX, serving).await;
            });
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    faults: &Faults,
    token: &str,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !bearer(request.headers()).is_some_and(|given| is_same(token, given)) {
        return Ok(refuse(StatusCode::UNAUTHORIZED, "give the token of the faults: `Authorization: Bearer TOKEN`"));
    }
    let path = request.uri().path().to_owned();
    let id = match path.strip_prefix("/faults") {
        Some("") => None,
        Some(rest) => match rest.strip_prefix('/').and_then(|id| id.parse().ok()) {
            Some(id) => Some(id),
            None => return Ok(refuse(StatusCode::NOT_FOUND, "there are /faults and /faults/ID")),
        },
        None => return Ok(refuse(StatusCode::NOT_FOUND, "there are /faults and /faults/ID")),
    };
    Ok(match (request.method(), id) {
        (&Method::GET, None) => {
            let (faults, clients) = faults.list();
            answer(StatusCode::OK, &json!({ "faults": faults, "clients": clients }))
        }
        (&Method::POST, None) => begin(request, faults).await,
        (&Method::DELETE, id) => match (faults.end(id), id) {
            (0, Some(id)) => refuse(StatusCode::NOT_FOUND, &format!("no fault has the id {id}, or it has ended")),
            (ended, _) => answer(StatusCode::OK, &json!({ "ended": ended })),
        },
        _ => {
            let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "POST begins a fault, GET lists, DELETE ends");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
            response
        }
    })
}

async fn begin(request: Request<Incoming>, faults: &Faults) -> Response<Full<Bytes>> {
    let Ok(body) = Limited::new(request.into_body(), ORDER_BYTES_MAX).collect().await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "an order has at most 4096 bytes");
    };
    let order: Order = match serde_json::from_slice(&body.to_bytes()) {
        Ok(order) => order,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &format!("the order cannot be read: {why}")),
    };
    match faults.begin(order) {
        Ok(fault) => answer(StatusCode::CREATED, &fault),
        Err(why) => refuse(StatusCode::BAD_REQUEST, why),
    }
}

fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    answer(status, &json!({ "error": why }))
}

fn answer(status: StatusCode, what: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_string(what).expect("strings and numbers have a JSON form");
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
