//! The pages for browsers: what is served, how, and to whom.

use server::SocketIoClient;

use crate::api::{ask, get, raw_at};
use crate::client::{start, start_with};
use crate::http::{KEY, UPGRADE, VERSION, request};

#[tokio::test]
async fn pages_have_their_types_and_a_policy() {
    let server = start().await;
    for (path, kind, text) in [
        ("/pages/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/pages/index.html?x=1", "text/html; charset=utf-8", "<!doctype html>"),
        ("/pages/mesh.html", "text/html; charset=utf-8", "<!doctype html>"),
        ("/pages/shared.js", "text/javascript; charset=utf-8", "//"),
        ("/pages/style.css", "text/css; charset=utf-8", ":root"),
        ("/pages/icon.svg", "image/svg+xml", "<svg"),
    ] {
        let page = get(&server, path).await;
        assert!(page.head.starts_with("http/1.1 200 ok\r\n") && page.body.starts_with(text), "{path}: {}", page.head);
        for header in [
            &format!("content-type: {kind}"),
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-cache",
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
        ] {
            assert!(page.head.contains(&format!("\r\n{header}")), "{path} has `{header}`: {}", page.head);
        }
        assert!(!page.head.contains("unsafe-inline"), "{}", page.head);
        let head = ask(&server, "HEAD", path, "", "").await;
        assert!(head.head.contains(&format!("\r\ncontent-length: {}\r\n", page.body.len())) && head.body.is_empty());
    }
    let root = get(&server, "/").await;
    assert!(root.head.starts_with("http/1.1 307 ") && root.head.contains("\r\nlocation: pages/\r\n"), "{}", root.head);
    let post = ask(&server, "POST", "/pages/", "", "").await;
    assert!(post.head.starts_with("http/1.1 405 ") && post.head.contains("\r\nallow: get, head\r\n"), "{}", post.head);
    for missing in ["/pages", "/pages/nowhere.html", "/pages/../Cargo.toml", "/pages//", "/pages/%2e%2e/api/status"] {
        let answer = get(&server, missing).await;
        assert!(answer.head.starts_with("http/1.1 404 "), "{missing}: {}", answer.head);
    }
    for target in ["/", "/pages/", "/pages/mesh.html"] {
        let answer = request(server.http, &format!("GET {target} HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}\r\n")).await;
        assert!(answer.starts_with("http/1.1 404 "), "no WebSocket is at {target}: {answer}");
    }
    for elsewhere in [server.mesh, server.call, server.call_socketio, server.broadcast] {
        let answer = raw_at(elsewhere, "GET /pages/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.head.starts_with("http/1.1 404 "), "{elsewhere}: {}", answer.head);
    }
}

#[tokio::test]
async fn pages_can_be_turned_off() {
    let server = start_with(|config| config.pages.served = false).await;
    for path in ["/", "/pages/", "/pages/mesh.html", "/pages/server"] {
        assert!(get(&server, path).await.head.starts_with("http/1.1 404 "), "{path}");
    }
    assert!(get(&server, "/api/health").await.head.starts_with("http/1.1 200 "));
}

#[tokio::test]
async fn the_server_tells_pages_what_is_where() {
    let server = start().await;
    let _member = crate::client::Client::join(&server, "r").await;
    let answer = get(&server, "/pages/server").await;
    assert!(answer.head.contains("\r\ncontent-type: application/json\r\n"), "{}", answer.head);
    let json: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(json["dialects"][0]["name"], "mesh");
    assert_eq!(json["dialects"][0]["port"], server.mesh.port());
    let call = json["dialects"].as_array().expect("a list").iter().find(|entry| entry["name"] == "call-socketio");
    let call = call.expect("it is served");
    assert_eq!((&call["framing"], &call["path"]), (&"socketio".into(), &"/socket.io/".into()));
    assert_eq!(call["port"], server.call_socketio.port());
    assert_eq!((json["stun"].as_u64(), json.get("turn")), (Some(server.stun.port().into()), None));
    assert_eq!(json["counts"]["dialects"]["mesh"], serde_json::json!({"rooms": 1, "members": 1}));
    assert_eq!(json["hasSocketioClient"], false);

    let server = start_with(|config| config.api.admin_token = Some("secret".to_owned())).await;
    let count = |body: &str| body.contains("\"counts\"");
    assert!(!count(&get(&server, "/pages/server").await.body), "who may not read the metrics gets no counts");
    let with = ask(&server, "GET", "/pages/server", "Authorization: Bearer secret\r\n", "").await;
    assert!(count(&with.body));
}

#[tokio::test]
async fn the_client_of_socketio_is_served_if_there_is_one() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("client-{}.js", std::process::id()));
    std::fs::write(&path, "/*! Socket.IO v4.8.4 */ var Manager = 1;").expect("a file");
    let client = SocketIoClient::load(&path);
    std::fs::write(&path, "alert(1)").expect("a file");
    let why = SocketIoClient::load(&path).expect_err("it is another script").to_string();
    assert!(why.contains("is not Socket.IO's client: name `dist/socket.io.min.js`"), "{why}");
    std::fs::remove_file(&path).expect("it is there");
    let why = SocketIoClient::load(&path).expect_err("nothing is there").to_string();
    assert!(why.contains("cannot be read"), "{why}");

    let client = client.expect("it is the client");
    let server = start_with(|config| config.pages.socketio_client = Some(client)).await;
    let request = "GET /socket.io/socket.io.js HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for at in [server.http, server.call_socketio, server.broadcast] {
        let answer = raw_at(at, request).await;
        assert!(answer.head.contains("\r\ncontent-type: text/javascript; charset=utf-8\r\n"), "{}", answer.head);
        assert!(answer.body.starts_with("/*! Socket.IO v4.8.4"), "{}", answer.body);
    }
    for at in [server.mesh, server.call] {
        assert!(raw_at(at, request).await.head.starts_with("http/1.1 404 "));
    }
    let without = start().await;
    assert!(raw_at(without.call_socketio, request).await.head.starts_with("http/1.1 404 "));
}
