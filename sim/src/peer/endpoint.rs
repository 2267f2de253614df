//! The host, path and headers of a client's requests to its signaling server, independent of the address that the bytes
//! are sent to.

use std::fmt;
use std::net::SocketAddr;

use tokio_tungstenite::tungstenite::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::Uri;

/// A WebSocket endpoint: host, path, query, and the headers of every request.
#[derive(Clone)]
pub struct Endpoint {
    /// `HOST:PORT`, as in the `Host` header.
    authority: String,
    /// Path and query.
    base: String,
    headers: Vec<(String, String)>,
}

impl fmt::Debug for Endpoint {
    /// Shows the names of the headers without their values, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        let path = self.base.split('?').next().unwrap_or_default();
        write!(f, "ws://{}{path} {headers:?}", self.authority)
    }
}

impl Endpoint {
    /// The endpoint of a URL. The URL's path replaces the documented path of the dialect. `None` if it is not a URL
    /// with a host.
    pub fn of_url(url: &str, headers: Vec<(String, String)>) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?.to_string();
        let base = uri.path_and_query().map_or("/", |base| base.as_str()).to_owned();
        Some(Self { authority, base, headers })
    }

    /// The endpoint of a server with this path.
    pub(crate) fn at(server: SocketAddr, path: &str) -> Self {
        Self { authority: server.to_string(), base: path.to_owned(), headers: Vec::new() }
    }

    /// Its path and query, to which a dialect adds what names the room or the client.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The request that opens a WebSocket at a path and query; its key is drawn when it is sent.
    pub(crate) fn request(&self, path: &str) -> ClientRequestBuilder {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let uri = format!("ws://{}{slash}{path}", self.authority);
        let uri = uri.parse().expect("parts of a URL, and what a dialect has percent-encoded");
        let add = |request: ClientRequestBuilder, (name, value): &(String, String)| request.with_header(name, value);
        self.headers.iter().fold(ClientRequestBuilder::new(uri), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    #[test]
    fn a_url_keeps_its_path_and_query() {
        let base = |url| Endpoint::of_url(url, Vec::new()).expect("a URL").base().to_owned();
        assert_eq!(base("ws://h:1"), "/");
        assert_eq!(base("wss://h/deep/relay?key=k"), "/deep/relay?key=k");
        let at = Endpoint::at("192.0.2.1:8080".parse().expect("an address"), "/relay");
        let request = at.request("/relay?room=a%20b").into_client_request().expect("a request");
        assert_eq!(request.uri().to_string(), "ws://192.0.2.1:8080/relay?room=a%20b");
    }

    #[test]
    fn headers_go_along_and_stay_secret() {
        let headers = vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())];
        let endpoint = Endpoint::of_url("ws://h:1/?key=s3cret", headers).expect("a URL");
        let request = endpoint.request("/").into_client_request().expect("a request");
        assert_eq!(request.headers()["authorization"], "Bearer s3cret");
        assert_eq!(request.headers()["host"], "h:1");
        assert!(!format!("{endpoint:?}").contains("s3cret"));
    }
}
