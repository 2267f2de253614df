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
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
}

impl fmt::Debug for Endpoint {
    /// Shows the names of the headers without their values, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        write!(f, "ws://{}{} {headers:?}", self.authority, self.path)
    }
}

impl Endpoint {
    /// The endpoint of a URL. The URL's path replaces the documented path of the dialect. `None` if it is not a URL
    /// with a host.
    pub fn of_url(url: &str, headers: Vec<(String, String)>) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?.to_string();
        Some(Self { authority, path: uri.path().to_owned(), query: uri.query().map(str::to_owned), headers })
    }

    /// The endpoint of a server with the dialect's documented path.
    pub(crate) fn at(server: SocketAddr, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default().to_owned();
        Self { authority: server.to_string(), path, query: None, headers: Vec::new() }
    }

    /// The request that opens a WebSocket; its key is drawn when it is sent. `documented` is the path and the query
    /// from the dialect's documents. Only its query is used, because it may name a room; it is added to the endpoint's
    /// own query.
    pub(crate) fn request(&self, documented: &str) -> ClientRequestBuilder {
        let queries = [self.query.as_deref(), documented.split_once('?').map(|(_, query)| query)];
        let queries: Vec<_> = queries.into_iter().flatten().collect();
        let mark = if queries.is_empty() { "" } else { "?" };
        let uri = format!("ws://{}{}{mark}{}", self.authority, self.path, queries.join("&"));
        let uri = uri.parse().expect("parts of a URL, and what a dialect has percent-encoded");
        let add = |request: ClientRequestBuilder, (name, value): &(String, String)| request.with_header(name, value);
        self.headers.iter().fold(ClientRequestBuilder::new(uri), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    fn uri(endpoint: &Endpoint, documented: &str) -> String {
        endpoint.request(documented).into_client_request().expect("a request").uri().to_string()
    }

    #[test]
    fn the_path_is_the_urls_and_the_query_of_both() {
        let at = Endpoint::at("192.0.2.1:8080".parse().expect("an address"), "/relay?room=a%20b");
        assert_eq!(uri(&at, "/relay?room=a%20b"), "ws://192.0.2.1:8080/relay?room=a%20b");
        let of = |url| Endpoint::of_url(url, Vec::new()).expect("a URL");
        assert_eq!(uri(&of("ws://h:1"), "/ws"), "ws://h:1/");
        assert_eq!(uri(&of("wss://h/deep/relay?key=k"), "/relay?room=r"), "ws://h/deep/relay?key=k&room=r");
        assert_eq!(uri(&of("http://h:3001/socket.io/"), "/socket.io/?EIO=4"), "ws://h:3001/socket.io/?EIO=4");
    }

    #[test]
    fn headers_go_along_and_stay_secret() {
        let headers = vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())];
        let endpoint = Endpoint::of_url("ws://h:1/", headers).expect("a URL");
        let request = endpoint.request("/").into_client_request().expect("a request");
        assert_eq!(request.headers()["authorization"], "Bearer s3cret");
        assert_eq!(request.headers()["host"], "h:1");
        assert!(!format!("{endpoint:?}").contains("s3cret"));
    }
}
