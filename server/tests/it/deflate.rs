//! permessage-deflate (RFC 7692), with DEFLATE from a library that the clients use by themselves.

use std::io::Write as _;
use std::net::SocketAddr;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Decompress, FlushDecompress};
use server::{Config, Deflate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Client, PATIENCE, Running, frame, start_with};

pub(crate) async fn serve(deflate: Option<Deflate>) -> Running {
    start_with(|config: &mut Config| {
        let http = config.listen.iter_mut().find(|listen| listen.pages).expect("it serves HTTP");
        http.dialects.push("echo");
        config.deflate = deflate;
    })
    .await
}

/// A client that reads and writes frames as they are.
pub(crate) struct Raw {
    stream: TcpStream,
    /// The value of `Sec-WebSocket-Extensions` in the response.
    agreed: Option<String>,
}

impl Raw {
    /// Opens a WebSocket. `offer`: a line of the request.
    async fn open(address: SocketAddr, target: &str, offer: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: glare.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{offer}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it is connected");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("it answers"));
        }
        let head = String::from_utf8(head).expect("ASCII");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let agreed = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
        Self { agreed: agreed.map(str::to_owned), stream }
    }

    pub(crate) async fn offering_at(address: SocketAddr, target: &str, offer: &str) -> Self {
        Self::open(address, target, &format!("Sec-WebSocket-Extensions: {offer}\r\n")).await
    }

    /// A client of the echo.
    async fn offering(server: &Running, offer: &str) -> Self {
        Self::offering_at(server.http, "/echo", offer).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it is connected");
    }

    /// The code of the close frame that comes next, behind which TCP ends.
    pub(crate) async fn closed(&mut self) -> u16 {
        let (first, close) = self.next().await;
        assert_eq!(first, 0x88);
        assert_eq!(timeout(PATIENCE, self.stream.read(&mut [0])).await.expect("it ends").ok(), Some(0));
        u16::from_be_bytes([close[0], close[1]])
    }

    /// The next frame: its first byte and its payload.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        let frame = async {
            let (first, second) = (self.stream.read_u8().await?, self.stream.read_u8().await?);
            let length = match second {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                length => u64::from(length),
            };
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await?;
            std::io::Result::Ok((first, payload))
        };
        timeout(PATIENCE, frame).await.expect("it answers").expect("it is connected")
    }
}

/// The data of a message that refers to none before it.
pub(crate) fn deflated(message: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).and_then(|()| encoder.flush()).expect("it goes into memory");
    let data = encoder.get_ref().clone();
    data.strip_suffix(&[0, 0, 0xff, 0xff]).expect("that is how a flush ends").to_vec()
}

fn inflated(inflater: &mut Decompress, data: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(1_000_000);
    let data = [data, &[0, 0, 0xff, 0xff]].concat();
    inflater.decompress_vec(&data, &mut message, FlushDecompress::Sync).expect("it is DEFLATE");
    message
}

#[tokio::test]
async fn it_is_off_unless_asked_for() {
    let server = serve(None).await;
    let mut client = Raw::offering(&server, "permessage-deflate").await;
    assert_eq!(client.agreed, None);
    client.send(&frame(0xc1, &deflated(&[b'x'; 100]))).await;
    assert_eq!(client.closed().await, 1002);
}

#[tokio::test]
async fn who_does_not_offer_it_gets_plain_messages() {
    let server = serve(Some(Deflate::Takeover)).await;
    let mut client = Raw::open(server.http, "/echo", "").await;
    assert_eq!(client.agreed, None);
    let message = frame(0x81, &[b'x'; 100]);
    client.send(&message).await;
    assert_eq!(client.next().await, (0x81, vec![b'x'; 100]));
}

#[tokio::test]
async fn messages_are_read_and_written_compressed_and_refer_to_others_only_if_agreed() {
    let offer = "permessage-deflate; client_max_window_bits";
    for (deflate, takeover) in [(Deflate::NoTakeover, false), (Deflate::Takeover, true)] {
        let server = serve(Some(deflate)).await;
        let mut client = Raw::offering(&server, offer).await;
        assert_eq!(client.agreed.as_deref().expect("it agrees").contains("no_context_takeover"), !takeover);
        let text = "a text in which nothing is said twice: 0123456789 abcdefghijklmnopqrstuvwxyz";
        let mut inflater = Decompress::new(false);
        let mut lengths = Vec::new();
        for first in [0xc1, 0xc2, 0x81, 0xc1] {
            let payload = if first & 0x40 == 0 { text.as_bytes().to_vec() } else { deflated(text.as_bytes()) };
            client.send(&frame(first, &payload)).await;
            let (answered, data) = client.next().await;
            assert_eq!(answered & 0xbf, first & 0xbf, "the kind of message");
            if answered & 0x40 != 0 {
                if !takeover {
                    inflater.reset(false);
                }
                assert_eq!(inflated(&mut inflater, &data), text.as_bytes());
            }
            lengths.push(data.len());
        }
        assert_eq!(lengths[1] < 20, takeover, "{lengths:?}");
        // Short ones stay as they are.
        client.send(&frame(0xc1, &deflated(b"short"))).await;
        assert_eq!(client.next().await, (0x81, b"short".to_vec()));
        // The connection is like any other, for example when it ends.
        client.send(&frame(0x88, &1000_u16.to_be_bytes())).await;
        assert_eq!(client.next().await, (0x88, 1000_u16.to_be_bytes().to_vec()));
    }
}

#[tokio::test]
async fn a_message_that_would_become_too_long_closes_with_1009_however_short_it_arrives() {
    let server = serve(Some(Deflate::NoTakeover)).await;
    let limit = Config::default().limits.frame_bytes_max;
    let bomb = deflated(&vec![0; 64 * limit]);
    assert!(bomb.len() < limit / 10);
    let (begin, end) = bomb.split_at(1000);
    for frames in [frame(0xc2, &bomb), [frame(0x42, begin), frame(0x80, end)].concat()] {
        let mut client = Raw::offering(&server, "permessage-deflate").await;
        client.send(&frames).await;
        assert_eq!(client.closed().await, 1009);
    }
    // At the limit, it arrives; the dialect has a lower one for texts.
    let mut client = Raw::offering(&server, "permessage-deflate").await;
    client.send(&frame(0xc2, &deflated(&vec![0; limit]))).await;
    let (first, data) = client.next().await;
    assert_eq!((first, data.len() < limit / 100), (0xc2, true));
    drop(client);
    server.empty().await;
}

#[tokio::test]
async fn what_is_no_compressed_message_closes_the_connection() {
    let server = serve(Some(Deflate::Takeover)).await;
    for (frames, code) in [
        (frame(0xc1, b"not deflate"), 1007),
        (frame(0xc1, &deflated(&[b"x".repeat(100), vec![0xff]].concat())), 1007),
        ([frame(0x41, b"x"), frame(0x81, b"y")].concat(), 1002),
        (frame(0xe1, b"x"), 1002),
        (frame(0xc9, b"x"), 1002),
    ] {
        let mut client = Raw::offering(&server, "permessage-deflate").await;
        client.send(&frames).await;
        assert_eq!(client.closed().await, code);
    }
    server.empty().await;
}

#[tokio::test]
async fn what_has_arrived_of_a_compressed_message_counts_as_buffered() {
    let server = serve(Some(Deflate::NoTakeover)).await;
    let mut client = Raw::offering(&server, "permessage-deflate").await;
    let message = frame(0xc2, &vec![0; 100_000]);
    client.send(&message[..50_000]).await;
    server.census(|census| census.buffered_bytes >= 49_000).await;
    drop(client);
    server.census(|census| census.buffered_bytes == 0).await;
}

#[tokio::test]
async fn socketio_over_websocket_compresses_too() {
    let server = serve(Some(Deflate::NoTakeover)).await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut raw = Raw::offering_at(server.broadcast, target, "permessage-deflate").await;
    assert!(raw.agreed.is_some());
    let (first, open) = raw.next().await;
    assert_eq!(first, 0xc1, "the handshake of Engine.IO is long enough");
    assert!(inflated(&mut Decompress::new(false), &open).starts_with(b"0{\"sid\":"));
    raw.send(&frame(0xc1, &deflated(b"40"))).await;
    let (_, connected) = raw.next().await;
    assert!(connected.starts_with(b"40{\"sid\":"), "{connected:?}");
    // A client that knows nothing of it is there as well.
    let _ = Client::socketio(server.broadcast).await;
}
