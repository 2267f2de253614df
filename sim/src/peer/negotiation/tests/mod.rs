//! Tests of two clients that negotiate, each with a real WebRTC stack.

mod descriptions;
mod pair;
mod patience;
