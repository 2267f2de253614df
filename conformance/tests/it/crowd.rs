//! Clients that are handed over to a load test.

use std::future::poll_fn;
use std::time::Duration;

use conformance::dial::Tokio;
use conformance::{Arrival, Audience, Crowd, Dialect, Wire};

use crate::{dialect, reference};

const PATIENCE: Duration = Duration::from_secs(60);

fn crowd(address: std::net::SocketAddr, dialect: &std::sync::Arc<Dialect>) -> Crowd {
    let target = format!("ws://{address}").parse().expect("a URL");
    Crowd::new(Tokio, &target, dialect, 1, PATIENCE)
}

async fn next(wire: &mut Wire) -> Arrival {
    let next = poll_fn(|cx| wire.poll_next(cx));
    tokio::time::timeout(PATIENCE, next).await.expect("something comes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_hear_each_other_on_the_wire_and_the_end() {
    let crowd = crowd(reference::reference().await, &dialect("mesh"));
    crowd.reach().await.expect("it is there");
    let room = crowd.room(&crowd.room_name(), 2, r#""hello""#).await.expect("a room");
    let [mut ana, mut ben] = <[_; 2]>::try_from(room.members).ok().expect("two members");
    assert_eq!(ana.signals.len(), 1, "everyone hears it");
    assert!(ana.signals[0].frame.contains(r#""data":"hello""#), "{}", ana.signals[0].frame);

    poll_fn(|cx| ana.wire.poll_ready(cx)).await;
    ana.wire.send(ana.signals[0].frame.clone());
    poll_fn(|cx| ana.wire.poll_flush(cx)).await;
    let Arrival::Message(heard) = next(&mut ben.wire).await else { panic!("the connection is open") };
    assert!(String::from_utf8_lossy(&heard).contains(r#""data":"hello""#), "{heard:?}");
    assert_eq!(ben.wire.take_in(&heard), None, "it is no error");

    ben.wire.send("{}".to_owned());
    poll_fn(|cx| ben.wire.poll_flush(cx)).await;
    let Arrival::Message(error) = next(&mut ben.wire).await else { panic!("the connection is open") };
    assert!(ben.wire.take_in(&error).is_some_and(|error| error.contains("Invalid action")), "{error:?}");

    ana.wire.close(PATIENCE).await;
    let Arrival::Message(left) = next(&mut ben.wire).await else { panic!("the connection is open") };
    assert!(String::from_utf8_lossy(&left).contains("peer-left"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_dialect_is_told() {
    let address = reference::reference().await;
    let error = crowd(address, &dialect("sender-viewer")).reach().await.expect_err("it speaks mesh");
    assert!(error.to_string().contains("m0 did not receive an answer to its join"), "{error}");
}

#[test]
fn the_audience_of_a_signal_follows_from_the_dialect() {
    let expected = [
        ("mesh", None, true, true, false),
        ("sender-viewer", Some(2), true, true, false),
        ("call", Some(2), true, false, false),
        ("broadcast", None, false, true, true),
        ("relay", None, true, true, false),
        ("peerjs", None, true, false, false),
        ("y-webrtc", None, true, true, true),
    ];
    for (name, members_max, rooms, everyone, echo) in expected {
        assert_eq!(dialect(name).audience(), Audience { members_max, rooms, everyone, echo }, "{name}");
    }
}
