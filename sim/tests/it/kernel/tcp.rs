//! What a NAT does with TCP connections, found out from both ends. The same probe runs in the simulated world and on a kernel.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Machine, NatBehavior, NatReboot, NetworkIndex, Scenario};
use server::net::{Listener as _, Network};
use sim::event::{NatEvent, NodeKind, Protocol, What};
use sim::live::netns::{Machines, Script};
use sim::world::{NetworkConfig, Realm, World};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::played::scenario;

/// The port of the outside.
const PORT: u16 = 46_000;
/// After this time data counts as lost.
const PATIENCE: Duration = Duration::from_millis(900);
/// What the NAT has after a reboot that changes its address.
const NEW_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Case {
    /// Nobody says anything for this many milliseconds; then the outside speaks.
    Silence(u64),
    /// The inside resets it. The router is asked after this many milliseconds.
    Reset(u64),
    /// Both sides close it. The router is asked after this many milliseconds.
    Close(u64),
    /// The NAT reboots, with another address if it says so; then the inside speaks.
    Reboot { readdresses: bool },
}

/// What somebody saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The inside read this.
    Inside(Heard),
    /// The outside read this.
    Outside(Heard),
    /// The router knows this many connections.
    Known(usize),
}

/// What a side reads when the other one speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Data,
    Reset,
    Nothing,
}

/// The router between the two ends.
trait Router {
    /// Makes it forget all connections, and change its address if one is given.
    fn reboot(&mut self, address: Option<Ipv4Addr>);

    /// The number of TCP connections that it knows.
    fn known(&mut self) -> usize;
}

async fn probe<N: Network>(
    case: Case,
    [inside, outside]: [N; 2],
    address: Ipv4Addr,
    router: &mut impl Router,
) -> Vec<Seen> {
    let listener = outside.listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))).await.expect("a free port");
    let (near, far) = tokio::join!(inside.connect(SocketAddr::from((address, PORT))), listener.accept());
    let (mut near, (mut far, _)) = (near.expect("it connects"), far.expect("it accepts"));
    near.write_all(b"hello").await.expect("it is open");
    assert_eq!(heard(&mut far).await, Heard::Data, "the first words arrive");
    let after = |time| sleep(Duration::from_millis(time));
    match case {
        Case::Silence(time) => {
            after(time).await;
            let _ = far.write_all(b"are you there?").await;
            let first = Seen::Inside(heard(&mut near).await);
            let _ = near.write_all(b"yes").await;
            vec![first, Seen::Outside(heard(&mut far).await), Seen::Inside(heard(&mut near).await)]
        }
        Case::Reset(time) => {
            let before = Seen::Known(router.known());
            // Who closes with unread data resets (RFC 9293 §3.10.4).
            far.write_all(b"unread").await.expect("it is open");
            after(300).await;
            drop(near);
            let outside = Seen::Outside(heard(&mut far).await);
            after(time).await;
            vec![before, outside, Seen::Known(router.known())]
        }
        Case::Close(time) => {
            let before = Seen::Known(router.known());
            near.shutdown().await.expect("it is open");
            after(100).await;
            far.shutdown().await.expect("it is half open");
            after(time).await;
            vec![before, Seen::Known(router.known())]
        }
        Case::Reboot { readdresses } => {
            // Until the acknowledgment has arrived.
            after(300).await;
            router.reboot(readdresses.then_some(NEW_ADDRESS));
            after(500).await;
            let known = Seen::Known(router.known());
            let _ = near.write_all(b"are you there?").await;
            let outside = Seen::Outside(heard(&mut far).await);
            let _ = far.write_all(b"yes").await;
            vec![known, outside, Seen::Inside(heard(&mut near).await)]
        }
    }
}

/// What a side reads within the time.
async fn heard(stream: &mut (impl AsyncRead + Unpin)) -> Heard {
    match timeout(PATIENCE, stream.read(&mut [0; 64])).await {
        Err(_) => Heard::Nothing,
        Ok(Ok(length)) => {
            assert!(length > 0, "nobody closes it");
            Heard::Data
        }
        Ok(Err(_)) => Heard::Reset,
    }
}

fn home(nat: NatBehavior) -> Scenario {
    scenario(60).home(nat).peer(0).peer(None).build()
}

/// Probes a NAT on this machine's kernel.
pub(crate) fn kernel(nat: NatBehavior, case: Case) -> Vec<Seen> {
    struct OnKernel<'a>(&'a Machines);

    impl Router for OnKernel<'_> {
        fn reboot(&mut self, address: Option<Ipv4Addr>) {
            self.0.reboot(NetworkIndex(0), address).expect("`ip` does it");
        }

        fn known(&mut self) -> usize {
            self.0.tcp_connections(NetworkIndex(0)).expect("the kernel tells")
        }
    }

    let scenario = Arc::new(home(nat));
    let machines = Script::of(&scenario).unwrap_or_else(|why| panic!("{why}")).machines().expect("namespaces");
    let ends = [0, 1].map(|actor| machines.place(Machine::Actor(ActorIndex(actor))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(probe(case, ends, scenario.actors[ActorIndex(1)].address, &mut OnKernel(&machines)))
}

/// Probes a simulated NAT.
pub(crate) fn simulated(nat: NatBehavior, case: Case) -> Vec<Seen> {
    struct Simulated {
        world: World,
        realm: Realm,
        known: usize,
    }

    impl Router for Simulated {
        fn reboot(&mut self, new_address: Option<Ipv4Addr>) {
            self.world.reboot_nat(self.realm, NatReboot { resets_tcp: false, new_address });
        }

        fn known(&mut self) -> usize {
            for event in self.world.recorder().take().events {
                match event.what {
                    What::Nat(NatEvent::Created(mapping)) if mapping.protocol == Protocol::Tcp => self.known += 1,
                    What::Nat(NatEvent::Expired(mapping)) if mapping.protocol == Protocol::Tcp => self.known -= 1,
                    What::Nat(NatEvent::Rebooted { .. }) => self.known = 0,
                    _ => {}
                }
            }
            self.known
        }
    }

    let scenario = home(nat);
    let found = World::run(1, Duration::from_secs(600), move |world| async move {
        let realm = world.add_network(NetworkConfig::of(&scenario.networks[0], 0, None));
        let ends = [(0, Some(realm)), (1, None)].map(|(index, place)| {
            let actor = &scenario.actors[ActorIndex(index)];
            let kind = NodeKind::Machine(Machine::Actor(ActorIndex(index)));
            world.boot(world.add_machine(&actor.name, kind, place, actor.address, actor.link))
        });
        let address = scenario.actors[ActorIndex(1)].address;
        probe(case, ends, address, &mut Simulated { world: world.clone(), realm, known: 0 }).await
    });
    found.expect("no panic")
}
