//! Faults that an operator orders: what they do to signaling and to TURN, to whom, and when they end.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use server::faults::{Endpoint, Faults, FaultyNetwork};
use server::net::{Network, Tokio, Udp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::{Client, PATIENCE, Running, start_on};
use crate::turn::settings;
use crate::turn_client::{TurnClient, channel_data, receive};

const TOKEN: &str = "a token for a test";
const CHANNEL: u16 = 0x4001;

/// A server that takes orders for faults.
struct Faulty {
    server: Running,
    orders: SocketAddr,
}

impl Faulty {
    async fn start() -> Self {
        let faults = Faults::default();
        let endpoint = Endpoint::bind(Tokio, 0, faults.clone(), TOKEN.to_owned()).await.expect("port 0 is free");
        let orders = endpoint.address();
        tokio::spawn(endpoint.serve());
        let stun = Some(([127, 0, 0, 1], 0).into());
        let net = FaultyNetwork::new(Tokio, faults, stun);
        let server = start_on(net, |config| config.turn = Some(settings())).await;
        Self { server, orders }
    }

    /// Sends a request to the endpoint; returns the status and the JSON of the answer.
    async fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.orders).await.expect("it listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("it is connected");
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it answers").expect("UTF-8");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
    }

    /// Begins a fault and returns its id.
    async fn begin(&self, order: Value) -> u64 {
        let (status, fault) = self.ask("POST", "/faults", TOKEN, &order.to_string()).await;
        assert_eq!(status, 201, "{fault}");
        fault["id"].as_u64().expect("an id")
    }

    async fn end(&self, id: u64) {
        assert_eq!(self.ask("DELETE", &format!("/faults/{id}"), TOKEN, "").await, (200, json!({ "ended": 1 })));
    }

    /// A TURN client with a channel to a peer.
    async fn turn(&self, user: &str, password: &str) -> (TurnClient, <Tokio as Network>::Udp) {
        let peer = Tokio.bind_udp(([127, 0, 0, 1], 0).into()).await.expect("port 0 is free");
        let mut client = TurnClient::new(self.server.stun).await;
        (client.user, client.password) = (user.to_owned(), password.to_owned());
        client.allocate().await;
        assert_eq!(client.bind(CHANNEL, peer.local_addr().expect("it is bound")).await, 0);
        (client, peer)
    }
}

#[tokio::test]
async fn orders_need_the_token_and_a_wrong_one_gets_a_sentence() {
    let server = Faulty::start().await;
    let (status, answer) = server.ask("GET", "/faults", "another token", "").await;
    assert_eq!(
        (status, &answer["error"]),
        (401, &json!("give the token of the faults: `Authorization: Bearer TOKEN`"))
    );
    for (method, path, body, status, says) in [
        ("GET", "/", "", 404, "there are /faults and /faults/ID"),
        ("GET", "/faults/nine", "", 404, "there are /faults and /faults/ID"),
        ("DELETE", "/faults/9", "", 404, "no fault has the id 9, or it has ended"),
        ("PUT", "/faults", "", 405, "POST begins a fault"),
        ("POST", "/faults", "", 400, "the order cannot be read"),
        ("POST", "/faults", r#"{"cut":true,"fro":"ana"}"#, 400, "unknown field `fro`, expected one of `on`, `client`"),
        ("POST", "/faults", r#"{"cut":true,"on":"stun"}"#, 400, "expected `signaling` or `turn`"),
        ("POST", "/faults", r#"{"on":"turn"}"#, 400, "it does nothing: give `cut`"),
        ("POST", "/faults", r#"{"loss_percent":130}"#, 400, "from 0 to 100"),
        ("POST", "/faults", r#"{"bytes_per_second":0}"#, 400, "use `cut`"),
        ("POST", "/faults", r#"{"cut":true,"for_ms":0}"#, 400, "`for_ms` is at least 1"),
        ("POST", "/faults", r#"{"cut":true,"client":""}"#, 400, "leave it out for all clients"),
        ("POST", "/faults", &" ".repeat(5000), 413, "at most 4096 bytes"),
    ] {
        let (found, answer) = server.ask(method, path, TOKEN, body).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && error.contains(says), "{method} {path} {body}: {found} {answer}");
    }
    let first = server.begin(json!({ "on": "turn", "loss_percent": 30, "way": "to-client", "for_ms": 60_000 })).await;
    let second = server.begin(json!({ "delay_ms": 5, "client": "127.0.0.9" })).await;
    let (_, listed) = server.ask("GET", "/faults", TOKEN, "").await;
    let ids: Vec<_> = listed["faults"].as_array().expect("a list").iter().map(|fault| &fault["id"]).collect();
    assert_eq!(ids, [first, second]);
    let (shown, remaining) = (&listed["faults"][0], listed["faults"][0]["remaining_ms"].as_u64().expect("it ends"));
    assert!(shown["on"] == "turn" && shown["way"] == "to-client" && remaining <= 60_000, "{listed}");
    assert_eq!(server.ask("DELETE", "/faults", TOKEN, "").await, (200, json!({ "ended": 2 })));
    assert_eq!(server.ask("GET", "/faults", TOKEN, "").await.1["faults"], json!([]));
}

#[tokio::test]
async fn signaling_is_cut_for_one_client_and_what_waited_comes_in_order() {
    let server = Faulty::start().await;
    let mut cut = Client::open(server.server.http, "/relay?room=one&token=secret").await;
    let mut friend = Client::open(server.server.http, "/relay?room=one").await;
    let [mut other, mut far] = [
        Client::open(server.server.http, "/relay?room=two").await,
        Client::open(server.server.http, "/relay?room=two").await,
    ];
    server.server.census(|census| census.members == 4).await;
    let (_, listed) = server.ask("GET", "/faults", TOKEN, "").await;
    let requests: Vec<_> =
        listed["clients"].as_array().expect("a list").iter().filter_map(|client| client["request"].as_str()).collect();
    assert!(requests.contains(&"/relay?room=one&token=…"), "without the token: {listed}");
    let address = cut.socket.get_ref().local_addr().expect("it is connected").to_string();
    let fault = server.begin(json!({ "on": "signaling", "client": address, "cut": true })).await;
    for n in 0..3 {
        cut.send(&format!(r#"{{"type":"offer","offer":{n}}}"#)).await;
        friend.send(&format!(r#"{{"type":"answer","answer":{n}}}"#)).await;
    }
    // The others are not concerned, and nothing of it has passed when their messages have.
    other.send(r#"{"type":"offer","offer":7}"#).await;
    far.hears(r#"{"type":"offer","offer":7}"#).await;
    let early = timeout(Duration::from_millis(300), friend.next()).await;
    assert!(early.is_err(), "{early:?}");
    server.end(fault).await;
    for n in 0..3 {
        friend.hears(&format!(r#"{{"type":"offer","offer":{n}}}"#)).await;
        cut.hears(&format!(r#"{{"type":"answer","answer":{n}}}"#)).await;
    }
    // By a parameter of the URL, and for a time: then it ends by itself.
    let begun = Instant::now();
    server.begin(json!({ "client": "room=two", "cut": true, "for_ms": 400 })).await;
    other.send(r#"{"type":"offer","offer":8}"#).await;
    far.hears(r#"{"type":"offer","offer":8}"#).await;
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    assert_eq!(server.ask("GET", "/faults", TOKEN, "").await.1["faults"], json!([]));
}

#[tokio::test]
async fn signaling_is_late_and_a_closed_connection_is_closed_for_both() {
    let server = Faulty::start().await;
    let mut ana = Client::join(&server.server, "demo").await;
    let fault = server.begin(json!({ "on": "signaling", "delay_ms": 150 })).await;
    let begun = Instant::now();
    ana.hears_nothing().await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "once for each way: {:?}", begun.elapsed());
    server.end(fault).await;
    drop(ana);
    server.server.empty().await;
    // It is forgotten, once its last bytes have been passed on.
    let forgotten = async {
        while server.ask("GET", "/faults", TOKEN, "").await.1["clients"] != json!([]) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, forgotten).await.expect("it is forgotten");
}

#[tokio::test]
async fn turn_is_cut_for_one_user_and_comes_back() {
    let server = Faulty::start().await;
    let (mut ana, of_ana) = server.turn("u", "p").await;
    let (mut ben, of_ben) = server.turn("v", "q").await;
    let (_, listed) = server.ask("GET", "/faults", TOKEN, "").await;
    let users: Vec<_> = listed["clients"].as_array().expect("a list").iter().map(|client| &client["user"]).collect();
    assert_eq!(users.len(), 2, "{listed}");
    let fault = server.begin(json!({ "on": "turn", "client": "u", "cut": true })).await;
    ana.send_on(CHANNEL, b"lost").await;
    ben.send_on(CHANNEL, b"passes").await;
    assert_eq!(receive(&of_ben).await.expect("it passes").0, b"passes");
    // In the other direction.
    let (relayed, from) = {
        server.end(fault).await;
        ana.send_on(CHANNEL, b"again").await;
        receive(&of_ana).await.expect("it passes again")
    };
    assert_eq!(relayed, b"again", "what was cut is lost");
    let fault = server.begin(json!({ "client": "u", "cut": true, "way": "to-client" })).await;
    of_ana.send_to(b"lost", from).await.expect("it is sent");
    ana.send_on(CHANNEL, b"passes").await;
    assert_eq!(receive(&of_ana).await.expect("that way is open").0, b"passes");
    server.end(fault).await;
    of_ana.send_to(b"found", from).await.expect("it is sent");
    assert_eq!(ana.next().await, channel_data(CHANNEL, b"found"));
}

#[tokio::test]
async fn turn_loses_the_share_that_is_ordered() {
    let server = Faulty::start().await;
    let (mut ana, peer) = server.turn("u", "p").await;
    server.begin(json!({ "on": "turn", "loss_percent": 30, "way": "from-client" })).await;
    const SENT: u32 = 2000;
    for n in 0..SENT {
        ana.send_on(CHANNEL, &n.to_be_bytes()).await;
        if n % 50 == 0 {
            // The relay is to keep up: no other datagram may be lost.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    server.ask("DELETE", "/faults", TOKEN, "").await;
    ana.send_on(CHANNEL, b"the end").await;
    let mut arrived = Vec::new();
    loop {
        let datagram = receive(&peer).await.expect("something comes").0;
        if datagram == b"the end" {
            break;
        }
        arrived.push(datagram);
    }
    assert!(arrived.is_sorted(), "in order");
    // Six standard deviations.
    assert!((1277..=1523).contains(&arrived.len()), "{} of {SENT} arrived", arrived.len());
}

#[tokio::test]
async fn turn_is_late_and_slow() {
    let server = Faulty::start().await;
    let (mut ana, peer) = server.turn("u", "p").await;
    let begun = Instant::now();
    let fault = server.begin(json!({ "on": "turn", "delay_ms": 200 })).await;
    ana.send_on(CHANNEL, b"late").await;
    let (_, relayed) = receive(&peer).await.expect("it comes");
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    peer.send_to(b"late too", relayed).await.expect("it is sent");
    assert_eq!(ana.next().await, channel_data(CHANNEL, b"late too"));
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    server.end(fault).await;
    // 16 datagrams of 504 bytes at 10 kB/s; of 40 more, those are lost that would wait for more than a second.
    server.begin(json!({ "on": "turn", "bytes_per_second": 10_000, "way": "from-client" })).await;
    let begun = Instant::now();
    for n in 0..56_u8 {
        ana.send_on(CHANNEL, &[n; 500]).await;
    }
    for n in 0..16 {
        assert_eq!(receive(&peer).await.expect("it comes").0, [n; 500], "in order");
    }
    assert!(begun.elapsed() >= Duration::from_millis(750), "{:?}", begun.elapsed());
    let mut more = 0;
    while timeout(Duration::from_millis(1500), peer.recv_from(&mut [0; 1000])).await.is_ok() {
        more += 1;
    }
    assert!(more < 40, "a queue has an end");
}

/// A server whose network can have faults, but has none, is like any other.
#[tokio::test]
async fn without_an_order_nothing_changes() {
    let server = Faulty::start().await;
    let mut ana = Client::join(&server.server, "demo").await;
    let mut ben = Client::join(&server.server, "demo").await;
    ana.next().await;
    let long = "x".repeat(200_000);
    ben.send(&format!(r#"{{"action":"signal","roomId":"demo","type":"offer","data":"{long}"}}"#)).await;
    assert!(ana.next().await.contains(&long));
    let (mut client, peer) = server.turn("u", "p").await;
    for n in 0..100_u8 {
        client.send_on(CHANNEL, &[n]).await;
        assert_eq!(receive(&peer).await.expect("it comes").0, [n]);
    }
    drop((ana, ben));
    server.server.empty().await;
}
