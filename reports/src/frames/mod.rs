//! Finds the frame of the capture for each event, so that a line of the story leads to Wireshark. A frame is exact or
//! absent.
//!
//! A packet's own events contain its number. A WebSocket message is searched in the bytes of its TCP connection; as in
//! Wireshark, its frame is the segment in which it ends. The frame of an effect of a datagram (a mapped address, a
//! selected pair, a completed handshake, a message on a data channel) is that of the datagram, which the client had
//! just received according to the capture.

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
    /// Index of the sighting, by index of the event.
    of: BTreeMap<usize, usize>,
    /// The interface of each sighting.
    interfaces: Vec<usize>,
    names: Vec<String>,
}

/// A line of the frames file.
#[derive(Serialize, Deserialize)]
pub(crate) struct FrameLine {
    /// The event, an index into the events file.
    pub(crate) event: usize,
    #[serde(flatten)]
    pub(crate) frame: Frame,
}

impl Frames {
    /// Matches a record with the packets of the same run.
    pub fn of(record: &Record, capture: &Capture) -> Self {
        let mut sightings = Sightings::of(capture);
        let mut clients: BTreeMap<_, Client> = BTreeMap::new();
        let mut taken = capture.taken.iter().peekable();
        for (index, event) in record.events.iter().enumerate() {
            while let Some(next) = taken.next_if(|next| next.events <= index) {
                clients.entry(next.node).or_default().datagram_received(next, &sightings);
            }
            sightings.read(index, event);
            clients.entry(event.node).or_default().read(index, event, &mut sightings);
        }
        let interfaces = capture.sightings.iter().map(|seen| seen.realm.0).collect();
        Self { of: sightings.found, interfaces, names: capture.realms.clone() }
    }

    /// The frame of an event, if it has one.
    pub fn get(&self, event: usize) -> Option<Frame> {
        self.of.get(&event).map(|&sighting| self.frame(sighting))
    }

    fn frame(&self, sighting: usize) -> Frame {
        Frame { number: sighting + 1, interface: self.names[self.interfaces[sighting]].clone() }
    }

    /// Writes them as JSON Lines, one line per event: `{"event":7,"frame":3,"interface":"internet"}`.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (&event, &sighting) in &self.of {
            serde_json::to_writer(&mut *out, &FrameLine { event, frame: self.frame(sighting) })?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Adds frames to a case's steps. `file` is the capture, `frames_file` the frames file, relative to the result's
    /// folder.
    pub fn add_to(&self, case: &mut Case, file: &str, frames_file: Option<String>) {
        for step in &mut case.story {
            step.frame = step.event.and_then(|event| self.get(event));
        }
        if let Some(simulation) = &mut case.simulation {
            simulation.capture = Some(Captured { file: file.to_owned(), frames_file });
        }
    }
}

/// The sightings of all packets, and the sighting of each event.
struct Sightings<'a> {
    capture: &'a Capture,
    /// Indices of a packet's sightings, in order.
    seen: BTreeMap<PacketId, Vec<usize>>,
    /// How often a packet was delivered, and the last delivered sighting.
    delivered: BTreeMap<PacketId, (usize, usize)>,
    found: BTreeMap<usize, usize>,
}

impl<'a> Sightings<'a> {
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

    /// Reads the events of packets.
    fn read(&mut self, index: usize, event: &Event) {
        let What::Packet(packet) = &event.what else { return };
        let sighting = match packet {
            PacketEvent::Sent(view) => self.seen.get(&view.packet).and_then(|seen| seen.first().copied()),
            PacketEvent::Delivered(view) => self.arrival(view),
            // The last place where it was seen before the event.
            PacketEvent::Duplicated { packet }
            | PacketEvent::Reordered { packet }
            | PacketEvent::Fragmented { packet, .. }
            | PacketEvent::Corrupted { packet }
            | PacketEvent::FragmentationNeeded { packet, .. }
            | PacketEvent::Dropped { packet, .. } => {
                let seen = self.seen.get(packet).map(Vec::as_slice).unwrap_or_default();
                seen.iter().rev().copied().find(|&sighting| self.sighting(sighting).at <= event.at)
            }
        };
        self.found.extend(sighting.map(|sighting| (index, sighting)));
    }

    /// The sighting of a delivered packet: the last one on its way. If a link duplicated the packet, each copy may have
    /// been seen there.
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

    /// The last delivered sighting of a packet.
    fn last_delivered(&self, packet: PacketId) -> Option<usize> {
        self.delivered.get(&packet).map(|(_, sighting)| *sighting)
    }

    fn found(&self, event: usize) -> Option<usize> {
        self.found.get(&event).copied()
    }

    fn assign(&mut self, event: usize, sighting: usize) {
        self.found.insert(event, sighting);
    }
}
