//! Maps the dialects of scenarios to the server's dialect table.

use scenarios::{Dialect, Framing};
use server::{DIALECTS, DialectEntry};

use crate::dialects::DESCRIPTORS;

/// The dialect and framing of a table entry, as scenarios name them; `None` if Glare's clients do not speak it.
pub(crate) fn spoken(entry: &DialectEntry) -> Option<(Dialect, Framing)> {
    let dialect = DESCRIPTORS.iter().map(|descriptor| descriptor.dialect).find(|it| it.name() == entry.dialect)?;
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
