//! Socket.IO in a session: the connection to the main namespace, events and their attachments.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::dialect::{EventDialect, EventSession};
use super::packet::{self, Event, Kind, MAIN_NAMESPACE, Packet};
use crate::session::budget::Held;
use crate::session::client::Client;
use crate::session::close::Close;

/// The server's side of one client.
pub(crate) struct Socket {
    dialect: Arc<dyn EventDialect>,
    client: Client,
    payload_bytes_max: usize,
    /// Present while the client is connected to the main namespace.
    session: Option<Box<dyn EventSession>>,
    has_joined: bool,
    /// A packet whose attachments have not all arrived.
    incomplete: Option<Incomplete>,
    held: Held,
}

struct Incomplete {
    text: String,
    attachments: Vec<Bytes>,
    missing: usize,
    bytes: usize,
}

#[derive(Serialize)]
struct Connected<'a> {
    sid: &'a str,
}

impl Socket {
    pub(crate) fn new(dialect: Arc<dyn EventDialect>, client: Client, payload_bytes_max: usize) -> Self {
        let held = Held::nothing(&client.budget);
        Self { dialect, client, payload_bytes_max, session: None, has_joined: false, incomplete: None, held }
    }

    /// Handles a text message.
    ///
    /// # Errors
    /// The client is to be closed.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Close> {
        if self.incomplete.is_some() {
            return Err(Close::Packet);
        }
        let packet = Packet::parse(text).map_err(|error| {
            tracing::debug!(%error, "not a packet");
            Close::Packet
        })?;
        if packet.attachments > 0 {
            self.session_of(&packet)?;
            let (attachments, missing) = (Vec::with_capacity(packet.attachments), packet.attachments);
            self.incomplete = Some(Incomplete { text: text.to_owned(), attachments, missing, bytes: text.len() });
            return Ok(());
        }
        self.handle(&packet, &[])
    }

    /// Handles a binary message, which is an attachment.
    ///
    /// # Errors
    /// The client is to be closed.
    pub(crate) fn binary(&mut self, data: Bytes) -> Result<(), Close> {
        let incomplete = self.incomplete.as_mut().ok_or(Close::Packet)?;
        incomplete.bytes += data.len();
        if incomplete.bytes > self.payload_bytes_max {
            return Err(Close::TooLarge);
        }
        if !self.held.set(incomplete.bytes) {
            return Err(Close::OverCapacity);
        }
        incomplete.attachments.push(data);
        incomplete.missing -= 1;
        if incomplete.missing > 0 {
            return Ok(());
        }
        let Incomplete { text, attachments, .. } = self.incomplete.take().expect("it has just been completed");
        let _ = self.held.set(0);
        self.handle(&Packet::parse(&text).expect("it was parsed before"), &attachments)
    }

    /// Whether attachments of an event are missing.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.incomplete.is_some()
    }

    /// Whether it has ever joined anything.
    pub(crate) fn has_joined(&self) -> bool {
        self.has_joined
    }

    fn handle(&mut self, packet: &Packet<'_>, attachments: &[Bytes]) -> Result<(), Close> {
        match packet.kind {
            Kind::Connect if packet.namespace != MAIN_NAMESPACE => {
                let refusal = r#"{"message":"Invalid namespace"}"#;
                self.push(&Packet { namespace: packet.namespace, ..Packet::new(Kind::ConnectError, refusal) });
            }
            Kind::Connect if self.session.is_some() => return Err(Close::Packet),
            Kind::Connect => {
                let id = self.dialect.issue_id();
                let connected = serde_json::to_string(&Connected { sid: id.as_str() }).expect("an id can be written");
                self.push(&Packet::new(Kind::Connect, &connected));
                self.session = Some(Arc::clone(&self.dialect).connect(id, self.client.clone()));
            }
            Kind::Disconnect => {
                self.session_of(packet)?;
                self.session = None;
            }
            Kind::Event => {
                let event = Event::parse(packet.data).expect("the packet was parsed");
                self.session_of(packet)?.event(&event, attachments);
                if let Some(id) = packet.id {
                    self.push(&Packet { id: Some(id), ..Packet::new(Kind::Ack, "[]") });
                }
            }
            // The server never requests one.
            Kind::Ack => drop(self.session_of(packet)?),
            Kind::ConnectError => return Err(Close::Packet),
        }
        self.has_joined |= self.session.as_ref().is_some_and(|session| session.has_joined());
        Ok(())
    }

    /// The session in a packet's namespace.
    fn session_of(&mut self, packet: &Packet<'_>) -> Result<&mut Box<dyn EventSession>, Close> {
        self.session.as_mut().filter(|_| packet.namespace == MAIN_NAMESPACE).ok_or(Close::Packet)
    }

    fn push(&self, packet: &Packet<'_>) {
        self.client.push(packet::message(packet));
    }
}
