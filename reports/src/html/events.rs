//! The events file, packed for the page: columns of numbers and a table of texts, about 40 bytes per event.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::frames;
use crate::html::shown;
use crate::model::{Case, PartyKind};
use crate::result::BadLine;
use crate::summary::is_control;

/// Layers, by their number in the column. The page gets the same list.
pub(super) const LAYERS: [&str; 9] = ["signaling", "stun", "ice", "dtls", "data", "nat", "machine", "fault", "packet"];
/// Maximum number of characters of an event's text.
const TEXT_CHARS_MAX: usize = 240;

type MappingChange = (usize, char, String, String, String, String);

/// All events, one column per field.
#[derive(Default, Serialize)]
pub(super) struct Packed {
    /// The parties that can have an event.
    parties: Vec<String>,
    /// The parties in drawing order.
    order: Vec<usize>,
    /// Virtual time at which the scenario ends, in seconds.
    end: f64,
    layers: [&'static str; 9],
    /// Microseconds since the previous event.
    t: Vec<u64>,
    /// Party.
    n: Vec<u32>,
    /// Layer.
    l: Vec<u8>,
    /// Packet number, 0 for none.
    p: Vec<u32>,
    /// Frame of the capture, 0 for none; empty without a capture.
    f: Vec<u32>,
    /// The interface of that frame.
    i: Vec<u16>,
    interfaces: Vec<String>,
    /// Text, an index into `texts`.
    x: Vec<u32>,
    texts: Vec<String>,
    /// Changes of NAT tables: event, kind (`+`, `-`, `!` for a reboot), protocol, internal, external, remote.
    nat: Vec<MappingChange>,
}

/// The fields that every line of the file has.
#[derive(Deserialize)]
struct EventLine<'a> {
    at: f64,
    #[serde(borrow)]
    node: Cow<'a, str>,
    #[serde(borrow)]
    layer: Cow<'a, str>,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
}

/// The additional fields of lines about packets and NATs, which are the most frequent.
#[derive(Default, Deserialize)]
struct Detail<'a> {
    #[serde(default)]
    packet: u32,
    #[serde(borrow, default)]
    protocol: Cow<'a, str>,
    #[serde(default)]
    flags: u8,
    #[serde(borrow, default)]
    src: Cow<'a, str>,
    #[serde(borrow, default)]
    dst: Cow<'a, str>,
    #[serde(borrow, default)]
    internal: Cow<'a, str>,
    #[serde(borrow, default)]
    external: Cow<'a, str>,
    #[serde(borrow, default)]
    remote: Cow<'a, str>,
    #[serde(default)]
    bytes: u64,
    #[serde(borrow, default)]
    why: Option<&'a RawValue>,
}

/// Why the events cannot be shown.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The result names a file outside of its folder.
    Outside(String),
    File(PathBuf, io::Error),
    Line(PathBuf, BadLine),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(file) => write!(f, "{file} is outside the result’s folder"),
            Self::File(file, error) => write!(f, "{}: {error}", file.display()),
            Self::Line(file, error) => write!(f, "{}:{error}", file.display()),
        }
    }
}

/// Reads and packs the events of a run, and their frames. `dir` is the result's folder.
///
/// # Errors
/// A file cannot be read, or a line is not an event or not a frame.
pub(super) fn load(dir: &Path, case: &Case, file: &str, frames: Option<&str>) -> Result<Packed, Unreadable> {
    let mut packed = read(dir, file, |text| pack(text, case))?;
    if let Some(file) = frames {
        read(dir, file, |text| packed.add_frames(text))?;
    }
    Ok(packed)
}

/// Reads a file of the result's folder.
fn read<T>(dir: &Path, file: &str, take: impl FnOnce(&str) -> Result<T, BadLine>) -> Result<T, Unreadable> {
    // A result may come from an untrusted source, so it must not name files outside of its folder.
    let inside = Path::new(file).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        return Err(Unreadable::Outside(file.to_owned()));
    }
    let path = dir.join(file);
    let text = fs::read_to_string(&path).map_err(|error| Unreadable::File(path.clone(), error))?;
    take(&text).map_err(|error| Unreadable::Line(path, error))
}

fn pack(text: &str, case: &Case) -> Result<Packed, BadLine> {
    let mut packed = Packed {
        parties: case.parties.iter().map(|party| shown(&party.name)).collect(),
        layers: LAYERS,
        ..Packed::default()
    };
    // Only looked up, never iterated.
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut nodes: HashMap<(String, bool), u32> = HashMap::new();
    for (index, party) in case.parties.iter().enumerate() {
        let nat = party.kind == PartyKind::Nat;
        // The NAT of a home network has the name of its machine. The story adds a suffix, the events do not.
        let name = party.name.strip_suffix("’s NAT").filter(|_| nat).unwrap_or(&party.name);
        nodes.insert((name.to_owned(), nat), index as u32);
    }
    let mut before = 0;
    let mut words = String::new();
    for (index, raw) in text.lines().enumerate() {
        let wrong =
            |error: serde_json::Error| BadLine { line: index + 1, message: format!("is not an event: {error}") };
        let line: EventLine<'_> = serde_json::from_str(raw).map_err(wrong)?;
        let detail: Detail<'_> = match &*line.layer {
            "packet" | "nat" => serde_json::from_str(raw).map_err(wrong)?,
            _ => Detail::default(),
        };
        let nat = line.layer == "nat" || line.event.as_deref() == Some("nat-reboot");
        let either = |nat| nodes.get(&(line.node.to_string(), nat)).copied();
        let node = match either(nat).or_else(|| either(!nat)) {
            Some(node) => node,
            None => {
                packed.parties.push(shown(&line.node));
                let node = packed.parties.len() as u32 - 1;
                nodes.insert((line.node.to_string(), nat), node);
                node
            }
        };
        let at = (line.at.clamp(0.0, 1e9) * 1e6).round() as u64;
        packed.t.push(at.saturating_sub(before));
        before = at.max(before);
        packed.n.push(node);
        packed.l.push(layer(&line));
        packed.p.push(detail.packet);
        words.clear();
        describe(&line, &detail, raw, &mut words);
        let text = match known.get(&words) {
            Some(text) => *text,
            None => {
                packed.texts.push(words.clone());
                let text = packed.texts.len() as u32 - 1;
                known.insert(words.clone(), text);
                text
            }
        };
        packed.x.push(text);
        if let Some(change) = mapping_change(index, &line, &detail) {
            packed.nat.push(change);
        }
    }
    let rank = |party: &usize| match case.parties.get(*party).map(|party| party.kind) {
        Some(PartyKind::World) => 0,
        Some(PartyKind::Server) => 1,
        Some(PartyKind::Client) | None => 2,
        Some(PartyKind::Nat) => 3,
    };
    packed.order = (0..packed.parties.len()).collect();
    packed.order.sort_by_key(rank);
    packed.end = case.simulation.as_ref().map_or(0.0, |simulation| simulation.duration);
    Ok(packed)
}

impl Packed {
    fn add_frames(&mut self, text: &str) -> Result<(), BadLine> {
        (self.f, self.i) = (vec![0; self.t.len()], vec![0; self.t.len()]);
        for (index, raw) in text.lines().enumerate() {
            let wrong =
                |error: serde_json::Error| BadLine { line: index + 1, message: format!("is not a frame: {error}") };
            let frames::FrameLine { event, frame } = serde_json::from_str(raw).map_err(wrong)?;
            let interface = match self.interfaces.iter().position(|known| *known == frame.interface) {
                Some(interface) => interface,
                None => {
                    self.interfaces.push(frame.interface);
                    self.interfaces.len() - 1
                }
            };
            // Numbers that are too large for the page, and numbers of events that do not exist, are left out.
            let (Ok(number), Ok(interface)) = (u32::try_from(frame.number), u16::try_from(interface)) else { continue };
            if let (Some(f), Some(i)) = (self.f.get_mut(event), self.i.get_mut(event)) {
                (*f, *i) = (number, interface);
            }
        }
        self.interfaces.iter_mut().for_each(|name| *name = shown(name));
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.t.len()
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings have a JSON form")
    }
}

fn layer(line: &EventLine<'_>) -> u8 {
    let event = line.event.as_deref().unwrap_or_default();
    let name = match &*line.layer {
        "signaling" => "signaling",
        "packet" => "packet",
        // Every passing packet uses a mapping, so these events are as frequent as packets.
        "nat" if event == "used" => "packet",
        "nat" => "nat",
        "fault" => "fault",
        "peer" => match event {
            "mapped" => "stun",
            "described" => "signaling",
            "dtls" => "dtls",
            "channel-open" | "channel-sent" | "channel-received" => "data",
            _ => "ice",
        },
        "stun" | "turn" => "stun",
        _ => "machine",
    };
    LAYERS.iter().position(|layer| *layer == name).expect("it is in the list") as u8
}

fn mapping_change(index: usize, line: &EventLine<'_>, detail: &Detail<'_>) -> Option<MappingChange> {
    let kind = match (&*line.layer, line.event.as_deref()?) {
        ("nat", "created") => '+',
        ("nat", "expired") => '-',
        ("nat", "rebooted") => '!',
        _ => return None,
    };
    let Detail { protocol, internal, external, remote, .. } = detail;
    Some((index, kind, shown(protocol), shown(internal), shown(external), shown(remote)))
}

/// An event in words. Those of packets and NATs, the most frequent ones, have their own wording; others list their
/// fields.
fn describe(line: &EventLine<'_>, detail: &Detail<'_>, raw: &str, out: &mut String) {
    let event = line.event.as_deref().unwrap_or_default();
    let Detail { src, dst, internal, external, remote, flags, bytes, .. } = detail;
    let protocol = detail.protocol.to_uppercase();
    let why = || detail.why.map(|why| why.get().replace(['{', '}', '"'], "").replace(':', " ")).unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = match (&*line.layer, event) {
        ("packet", "sent" | "delivered") => {
            let bits = [(2, " SYN"), (1, " FIN"), (4, " RST"), (8, " PSH"), (16, " ACK")];
            let flags: String = bits.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
            write!(out, "{event} {protocol} {src} → {dst}{flags}, {bytes} B")
        }
        ("packet", "dropped") => write!(out, "dropped: {}", why()),
        ("nat", "created") => write!(out, "maps {protocol} {internal} ⇒ {external} for {remote}"),
        ("nat", "used") => write!(out, "uses {protocol} {internal} ⇒ {external} for {remote}"),
        ("nat", "expired") => write!(out, "forgets {protocol} {internal} ⇒ {external} for {remote}"),
        ("nat", "refused") => write!(out, "refuses {protocol} {src} → {dst}: {}", why()),
        _ => {
            fields(line, raw, out);
            Ok(())
        }
    };
    if out.chars().nth(TEXT_CHARS_MAX).is_some() || out.chars().any(is_control) {
        let short: String = out.chars().take(TEXT_CHARS_MAX).collect();
        let more = if short.len() < out.len() { "…" } else { "" };
        *out = shown(&short) + more;
    }
}

/// `event name value, name value`.
fn fields(line: &EventLine<'_>, raw: &str, out: &mut String) {
    out.push_str(&line.event.as_deref().unwrap_or(&line.layer).replace('-', " "));
    let Ok(serde_json::Value::Object(all)) = serde_json::from_str(raw) else { return };
    let rest = all.iter().filter(|(name, _)| !matches!(name.as_str(), "at" | "node" | "layer" | "event"));
    for (number, (name, value)) in rest.enumerate() {
        let _ = write!(out, "{} {name} ", if number == 0 { ":" } else { "," });
        match value {
            serde_json::Value::String(text) => out.extend(text.chars().take(TEXT_CHARS_MAX)),
            serde_json::Value::Object(one) if one.contains_key("kind") && one.contains_key("address") => {
                let part = |key: &str| one[key].as_str().unwrap_or_default();
                let _ = write!(out, "{} {}", part("kind"), part("address"));
            }
            other => out.extend(other.to_string().chars().take(TEXT_CHARS_MAX)),
        }
        if out.len() > TEXT_CHARS_MAX * 5 {
            break;
        }
    }
}
