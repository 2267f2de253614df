//! Correct servers that make other choices or are far away: no case may fail on them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use conformance::Verdict;
use server::net::Tokio;
use server::{Config, DialectEntry, Listen, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::channel;
use tokio::time::{Instant, sleep_until};

use crate::mini::{self, Behaviour, Choices, Errors, Ids, Oversize, Rosters};
use crate::{ask, ask_as, dialect, text};

/// The delay that the proxy adds in each direction.
const DELAY: Duration = Duration::from_millis(40);

/// Runs every mesh case against a server with these choices; none may fail.
async fn passes(choices: Choices) -> conformance::Report {
    let report = ask(mini::start(Behaviour { choices, ..Behaviour::default() }).await, &[]).await.expect("it is there");
    assert!(report.passed(), "{choices:?}\n{}", text(&report));
    let asked = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })).count();
    assert!(asked > 50, "{choices:?}: only {asked} cases asked");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_another_length() {
    for ids in [Ids::OneLetter, Ids::Long, Ids::Uuid] {
        passes(Choices { ids, ..Choices::default() }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_in_another_order() {
    for rosters in [Rosters::NewestFirst, Rosters::OldestFirst, Rosters::Shuffled] {
        passes(Choices { rosters, ..Choices::default() }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_instead_of_silence_and_silence_instead_of_an_error() {
    for errors in [Errors::Always, Errors::Silence, Errors::Mute] {
        let report = passes(Choices { errors, ..Choices::default() }).await;
        let silent = report.cases.iter().flat_map(|case| &case.notes.choices);
        let silent = silent.filter(|choice| choice.contains("ignored without an error")).count();
        assert_eq!(silent > 0, errors == Errors::Silence, "{errors:?}\n{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_instead_of_1009_and_silence_instead_of_both() {
    for oversize in [Oversize::Error, Oversize::Silence] {
        passes(Choices { oversize, ..Choices::default() }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_and_what_is_left_out() {
    for choices in [
        Choices { rejoin_untold: true, ..Choices::default() },
        Choices { absent_names: true, absent_data: true, ..Choices::default() },
        Choices { chatty: true, ..Choices::default() },
    ] {
        passes(choices).await;
    }
}

/// Starts a proxy that passes all bytes on to a server, 40 ms later; it lives as long as the test's runtime.
async fn far(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(server).await else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(from_near, to_far));
            tokio::spawn(pass(from_far, to_near));
        }
    });
    address
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Send + Unpin + 'static) {
    // A line holds a limited number of bytes: here 1 MiB.
    let (under_way, mut arriving) = channel::<(Instant, Vec<u8>)>(16);
    let writer = tokio::spawn(async move {
        while let Some((at, bytes)) = arriving.recv().await {
            sleep_until(at).await;
            // Empty: the sender has ended its direction.
            if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut chunk).await {
        if under_way.send((Instant::now() + DELAY, chunk[..read].to_vec())).await.is_err() || read == 0 {
            break;
        }
    }
    // Even after a reset, the other side must notice the end.
    drop(under_way);
    let _ = writer.await;
}

/// Every case that applies to the reference server in this dialect passes from far away.
async fn passes_from_far(name: &str) {
    let entry = DialectEntry::named(name).expect("it is in the table");
    let listen = Listen::each([entry.name], |_| (Ipv4Addr::LOCALHOST, 0).into());
    let config = Config { listen, stun: None, ..Config::default() };
    let server = Server::bind(Tokio, config).await.expect("port 0 is free");
    let address = server.address(name);
    tokio::spawn(server.run());
    let far = far(address.expect("asked for")).await;
    let report = ask_as(&dialect(name), &entry.url(far, false), &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    assert!(report.round_trip >= DELAY * 2, "{:?}", report.round_trip);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_milliseconds_each_way() {
    // The other dialects are tested at this distance in the simulator, where waiting takes no time.
    passes_from_far("mesh").await;
}
