//! Which frame of the capture an event is: the way from a line of the story to what Wireshark shows, and exact or not at all.
//!
//! A packet's own events bear its number. A WebSocket message is found in the bytes of its TCP connection, and is the segment that it ends
//! in, as Wireshark has it. What a datagram brings about (a mapped address, a chosen pair, a handshake that is done, words on a data
//! channel) is that datagram, which the capture says the program had just taken.

mod client;
mod websocket;

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use sim::capture::{Capture, Sighting};
use sim::event::{Event, PacketEvent, PacketId, PacketView, Record, What};

use crate::model::{Captured, Case, Frame};
use client::Client;

/// The frames of a capture, by event.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// Places of sightings, by place of the event.
    of: BTreeMap<usize, usize>,
    /// The interface of each sighting.
    interfaces: Vec<usize>,
    names: Vec<String>,
}

/// A line of the file of frames.
#[derive(Serialize, Deserialize)]
pub(crate) struct Line {
    /// The event, an index into the file of events.
    pub(crate) event: usize,
    #[serde(flatten)]
    pub(crate) frame: Frame,
}

impl Frames {
    /// Reads a record beside the packets of the same run.
    pub fn of(record: &Record, capture: &Capture) -> Self {
        let mut wires = Wires::of(capture);
        let mut clients: BTreeMap<_, Client> = BTreeMap::new();
        let mut taken = capture.taken.iter().peekable();
        for (index, event) in record.events.iter().enumerate() {
            while let Some(next) = taken.next_if(|next| next.events <= index) {
                clients.entry(next.node).or_default().takes(next, &wires);
            }
            wires.read(index, event);
            clients.entry(event.node).or_default().read(index, event, &mut wires);
        }
        let interfaces = capture.sightings.iter().map(|seen| seen.realm.0).collect();
        Self { of: wires.found, interfaces, names: capture.realms.clone() }
    }

    /// The frame that an event is, if it is one.
    pub fn get(&self, event: usize) -> Option<Frame> {
        self.of.get(&event).map(|&sighting| self.frame(sighting))
    }

    fn frame(&self, sighting: usize) -> Frame {
        Frame { number: sighting + 1, interface: self.names[self.interfaces[sighting]].clone() }
    }

    /// Writes them as JSON Lines, an event a line: `{"event":7,"frame":3,"interface":"internet"}`.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (&event, &sighting) in &self.of {
            serde_json::to_writer(&mut *out, &Line { event, frame: self.frame(sighting) })?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Tells a case's steps their frames. `file` is the capture, `frames_file` the file of frames, from the result's folder.
    pub fn tell(&self, case: &mut Case, file: &str, frames_file: Option<String>) {
        for step in &mut case.story {
            step.frame = step.event.and_then(|event| self.get(event));
        }
        if let Some(simulation) = &mut case.simulation {
            simulation.capture = Some(Captured { file: file.to_owned(), frames_file });
        }
    }
}

/// All wires: where each packet was seen, and which event is which sighting.
struct Wires<'a> {
    capture: &'a Capture,
    /// Places of its sightings, in order.
    seen: BTreeMap<PacketId, Vec<usize>>,
    /// How often it was delivered, and the sighting that was delivered last.
    delivered: BTreeMap<PacketId, (usize, usize)>,
    found: BTreeMap<usize, usize>,
}

impl<'a> Wires<'a> {
    fn of(capture: &'a Capture) -> Self {
        let mut seen: BTreeMap<PacketId, Vec<usize>> = BTreeMap::new();
        for (index, sighting) in capture.sightings.iter().enumerate() {
            seen.entry(sighting.packet).or_default().push(index);
        }
        Self { capture, seen, delivered: BTreeMap::new(), found: BTreeMap::new() }
    }

    fn sighting(&self, index: usize) -> &'a Sighting {
        &self.capture.sightings[index]
    }

    /// A packet's own events.
    fn read(&mut self, index: usize, event: &Event) {
        let What::Packet(packet) = &event.what else { return };
        let sighting = match packet {
            PacketEvent::Sent(view) => self.seen.get(&view.packet).and_then(|seen| seen.first().copied()),
            PacketEvent::Delivered(view) => self.arrival(view),
            // Where it was last before that happened to it.
            PacketEvent::Duplicated { packet }
            | PacketEvent::Reordered { packet }
            | PacketEvent::Dropped { packet, .. } => {
                let seen = self.seen.get(packet).map(Vec::as_slice).unwrap_or_default();
                seen.iter().rev().copied().find(|&sighting| self.sighting(sighting).at <= event.at)
            }
        };
        self.found.extend(sighting.map(|sighting| (index, sighting)));
    }

    /// A host takes a packet from the last wire on its way. Of one that a link doubled each copy may have been seen there.
    fn arrival(&mut self, view: &PacketView) -> Option<usize> {
        let seen = self.seen.get(&view.packet)?;
        let fits = |&sighting: &usize| {
            let seen = self.sighting(sighting);
            (seen.src, seen.dst) == (view.src, view.dst)
        };
        let realm = self.sighting(seen.iter().copied().rfind(fits)?).realm;
        let copies: Vec<_> =
            seen.iter().copied().filter(|copy| fits(copy) && self.sighting(*copy).realm == realm).collect();
        let (count, _) = self.delivered.get(&view.packet).copied().unwrap_or_default();
        let copy = copies[count.min(copies.len() - 1)];
        self.delivered.insert(view.packet, (count + 1, copy));
        Some(copy)
    }

    /// The sighting of a packet that was delivered.
    fn last_delivered(&self, packet: PacketId) -> Option<usize> {
        self.delivered.get(&packet).map(|(_, sighting)| *sighting)
    }

    fn found(&self, event: usize) -> Option<usize> {
        self.found.get(&event).copied()
    }

    fn is(&mut self, event: usize, sighting: usize) {
        self.found.insert(event, sighting);
    }
}
