//! The cases, one file per group. A case is a function that reads like the rule it tests.

use std::sync::LazyLock;
use std::time::Duration;

use crate::case::Case;
use crate::stun::Service;

/// Wraps a case's function as a [`Case`] needs it.
macro_rules! run {
    ($function:ident) => {
        |cx| Box::pin($function(cx))
    };
}

/// A citation of an RFC, with a link to the RFC Editor.
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
mod bystander;
mod call;
mod http;
mod ids;
mod leave;
mod load;
mod mesh;
mod msg;
mod names;
mod nat_behaviour;
mod overlap;
mod payloads;
mod role;
mod room;
mod sec;
mod sio;
mod special;
mod stun;
mod turn;
mod url;
mod ws;

/// What nearly every case needs: a join is answered, and a signal arrives.
const DELIVERY: &[&str] = &["room/join-ack", "mesh/delivery"];

/// The longest wait of a case that runs without `--slow`.
const QUICK: Duration = Duration::from_secs(5);

/// All cases for all kinds of servers, in the order of the catalogue.
pub(crate) fn every() -> &'static [&'static Case] {
    static EVERY: LazyLock<Vec<&'static Case>> =
        LazyLock::new(|| [all(), of_service(Service::Stun), of_service(Service::Turn)].concat());
    &EVERY
}

/// All cases for this service, in the order of the catalogue.
pub fn of_service(service: Service) -> &'static [&'static Case] {
    static STUN: LazyLock<Vec<&'static Case>> = LazyLock::new(|| [stun::CASES, nat_behaviour::CASES].concat());
    static TURN: LazyLock<Vec<&'static Case>> = LazyLock::new(turn::all);
    match service {
        Service::Stun => &STUN,
        Service::Turn => &TURN,
    }
}

/// All cases for signaling servers, in the order of the catalogue.
pub fn all() -> &'static [&'static Case] {
    static ALL: LazyLock<Vec<&'static Case>> = LazyLock::new(|| {
        [
            room::CASES,
            url::CASES,
            leave::CASES,
            overlap::CASES,
            role::CASES,
            mesh::CASES,
            &call::CASES.concat(),
            bcast::CASES,
            special::CASES,
            sec::CASES,
            ids::CASES,
            names::CASES,
            &msg::CASES.concat(),
            sec::LATE,
            ws::CASES,
            load::CASES,
            &http::all()[..],
            &sio::all()[..],
        ]
        .concat()
    });
    &ALL
}
