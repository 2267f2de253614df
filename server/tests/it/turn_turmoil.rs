//! TURN in virtual time, under classic turmoil: what takes minutes, and that two runs are alike.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use server::net::{Network, Udp};
use server::{Config, RelayAddress, Server, TurnSettings};
use tokio::time::sleep;

use crate::turmoil::Turmoil;
use crate::turn::settings;
use crate::turn_client::{ALLOCATE, TurnClient, UDP, channel_data, is_silent, receive};
use crate::wire::Response;

const PORT: u16 = 3478;
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Runs a client beside a TURN server and an echoing peer on port 9.
fn play<F: Future<Output = turmoil::Result> + 'static>(client: impl FnOnce() -> F) {
    play_with(|_| {}, client);
}

fn play_with<F>(change: fn(&mut TurnSettings), client: impl FnOnce() -> F)
where
    F: Future<Output = turmoil::Result> + 'static,
{
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .simulation_duration(Duration::from_secs(8000))
        .tick_duration(Duration::from_millis(10))
        .build();
    sim.host("server", move || async move {
        let mut turn = settings();
        change(&mut turn);
        turn.relay_addresses = vec![RelayAddress { bind: ANY, advertised: turmoil::lookup("server") }];
        let stun = Some(SocketAddr::new(ANY, PORT));
        // Virtual time; the world begins in 1970.
        let unix_time = || turmoil::elapsed().as_secs();
        let config = Config { listen: Vec::new(), stun, turn: Some(turn), seed: 7, unix_time, ..Config::default() };
        Server::bind(Turmoil, config).await?.run().await;
        Ok(())
    });
    sim.host("peer", || async {
        let socket = Turmoil.bind_udp((ANY, 9).into()).await?;
        loop {
            let (data, from) = match receive(&socket).await {
                Some(received) => received,
                None => continue,
            };
            socket.send_to(&data, from).await?;
        }
    });
    sim.client("client", client());
    sim.run().expect("no client fails");
}

async fn client() -> TurnClient<<Turmoil as Network>::Udp> {
    let socket = Turmoil.bind_udp((ANY, 0).into()).await.expect("port 0 is free");
    TurnClient::on(socket, (turmoil::lookup("server"), PORT).into())
}

fn peer() -> SocketAddr {
    (turmoil::lookup("peer"), 9).into()
}

//= https://www.rfc-editor.org/rfc/rfc8656#section-9-4
#[test]
fn a_permission_ends_after_five_minutes_and_a_channel_after_ten() {
    play(|| async {
        let mut client = client().await;
        client.allocate().await;
        assert_eq!((client.refresh(3600).await.lifetime(), client.bind(0x4000, peer()).await), (3600, 0));
        sleep(Duration::from_secs(299)).await;
        client.send_on(0x4000, b"in time").await;
        assert_eq!(client.next().await, channel_data(0x4000, b"in time"));
        sleep(Duration::from_secs(2)).await;
        client.send_on(0x4000, b"late").await;
        client.send(peer(), b"late").await;
        assert!(is_silent(&client.socket, Duration::from_secs(5)).await);
        // A permission of its own wakes the channel, which is still bound, to its own end.
        assert_eq!(client.permit(peer()).await, 0);
        client.send_on(0x4000, b"again").await;
        assert_eq!(client.next().await, channel_data(0x4000, b"again"));
        sleep(Duration::from_secs(296)).await;
        assert_eq!(client.permit(peer()).await, 0);
        client.send_on(0x4000, b"unbound").await;
        client.send(peer(), b"permitted").await;
        assert_eq!(Response::read(&client.next().await).get(0x0013), Some(&b"permitted"[..]));
        assert_eq!(client.bind(0x4001, peer()).await, 0, "the peer is free for another channel");
        Ok(())
    });
}

#[test]
fn an_allocation_ends_after_ten_minutes_a_nonce_after_an_hour_and_a_credential_with_its_allocation() {
    play(|| async {
        let mut client = client().await;
        client.allocate().await;
        sleep(Duration::from_secs(599)).await;
        assert_eq!(client.refresh(600).await.lifetime(), 600);
        sleep(Duration::from_secs(601)).await;
        assert_eq!(client.refresh(600).await.code(), 437);
        client.allocate().await;
        assert_eq!(client.refresh(3600).await.lifetime(), 3600);
        sleep(Duration::from_secs(2401)).await;
        let response = client.refresh(3600).await;
        assert_eq!(response.code(), 438);
        client.nonce = response.text(0x0015);
        assert_eq!(client.refresh(0).await.code(), 0);
        // base64(HMAC-SHA1("shared", "5000:eve"))
        (client.user, client.password) = ("5000:eve".to_owned(), EVE.to_owned());
        client.allocate().await;
        sleep(Duration::from_secs(500)).await;
        assert_eq!(client.refresh(3600).await.lifetime(), 3600);
        sleep(Duration::from_secs(1000)).await;
        // 5,000 s are over: the allocation goes on, and a new one needs a new credential.
        assert_eq!(client.refresh(3600).await.lifetime(), 3600);
        assert_eq!((client.permit(peer()).await, client.bind(0x4000, peer()).await), (0, 0));
        assert_eq!(client.refresh(0).await.lifetime(), 0);
        assert_eq!((client.refresh(600).await.code(), client.request(ALLOCATE, &[UDP]).await.code()), (401, 401));
        client.user = "u".to_owned();
        client.password = "p".to_owned();
        client.allocate().await;
        (client.user, client.password) = ("5000:eve".to_owned(), EVE.to_owned());
        assert_eq!(client.refresh(600).await.code(), 401, "the allocation is of another user");
        Ok(())
    });
}

#[test]
fn a_strict_server_refuses_a_credential_after_its_expiry_for_its_allocation_too() {
    play_with(
        |settings| settings.strict_expiry = true,
        || async {
            let mut client = client().await;
            (client.user, client.password) = ("5000:eve".to_owned(), EVE.to_owned());
            client.allocate().await;
            assert_eq!(client.refresh(3600).await.lifetime(), 3600);
            sleep(Duration::from_secs(3500)).await;
            assert_eq!(client.refresh(3600).await.lifetime(), 3600);
            sleep(Duration::from_secs(1400)).await;
            let response = client.refresh(3600).await;
            assert_eq!(response.code(), 438, "4,900 s are over, and the nonce lives 3,600");
            client.nonce = response.text(0x0015);
            assert_eq!(client.refresh(3600).await.lifetime(), 3600);
            sleep(Duration::from_secs(200)).await;
            assert_eq!((client.refresh(3600).await.code(), client.permit(peer()).await), (401, 401));
            Ok(())
        },
    );
}

/// The password of `5000:eve`, from `printf 5000:eve | openssl dgst -sha1 -hmac shared -binary | base64`.
const EVE: &str = "ibz8hbqos+aCn+lwmA02tppjt8U=";

#[test]
fn the_same_seed_gives_the_same_ports_nonces_and_transaction_ids() {
    let story = || {
        let story = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&story);
        play(|| async move {
            let mut client = client().await;
            let relayed = client.allocate().await;
            client.permit(peer()).await;
            client.send(peer(), b"x").await;
            let indication = Response::read(&client.next().await);
            telling.lock().expect("no panic").push((relayed, client.nonce.clone(), indication.id));
            Ok(())
        });
        Arc::into_inner(story).expect("the world is gone").into_inner().expect("no panic")
    };
    let (one, two) = (story(), story());
    assert_eq!((one.len(), &one), (1, &two));
}
