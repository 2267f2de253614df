//! Actors in tabs of a real browser: Chromium, without a window.
//!
//! Only the WebRTC connections are the browser's. Signaling is that of every other client, so an actor in a tab speaks every
//! dialect, and whatever happens is recorded in the same way. Each actor has a browser context of its own, as if it were
//! another person's browser.
//!
//! **A question to a tab stops the run until it is answered**, usually for a few milliseconds: a tab is a
//! [stack](crate::peer::stack) like any other, whose calls return when they are done. So nothing overtakes it in the record.
//! What a tab tells without being asked waits until the client looks.

mod devtools;
mod process;
mod stack;
mod tab;

pub use process::{Browser, BrowserError};
pub(super) use stack::TabFactory;
pub(super) use tab::Tab;
