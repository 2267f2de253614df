//! The questions, one file a group. A case is a function that reads like the sentence it asks.

use std::sync::LazyLock;

use crate::case::Case;

/// A case's function, as a [`Case`] holds it.
macro_rules! run {
    ($function:ident) => {
        |cx| Box::pin($function(cx))
    };
}

/// A sentence of a specification at the RFC editor.
macro_rules! rfc {
    ($number:literal, $section:literal, $quote:literal) => {
        crate::case::Citation {
            section: concat!("RFC ", $number, " §", $section),
            url: concat!("https://www.rfc-editor.org/rfc/rfc", $number, "#section-", $section),
            quote: $quote,
        }
    };
}

mod bcast;
mod call;
mod http;
mod load;
mod mesh;
mod msg;
pub(crate) mod nat_behaviour;
mod polling;
mod role;
mod room;
mod sec;
mod sio;
pub(crate) mod stun;
pub(crate) mod turn;
mod ws;

/// What nearly every case needs: joining works, and a signal arrives.
const DELIVERY: &[&str] = &["room/join-ack", "mesh/delivery"];

/// All cases for whatever server, in the order of the catalogue.
pub(crate) fn every() -> &'static [&'static Case] {
    use crate::stun::{Service, cases};
    static EVERY: LazyLock<Vec<&'static Case>> =
        LazyLock::new(|| [all(), cases(Service::Stun), cases(Service::Turn)].concat());
    &EVERY
}

/// All cases for signaling servers, in the order of the catalogue.
pub fn all() -> &'static [&'static Case] {
    static ALL: LazyLock<Vec<&'static Case>> = LazyLock::new(|| {
        [
            room::CASES,
            role::CASES,
            mesh::CASES,
            call::CASES,
            bcast::CASES,
            sec::CASES,
            msg::CASES,
            sec::LATE,
            ws::CASES,
            load::CASES,
            http::CASES,
            sio::CASES,
            polling::CASES,
        ]
        .concat()
    });
    &ALL
}
