//! A TCP client of a STUN or TURN server. Messages follow each other in the stream without extra framing.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::shown;
use super::cx::StunCx;
use super::wire::{Draft, HEADER_BYTES, Malformed, Message, read_channel_data};
use crate::dial::Stream;
use crate::entry::{Did, Octets};
use crate::stop::Stop;
use crate::transcript::{LineKind, Log};
use crate::words::human;

pub(crate) struct TcpClient {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    patience: std::time::Duration,
    log: Log,
    index: usize,
}

impl StunCx {
    /// A TCP connection to the server, if it listens on TCP.
    pub(crate) async fn tcp(&self, name: &str) -> Result<TcpClient, Stop> {
        self.tcp_to(name, self.env.server).await
    }

    /// A TCP connection to a server to which a client was redirected.
    pub(crate) async fn tcp_to(&self, name: &str, server: SocketAddr) -> Result<TcpClient, Stop> {
        let index = self.log.client(name);
        let (host, port) = (server.ip().to_string(), server.port());
        let dialing = timeout(self.env.patience, self.env.dial.dial_boxed(&host, port)).await;
        let why = match dialing {
            Ok(Ok(stream)) => {
                let (patience, log) = (self.env.patience, self.log.clone());
                return Ok(TcpClient { stream, received: Vec::new(), patience, log, index });
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "silence".to_owned(),
        };
        Err(Stop::Unsupported(format!("the server has no TCP on {server} ({why})")))
    }
}

impl TcpClient {
    /// Writes bytes; `what` describes them in the transcript.
    pub(crate) async fn send(&mut self, bytes: &[u8], what: &str) -> Result<usize, Stop> {
        let line = self.log.push(self.index, LineKind::Sends, what);
        self.log.keep(self.index, || Did::SendsBytes(Octets::new(bytes, what)));
        match timeout(self.patience, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(line),
            Ok(Err(error)) => Err(Stop::at(format!("the server ended the connection: {error}"), line)),
            Err(_) => Err(Stop::at("the server does not read", line)),
        }
    }

    /// The next message, STUN or ChannelData with its padding, and its transcript line.
    pub(crate) async fn next(&mut self) -> Result<(Vec<u8>, usize), Stop> {
        let patience = self.patience;
        let read = async {
            loop {
                if let Some(length) = self.whole()? {
                    let bytes: Vec<u8> = self.received.drain(..length).collect();
                    let line = self.log.push(self.index, LineKind::Hears, &shown(&bytes));
                    self.log.keep(self.index, || Did::HearsBytes(Octets::new(&bytes, shown(&bytes))));
                    return Ok((bytes, line));
                }
                match self.stream.read_buf(&mut self.received).await {
                    Ok(0) => return Err(Stop::fail("the server ended the connection instead of answering")),
                    Ok(_) => {}
                    Err(error) => return Err(Stop::fail(format!("the server broke the connection: {error}"))),
                }
            }
        };
        match timeout(patience, read).await {
            Ok(read) => read,
            Err(_) => Err(Stop::fail(format!("no answer over TCP within {}", human(patience)))),
        }
    }

    /// Sends a request; the next message must be its answer.
    pub(crate) async fn send_request(&mut self, request: &Draft) -> Result<Message, Stop> {
        self.send(&request.bytes, &shown(&request.bytes)).await?;
        self.answer(request).await
    }

    /// The next message, which must be the answer to this request.
    pub(crate) async fn answer(&mut self, request: &Draft) -> Result<Message, Stop> {
        let (bytes, line) = self.next().await?;
        let message = Message::parse(&bytes);
        let message = message.map_err(|Malformed(why)| Stop::at(format!("the answer {why}"), line))?;
        if message.id != request.id() {
            return Err(Stop::at("the answer has another transaction id than the request", line));
        }
        Ok(message)
    }

    /// The next message as ChannelData: channel, data and transcript line.
    pub(crate) async fn channel_data(&mut self) -> Result<(u16, Vec<u8>, usize), Stop> {
        let (bytes, line) = self.next().await?;
        match read_channel_data(&bytes) {
            Some((channel, data)) => Ok((channel, data.to_vec(), line)),
            None => Err(Stop::at(format!("expected ChannelData, received `{}`", shown(&bytes)), line)),
        }
    }

    /// The length of the message at the front of the buffer; `None` until it is complete.
    fn whole(&self) -> Result<Option<usize>, Stop> {
        let Some(header) = self.received.get(..4) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let length = match header[0] {
            0..=0x3f => HEADER_BYTES + length,
            0x40..=0x7f => (4 + length).next_multiple_of(4),
            first => return Err(Stop::fail(format!("a message over TCP begins with the byte 0x{first:02x}"))),
        };
        Ok((self.received.len() >= length).then_some(length))
    }
}
