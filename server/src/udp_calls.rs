//! The system calls of UDP sockets that take several datagrams at once, with the control messages that Linux passes
//! beside the data: the address to which a datagram was sent (`IP_PKTINFO`, `IPV6_PKTINFO`), and the length of the
//! datagrams that were joined or are to be split (`UDP_GRO`, `UDP_SEGMENT`).
//!
//! The only `unsafe` code of the server. No crate brings what a relay needs: `quinn-udp` sends to one address a call and
//! forbids fragmentation on its sockets; `nix` gives all datagrams of a call the same control messages, and loses those
//! of the second call with the same headers.

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::libc;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, UdpGroSegment, UdpGsoSegment};
use tokio::net::UdpSocket;

use crate::datagrams::{Departure, Outgoing, RECEIVED_MAX, Received, Sent};

/// Maximum number of messages of one call: each one a datagram, or several of one flow.
const SENT_MAX: usize = 32;
/// Maximum number of datagrams that one message is split into (`UDP_MAX_SEGMENTS` of old kernels), and its bytes.
const SEGMENTS_MAX: usize = 64;
const SEGMENTED_BYTES_MAX: usize = 65_000;
/// Maximum length of such a datagram: none of them may be fragmented, and the path's MTU is rarely below Ethernet's.
const SEGMENT_BYTES_MAX: usize = 1400;
/// Bytes of all control messages of a message: an address (40), and the length of segments (24).
const CONTROL_BYTES: usize = 64;

/// Where control messages are written and read.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// The address of a socket of either family.
#[derive(Clone, Copy)]
#[repr(C)]
union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Asks for the destination address of each datagram. A socket of IPv6 that also receives IPv4 reports it as
/// `::ffff:a.b.c.d`.
pub(crate) fn request_destinations(socket: &UdpSocket, is_ipv4: bool) -> io::Result<()> {
    Ok(if is_ipv4 { setsockopt(socket, Ipv4PacketInfo, &true) } else { setsockopt(socket, Ipv6RecvPacketInfo, &true) }?)
}

/// Whether this system can split a message into several datagrams: Linux since 4.18.
pub(crate) fn can_split(socket: &UdpSocket) -> bool {
    // 0 is "not unless a message says so", which is the default.
    setsockopt(socket, UdpGsoSegment, &0).is_ok()
}

/// Lets the network join datagrams of one flow and length.
pub(crate) fn allow_joining(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, UdpGroSegment, &true)?)
}

/// Receives at most `room` arrivals without waiting. Returns how many there were: if fewer, no more are there.
pub(crate) fn receive(socket: &UdpSocket, room: usize, received: &mut Received) -> io::Result<usize> {
    let room = room.min(RECEIVED_MAX);
    let mut names = [const { MaybeUninit::<Address>::uninit() }; RECEIVED_MAX];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; RECEIVED_MAX];
    let mut data = [const { MaybeUninit::<libc::iovec>::uninit() }; RECEIVED_MAX];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; RECEIVED_MAX];
    for (at, space) in received.rooms(room).enumerate() {
        let data = data[at].write(libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() });
        let header = headers[at].write(empty_header());
        header.msg_hdr.msg_name = names[at].as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = size_of::<Address>() as libc::socklen_t;
        header.msg_hdr.msg_iov = data;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = controls[at].as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = size_of::<Control>() as _;
    }
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the first `room` headers are initialised. Their pointers are to variables of this function and to bytes of
    // `received`, which live and are not otherwise used during the call, with their true lengths.
    let count = unsafe {
        libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), room as _, flags as _, ptr::null_mut())
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    for at in 0..count {
        // SAFETY: it is one of the `room` headers that are initialised above.
        let header = unsafe { headers[at].assume_init_ref() };
        // SAFETY: the system has filled the message's name, as much of it as `msg_namelen` says.
        let from = unsafe { address(names[at].as_ptr(), header.msg_hdr.msg_namelen) };
        // SAFETY: the system has filled its control messages.
        let (destination, segment) = unsafe { control_of(&header.msg_hdr) };
        if let Some(from) = from {
            received.arrived_in(at, header.msg_len as usize, segment, from, destination);
        }
    }
    Ok(count)
}

/// Sends all datagrams, in order, without waiting. Those of one flow and length leave as one message that the network
/// splits, as long as `can_split`: a network that cannot do it clears that.
pub(crate) fn send(socket: &UdpSocket, outgoing: &Outgoing, can_split: &AtomicBool) -> Sent {
    let mut sent = Sent::default();
    let mut left = outgoing.departures();
    while !left.is_empty() {
        let mut runs = [(0, 0); SENT_MAX];
        let (mut count, mut taken) = (0, 0);
        while count < SENT_MAX && taken < left.len() && !left[taken].is_whole {
            let length = if can_split.load(Relaxed) { run(&left[taken..]) } else { 1 };
            runs[count] = (taken, length);
            count += 1;
            taken += length;
        }
        if left[0].is_whole {
            // The system has no such control message, so the socket changes for the time of this call.
            let set = |forbids| forbid_fragments(socket, left[0].to.is_ipv4(), forbids);
            let (_, error) = match set(true) {
                Ok(()) => send_runs(socket, outgoing.bytes(), left, &[(0, 1)]),
                Err(error) => (0, Some(error)),
            };
            sent.count(&left[..1], error.map_or(Ok(()), Err));
            if let Err(error) = set(false) {
                tracing::warn!(%error, "failed to allow fragments again");
            }
            left = &left[1..];
            continue;
        }
        let (done, error) = send_runs(socket, outgoing.bytes(), left, &runs[..count]);
        for &(at, length) in &runs[..done] {
            sent.count(&left[at..at + length], Ok(()));
        }
        let mut passed = runs[..done].last().map_or(0, |(at, length)| at + length);
        if let Some(error) = error {
            let (at, length) = runs[done];
            if error.kind() == io::ErrorKind::WouldBlock {
                sent.count(&left[at..], Err(error));
                return sent;
            }
            if length > 1 {
                // Too long for the path, or a device without checksums. Each one alone may be fragmented.
                if error.raw_os_error() == Some(libc::EIO) {
                    can_split.store(false, Relaxed);
                }
                for one in at..at + length {
                    let (_, error) = send_runs(socket, outgoing.bytes(), left, &[(one, 1)]);
                    sent.count(&left[one..=one], error.map_or(Ok(()), Err));
                }
            } else {
                sent.count(&left[at..=at], Err(error));
            }
            passed = at + length;
        }
        left = &left[passed..];
    }
    sent
}

/// How many of the first datagrams can leave as one message: they have the same addresses, and the same length but for
/// the last one, which may be shorter.
fn run(left: &[Departure]) -> usize {
    let first = &left[0];
    if first.length == 0 || first.length > SEGMENT_BYTES_MAX {
        return 1;
    }
    let max = SEGMENTS_MAX.min(SEGMENTED_BYTES_MAX / first.length);
    let mut length = 1;
    for next in left.iter().take(max).skip(1) {
        let fits = next.to == first.to && next.source == first.source && next.length <= first.length && next.length > 0;
        if !fits || next.is_whole {
            break;
        }
        length += 1;
        if next.length < first.length {
            break;
        }
    }
    length
}

/// Sends runs of departures, each as one message. Returns how many messages were sent, and why the next one was not.
fn send_runs(
    socket: &UdpSocket,
    bytes: &[u8],
    departures: &[Departure],
    runs: &[(usize, usize)],
) -> (usize, Option<io::Error>) {
    let mut names = [const { MaybeUninit::<SockaddrStorage>::uninit() }; SENT_MAX];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; SENT_MAX];
    let mut data = [const { MaybeUninit::<libc::iovec>::uninit() }; SENT_MAX];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; SENT_MAX];
    for (at, &(first, length)) in runs.iter().enumerate() {
        let (first, last) = (&departures[first], &departures[first + length - 1]);
        let run = &bytes[first.at..last.at + last.length];
        let name = names[at].write(SockaddrStorage::from(first.to));
        // The system only reads them.
        let data = data[at].write(libc::iovec { iov_base: run.as_ptr().cast_mut().cast(), iov_len: run.len() });
        let header = headers[at].write(empty_header());
        header.msg_hdr.msg_namelen = nix::sys::socket::SockaddrLike::len(name);
        header.msg_hdr.msg_name = ptr::from_mut(name).cast();
        header.msg_hdr.msg_iov = data;
        header.msg_hdr.msg_iovlen = 1;
        let segment = (length > 1).then_some(first.length as u16);
        if first.source.is_some() || segment.is_some() {
            let control = controls[at].write(Control([0; CONTROL_BYTES]));
            header.msg_hdr.msg_control = ptr::from_mut(control).cast();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            // SAFETY: the header has a buffer of `CONTROL_BYTES`, which is enough for both.
            unsafe { set_control(&mut header.msg_hdr, first.source, segment) };
        }
    }
    let mut done = 0;
    while done < runs.len() {
        let (left, flags) = (runs.len() - done, libc::MSG_DONTWAIT);
        // SAFETY: as many headers as there are runs are initialised. Their pointers are to variables of this function and
        // to `bytes`, which live and do not change during the call, with their true lengths.
        let count =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().add(done).cast(), left as _, flags as _) };
        match usize::try_from(count) {
            // The call also stops before a message that fails; the next call tells why.
            Ok(count) if count > 0 => done += count,
            _ => return (done, Some(io::Error::last_os_error())),
        }
    }
    (done, None)
}

/// Whether datagrams that are too long for the path fail instead of being fragmented.
fn forbid_fragments(socket: &UdpSocket, is_ipv4: bool, forbids: bool) -> io::Result<()> {
    let (level, name, value) = match (is_ipv4, forbids) {
        (true, true) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
        (true, false) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_WANT),
        (false, true) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
        (false, false) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT),
    };
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option takes an integer, which lives during the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: the structure consists of integers and pointers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

/// # Safety
/// The system has written an address of so many bytes there.
unsafe fn address(name: *const Address, length: libc::socklen_t) -> Option<SocketAddr> {
    // SAFETY: each structure begins with the family, and is read as the one that was written.
    unsafe {
        match libc::c_int::from((*name).v4.sin_family) {
            libc::AF_INET if length as usize >= size_of::<libc::sockaddr_in>() => {
                let address = (*name).v4;
                let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
                Some((ip, u16::from_be(address.sin_port)).into())
            }
            libc::AF_INET6 if length as usize >= size_of::<libc::sockaddr_in6>() => {
                let address = (*name).v6;
                let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
                let port = u16::from_be(address.sin6_port);
                Some(std::net::SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// The destination of a message, and the length of the datagrams that were joined in it.
///
/// # Safety
/// The system has filled the message.
unsafe fn control_of(message: &libc::msghdr) -> (Option<IpAddr>, Option<usize>) {
    let (mut destination, mut segment) = (None, None);
    // SAFETY: the macros stay inside the control messages of a filled message, whose values have the types of their kinds.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(message);
        while let Some(&libc::cmsghdr { cmsg_level, cmsg_type, .. }) = control.as_ref() {
            let value = libc::CMSG_DATA(control);
            match (cmsg_level, cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = value.cast::<libc::in_pktinfo>().read_unaligned();
                    // Not `ipi_addr`, which is a broadcast address if the datagram was sent to one.
                    destination = Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = value.cast::<libc::in6_pktinfo>().read_unaligned();
                    destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let length = value.cast::<libc::c_int>().read_unaligned();
                    segment = usize::try_from(length).ok();
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(message, control);
        }
    }
    // No datagram can be sent from a multicast address.
    (destination.filter(|destination: &IpAddr| !destination.is_multicast()), segment)
}

/// Writes the control messages of a message that is to be sent: its source, and the length of the datagrams into which it
/// is to be split.
///
/// # Safety
/// The message has a buffer for them, of `CONTROL_BYTES` zeros.
unsafe fn set_control(message: &mut libc::msghdr, source: Option<IpAddr>, segment: Option<u16>) {
    // SAFETY: both fit into the buffer, in which the macros stay.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(message);
        let mut length = 0;
        let mut set = |level, kind, value: *const u8, bytes: usize| {
            (*control).cmsg_level = level;
            (*control).cmsg_type = kind;
            (*control).cmsg_len = libc::CMSG_LEN(bytes as u32) as _;
            ptr::copy_nonoverlapping(value, libc::CMSG_DATA(control), bytes);
            length += libc::CMSG_SPACE(bytes as u32) as usize;
            control = control.cast::<u8>().add(libc::CMSG_SPACE(bytes as u32) as usize).cast();
        };
        match source {
            Some(IpAddr::V4(source)) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
                let ipi_addr = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr };
                set(libc::IPPROTO_IP, libc::IP_PKTINFO, ptr::from_ref(&info).cast(), size_of_val(&info));
            }
            Some(IpAddr::V6(source)) => {
                let ipi6_addr = libc::in6_addr { s6_addr: source.octets() };
                let info = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: 0 };
                set(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, ptr::from_ref(&info).cast(), size_of_val(&info));
            }
            None => {}
        }
        if let Some(segment) = segment {
            set(libc::SOL_UDP, libc::UDP_SEGMENT, ptr::from_ref(&segment).cast(), size_of_val(&segment));
        }
        message.msg_controllen = length as _;
    }
}

/// The addresses of this host's interfaces.
pub(crate) fn interface_addresses() -> Vec<IpAddr> {
    let address = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    };
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces.filter_map(|interface| interface.address.and_then(address)).collect()
}

#[cfg(test)]
#[path = "udp_calls_tests.rs"]
mod tests;
