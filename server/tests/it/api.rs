//! The HTTP endpoints beside sender-viewer: their answers to the byte, their refusals, CORS.

use std::net::SocketAddr;
use std::time::Duration;

use server::net::Tokio;
use server::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{PATIENCE, Running, start, start_with};
use crate::clock::{hold, passing};
use crate::sender_viewer::{connect, is_quiet, pair};

#[tokio::test]
async fn health_config_and_status_are_json() {
    let server = start().await;
    let health = get(&server, "/api/health").await;
    assert_eq!(health.body, r#"{"status":"ok"}"#);
    for response in [&health, &get(&server, "/api/config?x=1").await, &get(&server, "/api/status").await] {
        assert!(response.head.starts_with("http/1.1 200 ok\r\n"), "{}", response.head);
        assert!(response.head.contains("\r\ncontent-type: application/json\r\n"), "{}", response.head);
        assert!(response.head.contains("\r\naccess-control-allow-origin: *\r\n"), "{}", response.head);
    }
    assert_eq!(get(&server, "/api/status").await.body, r#"{"rooms":[]}"#);
    let head = ask(&server, "HEAD", "/api/health", "", "").await;
    assert!(head.head.contains("\r\ncontent-length: 15\r\n") && head.body.is_empty(), "{}", head.head);
}

#[tokio::test]
async fn config_names_the_stun_service_as_the_client_names_the_server() {
    let server = start().await;
    let port = server.stun.port();
    for (host, name) in [
        ("Host: glare.test:8080\r\n", "glare.test".to_owned()),
        ("Host: glare.test\r\n", "glare.test".to_owned()),
        ("Host: [::1]:8080\r\n", "[::1]".to_owned()),
        ("Host:\r\n", "127.0.0.1".to_owned()),
    ] {
        let response = raw(&server, &format!("GET /api/config HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).await;
        assert_eq!(response.body, format!(r#"{{"iceServers":[{{"urls":"stun:{name}:{port}"}}]}}"#));
    }
    let urls = ["stun:a.test:3478".to_owned(), "stun:b.test".to_owned()];
    let server = start_with(|config| config.api.ice_urls = Some(urls.to_vec())).await;
    let body = get(&server, "/api/config").await.body;
    assert_eq!(body, r#"{"iceServers":[{"urls":"stun:a.test:3478"},{"urls":"stun:b.test"}]}"#);
}

#[tokio::test]
async fn status_shows_who_is_where() {
    let server = start().await;
    let (sender, viewer) = pair(&server).await;
    let mut alone = connect(&server).await;
    alone.send(r#"{"type":"join","role":"viewer","room":"\"q"}"#).await;
    let joined: serde_json::Value = serde_json::from_str(&alone.next().await).expect("JSON");
    let seat = |id: &str| format!(r#"{{"connected":true,"clientId":"{id}"}}"#);
    let none = r#"{"connected":false,"clientId":null}"#;
    let (lone, here, there) =
        (seat(joined["clientId"].as_str().expect("a string")), seat(&sender.id), seat(&viewer.id));
    assert_eq!(
        get(&server, "/api/status").await.body,
        format!(
            r#"{{"rooms":[{{"roomId":"\"q","sender":{none},"viewer":{lone}}},{{"roomId":"r","sender":{here},"viewer":{there}}}]}}"#
        )
    );
    drop((sender, alone));
    server.census(|census| census.members == 1).await;
    let expected = format!(r#"{{"rooms":[{{"roomId":"r","sender":{none},"viewer":{there}}}]}}"#);
    assert_eq!(get(&server, "/api/status").await.body, expected);
}

#[tokio::test]
async fn a_kicked_client_is_closed_with_1000_and_the_other_side_hears_it() {
    let server = start().await;
    let (mut sender, mut viewer) = pair(&server).await;
    let kick = format!(r#"{{"clientId":"{}"}}"#, sender.id);
    let response = ask(&server, "POST", "/api/kick", "Content-Type: application/json\r\n", &kick).await;
    assert!(response.head.starts_with("http/1.1 200 ok\r\n"), "{}", response.head);
    assert_eq!(response.body, r#"{"success":true,"message":"Client kicked"}"#);
    let mut bytes = [0; 19];
    let reading = sender.socket.get_mut().read_exact(&mut bytes);
    timeout(PATIENCE, reading).await.expect("it is closed").expect("a whole frame");
    assert_eq!(&bytes, b"\x88\x11\x03\xe8Kicked by admin");
    drop(sender);
    viewer.hears(r#"{"type":"sender-left"}"#).await;
    is_quiet(&mut viewer).await;
    let response = ask(&server, "POST", "/api/kick", "", &kick).await;
    assert!(response.head.starts_with("http/1.1 404 not found\r\n"), "{}", response.head);
    assert_eq!(response.body, r#"{"success":false,"message":"Client not found"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_kick_that_is_none_is_told_why() {
    let _clock = hold();
    let server = start_with(|config| config.limits.body_timeout = Duration::from_millis(100)).await;
    let (mut sender, mut viewer) = pair(&server).await;
    let large = format!(r#"{{"clientId":"{}"}}"#, "x".repeat(5000));
    for (body, status) in [
        ("", "400 bad request"),
        ("{", "400 bad request"),
        ("{}", "400 bad request"),
        ("[]", "400 bad request"),
        (r#"{"clientId":5}"#, "400 bad request"),
        (r#"{"clientId":null}"#, "400 bad request"),
        (r#"{"clientId":""}"#, "404 not found"),
        (r#"{"clientId":"0000000000"}"#, "404 not found"),
        (&large, "413 payload too large"),
    ] {
        let response = ask(&server, "POST", "/api/kick", "", body).await;
        assert!(response.head.starts_with(&format!("http/1.1 {status}\r\n")), "{body}: {}", response.head);
        assert!(response.body.starts_with(r#"{"success":false,"message":""#), "{}", response.body);
    }
    let never = "POST /api/kick HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{";
    let (response, _) = passing(raw(&server, never)).await;
    assert!(response.head.starts_with("http/1.1 408 request timeout\r\n"), "{}", response.head);
    is_quiet(&mut sender).await;
    is_quiet(&mut viewer).await;
}

#[tokio::test]
async fn an_admin_token_guards_the_kick() {
    let server = start_with(|config| config.api.admin_token = Some("secret".to_owned())).await;
    let (mut sender, _viewer) = pair(&server).await;
    let kick = format!(r#"{{"clientId":"{}"}}"#, sender.id);
    for authorization in [
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer secre\r\n",
        "Authorization: Bearer secret1\r\n",
        "Authorization: Bearer Secret\r\n",
        "Authorization: Basic  secret\r\n",
        "Authorization: secret\r\n",
    ] {
        let response = ask(&server, "POST", "/api/kick", authorization, &kick).await;
        assert!(response.head.starts_with("http/1.1 401 unauthorized\r\n"), "{authorization}: {}", response.head);
        assert!(response.head.contains("\r\nwww-authenticate: bearer\r\n"), "{}", response.head);
        assert_eq!(response.body, r#"{"success":false,"message":"Unauthorized"}"#);
    }
    is_quiet(&mut sender).await;
    let response = ask(&server, "POST", "/api/kick", "authorization: bearer secret\r\n", &kick).await;
    assert!(response.head.starts_with("http/1.1 200 ok\r\n"), "{}", response.head);
    sender.is_closed(1000).await;
}

#[tokio::test]
async fn a_preflight_is_204() {
    let server = start().await;
    for (path, methods) in [("/api/kick", "post, options"), ("/api/config", "get, head, options")] {
        let preflight = "Origin: https://a.test\r\nAccess-Control-Request-Method: POST\r\n";
        let response = ask(&server, "OPTIONS", path, preflight, "").await;
        for line in [
            "http/1.1 204 no content\r\n".to_owned(),
            "\r\naccess-control-allow-origin: *\r\n".to_owned(),
            format!("\r\naccess-control-allow-methods: {methods}\r\n"),
            "\r\naccess-control-allow-headers: authorization, content-type\r\n".to_owned(),
        ] {
            assert!(response.head.contains(&line), "no {line:?} in {}", response.head);
        }
        assert_eq!(response.body, "");
    }
}

#[tokio::test]
async fn the_cors_origin_is_configurable() {
    for (origin, line) in [(Some("https://a.test"), "access-control-allow-origin: https://a.test\r\n"), (None, "")] {
        let server = start_with(|config| config.api.cors_origin = origin.map(str::to_owned)).await;
        for method in ["GET", "OPTIONS"] {
            let head = ask(&server, method, "/api/health", "Origin: https://b.test\r\n", "").await.head;
            assert!(head.contains(line) && head.contains("access-control-") == origin.is_some(), "{head}");
        }
    }
    let mut config = Config { stun: None, ..Config::default() };
    config.api.cors_origin = Some("a\nb".to_owned());
    let error = Server::bind(Tokio, config).await.err().expect("no header can hold it");
    assert!(error.to_string().starts_with("use the configured CORS origin: "), "{error}");
}

#[tokio::test]
async fn pages_of_listed_origins_may_send_credentials() {
    let server = start_with(|config| {
        config.api.credentials_origins = ["https://a.test", "http://localhost:5173"].map(str::to_owned).to_vec();
        config.access.tokens = vec!["token".to_owned()];
    })
    .await;
    let polling = crate::socketio_client::POLLING;
    for (address, method, target, status) in [
        (server.http, "GET", "/api/health", 200),
        (server.http, "GET", "/api/config", 401),
        (server.http, "PUT", "/api/config", 405),
        (server.http, "GET", "/api/nowhere", 404),
        (server.http, "OPTIONS", "/api/config", 204),
        (server.http, "OPTIONS", "/api/nowhere", 204),
        (server.broadcast, "GET", "/socket.io/?token=token", 400),
        (server.broadcast, "GET", &format!("{polling}&token=token"), 200),
        (server.broadcast, "GET", polling, 401),
        (server.broadcast, "OPTIONS", polling, 204),
    ] {
        for (origin, named) in [
            ("Origin: https://a.test\r\n", "https://a.test"),
            ("Origin: http://localhost:5173\r\n", "http://localhost:5173"),
            ("Origin: https://b.test\r\n", "*"),
            ("Origin: null\r\n", "*"),
            ("", "*"),
        ] {
            let asks = "Access-Control-Request-Headers: x-mine\r\nConnection: close\r\n";
            let head =
                raw_at(address, &format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{origin}{asks}\r\n")).await.head;
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{target}: {head}");
            assert!(head.contains(&format!("\r\naccess-control-allow-origin: {named}\r\n")), "{target}: {head}");
            let allows = head.contains("\r\naccess-control-allow-credentials: true\r\n");
            assert_eq!(allows, named != "*", "{target}: {head}");
            assert!(head.contains("\r\nvary: origin\r\n"), "{target}: {head}");
            assert_eq!(head.contains("access-control-allow-methods"), method == "OPTIONS", "{target}: {head}");
        }
    }
    let none = start_with(|config| config.api.cors_origin = None).await;
    let head = ask(&none, "OPTIONS", "/api/config", "Origin: https://a.test\r\n", "").await.head;
    assert!(!head.contains("access-control-") && !head.contains("vary"), "off unless listed: {head}");
    let mut config = Config { stun: None, ..Config::default() };
    config.api.credentials_origins = vec!["*".to_owned()];
    let error = Server::bind(Tokio, config).await.err().expect("it would be anybody").to_string();
    assert!(error.contains("`*` is not an origin") && error.contains("https://"), "{error}");
}

#[tokio::test]
async fn another_method_is_405_and_another_path_404() {
    let server = start().await;
    for (method, path, allow) in [
        ("POST", "/api/status", "get, head, options"),
        ("GET", "/api/kick", "post, options"),
        ("PUT", "/api/kick", "post"),
    ] {
        let head = ask(&server, method, path, "", "").await.head;
        assert!(
            head.starts_with("http/1.1 405 method not allowed\r\n") && head.contains(&format!("\r\nallow: {allow}"))
        );
    }
    for path in ["/api", "/api/", "/api/zzz", "/api/health/", "/health", "/ws/"] {
        let head = get(&server, path).await.head;
        assert!(head.starts_with("http/1.1 404 not found\r\n"), "{path}: {head}");
        // A page that mistook a path below /api must be able to read so.
        assert_eq!(head.contains("access-control-allow-origin: *\r\n"), path.starts_with("/api"), "{path}: {head}");
    }
    let preflight = ask(&server, "OPTIONS", "/api/zzz", "Access-Control-Request-Method: POST\r\n", "").await.head;
    assert!(preflight.starts_with("http/1.1 204 no content\r\n"), "{preflight}");
    assert!(preflight.contains("access-control-allow-origin: *\r\n"), "{preflight}");
    let head = get(&server, "/ws").await.head;
    assert!(head.starts_with("http/1.1 426 upgrade required\r\n"), "{head}");
    server.empty().await;
}

pub(crate) struct Response {
    /// In lower case, to the end of its last line.
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) async fn get(server: &Running, target: &str) -> Response {
    ask(server, "GET", target, "", "").await
}

pub(crate) async fn ask(server: &Running, method: &str, target: &str, headers: &str, body: &str) -> Response {
    let length = body.len();
    let fixed = format!("Host: glare.test\r\nConnection: close\r\nContent-Length: {length}\r\n");
    raw(server, &format!("{method} {target} HTTP/1.1\r\n{fixed}{headers}\r\n{body}")).await
}

async fn raw(server: &Running, request: &str) -> Response {
    raw_at(server.http, request).await
}

/// Sends a request that ends its connection, and returns the answer.
pub(crate) async fn raw_at(address: SocketAddr, request: &str) -> Response {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it is connected");
    let mut response = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut response)).await.expect("it ends").expect("without a reset");
    let (head, body) = response.split_once("\r\n\r\n").expect("a whole head");
    Response { head: format!("{head}\r\n").to_ascii_lowercase(), body: body.to_owned() }
}
