//! Messages with descriptors over Unix sockets, without waiting.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, recvmsg, sendmsg, socket_with,
};

/// The longest message of a process.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What a socket holds.
pub(super) enum Received {
    Message(String, Option<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// Nothing more: the other side has closed.
    End,
}

/// Listens for the processes of a machine at an abstract name.
pub(super) fn listen_at(name: &str) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&listener, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    listen(&listener, 128)?;
    Ok(listener)
}

/// The next process that connects.
pub(super) fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    accept_with(listener, SocketFlags::CLOEXEC).ok()
}

/// Receives a message. With `waits`, waits for it.
pub(super) fn receive(from: impl AsFd, waits: bool) -> Received {
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let wait = if waits { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let received = loop {
        let received = recvmsg(&from, &mut [IoSliceMut::new(&mut bytes)], &mut control, wait | RecvFlags::CMSG_CLOEXEC);
        // A process that becomes another program, or ends, without having read what it was told: the system reports this
        // first and once, and only then what the process had still said.
        if !matches!(received, Err(Errno::INTR | Errno::CONNRESET)) {
            break received;
        }
    };
    match received {
        Ok(received) if received.bytes > 0 => {
            let fd = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                _ => None,
            });
            Received::Message(String::from_utf8_lossy(&bytes[..received.bytes]).into_owned(), fd)
        }
        Err(Errno::AGAIN) => Received::Nothing,
        Ok(_) | Err(_) => Received::End,
    }
}

/// Sends bytes, and a descriptor with them. A receiver that has ended is not an error here: its end is noticed where
/// its messages are read.
pub(super) fn send(to: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let fds: Vec<_> = fd.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}
