//! Clients that nobody here wrote: coturn's `turnutils_uclient` and Debian's `stun`.

use std::process::Stdio;

use tokio::process::Command;

use crate::client::start_with;
use crate::turn::{settings, turn_with};
use crate::turn_client::receive;

/// Installs a program's Debian package when it is missing, and names its version; `None`, loudly, when it cannot be had.
async fn program(name: &str, package: &str) -> Option<()> {
    // Two tests must not ask dpkg for its lock at once.
    static INSTALLING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one_at_a_time = INSTALLING.lock().await;
    let run = async |program: &str, arguments: &[&str]| Command::new(program).args(arguments).output().await.ok();
    let is_there = async || run("which", &[name]).await.is_some_and(|output| output.status.success());
    if !is_there().await {
        let wait = "DPkg::Lock::Timeout=300";
        run("apt-get", &["install", "-y", "-o", wait, "--no-install-recommends", package]).await;
        if !is_there().await {
            eprintln!("SKIPPED: {name} is not installed and `apt-get install {package}` did not help");
            return None;
        }
    }
    let version = run("dpkg-query", &["-W", package]).await.map(|output| output.stdout).unwrap_or_default();
    eprintln!("outsider: {name}, {}", String::from_utf8_lossy(&version).trim());
    Some(())
}

async fn output(program: &str, arguments: &[String]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(300), command.output());
    let output = ended.await.unwrap_or_else(|_| panic!("{program} does not end")).expect("it runs");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

#[tokio::test]
async fn turnutils_uclient_relays_without_a_loss() {
    let Some(()) = program("turnutils_uclient", "coturn").await else { return };
    let server = turn_with(|settings| settings.allow_rfc5766_channels = true).await;
    let peer_port = echo_pair().await;
    let fixed = format!("-e 127.0.0.1 -r {peer_port} -p {} -l 170 -m 2 -n 30 -z 5", server.stun.port());
    // At once, as each waits some seconds for stragglers.
    let runs = [
        ("channels", "-c -u u -w p"),
        ("indications", "-c -s -u u -w p"),
        ("port pairs for RTP and RTCP", "-u u -w p"),
        ("the ephemeral credential", "-c -u alice -W shared"),
        ("extra requests", "-c -G -u u -w p"),
        ("from one relay to another", "-c -y -u u -w p"),
    ];
    let runs = runs.map(|(what, options)| {
        let arguments: Vec<String> = format!("{options} {fixed} 127.0.0.1").split(' ').map(str::to_owned).collect();
        (what, tokio::spawn(async move { output("turnutils_uclient", &arguments).await }))
    });
    for (what, run) in runs {
        let log = run.await.expect("it ends");
        assert!(log.contains("Total lost packets 0 (0.000000%), total send dropped 0"), "{what}:\n{log}");
    }
    let wrong = format!("-c -u u -w wrong {fixed} 127.0.0.1");
    let log = output("turnutils_uclient", &wrong.split(' ').map(str::to_owned).collect::<Vec<_>>()).await;
    assert!(log.contains("Cannot complete Allocation"), "{log}");
    let counters = server.handle.turn().expect("it is on");
    assert!(counters.packets_to_peers >= 300 && counters.packets_to_clients >= 300, "{counters:?}");
    assert_eq!(counters.packets_dropped, 0);
}

/// Two sockets with neighbouring ports that send everything back, for RTP and RTCP. Returns the lower port.
async fn echo_pair() -> u16 {
    let bind = async |port| tokio::net::UdpSocket::bind(("127.0.0.1", port)).await;
    loop {
        let rtp = bind(0).await.expect("port 0 is free");
        let port = rtp.local_addr().expect("it is bound").port();
        let Ok(rtcp) = bind(port.saturating_add(1)).await else { continue };
        for socket in [rtp, rtcp] {
            tokio::spawn(async move {
                let mut datagram = [0; 2048];
                while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                    socket.send_to(&datagram[..length], from).await.expect("loopback takes it");
                }
            });
        }
        return port;
    }
}

#[tokio::test]
async fn debians_stun_client_finds_no_nat_on_loopback() {
    let Some(()) = program("stun", "stun-client").await else { return };
    let server = start_with(|config| {
        config.stun_alternate = Some(([127, 0, 0, 2], 0).into());
        config.turn = Some(settings());
    })
    .await;
    let log = output("stun", &[server.stun.to_string(), "-v".to_owned()]).await;
    assert!(log.contains("Primary: Open"), "{log}");
}

/// It speaks RFC 3489; a server without a second address keeps the silence of RFC 8489.
#[tokio::test]
async fn a_client_of_rfc_3489_is_answered_where_nats_are_discovered() {
    use server::net::{Network, Tokio, Udp};
    let socket = Tokio.bind_udp(([127, 0, 0, 1], 0).into()).await.expect("port 0 is free");
    let request = [&[0, 1, 0, 8][..], &[5; 16], &[0, 3, 0, 4, 0, 0, 0, 6]].concat();
    let server = start_with(|config| config.stun_alternate = Some(([127, 0, 0, 2], 0).into())).await;
    socket.send_to(&request, server.stun).await.expect("loopback takes it");
    let (answer, from) = receive(&socket).await.expect("it answers");
    assert_eq!((&answer[..2], &answer[4..20], from.ip()), (&[1, 1][..], &[5; 16][..], [127, 0, 0, 2].into()));
    // MAPPED-ADDRESS, SOURCE-ADDRESS, CHANGED-ADDRESS.
    assert_eq!([answer[21], answer[33], answer[45]], [1, 4, 5]);
    assert_eq!(&answer[26..28], socket.local_addr().expect("bound").port().to_be_bytes());
    // RESPONSE-ADDRESS would make anybody a victim.
    let reflect = [&[0, 1, 0, 12][..], &[5; 16], &[0, 2, 0, 8, 0, 1, 0, 9, 127, 0, 0, 1]].concat();
    socket.send_to(&reflect, server.stun).await.expect("loopback takes it");
    let (answer, _) = receive(&socket).await.expect("it answers");
    assert_eq!((&answer[..2], &answer[26..28]), (&[1, 0x11][..], &[4, 20][..]));
}
