//! Maps the dialects of scenarios to the server's dialect table.

use scenarios::{Dialect, Framing};
use server::{DIALECTS, DialectEntry};

/// The dialects of roles.
const SPOKEN: [Dialect; 5] = [Dialect::Mesh, Dialect::SenderViewer, Dialect::Call, Dialect::Relay, Dialect::Broadcast];

/// The dialect and framing of a table entry, as scenarios name them; `None` if it is not the dialect of a role.
pub(crate) fn spoken(entry: &DialectEntry) -> Option<(Dialect, Framing)> {
    let dialect = SPOKEN.into_iter().find(|it| it.name() == entry.dialect)?;
    let over = match entry.framing {
        server::Framing::WebSocket => Framing::WebSocket,
        server::Framing::SocketIo => Framing::SocketIo,
    };
    Some((dialect, over))
}

/// The table entry that serves a dialect in a framing.
pub(crate) fn entry(dialect: Dialect, over: Framing) -> &'static DialectEntry {
    let found = DIALECTS.iter().find(|entry| spoken(entry) == Some((dialect, over)));
    found.expect("a scenario with a framing that the dialect lacks does not load")
}
