//! The PROXY protocol, with which a proxy says whose connection it passes on: version 1 is a line of text, version 2 binary
//! (`proxy-protocol.txt` of HAProxy).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE_2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Maximum length of a line of version 1, with its end (§2.1).
const LINE_BYTES_MAX: usize = 107;
/// Maximum length of what follows the first 16 bytes of version 2: two addresses, and what proxies add about TLS.
const REST_BYTES_MAX: usize = 4096;

/// Reads the header of a connection from `proxy`, and nothing that follows it. Returns the address of the client: that of
/// the proxy, if it speaks for itself, such as for a health check.
///
/// # Errors
/// It is no PROXY header, or the connection ends before its end.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S, proxy: SocketAddr) -> io::Result<SocketAddr> {
    // The shortest line is longer than this.
    let mut start = [0; SIGNATURE_2.len()];
    stream.read_exact(&mut start).await?;
    let client = if start == SIGNATURE_2 {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if length > REST_BYTES_MAX {
            return Err(invalid());
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        binary([head[0], head[1]], &rest)
    } else {
        let mut line = start.to_vec();
        // Byte by byte, because what follows the line belongs to the client.
        while line.starts_with(b"PROXY ") && !line.ends_with(b"\r\n") && line.len() < LINE_BYTES_MAX {
            line.push(stream.read_u8().await?);
        }
        text(&line)
    };
    Ok(client.ok_or_else(invalid)?.unwrap_or(proxy))
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header")
}

/// The client in a line of version 1; `Some(None)` if the proxy does not say. `None` if it is no such line.
fn text(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let parts: Vec<_> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = parts[..] else { return None };
    let [source, destination]: [IpAddr; 2] = [source.parse().ok()?, destination.parse().ok()?];
    let is_right = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    // `parse` would also take a plus sign.
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (source_port, _) = (port(source_port)?, port(destination_port)?);
    is_right.then_some(Some(SocketAddr::new(source, source_port)))
}

/// The client in a header of version 2, of which `head` is the 13th and 14th byte, and `rest` what follows the 16th.
fn binary([version_and_command, family]: [u8; 2], rest: &[u8]) -> Option<Option<SocketAddr>> {
    let is_proxied = match version_and_command {
        // The proxy's own connection.
        0x20 => return Some(None),
        0x21 => family != 0,
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    match family {
        _ if !is_proxied => Some(None),
        // TCP or UDP over IPv4: two addresses, then two ports.
        0x11 | 0x12 => {
            let octets: [u8; 4] = rest.get(..12)?[..4].try_into().ok()?;
            Some(Some((Ipv4Addr::from(octets), port(8)?).into()))
        }
        0x21 | 0x22 => {
            let octets: [u8; 16] = rest.get(..36)?[..16].try_into().ok()?;
            Some(Some((Ipv6Addr::from(octets), port(32)?).into()))
        }
        // Unix sockets have no address that limits could use.
        0x31 | 0x32 => rest.get(..216).map(|_| None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1:4711";

    /// The client in a header, and what is left to read.
    async fn client(bytes: &[u8]) -> Result<(String, Vec<u8>), io::ErrorKind> {
        let mut stream = bytes;
        let client = read(&mut stream, PROXY.parse().expect("an address")).await.map_err(|error| error.kind())?;
        Ok((client.to_string(), stream.to_vec()))
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE_2[..], &[command, family], &length, rest, b"GET /"].concat()
    }

    #[tokio::test]
    async fn the_client_is_the_one_that_the_header_names_and_what_follows_is_its_data() {
        let v4 = [&[192, 0, 2, 1, 198, 51, 100, 1][..], &[0x1f, 0x90, 0, 80]].concat();
        let with_more = [&v4[..], &[4, 0, 1, 9]].concat();
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[0, 9, 0, 80]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 80\r\nGET /".to_vec(), "192.0.2.1:8080"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 9 80\r\nGET /".to_vec(), "[2001:db8::7]:9"),
            (b"PROXY UNKNOWN\r\nGET /".to_vec(), PROXY),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nGET /".to_vec(), PROXY),
            (version_2(0x21, 0x11, &v4), "192.0.2.1:8080"),
            (version_2(0x21, 0x11, &with_more), "192.0.2.1:8080"),
            (version_2(0x21, 0x21, &v6), "[2001:db8::7]:9"),
            (version_2(0x21, 0x31, &[0; 216]), PROXY),
            (version_2(0x21, 0x00, &[]), PROXY),
            (version_2(0x20, 0x00, &[]), PROXY),
            (version_2(0x20, 0x11, &v4), PROXY),
        ] {
            assert_eq!(client(&header).await, Ok((expected.to_owned(), b"GET /".to_vec())), "{header:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = [b"PROXY UNKNOWN ", &[b'x'; 100][..], b"\r\n"].concat();
        let too_much = [&SIGNATURE_2[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        for wrong in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 8080\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 80 9\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 2001:db8::1 8080 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 +8080 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 80\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 198.51.100.1 8080 80\r\n".to_vec(),
            b"proxy TCP4 192.0.2.1 198.51.100.1 8080 80\r\n".to_vec(),
            long,
            version_2(0x21, 0x11, &[0; 11]),
            version_2(0x21, 0x13, &[0; 12]),
            version_2(0x22, 0x11, &[0; 12]),
            version_2(0x11, 0x11, &[0; 12]),
            too_much,
        ] {
            assert_eq!(client(&wrong).await, Err(io::ErrorKind::InvalidData), "{wrong:?}");
        }
        for cut in [&b"PROXY TCP4 192.0.2.1 "[..], &SIGNATURE_2, b"PRO"] {
            assert_eq!(client(cut).await, Err(io::ErrorKind::UnexpectedEof), "{cut:?}");
        }
    }
}
