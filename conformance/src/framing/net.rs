//! What every framing needs to reach a server.

use std::sync::Arc;
use std::time::Duration;

use super::browser::Opening;
use crate::dial::DynDial;
use crate::target::Target;

/// A server, the network to reach it, and how long an answer may take.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) dial: Arc<dyn DynDial>,
    pub(crate) target: Target,
    /// How long to wait for the next message that must arrive.
    pub(crate) patience: Duration,
    /// How clients write the handshake of a WebSocket.
    pub(crate) opening: Opening,
}
