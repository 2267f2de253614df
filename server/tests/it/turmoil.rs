//! The same server inside another simulator: classic turmoil.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use server::{Config, Listen, Server};

use crate::client::Client;
use crate::socketio_client::{Poller, WEBSOCKET};

server::net_impl!(Turmoil, turmoil::net);

const PORT: u16 = 8787;
const BROADCAST_PORT: u16 = 5001;

async fn join() -> Client<turmoil::net::TcpStream> {
    let mut client = Client::over(turmoil::net::TcpStream::connect(("server", PORT)).await.expect("it listens")).await;
    client.joins("demo").await;
    client
}

/// Three join one after the other, the last signals to all, the second leaves, then the third.
#[test]
fn three_peers_join_signal_and_leave() {
    let mut sim = turmoil::Builder::new().simulation_duration(Duration::from_secs(60)).build();
    sim.host("server", || async {
        let mesh = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let stun = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3478));
        let config = Config { listen: Listen::each(["mesh"], |_| mesh), stun: Some(stun), ..Config::default() };
        Server::bind(Turmoil, config).await?.run().await;
        Ok(())
    });
    sim.client("first", async {
        let mut client = join().await;
        let mut heard = Vec::new();
        for _ in 0..5 {
            let message: serde_json::Value = serde_json::from_str(&client.next().await)?;
            let who =
                message["peer"]["clientId"].as_str().or(message["from"].as_str()).or(message["clientId"].as_str());
            heard.push((message["action"].as_str().expect("a string").to_owned(), who.expect("a string").to_owned()));
        }
        let (second, third) = (heard[0].1.clone(), heard[1].1.clone());
        let expected = [
            ("peer-joined", &second),
            ("peer-joined", &third),
            ("signal", &third),
            ("peer-left", &second),
            ("peer-left", &third),
        ];
        assert_eq!(heard, expected.map(|(action, who)| (action.to_owned(), who.clone())));
        Ok(())
    });
    sim.client("second", async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut client = join().await;
        let joined = client.next().await;
        assert!(joined.contains("peer-joined"), "{joined}");
        let signal = client.next().await;
        assert!(signal.ends_with(r#""type":"offer","data":{"sdp":"v=0"}}"#), "{signal}");
        Ok(())
    });
    sim.client("third", async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut client = join().await;
        client.send(r#"{"action":"signal","roomId":"demo","type":"offer","data":{"sdp":"v=0"}}"#).await;
        let left = client.next().await;
        assert!(left.contains("peer-left"), "{left}");
        Ok(())
    });
    sim.run().expect("no client fails");
}

/// One polls, one has a WebSocket and answers; then the poller changes over, and waits through a ping.
#[test]
fn two_speak_socketio_over_both_transports() {
    let mut sim = turmoil::Builder::new().simulation_duration(Duration::from_secs(120)).build();
    sim.host("server", || async {
        let broadcast = SocketAddr::from((Ipv4Addr::UNSPECIFIED, BROADCAST_PORT));
        let config = Config { listen: Listen::each(["broadcast"], |_| broadcast), stun: None, ..Config::default() };
        Server::bind(Turmoil, config).await?.run().await;
        Ok(())
    });
    let connect = || turmoil::net::TcpStream::connect(("server", BROADCAST_PORT));
    sim.client("answers", async move {
        let mut client = Client::upgrade(connect().await?, WEBSOCKET).await;
        client.connects().await;
        client.hears(r#"42["receive-offer",{"sdp":"v=0"}]"#).await;
        client.is_told(r#"42["send-answer",1]"#, r#"42["receive-answer",1]"#).await;
        client.hears(r#"42["receive-offer",2]"#).await;
        Ok(())
    });
    sim.client("offers", async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut client = Poller::over(connect().await?).await;
        client.say("40").await;
        assert!(client.hear().await.starts_with("40{"));
        client.say(r#"42["send-offer",{"sdp":"v=0"}]"#).await;
        client.hears(r#"42["receive-offer",{"sdp":"v=0"}]"#).await;
        client.hears(r#"42["receive-answer",1]"#).await;
        let mut socket = Client::upgrade(connect().await?, &format!("{WEBSOCKET}&sid={}", client.sid)).await;
        socket.is_told("2probe", "3probe").await;
        socket.send("5").await;
        socket.is_told(r#"42["send-offer",2]"#, r#"42["receive-offer",2]"#).await;
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(25)).await;
            socket.hears("2").await;
            socket.send("3").await;
        }
        Ok(())
    });
    sim.run().expect("no client fails");
}
