//! The questions, one file a group. A case is a function that reads like the sentence it asks.

use std::sync::LazyLock;

use crate::case::Case;

mod mesh;
mod msg;
mod room;
mod sec;
mod ws;

/// What nearly every case needs: joining works, and a signal arrives.
const DELIVERY: &[&str] = &["room/join-ack", "mesh/delivery"];

/// All cases of the mesh dialect.
pub(crate) fn mesh() -> &'static [&'static Case] {
    static ALL: LazyLock<Vec<&'static Case>> =
        LazyLock::new(|| [room::CASES, mesh::CASES, sec::CASES, msg::CASES, ws::CASES].concat());
    &ALL
}
