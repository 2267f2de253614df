//! The destination addresses of datagrams that a UDP socket receives, and the source addresses of those that it sends
//! (`IP_PKTINFO`, `IPV6_PKTINFO`), as Linux passes them beside the data.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt};
use tokio::net::UdpSocket;

/// Asks for the destination address of each datagram. A socket of IPv6 that also receives IPv4 reports it as
/// `::ffff:a.b.c.d`.
pub(crate) fn request(socket: &UdpSocket, is_ipv4: bool) -> io::Result<()> {
    Ok(if is_ipv4 { setsockopt(socket, Ipv4PacketInfo, &true) } else { setsockopt(socket, Ipv6RecvPacketInfo, &true) }?)
}

/// Receives a datagram without waiting. Returns its length in the buffer, its source, and its destination.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    let mut buffers = [IoSliceMut::new(buffer)];
    // The longer of the two.
    let mut control = cmsg_space!(in6_pktinfo);
    let received = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::empty())?;
    let mut destination = None;
    for message in received.cmsgs()? {
        match message {
            // Not `ipi_addr`, which is a broadcast address if the datagram was sent to one.
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                destination = Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
    let from = received.address.and_then(address).ok_or(io::ErrorKind::InvalidData)?;
    // No datagram can be sent from a multicast address.
    Ok((received.bytes, from, destination.filter(|destination: &IpAddr| !destination.is_multicast())))
}

/// Sends a datagram from a local address without waiting. The family of `source` is that of the socket.
pub(crate) fn send(socket: &UdpSocket, datagram: &[u8], source: IpAddr, to: SocketAddr) -> io::Result<usize> {
    let (v4, v6);
    let control = match source {
        IpAddr::V4(source) => {
            let source = in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
            v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: in_addr { s_addr: 0 } };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(source) => {
            v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: source.octets() }, ipi6_ifindex: 0 };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    let data = [IoSlice::new(datagram)];
    Ok(sendmsg(socket.as_raw_fd(), &data, &[control], MsgFlags::empty(), Some(&SockaddrStorage::from(to)))?)
}

/// The addresses of this host's interfaces.
pub(crate) fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces.filter_map(|interface| interface.address.and_then(address)).map(|address| address.ip()).collect()
}

fn address(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::from(*address));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::from(*address)))
}
