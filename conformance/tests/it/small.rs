//! Small servers of other protocols, each a function that handles one event at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::mini::{Out, QUEUED_BYTES_MAX, spoken};

/// What a client did.
pub(crate) enum Did {
    /// It connected to this path, with its query.
    Connects(String),
    Sends(Message),
    /// Its connection has ended; it is no longer among the clients.
    Leaves(Client),
}

/// The clients of a server, by number.
#[derive(Default)]
pub(crate) struct Clients {
    next: usize,
    pub(crate) connected: BTreeMap<usize, Client>,
}

pub(crate) struct Client {
    out: Out,
    /// The path that it connected to.
    pub(crate) path: String,
    pub(crate) name: Option<String>,
    pub(crate) room: Option<String>,
}

impl Clients {
    pub(crate) fn send(&self, to: usize, text: impl Into<String>) {
        self.message(to, Message::text(text.into()));
    }

    pub(crate) fn message(&self, to: usize, message: Message) {
        if let Some(client) = self.connected.get(&to) {
            client.out.send(message);
        }
    }

    /// Closes a client's connection with this code.
    pub(crate) fn close(&mut self, client: usize, code: u16) {
        use tokio_tungstenite::tungstenite::protocol::CloseFrame;
        self.message(client, Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() })));
    }

    /// All other clients for which this holds.
    pub(crate) fn others(&self, than: usize, which: impl Fn(&Client) -> bool) -> Vec<usize> {
        let others = self.connected.iter().filter(|(number, client)| **number != than && which(client));
        others.map(|(number, _)| *number).collect()
    }

    /// The client with this name.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.connected.iter().find(|(_, client)| client.name.as_deref() == Some(name)).map(|(number, _)| *number)
    }
}

/// Starts a server; it lives as long as the test's runtime. `handle` gets the clients, the number of one, and what that
/// did.
pub(crate) async fn start<F>(handle: F) -> SocketAddr
where
    F: Fn(&mut Clients, usize, Did) + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(accept(listener, Arc::new(handle)));
    address
}

/// A server on this listener. All connections end when the future is dropped, as in a crash.
pub(crate) async fn accept<F>(listener: TcpListener, handle: Arc<F>)
where
    F: Fn(&mut Clients, usize, Did) + Send + Sync + 'static,
{
    let clients = Arc::new(Mutex::new(Clients::default()));
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        connections.spawn(serve(stream, Arc::clone(&clients), Arc::clone(&handle)));
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve<F>(stream: TcpStream, clients: Arc<Mutex<Clients>>, handle: Arc<F>)
where
    F: Fn(&mut Clients, usize, Did) + Send + Sync,
{
    let Some(stream) = spoken(stream).await else { return };
    let mut path = String::new();
    #[allow(clippy::result_large_err)] // the library's type
    let see = |request: &Request, response: Response| {
        path = request.uri().to_string();
        Ok(response)
    };
    let config = WebSocketConfig::default().max_message_size(Some(4 << 20)).max_frame_size(Some(4 << 20));
    let Ok(mut socket) = accept_hdr_async_with_config(stream, see, Some(config)).await else { return };
    let (out, mut outbox) = Out::new(QUEUED_BYTES_MAX);
    let did = |number, did| handle(&mut clients.lock().expect("no panic"), number, did);
    let number = {
        let mut clients = clients.lock().expect("no panic");
        clients.next += 1;
        let number = clients.next;
        clients.connected.insert(number, Client { out: out.clone(), path: path.clone(), name: None, room: None });
        number
    };
    did(number, Did::Connects(path));
    loop {
        let message = tokio::select! { biased;
            message = outbox.recv() => {
                let Some(message) = message else { break };
                if !out.write(&mut socket, message).await {
                    break;
                }
                continue;
            }
            message = socket.next() => message,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => did(number, Did::Sends(message)),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
    // In one step: nobody may connect under its name before others learn that it has left.
    let clients = &mut *clients.lock().expect("no panic");
    let gone = clients.connected.remove(&number);
    handle(clients, number, Did::Leaves(gone.expect("it was connected")));
}
