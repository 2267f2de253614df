//! Rooms that the URL names: by default, empty, and percent-encoded.

use super::DELIVERY;
use crate::case::Case;
use crate::case::Level::Declared;
use crate::client::{Peer, quoted};
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::dialect::file::{Framing, JoinBy, RoomIn};
use crate::dialect::shape::Values;
use crate::entry::{Connects, Framed};
use crate::stop::Stop;
use crate::target::Target;

pub(super) const CASES: &[&Case] = &[
    &Case::new(
        "room/default-room",
        Declared,
        "Clients whose URL names no room, an empty one or the default one are in the same room.",
        run!(default_room),
    )
    .needs(DELIVERY)
    .requires(&[Feature::Rooms, Feature::WebSocket, Feature::Broadcast, Feature::Crowd]),
    &Case::new(
        "room/percent-encoded",
        Declared,
        "The name of a room in the URL is percent-decoded once: not twice, so that different names are different rooms.",
        run!(percent_encoded),
    )
    .needs(DELIVERY)
    .requires(&[Feature::ExactRooms, Feature::WebSocket, Feature::Broadcast, Feature::Crowd]),
];

/// Stands in a URL where the room is named; encoding does not change it.
const PLACE: &str = "glare-place";

/// The path and query of a client's URL with this text, as it is, for the room; `None`: without the part of the query
/// that names the room.
fn path(cx: &Cx, room: Option<&str>) -> Result<String, Stop> {
    let dialect = &cx.env.dialect;
    if dialect.url_has("self") || dialect.url_has("token") {
        return Err(Stop::Unsupported("the URL of a client has more than the room in it".to_owned()));
    }
    let values = Values::from([("room".to_owned(), quoted(PLACE))]);
    let path = Target::path_of(&dialect.url(cx.env.net.target.url(), &values));
    let Some(room) = room else {
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let others: Vec<_> = query.split('&').filter(|pair| !pair.ends_with(PLACE)).collect();
        return Ok(if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) });
    };
    Ok(path.replace(PLACE, room))
}

/// A client that connects to this path and query.
async fn connect(cx: &Cx, name: &str, path: String) -> Result<Peer, Stop> {
    let client = cx.log.client(name);
    let binary = cx.file().connection.framing == Framing::WebSocketBinary;
    let framing = if binary { Framed::Binary } else { Framed::Text };
    let connects = Connects { framing, path, ..Connects::default() };
    let link = cx.env.connector.open(&cx.log, client, &connects, &cx.cookies(name), None).await;
    let link = link.map_err(|error| Stop::fail(format!("{name} cannot connect to {}: {error}", connects.path)))?;
    Ok(Peer::on(link, &cx.env, &cx.log, name, client))
}

async fn default_room(cx: &mut Cx) -> Result<(), Stop> {
    let Some(default) = cx.file().room.default.clone() else {
        return Err(Stop::Unsupported("the dialect declares no default room".to_owned()));
    };
    if cx.file().room.r#in != RoomIn::Query || cx.file().join.by != JoinBy::Connecting {
        return Err(Stop::Unsupported("clients do not join the room that the query of the URL names".to_owned()));
    }
    let mut ana = connect(cx, "ana", path(cx, None)?).await?;
    let mut ben = connect(cx, "ben", path(cx, Some(""))?).await?;
    let mut cleo = cx.join("cleo", &default).await?;
    let [mut dora, mut fred] = cx.members(&cx.room(), ["dora", "fred"]).await?;
    for (client, which) in [(&mut ana, "no room"), (&mut ben, "an empty room")] {
        let apart = |stop: Stop| {
            stop.reworded(|why| format!("a client that names {which} is not in the room {default}: {why}"))
        };
        cx.settle(client, &mut cleo).await.map_err(apart)?;
    }
    let word = cx.word("by-default");
    ana.broadcast_word(&word);
    cx.fence(&mut ana, &mut [&mut ben, &mut cleo]).await?;
    cx.fence(&mut dora, &mut [&mut fred]).await?;
    cx.fence(&mut fred, &mut [&mut dora]).await?;
    for member in [&ben, &cleo] {
        member.received_once("ana's signal", |event| event.has_word(&word))?;
    }
    dora.never_received("received a signal of the default room, although she is in another one", |event| {
        event.has_word(&word)
    })
}

async fn percent_encoded(cx: &mut Cx) -> Result<(), Stop> {
    if cx.file().room.r#in == RoomIn::Message || cx.file().join.by != JoinBy::Connecting {
        return Err(Stop::Unsupported("clients do not join the room that the URL names".to_owned()));
    }
    let base = cx.room();
    // Decoded a second time, the one name would be the other.
    let (room, other) = (format!("{base}-%41"), format!("{base}-A"));
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let [mut eve, mut fred] = cx.members(&other, ["eve", "fred"]).await?;
    let word = cx.word("encoded");
    ana.broadcast_word(&word);
    cx.fence(&mut ana, &mut [&mut ben]).await?;
    cx.fence(&mut eve, &mut [&mut fred]).await?;
    cx.fence(&mut fred, &mut [&mut eve]).await?;
    ben.received_once("ana's signal", |event| event.has_word(&word))?;
    for stranger in [&eve, &fred] {
        let why = format!("received a signal of the room {room}, although the URL names {other}");
        stranger.never_received(&why, |event| event.has_word(&word))?;
    }
    // A letter and its percent-encoding are the same (RFC 3986 §2.3).
    let spelled: String = room.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut gil = connect(cx, "gil", path(cx, Some(&spelled))?).await?;
    if cx.settle(&mut ana, &mut gil).await.is_err() {
        cx.acceptable("a room whose name is percent-encoded in another way is another room");
    }
    Ok(())
}
