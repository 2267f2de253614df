//! Engine.IO over long-polling: handshake, polls, posts, the upgrade to a WebSocket, and how a session ends.

use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{advance, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, PATIENCE, start, start_with};
use crate::clock::{hold, passing, settle};
use crate::socketio_client::{POLLING, Poller, WEBSOCKET, answer, exchange, request};

#[tokio::test]
async fn the_handshake_is_as_documented() {
    let server = start().await;
    let opened = request(server.broadcast, "GET", &format!("{POLLING}&t=abc&b64=1"), b"").await;
    let sid = &opened.body[r#"0{"sid":""#.len()..][..20];
    assert!(sid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{sid}");
    let rest = r#""upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    opened.is(200, &format!(r#"0{{"sid":"{sid}",{rest}"#));
    for header in
        ["content-type: text/plain; charset=utf-8", "access-control-allow-origin: *", "cache-control: no-store"]
    {
        assert!(opened.head.contains(&format!("\r\n{header}\r\n")), "{}", opened.head);
    }
    assert_eq!(server.handle.census().sessions, 1);
}

#[tokio::test]
async fn a_request_that_cannot_be_is_told_why() {
    let server = start().await;
    let address = server.broadcast;
    let sid = Poller::open(address).await.sid;
    let polling = format!("{POLLING}&sid={sid}");
    for (method, target, code) in [
        ("GET", "/socket.io/", 0),
        ("GET", "/socket.io/?EIO=4", 0),
        ("GET", "/socket.io/?EIO=3&transport=webtransport", 0),
        ("GET", &format!("{POLLING}&sid=x"), 1),
        ("POST", &format!("{POLLING}&sid=x"), 1),
        ("POST", POLLING, 2),
        ("PUT", POLLING, 2),
        ("GET", WEBSOCKET, 3),
        ("GET", &format!("{WEBSOCKET}&sid={sid}"), 3),
        ("PUT", &polling, 3),
        ("GET", &polling.replace("EIO=4", "EIO=3"), 3),
        ("GET", "/socket.io/?EIO=3&transport=polling", 5),
        ("GET", "/socket.io/?transport=polling", 5),
        ("GET", "/socket.io/?EIO=5&transport=polling", 5),
        ("GET", "/socket.io/?EIO=3&transport=websocket", 5),
    ] {
        request(address, method, target, b"").await.is_refused(code);
    }
    assert_eq!(request(address, "GET", &POLLING.replace("io/", "io"), b"").await.status, 404);
    // None of them has disturbed the session.
    request(address, "POST", &polling, b"40").await.is(200, "ok");
}

#[tokio::test]
async fn a_browser_from_elsewhere_may_ask() {
    let ask = "OPTIONS /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\
               Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-mine,content-type\r\n\r\n";
    for cors in [true, false] {
        let server = start_with(|config| {
            if !cors {
                config.api.cors_origin = None;
            }
        })
        .await;
        let mut stream = TcpStream::connect(server.broadcast).await.expect("it listens");
        stream.write_all(ask.as_bytes()).await.expect("it is connected");
        let preflight = answer(&mut stream).await;
        assert_eq!(preflight.status, 204);
        for header in ["allow-origin: *", "allow-methods: get, post, options", "allow-headers: x-mine,content-type"] {
            assert_eq!(preflight.head.contains(&format!("access-control-{header}\r\n")), cors, "{}", preflight.head);
        }
        let refused = exchange(&mut stream, "GET", "/socket.io/", b"").await;
        assert_eq!(refused.head.contains("access-control-allow-origin: *\r\n"), cors, "{}", refused.head);
    }
}

#[tokio::test]
async fn a_poll_waits_for_news_and_takes_all_of_it() {
    let server = start().await;
    let (mut a, mut b) = (Poller::connect(server.broadcast).await, Client::socketio(server.broadcast).await);
    let (polled, ()) = tokio::join!(a.poll(), async {
        sleep(Duration::from_millis(50)).await;
        b.send("42[\"send-offer\",1]").await;
    });
    polled.is(200, "42[\"receive-offer\",1]");
    b.hears("42[\"receive-offer\",1]").await;
    for n in 2..4 {
        b.send(&format!("42[\"send-offer\",{n}]")).await;
        b.next().await;
    }
    a.poll().await.is(200, "42[\"receive-offer\",2]\u{1e}42[\"receive-offer\",3]");
    assert_eq!(server.handle.census().queued_messages, 0);
}

#[tokio::test]
async fn two_polls_or_posts_at_a_time_end_the_session() {
    let server = start().await;
    let mut witness = Client::socketio(server.broadcast).await;
    let mut a = Poller::connect(server.broadcast).await;
    let target = a.target();
    let (first, second) = tokio::join!(a.poll(), async {
        sleep(Duration::from_millis(50)).await;
        request(server.broadcast, "GET", &target, b"").await
    });
    first.is(200, "6");
    second.is_refused(3);
    a.poll().await.is_refused(1);
    let mut b = Poller::connect(server.broadcast).await;
    let mut half = TcpStream::connect(server.broadcast).await.expect("it listens");
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n42", b.target());
    half.write_all(head.as_bytes()).await.expect("it is connected");
    sleep(Duration::from_millis(50)).await;
    b.post(b"3").await.is_refused(3);
    b.poll().await.is_refused(1);
    server.census(|census| census.members == 1 && census.sessions == 1).await;
    witness.is_told("420[\"sentinel\"]", "430[]").await;
}

#[tokio::test]
async fn a_request_that_is_cut_off_ends_the_session() {
    let server = start().await;
    let witness = Client::socketio(server.broadcast).await;
    for (method, length) in [("GET", 0), ("POST", 9)] {
        let client = Poller::connect(server.broadcast).await;
        server.census(|census| census.members == 2).await;
        let mut stream = TcpStream::connect(server.broadcast).await.expect("it listens");
        let head = format!("{method} {} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n", client.target());
        stream.write_all(head.as_bytes()).await.expect("it is connected");
        sleep(Duration::from_millis(50)).await;
        assert_eq!(server.handle.census().members, 2);
        drop(stream);
        server.census(|census| census.members == 1 && census.sessions == 1).await;
    }
    drop(witness);
    server.empty().await;
}

#[tokio::test]
async fn a_client_that_says_goodbye_is_gone_at_once() {
    let server = start().await;
    let mut a = Poller::connect(server.broadcast).await;
    let target = a.target();
    let (polled, posted) = tokio::join!(a.poll(), async {
        sleep(Duration::from_millis(50)).await;
        request(server.broadcast, "POST", &target, b"1").await
    });
    polled.is(200, "6");
    posted.is(200, "ok");
    a.poll().await.is_refused(1);
    a.post(b"40").await.is_refused(1);
    drop(a);
    server.empty().await;
}

#[tokio::test]
async fn what_is_no_packet_closes_the_session() {
    let server = start().await;
    for bad in [
        "",
        "x",
        "7",
        "0{}",
        "2",
        "2probe",
        "4",
        "49",
        "b!",
        "bAA==",
        "40",
        "44{}",
        "42[\"connect\"]",
        "42{}",
        "452-[]",
    ] {
        let mut a = Poller::connect(server.broadcast).await;
        // The packets behind it do not count.
        a.say(&format!("{bad}\u{1e}42[\"send-offer\"]")).await;
        server.census(|census| census.members == 0).await;
        a.poll().await.is(200, "1");
        a.poll().await.is_refused(1);
    }
    let mut unconnected = Poller::open(server.broadcast).await;
    unconnected.say("42[\"send-offer\"]").await;
    unconnected.poll().await.is(200, "1");
    let mut not_utf8 = Poller::connect(server.broadcast).await;
    not_utf8.post(b"42[\"\xff\"]").await.is_refused(3);
    not_utf8.poll().await.is(200, "1");
    server.census(|census| census.sessions == 0).await;
}

#[tokio::test]
async fn a_closed_session_waits_for_a_poll_but_not_for_ever() {
    let server = start_with(|config| config.limits.close_timeout = Duration::from_millis(100)).await;
    let mut a = Poller::connect(server.broadcast).await;
    a.say("x").await;
    server.census(|census| census.sessions == 0).await;
    a.poll().await.is_refused(1);
}

#[tokio::test]
async fn a_payload_may_have_a_million_bytes() {
    let server = start().await;
    let mut a = Poller::connect(server.broadcast).await;
    let event = |length: usize| format!("42[\"send-offer\",\"{}\"]", "x".repeat(length - 19));
    a.say(&event(1_000_000)).await;
    assert_eq!(a.hear().await.len(), 1_000_003);
    for length in [1_000_001, 3_000_000] {
        let too_large = request(server.broadcast, "POST", &a.target(), event(length).as_bytes()).await;
        assert_eq!(too_large.status, 413);
    }
    // The session stays, as in the JavaScript server.
    a.say("420[\"sentinel\"]").await;
    a.hears("430[]").await;
}

#[tokio::test(start_paused = true)]
async fn pings_wait_for_a_poll_and_want_a_pong() {
    let _clock = hold();
    let server = start_with(|config| {
        config.socketio.ping_interval = Duration::from_millis(100);
        config.socketio.ping_timeout = Duration::from_millis(300);
    })
    .await;
    let mut a = Poller::connect(server.broadcast).await;
    for _ in 0..3 {
        passing(a.hears("2")).await;
        a.say("3").await;
    }
    passing(a.hears("2")).await;
    // Anything else is no pong.
    a.say("420[\"sentinel\"]").await;
    a.hears("430[]").await;
    let ((), waited) = passing(a.hears("1")).await;
    assert!((250..=300).contains(&waited.as_millis()), "{waited:?}");
    a.poll().await.is_refused(1);
    // One that never polls again is dropped as well.
    let _gone = Poller::connect(server.broadcast).await;
    server.census(|census| census.members == 1).await;
    passing(server.census(|census| census.members == 0 && census.sessions == 0)).await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_connect_in_time_is_closed() {
    let _clock = hold();
    let server = start_with(|config| config.limits.join_timeout = Duration::from_millis(150)).await;
    let mut a = Poller::connect(server.broadcast).await;
    let mut b = Poller::open(server.broadcast).await;
    b.say("40/other,").await;
    b.hears("44/other,{\"message\":\"Invalid namespace\"}").await;
    passing(b.hears("1")).await;
    a.say("420[\"sentinel\"]").await;
    a.hears("430[]").await;
}

#[tokio::test]
async fn a_client_that_does_not_poll_is_closed_before_its_queue_bursts() {
    let server = start_with(|config| config.limits.queue_messages_max = 20).await;
    let (mut slow, mut a) = (Poller::connect(server.broadcast).await, Client::socketio(server.broadcast).await);
    for n in 0..30 {
        a.is_told(&format!("42[\"send-offer\",{n}]"), &format!("42[\"receive-offer\",{n}]")).await;
    }
    server.census(|census| census.members == 1).await;
    assert_eq!(server.handle.census().queued_messages_peak, 20);
    slow.poll().await.is(200, "1");
    slow.poll().await.is_refused(1);
}

#[tokio::test]
async fn sessions_have_a_cap() {
    let server = start_with(|config| config.limits.connections_max = 2).await;
    let mut a = Poller::connect(server.broadcast).await;
    let b = Poller::connect(server.broadcast).await;
    assert_eq!(request(server.broadcast, "GET", POLLING, b"").await.status, 503);
    Client::open(server.broadcast, WEBSOCKET).await.is_closed(1013).await;
    drop(b);
    a.say("1").await;
    server.census(|census| census.sessions == 1).await;
    drop(a);
    Poller::open(server.broadcast).await;
}

#[tokio::test]
async fn shutdown_answers_a_waiting_poll() {
    let server = start().await;
    let (mut a, b) = (Poller::connect(server.broadcast).await, Poller::connect(server.broadcast).await);
    let (polled, ()) = tokio::join!(a.poll(), async {
        sleep(Duration::from_millis(50)).await;
        server.handle.shutdown();
    });
    polled.is(200, "1");
    drop((a, b));
    timeout(PATIENCE, server.task).await.expect("it ends").expect("without a panic");
    assert_eq!((server.handle.census().sessions, server.handle.census().connections), (0, 0));
}

/// Polls, then changes over to a WebSocket as `socket.io-client` does.
async fn upgraded(server: &crate::client::Running) -> (Poller, Client) {
    let mut polling = Poller::connect(server.broadcast).await;
    let mut socket = Client::open(server.broadcast, &format!("{WEBSOCKET}&sid={}", polling.sid)).await;
    let (released, ()) = tokio::join!(polling.poll(), async {
        sleep(Duration::from_millis(20)).await;
        socket.is_told("2probe", "3probe").await;
    });
    released.is(200, "6");
    socket.send("5").await;
    socket.is_told("420[\"sentinel\"]", "430[]").await;
    (polling, socket)
}

#[tokio::test]
async fn a_session_changes_over_to_a_websocket() {
    let server = start().await;
    let (mut polling, mut a) = upgraded(&server).await;
    let mut b = Client::socketio(server.broadcast).await;
    a.send("42[\"send-offer\",1]").await;
    a.hears("42[\"receive-offer\",1]").await;
    b.hears("42[\"receive-offer\",1]").await;
    // The id is good for nothing else.
    polling.poll().await.is_refused(3);
    polling.post(b"40").await.is_refused(3);
    let again = format!(
        "GET {WEBSOCKET}&sid={} HTTP/1.1\r\n{}{}{}\r\n",
        polling.sid,
        crate::http::UPGRADE,
        crate::http::VERSION,
        crate::http::KEY
    );
    assert!(crate::http::request(server.broadcast, &again).await.starts_with("http/1.1 400 "));
    drop(a);
    server.census(|census| census.members == 1 && census.sessions == 1).await;
    polling.poll().await.is_refused(1);
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_the_change_is_not_lost() {
    let _clock = hold();
    let server = start().await;
    let mut polling = Poller::connect(server.broadcast).await;
    let mut b = Client::socketio(server.broadcast).await;
    let mut socket = Client::open(server.broadcast, &format!("{WEBSOCKET}&sid={}", polling.sid)).await;
    socket.is_told("2probe", "3probe").await;
    b.is_told("42[\"send-offer\",1]", "42[\"receive-offer\",1]").await;
    polling.hears("42[\"receive-offer\",1]").await;
    // A poll that comes while the probe stands is released soon.
    let ((), waited) = passing(polling.hears("6")).await;
    assert!((90..=110).contains(&waited.as_millis()), "{waited:?}");
    b.is_told("42[\"send-offer\",2]", "42[\"receive-offer\",2]").await;
    socket.send("5").await;
    socket.hears("42[\"receive-offer\",2]").await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_leaves_the_session_polling() {
    let _clock = hold();
    let server = start_with(|config| config.socketio.upgrade_timeout = Duration::from_millis(300)).await;
    let mut polling = Poller::connect(server.broadcast).await;
    let target = format!("{WEBSOCKET}&sid={}", polling.sid);
    for bad in ["5", "2", "42[\"send-offer\"]", "3probe", ""] {
        let mut socket = Client::open(server.broadcast, &target).await;
        socket.send(bad).await;
        socket.is_closed(1002).await;
    }
    let mut binary = Client::open(server.broadcast, &target).await;
    binary.socket.send(Message::binary(&b"2probe"[..])).await.expect("it is connected");
    binary.is_closed(1002).await;
    let mut half = Client::open(server.broadcast, &target).await;
    half.is_told("2probe", "3probe").await;
    // A second one at the same time is refused.
    request(server.broadcast, "GET", &target, b"").await.is_refused(3);
    half.send("42[\"send-offer\"]").await;
    half.is_closed(1002).await;
    passing(Client::open(server.broadcast, &target).await.is_closed(1002)).await;
    drop(Client::open(server.broadcast, &target).await);
    polling.say("420[\"sentinel\"]").await;
    polling.hears("430[]").await;
    let (mut late, _) = (Client::open(server.broadcast, &target).await, polling.say("1").await);
    late.is_told("2probe", "3probe").await;
    late.send("5").await;
    late.is_closed(1002).await;
    drop(polling);
    passing(server.empty()).await;
}

/// A client that posts, on a connection of its own, with a head that promises `length` bytes.
async fn posting(client: &Poller, to: std::net::SocketAddr, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n", client.target());
    stream.write_all(head.as_bytes()).await.expect("it is connected");
    stream
}

#[tokio::test(start_paused = true)]
async fn a_slow_but_steady_upload_takes_its_time() {
    let _clock = hold();
    let server = start().await;
    let mut a = Poller::connect(server.broadcast).await;
    let event = format!("42[\"send-offer\",\"{}\"]", "x".repeat(60_000 - 19));
    let mut stream = posting(&a, server.broadcast, event.len()).await;
    for part in event.as_bytes().chunks(5000) {
        settle().await;
        advance(Duration::from_secs(1)).await;
        stream.write_all(part).await.expect("it is connected");
    }
    timeout(PATIENCE, answer(&mut stream)).await.expect("it answers").is(200, "ok");
    assert_eq!(a.hear().await.len(), 60_003);
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_stalls_or_trickles_is_408_and_the_session_stays() {
    let _clock = hold();
    let server = start().await;
    let mut a = Poller::connect(server.broadcast).await;
    let stalls = async {
        let mut stream = posting(&a, server.broadcast, 9).await;
        stream.write_all(b"420").await.expect("it is connected");
        (answer(&mut stream).await, stream)
    };
    let ((refused, mut stream), waited) = passing(stalls).await;
    refused.is(408, "The payload came too slowly");
    assert!(refused.head.contains("connection: close\r\n"), "{}", refused.head);
    assert!((10_000..=10_100).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(stream.read(&mut [0]).await.expect("without a reset"), 0);
    // A byte a second is progress, but no upload.
    let mut stream = posting(&a, server.broadcast, 1000).await;
    let mut seconds = 0;
    let refused = loop {
        tokio::select! {
            biased;
            refused = answer(&mut stream) => break refused,
            () = async { settle().await; advance(Duration::from_secs(1)).await; } => seconds += 1,
        }
        assert!(seconds < 60, "a trickle holds the connection");
        stream.write_all(b"4").await.expect("it is connected");
    };
    refused.is(408, "The payload came too slowly");
    assert!((10..=12).contains(&seconds), "{seconds} s");
    a.say("420[\"sentinel\"]").await;
    a.hears("430[]").await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_waits_in_the_socket_is_not_late() {
    let _clock = hold();
    let server = start().await;
    let mut a = Poller::connect(server.broadcast).await;
    let event = format!("42[\"send-offer\",\"{}\"]", "x".repeat(60_000 - 19));
    let mut stream = posting(&a, server.broadcast, event.len()).await;
    settle().await;
    // All of it is sent in time, but the server's task comes late.
    stream.write_all(event.as_bytes()).await.expect("it is connected");
    advance(Duration::from_secs(20)).await;
    timeout(PATIENCE, answer(&mut stream)).await.expect("it answers").is(200, "ok");
    assert_eq!(a.hear().await.len(), 60_003);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_kept_alive_outlives_the_balancers_patience() {
    let _clock = hold();
    let server = start().await;
    let mut stream = TcpStream::connect(server.broadcast).await.expect("it listens");
    for _ in 0..2 {
        exchange(&mut stream, "GET", POLLING, b"").await;
        advance(Duration::from_millis(74_900)).await;
        settle().await;
    }
    exchange(&mut stream, "GET", POLLING, b"").await;
    let (ended, waited) = passing(stream.read(&mut [0])).await;
    assert_eq!(ended.expect("without a reset"), 0);
    assert!((75_000..=75_100).contains(&waited.as_millis()), "{waited:?}");
    // A head that has begun has its own limit.
    let mut stream = TcpStream::connect(server.broadcast).await.expect("it listens");
    exchange(&mut stream, "GET", POLLING, b"").await;
    advance(Duration::from_secs(70)).await;
    stream.write_all(b"GET / HT").await.expect("it is connected");
    let (ended, waited) = passing(stream.read(&mut [0])).await;
    assert_eq!(ended.expect("without a reset"), 0);
    assert!((10_000..=10_100).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_waits_in_a_socket_beats_an_overdue_ping() {
    let _clock = hold();
    let server = start_with(|config| {
        config.socketio.ping_interval = Duration::from_millis(100);
        config.socketio.ping_timeout = Duration::from_millis(300);
    })
    .await;
    let mut a = Poller::connect(server.broadcast).await;
    passing(a.hears("2")).await;
    // On a connection that the server has not even accepted yet.
    let mut stream = posting(&a, server.broadcast, 1).await;
    stream.write_all(b"3").await.expect("it is connected");
    advance(Duration::from_secs(2)).await;
    timeout(PATIENCE, answer(&mut stream)).await.expect("it answers").is(200, "ok");
    passing(a.hears("2")).await;
    assert_eq!(server.handle.census().members, 1);
}
