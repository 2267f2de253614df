//! Corruption: a bit of a packet's payload is flipped on the way.
//!
//! The checksum of UDP is the ones' complement of a ones' complement sum of 16-bit words (RFC 768), so it finds every
//! single flipped bit. It is optional over IPv4, but the hosts here send it, as the kernels of all usual systems do. NATs do
//! not check it, and change it by the difference between the addresses only (RFC 3022 §4.2). So the datagram reaches its
//! host, refreshes mappings on its way, and is dropped there. A TCP segment is sent again.

use scenarios::OneWay;

use super::loss::retransmissions;
use super::{Fault, FaultCx, Verdict};
use crate::event::Protocol;
use crate::fabric::packet::Packet;

#[derive(Default)]
pub(crate) struct Corrupt {
    ppm: u32,
}

impl Fault for Corrupt {
    fn configure(&mut self, way: &OneWay) {
        self.ppm = way.corrupt_ppm;
    }

    fn on_packet(&mut self, packet: &Packet, cx: &mut FaultCx<'_>) -> Verdict {
        match packet.protocol() {
            Protocol::Udp => {
                let corrupted = (0..packet.pieces()).filter(|_| cx.chance(self.ppm)).count();
                if corrupted > 0 { Verdict::Corrupt } else { Verdict::Pass }
            }
            Protocol::Tcp => Verdict::Delay(retransmissions(|| cx.chance(self.ppm))),
        }
    }
}
