//! The mesh dialect: every message, every error text, payloads to the byte.

use crate::client::{Client, start};

#[tokio::test]
async fn a_newcomer_learns_of_the_peers_and_they_of_it() {
    let server = start().await;
    let mut alice = Client::connect(&server).await;
    alice.send(r#"{"action":"join","roomId":"demo","name":"Alice"}"#).await;
    let joined = alice.next().await;
    let id = joined.strip_prefix(r#"{"action":"joined","roomId":"demo","clientId":""#).expect(&joined)[..10].to_owned();
    assert_eq!(joined, format!(r#"{{"action":"joined","roomId":"demo","clientId":"{id}","peers":[]}}"#));
    assert!(id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()), "{id}");

    let mut bob = Client::connect(&server).await;
    let joined = bob.joins("demo").await;
    let peers = format!(r#"[{{"clientId":"{id}","name":"Alice"}}]"#);
    assert_eq!(joined, format!(r#"{{"action":"joined","roomId":"demo","clientId":"{}","peers":{peers}}}"#, bob.id));
    alice.hears(&format!(r#"{{"action":"peer-joined","roomId":"demo","peer":{{"clientId":"{}"}}}}"#, bob.id)).await;
    bob.hears_nothing().await;
}

#[tokio::test]
async fn signals_reach_the_others_or_the_one_they_are_for() {
    let server = start().await;
    let mut clients = [
        Client::join(&server, "r").await,
        Client::join(&server, "r").await,
        Client::join(&server, "r").await,
        Client::join(&server, "elsewhere").await,
    ];
    let [a, b, c, other] = &mut clients;
    a.next().await; // b and c joined
    a.next().await;
    b.next().await;
    for kind in ["offer", "answer", "ice-candidate", "hangup"] {
        a.send(&format!(r#"{{"action":"signal","roomId":"r","type":"{kind}","data":1}}"#)).await;
        let signal = format!(r#"{{"action":"signal","roomId":"r","from":"{}","type":"{kind}","data":1}}"#, a.id);
        b.hears(&signal).await;
        c.hears(&signal).await;
    }
    a.send(&format!(r#"{{"action":"signal","roomId":"r","type":"offer","to":"{}"}}"#, c.id)).await;
    c.hears(&format!(r#"{{"action":"signal","roomId":"r","from":"{}","type":"offer"}}"#, a.id)).await;
    a.send(r#"{"action":"signal","roomId":"r","type":"offer","data":null,"to":null,"from":"liar"}"#).await;
    let broadcast = format!(r#"{{"action":"signal","roomId":"r","from":"{}","type":"offer","data":null}}"#, a.id);
    b.hears(&broadcast).await;
    c.hears(&broadcast).await;
    for client in [a, b, c, other] {
        client.hears_nothing().await;
    }
}

#[tokio::test]
async fn every_way_to_leave_is_announced_once() {
    let server = start().await;
    let mut stays = Client::join(&server, "r").await;
    for way in ["leave", "close", "lost", "elsewhere", "protocol error"] {
        let mut leaver = Client::join(&server, "r").await;
        stays.next().await;
        match way {
            "leave" => leaver.send(r#"{"action":"leave","roomId":"r"}"#).await,
            "close" => leaver.socket.close(None).await.expect("it is connected"),
            "elsewhere" => drop(leaver.joins("elsewhere").await),
            "protocol error" => leaver.send_raw(&[0xff, 0xff]).await,
            _ => {}
        }
        let id = leaver.id.clone();
        drop(leaver);
        stays.hears(&format!(r#"{{"action":"peer-left","roomId":"r","clientId":"{id}"}}"#)).await;
        server.census(|census| census.connections == 1).await;
        stays.hears_nothing().await;
    }
    drop(stays);
    server.empty().await;
}

#[tokio::test]
async fn joining_again_is_answered_but_not_announced_and_keeps_the_id() {
    let server = start().await;
    let (mut a, mut b) = (Client::join(&server, "r").await, Client::join(&server, "r").await);
    a.next().await;
    let id = b.id.clone();
    assert_eq!(
        b.joins("r").await,
        format!(r#"{{"action":"joined","roomId":"r","clientId":"{id}","peers":[{{"clientId":"{}"}}]}}"#, a.id)
    );
    a.hears_nothing().await;
    b.joins("other").await;
    assert_eq!(b.id, id);
    b.joins("r").await;
    assert_eq!(b.id, id);
    a.hears(&format!(r#"{{"action":"peer-left","roomId":"r","clientId":"{id}"}}"#)).await;
    a.hears(&format!(r#"{{"action":"peer-joined","roomId":"r","peer":{{"clientId":"{id}"}}}}"#)).await;
    a.hears_nothing().await;
}

#[tokio::test]
async fn every_error_has_its_text_and_no_effect() {
    let server = start().await;
    let (mut a, mut b) = (Client::join(&server, "r").await, Client::join(&server, "r").await);
    let elsewhere = Client::join(&server, "elsewhere").await;
    a.next().await;
    let long = "x".repeat(10_000);
    let cases = [
        ("{".to_owned(), "Invalid JSON".to_owned()),
        ("".to_owned(), "Invalid JSON".to_owned()),
        (r#"{"action":"leave","roomId":"r"} x"#.to_owned(), "Invalid JSON".to_owned()),
        ("null".to_owned(), "Invalid action".to_owned()),
        (" null\n".to_owned(), "Invalid action".to_owned()),
        ("true".to_owned(), "Invalid action".to_owned()),
        ("[]".to_owned(), "Invalid action".to_owned()),
        ("5".to_owned(), "Invalid action".to_owned()),
        (r#""leave""#.to_owned(), "Invalid action".to_owned()),
        ("{}".to_owned(), "Invalid action".to_owned()),
        (r#"{"action":null}"#.to_owned(), "Invalid action".to_owned()),
        (r#"{"action":["leave"],"roomId":"r"}"#.to_owned(), "Invalid action".to_owned()),
        (r#"{"action":"zzz"}"#.to_owned(), "Unknown action: zzz".to_owned()),
        (r#"{"action":"Leave","roomId":"r"}"#.to_owned(), "Unknown action: Leave".to_owned()),
        (r#"{"action":""}"#.to_owned(), "Unknown action: ".to_owned()),
        (format!(r#"{{"action":"{long}"}}"#), format!("Unknown action: {}", &long[..64])),
        (r#"{"action":"join"}"#.to_owned(), "Invalid roomId type".to_owned()),
        (r#"{"action":"join","roomId":""}"#.to_owned(), "Invalid roomId type".to_owned()),
        (r#"{"action":"join","roomId":null}"#.to_owned(), "Invalid roomId type".to_owned()),
        (r#"{"action":"join","roomId":{"r":1}}"#.to_owned(), "Invalid roomId type".to_owned()),
        (r#"{"action":"join","roomId":"\ud800"}"#.to_owned(), "Invalid roomId type".to_owned()),
        (r#"{"action":"leave"}"#.to_owned(), "Invalid roomId type".to_owned()),
        (r#"{"action":"signal","type":"offer"}"#.to_owned(), "Invalid roomId type".to_owned()),
        (format!(r#"{{"action":"join","roomId":"{long}"}}"#), "RoomId too long".to_owned()),
        (format!(r#"{{"action":"join","roomId":"{}"}}"#, "é".repeat(65)), "RoomId too long".to_owned()),
        (format!(r#"{{"action":"leave","roomId":"{long}"}}"#), "RoomId too long".to_owned()),
        (r#"{"action":"leave","roomId":"R"}"#.to_owned(), "Not in this room".to_owned()),
        (r#"{"action":"leave","roomId":"elsewhere"}"#.to_owned(), "Not in this room".to_owned()),
        (r#"{"action":"signal","roomId":"r ","type":"offer"}"#.to_owned(), "Not in this room".to_owned()),
        (r#"{"action":"signal","roomId":"r"}"#.to_owned(), "Invalid signal type".to_owned()),
        (r#"{"action":"signal","roomId":"r","type":"Offer"}"#.to_owned(), "Invalid signal type".to_owned()),
        (r#"{"action":"signal","roomId":"r","type":["offer"]}"#.to_owned(), "Invalid signal type".to_owned()),
        target("\"nobody\"", "nobody"),
        target("5", "5"),
        target("\"\"", ""),
        target(&format!("\"{long}\""), &long[..64]),
        target(&format!("\"{}\"", elsewhere.id), &elsewhere.id),
        target(&format!("\"{}\"", b.id.to_uppercase()), &b.id.to_uppercase()),
        target(&format!("\"{}\"", a.id), &a.id),
    ];
    for (message, error) in cases {
        a.send(&message).await;
        a.hears_error(&error).await;
    }
    b.hears_nothing().await;
    a.send(r#"{"action":"signal","roomId":"r","type":"hangup"}"#).await;
    b.hears(&format!(r#"{{"action":"signal","roomId":"r","from":"{}","type":"hangup"}}"#, a.id)).await;

    let mut outside = Client::connect(&server).await;
    outside.send(r#"{"action":"signal","roomId":"r","type":"offer"}"#).await;
    outside.hears_error("Not in this room").await;
    outside.send(r#"{"action":"leave","roomId":"r"}"#).await;
    outside.hears_error("Not in this room").await;
    b.hears_nothing().await;
}

fn target(to: &str, echo: &str) -> (String, String) {
    let message = format!(r#"{{"action":"signal","roomId":"r","type":"offer","to":{to}}}"#);
    (message, format!("Target client {echo} not found or not in room"))
}

#[tokio::test]
async fn payloads_are_relayed_byte_for_byte() {
    let server = start().await;
    let (mut a, mut b) = (Client::join(&server, "r").await, Client::join(&server, "r").await);
    a.next().await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    for data in [
        r#"{"z":1,"a":2,"z":3}"#,
        r#"{ "type" : "offer" ,	"sdp":"v=0\r\no=- \u00e9\/\ud83d\ude00 é😀" }"#,
        "123456789012345678901234567890.000e-400",
        "-0",
        r#""\ud800""#,
        r#"{"__proto__":{"a":null},"action":"leave","roomId":"x"}"#,
        "{\n  \"candidate\": \"\"\n}",
        "null",
        "false",
        "[]",
        &deep,
    ] {
        a.send(&format!(r#"{{"data": {data} , "type":"offer","extra":{data},"roomId":"r","action":"signal"}}"#)).await;
        b.hears(&format!(r#"{{"action":"signal","roomId":"r","from":"{}","type":"offer","data":{data}}}"#, a.id)).await;
    }
}

#[tokio::test]
async fn names_of_rooms_are_exact_and_may_be_odd() {
    let server = start().await;
    let longest = "😀".repeat(64);
    for room in ["__proto__", "constructor", " r ", r"\u0000", r#"\"\\"#, "R", "r", "é", "e\u{301}", &longest] {
        let joined = Client::connect(&server).await.joins(room).await;
        assert!(joined.contains(&format!(r#""roomId":"{room}""#)) && joined.ends_with(r#""peers":[]}"#), "{joined}");
        server.empty().await;
    }
    let mut one = Client::join(&server, "r").await;
    let _two = Client::join(&server, "R").await;
    one.hears_nothing().await;
    assert_eq!(server.handle.census().rooms, 2);
    // The same name, spelled otherwise in JSON, is the same room.
    let _three = Client::join(&server, r"\u0072").await;
    assert!(one.next().await.contains("peer-joined"));
}

#[tokio::test]
async fn a_name_that_is_none_counts_as_absent() {
    let server = start().await;
    let mut a = Client::join(&server, "r").await;
    let longest = "é".repeat(64);
    for (name, shown) in [
        (format!("\"{longest}\""), format!(r#","name":"{longest}""#)),
        (format!("\"{longest}x\""), String::new()),
        ("\"\"".to_owned(), String::new()),
        ("5".to_owned(), String::new()),
        ("null".to_owned(), String::new()),
        (r#""<b>\"""#.to_owned(), r#","name":"<b>\"""#.to_owned()),
    ] {
        let mut b = Client::connect(&server).await;
        b.send(&format!(r#"{{"action":"join","roomId":"r","name":{name}}}"#)).await;
        let joined = b.next().await;
        let id = joined.split(r#""clientId":""#).nth(1).expect("joined")[..10].to_owned();
        a.hears(&format!(r#"{{"action":"peer-joined","roomId":"r","peer":{{"clientId":"{id}"{shown}}}}}"#)).await;
        drop(b);
        a.next().await;
    }
}

/// Order per pair and nothing lost or doubled, with many rooms at once on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_keep_their_order_under_load() {
    const MESSAGES: usize = 500;
    let server = start().await;
    let mut rooms = Vec::new();
    for room in 0..8 {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(Client::join(&server, &format!("room-{room}")).await);
        }
        rooms.push(clients);
    }
    let mut tasks = Vec::new();
    for (room, clients) in rooms.into_iter().enumerate() {
        for mut client in clients {
            tasks.push(tokio::spawn(async move {
                let mut next = std::collections::BTreeMap::<String, usize>::new();
                for n in 0..MESSAGES {
                    let signal = format!(r#"{{"action":"signal","roomId":"room-{room}","type":"offer","data":{n}}}"#);
                    client.send(&signal).await;
                }
                while next.len() < 3 || next.values().any(|n| *n < MESSAGES) {
                    let text = client.next().await;
                    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                    if json["action"] == "signal" {
                        let expected = next.entry(json["from"].to_string()).or_default();
                        assert_eq!(json["data"], *expected);
                        *expected += 1;
                    }
                }
                client
            }));
        }
    }
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.await.expect("no assertion failed"));
    }
    drop(clients);
    server.empty().await;
}
