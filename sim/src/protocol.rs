//! The dialects of scenarios in the server's table.

use scenarios::{Dialect, Framing};
use server::{DIALECTS, DialectEntry};

/// What a scenario calls a line of the table; `None` for what no client of ours speaks.
pub(crate) fn spoken(entry: &DialectEntry) -> Option<(Dialect, Framing)> {
    let all = [Dialect::Mesh, Dialect::SenderViewer, Dialect::Call, Dialect::Relay, Dialect::Broadcast];
    let dialect = all.into_iter().find(|dialect| dialect.name() == entry.dialect)?;
    let over = match entry.framing {
        server::Framing::WebSocket => Framing::WebSocket,
        server::Framing::SocketIo => Framing::SocketIo,
    };
    Some((dialect, over))
}

/// The line of the table that serves a dialect in a framing.
pub(crate) fn entry(dialect: Dialect, over: Framing) -> &'static DialectEntry {
    let found = DIALECTS.iter().find(|entry| spoken(entry) == Some((dialect, over)));
    found.expect("a scenario that asks for a framing that the dialect lacks does not load")
}
