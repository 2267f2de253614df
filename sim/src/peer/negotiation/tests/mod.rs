//! How two clients come to terms, each with a real WebRTC stack.

mod descriptions;
mod pair;
mod patience;
