//! Errors about invalid files: file, line, the problem, and how to solve it.

use std::fs;
use std::path::PathBuf;

use scenarios::{load, parse};

#[test]
fn server_programs() {
    says("[server]\nport = 80", "x.toml:9: `port` belongs to a server program: add `run`");
    says("[server]\nrun = []", "x.toml:9: `run` must name a program, such as [\"node\", \"server.js\"]");
    says("[server]\nrun = 'node server.js'", "x.toml:9: `run` must be a list in [ ], not a string");
    for port in ["80000", "0", "-1"] {
        says(
            &format!("[server]\nrun = ['node']\nport = {port}"),
            &format!("x.toml:10: `port`: `{port}` must be from 1 to 65535"),
        );
    }
    says("[server]\nrun = ['node']\nenv = { PORT = 80 }", "x.toml:10: `PORT` must be a string, not a bare number");
    says(
        "[server]\nrun = ['node']\nenv = { LD_PRELOAD = 'x' }",
        "x.toml:10: `env`: `LD_PRELOAD` is set by the simulation itself",
    );
    let step = |what: &str| format!("[[step]]\nat = '1s'\n{what}");
    says(
        &step("do = 'stall'\nmachine = 'ana'\ntime = '1s'"),
        "x.toml:11: `stall` is for programs only: `ana` has no `run`",
    );
    says(&step("do = 'stall'\nmachine = 'server'\ntime = '0s'"), "x.toml:12: `time` must be longer than 0s");
    says(&step("do = 'clock-jump'\nmachine = 'server'\nby = '-0s'"), "x.toml:12: `by`: `-0s` must be longer than 0s");
}

#[test]
fn families_that_do_not_fit() {
    let network = |keys: &str| format!("[[network]]\nname = 'home'\nnat = 'symmetric'\n{keys}");
    let with = |actor: &str| format!("{}\n[[actor]]\nname = 'cam'\nnetwork = 'home'\n{actor}", network(""));
    says(
        &with("ipv6 = true"),
        "x.toml:15: `cam` has `ipv6`, but its network `home` has no IPv6: give it `ipv6 = true`",
    );
    says(
        &with("ipv4 = false"),
        "x.toml:13: `cam` has neither IPv4 nor IPv6: remove `ipv4 = false`, or add `ipv6 = true`",
    );
    says(
        "[[actor]]\nname = 'cam'\nipv4 = false\nipv6 = true\n[server]\nipv6 = false",
        "x.toml:9: `cam` has only IPv6 and the server only IPv4, so it cannot join: remove `ipv4 = false` here, or `ipv6 = false` of [server]",
    );
    says(
        "[[actor]]\nname = 'cam'\nrun = ['node']\nipv6 = true",
        "x.toml:11: `cam` is a program given by `run`, which has IPv4 only: remove `ipv4` and `ipv6`",
    );
    says(
        "[[actor]]\nname = 'cam'\nipv6 = { filtering = 'endpoint-independent' }",
        "x.toml:10: `cam` has no firewall of its own: give `ipv6` to its [[network]]",
    );
    says(
        &network("ipv6 = 'yes'"),
        "x.toml:11: `ipv6` must be true, false, or a table such as { filtering = \"endpoint-independent\" }, not a string",
    );
    says(
        &network("ipv6 = { mapping = 'endpoint-independent' }"),
        "x.toml:11: `mapping` is for NATs, and IPv6 has none: remove it",
    );
    says(&network("ipv6 = { firewall = true }"), "x.toml:11: `firewall` can only be false: a network has one anyway");
    says(
        &network("ipv6 = { firewall = false, udp-lifetime = '5s' }"),
        "x.toml:11: `udp-lifetime` belongs to a firewall: remove `firewall`",
    );
    says(
        &format!("{}\n[[network]]\nname = 'flat'\nnat = 'symmetric'\nbehind = 'home'\nipv6 = true", network("")),
        "x.toml:16: `ipv6`: `flat` is behind `home`, which has no IPv6: give it `ipv6 = true`",
    );
    says(
        &network("ipv6 = true\nlink = { mtu = 1000 }"),
        "x.toml:9: `home` has IPv6, whose links have an `mtu` of at least 1280 (RFC 8200)",
    );
}

#[test]
fn fates_of_packets() {
    let packet =
        |keys: &str| format!("[[packet]]\nfrom = 'ana'\nto = 'server'\nkind = 'stun-request'\nnumber = 2\n{keys}");
    says(
        "[[packet]]\nfrom = 'ana'\nto = 'server'\nkind = 'stun'\nnumber = 2\nfate = 'lost'",
        "x.toml:11: `kind`: `stun` is not a valid kind of packet; did you mean `stun-request`, `stun-response` or `stun-indication`? (words: `tcp-segment`, `stun-request`, `stun-response`, `stun-indication`, `channel-data`, `dtls-handshake`, `dtls-data`, `datagram`)",
    );
    says(
        &packet("fate = 'gone'"),
        "x.toml:13: `fate`: `gone` is not a valid fate (words: `lost`, `lost-at-sender`, `twice`, `late`)",
    );
    says(&packet("fate = 'late'"), "x.toml:13: a packet that is \"late\" needs `by`: a time such as \"40ms\"");
    says(&packet("fate = 'late'\nby = '61s'"), "x.toml:14: `by` must be from 1ms to 60s");
    says(&packet("fate = 'lost'\nby = '5ms'"), "x.toml:14: `by` is for the fate \"late\": remove it");
    says(&packet(""), "x.toml:8: [[packet]] needs `fate`: \"lost\", \"lost-at-sender\", \"twice\" or \"late\"");
    says(
        &packet("fate = 'lost'").replace("number = 2", "number = 0"),
        "x.toml:12: `number`: `0` must be from 1 to 4294967295",
    );
    says(
        &packet("fate = 'twice'").replace("stun-request", "tcp-segment"),
        "x.toml:13: `fate`: a TCP segment cannot arrive twice: use \"lost\" or \"late\"",
    );
    says(
        &packet("fate = 'lost'").replace("'server'", "'ana'"),
        "x.toml:10: `to`: what `ana` sends to itself crosses no network: name another",
    );
    begins(&packet("fate = 'lost'").replace("'server'", "'bob'"), "x.toml:10: unknown machine `bob`");
    says(
        &format!("{}\n{}", packet("fate = 'lost'"), packet("fate = 'twice'")),
        "x.toml:14: this packet has a fate already, on line 8: remove one",
    );
}

#[test]
fn client_programs() {
    says(
        "[[actor]]\nname = 'cam'\nrun = []",
        "x.toml:10: `run` must name a program, such as [\"node\", \"client.js\"]",
    );
    says("[[actor]]\nname = 'cam'\nenv = { A = 'b' }", "x.toml:10: `env` belongs to a client program: add `run`");
    says(
        "[[actor]]\nname = 'cam'\nrun = ['node']\nenv = { GLARE_URL = 'x' }",
        "x.toml:11: `env`: `GLARE_URL` is set by the simulation itself",
    );
}

#[test]
fn stun_and_turn_servers() {
    let actor = |keys: &str| format!("[[actor]]\nname = 'cam'\n{keys}");
    let turn = "[server]\nturn = true\n";
    begins(
        "[server]\nturn = 'yes'",
        "x.toml:9: `turn` must be true, false, or a table such as { allocation-lifetime = \"60s\" }, not a string",
    );
    begins(
        "[server]\nturn = { allocation-lifetime = '0s' }",
        "x.toml:9: `allocation-lifetime` must be whole seconds, at least 1s: TURN counts seconds",
    );
    begins(
        "[server]\nturn = { credential-lifetime = '1500ms' }",
        "x.toml:9: `credential-lifetime` must be whole seconds, at least 1s: TURN counts seconds",
    );
    begins("[server]\nturn = { udp = true }", "x.toml:9: unknown key `udp` in `turn`");
    begins("[[ice-server]]", "x.toml:8: [[ice-server]] needs `name`: a name such as \"ana\"");
    begins(
        "[[ice-server]]\nname = 'server'",
        "x.toml:9: `server` is the name of the signaling server's machine: choose another",
    );
    begins("[[ice-server]]\nname = 'ana'", "x.toml:9: `ana` is also the name of the actor on line 4: choose another");
    begins(
        "[[ice-server]]\nname = 'turn'\n[[ice-server]]\nname = 'turn'",
        "x.toml:11: duplicate ice-server `turn`: choose another name",
    );
    begins("[[ice-server]]\nname = 'turn'\naddress = '10.0.0.1'", "x.toml:10: 10.0.0.1 is not a public address");
    begins(
        "[[ice-server]]\nname = 'turn'\naddress = '203.0.113.1'",
        "x.toml:10: 203.0.113.1 is already taken by the server",
    );
    begins(
        "[[ice-server]]\nname = 'turn'\nenv = { A = 'b' }",
        "x.toml:10: `env` belongs to a STUN or TURN server program: add `run`",
    );
    begins(
        "[[ice-server]]\nname = 'turn'\nrun = []",
        "x.toml:10: `run` must name a program, such as [\"node\", \"turn.js\"]",
    );
    begins(
        "[[ice-server]]\nname = 'turn'\nrun = ['turnserver']\nenv = { GLARE_TURN_SECRET = 'b' }",
        "x.toml:11: `env`: `GLARE_TURN_SECRET` is set by the simulation itself",
    );
    begins(
        "[[ice-server]]\nname = 'turn'\nrun = ['turnserver']\nturn = { allocation-lifetime = '60s' }",
        "x.toml:11: `allocation-lifetime` is for the reference server",
    );
    begins(
        "[[ice-server]]\nname = 'turn'\n[[step]]\nat = '1s'\ndo = 'stall'\nmachine = 'turn'\ntime = '1s'",
        "x.toml:13: `stall` is for programs only: `turn` has no `run`",
    );
    begins(&actor("ice-servers = ['trun']"), "x.toml:10: unknown ice-server `trun`");
    begins(&actor("ice-servers = ['server', 'server']"), "x.toml:10: `ice-servers`: `server` is listed twice");
    begins(
        &actor("ice-transport-policy = 'relay'"),
        "x.toml:10: `ice-transport-policy`: the actor has no TURN server: add `turn = true` to [server], or an [[ice-server]]",
    );
    begins(
        &actor("ice-transport-policy = 'rely'"),
        "x.toml:10: `ice-transport-policy`: `rely` is not a valid ICE transport policy; did you mean `relay`?",
    );
    begins(
        &actor("run = ['node']\nturn-credential = 'wrong'"),
        "x.toml:11: `turn-credential` is for Glare's own clients, and this is a program: remove it",
    );
    begins(
        &actor("ice-servers = 'from-confg'"),
        "x.toml:10: `ice-servers`: `from-confg` must be a list of machines such as [\"server\"], or \"from-config\"",
    );
    begins(
        &format!("{}\n[server]\nrun = ['node']", actor("ice-servers = 'from-config'")),
        "x.toml:10: `ice-servers`: only the reference server has `/api/config`, and [server] has `run`: name the machines",
    );
    begins(
        &actor("nat = 'population'"),
        "x.toml:10: `nat`: there is no [population] to draw from: add one, or name a profile",
    );
    let population =
        |shares: &str| format!("[population]\nsource = 'a survey'\nshares = {shares}\n{}", actor("nat = 'population'"));
    begins(&population("{ symmetric = '90%' }"), "x.toml:10: `shares`: together they are 90 %, not 100 %");
    begins(
        &population("{ symetric = '100%' }"),
        "x.toml:10: unknown NAT profile `symetric`; did you mean `symmetric`?",
    );
    begins(
        &population("{ symmetric = '100%' }").replace("[[actor]]", "[[actor]]\noverride = { udp-blocked = true }"),
        "x.toml:12: `override`: the NATs of a population differ: remove it, or name a profile in `nat`",
    );
    begins(&actor("per-room = 2"), "x.toml:10: `per-room` distributes several actors over rooms: add `count`");
    begins(
        &actor("plays = 'user'\ncount = 4\nper-room = 2"),
        "x.toml:12: `per-room`: a `user` chooses no room: remove it",
    );
    begins(
        "[server]\nturn = { tls = true }",
        "x.toml:9: `tls` is for a machine of its own: give it to an [[ice-server]]",
    );
    begins(
        "[[ice-server]]\nname = 'turn'\nrun = ['turnserver']\nturn = { tls = true }",
        "x.toml:11: `tls` is for the reference server: actors do not know the certificate of a program",
    );
    let blocked = |ports: &str| actor(&format!("nat = 'symmetric'\noverride = {{ tcp-ports-blocked = {ports} }}"));
    begins(
        &blocked("3478"),
        "x.toml:11: `tcp-ports-blocked` must be a list of ports such as [3478, 5349], not a bare number",
    );
    begins(&blocked("[0]"), "x.toml:11: `tcp-ports-blocked`: `0` must be from 1 to 65535");
    begins(&blocked("[443, 443]"), "x.toml:11: `tcp-ports-blocked`: 443 is listed twice");
    let secret = |machine: &str| format!("[[step]]\nat = '1s'\ndo = 'new-secret'\nmachine = '{machine}'");
    begins(&secret("server"), "x.toml:11: `new-secret`: `server` has no TURN server: add `turn = true`");
    begins(&secret("ana"), "x.toml:11: `new-secret`: `ana` is an actor: name a machine with a TURN server");
    begins(
        &format!("[[ice-server]]\nname = 'turn'\nrun = ['turnserver']\n{}", secret("turn")),
        "x.toml:14: `new-secret`: `turn` has `run`, and only the program can change its secret",
    );
    begins(&actor("media = []"), "x.toml:10: `media` is empty: name \"audio\" or \"video\", or remove the key");
    begins(&actor("media = ['audio', 'audio']"), "x.toml:10: `media`: `audio` is listed twice");
    begins(&actor("media = ['sound']"), "x.toml:10: `media`: `sound` must be \"video\" or \"audio\"");
    begins(&actor("media = 'audio'"), "x.toml:10: `media` must be a list such as [\"audio\", \"video\"], or a table");
    begins(&actor("media = { interval = '20ms' }"), "x.toml:10: `media` needs `tracks`: a list in [ ]");
    begins(
        &actor("media = { tracks = ['audio'], interval = '2s' }"),
        "x.toml:10: `interval`: 2s must be from 2ms to 1s",
    );
    begins(&actor("media = { tracks = ['audio'], size = '2kB' }"), "x.toml:10: `size`: 2000B must be from 1B to 1200B");
    begins(
        &actor("webrtc = false\nmedia = ['audio']"),
        "x.toml:11: `media` is for WebRTC, and the actor has `webrtc = false`: remove one",
    );
    begins(
        &actor("runs = 'chromium'\nmedia = ['audio']"),
        "x.toml:11: `media`: a browser sends audio and video of its own: remove it",
    );
    begins(
        &actor("[[step]]\nat = '1s'\ndo = 'media'\nactor = 'cam'\nkind = 'audio'\nenabled = false"),
        "x.toml:10: `cam` cannot turn audio on or off: it sends none; add `media = [\"audio\"]` to it, at 1s",
    );
    begins(
        &actor("media = ['audio']\n[[step]]\nat = '1s'\ndo = 'add-track'\nactor = 'cam'\nkind = 'audio'"),
        "x.toml:11: `cam` cannot add a track: it sends audio already at 1s",
    );
    begins(
        &actor("webrtc = false\n[[step]]\nat = '1s'\ndo = 'add-track'\nactor = 'cam'\nkind = 'audio'"),
        "x.toml:14: `cam` cannot add a track: it has `webrtc = false`",
    );
    begins(&actor("runs = 'chromum'"), "x.toml:10: `runs`: `chromum` is not a valid browser; did you mean `chromium`?");
    begins(
        &actor("run = ['node']\nruns = 'chromium'"),
        "x.toml:11: `runs` names a browser and `run` a program: use one of them",
    );
    begins(
        &actor("webrtc = false\nruns = 'chromium'"),
        "x.toml:11: `runs` is for WebRTC, and the actor has `webrtc = false`: remove one",
    );
    begins(&actor("stack = 'strom'"), "x.toml:10: `stack`: `strom` is not a valid WebRTC stack; did you mean `str0m`?");
    begins(&actor("stack = 'pion'"), "x.toml:10: `stack`: `pion` is not a valid WebRTC stack (words: `rtc`, `str0m`)");
    begins(&actor("stack = 1"), "x.toml:10: `stack` must be \"rtc\" or \"str0m\"");
    begins(
        &actor("run = ['node']\nstack = 'rtc'"),
        "x.toml:11: `stack` is for Glare's own clients, and this is a program: remove it",
    );
    begins(
        &actor("webrtc = false\nstack = 'rtc'"),
        "x.toml:11: `stack` is for WebRTC, and the actor has `webrtc = false`: remove one",
    );
    begins(
        &actor("runs = 'chromium'\nstack = 'str0m'"),
        "x.toml:11: `stack` names a library, but `runs` puts the connections into a browser: remove one",
    );
    begins(
        &actor("webrtc = false\nice-servers = []"),
        "x.toml:11: `ice-servers` is for WebRTC, and the actor has `webrtc = false`: remove one",
    );
    begins(
        &actor("[expect]\nrelayed = [['ana', 'cam']]"),
        "x.toml:11: `relayed`: `ana` and `cam` have no TURN server: add `turn = true`",
    );
    begins(
        &actor(&format!("{turn}[expect]\nunconnected = [['ana', 'cam']]\nrelayed = [['cam', 'ana']]")),
        "x.toml:14: `relayed`: `cam` and `ana` are also listed in `unconnected`: remove one of the two",
    );
    begins(
        &format!("{turn}[expect]\nrelayed = [['ana', 'ana']]"),
        "x.toml:11: `relayed`: `ana` and `ana` are the same",
    );
    let step = |what: &str| format!("[[ice-server]]\nname = 'turn'\n[[step]]\nat = '1s'\n{what}");
    begins(&step("do = 'boot'\nmachine = 'turn'"), "x.toml:10: `turn` cannot boot: it is not down at 1s");
    begins(&step("do = 'power-loss'\nmachine = 'trun'"), "x.toml:13: unknown machine `trun`");
}

#[test]
fn unknown_keys() {
    says(
        "[[actor]]\nname = 'cam'\njion = '1s'",
        "x.toml:10: unknown key `jion` in [[actor]]; did you mean `joins`? (keys: `name`, `network`, `nat`, `override`, `behind`, `address`, `ipv4`, `ipv6`, `link`, `plays`, `over`, `room`, `joins`, `webrtc`, `ice-servers`, `ice-transport-policy`, `turn-credential`, `media`, `run`, `env`, `directory`, `runs`, `stack`, `count`, `every`, `per-room`)",
    );
    says(
        "[[network]]\nname = 'n'\nnat = 'open'\nloss = '1%'",
        "x.toml:11: unknown key `loss` in [[network]] (keys: `name`, `nat`, `override`, `behind`, `subnet`, `external`, `ipv6`, `link`)",
    );
    says(
        "[sever]",
        "x.toml:8: unknown key `sever` in a scenario; did you mean `server`? (keys: `name`, `about`, `spec`, `duration`, `idle-steps`, `timing`, `stack`, `server`, `ice-server`, `link`, `lan`, `network`, `population`, `actor`, `step`, `packet`, `expect`)",
    );
    says(
        "[server]\nheart-beat = '5s'",
        "x.toml:9: unknown key `heart-beat` in [server]; did you mean `heartbeat`? (keys: `address`, `ipv6`, `dialect`, `heartbeat`, `turn`, `link`, `port`, `run`, `env`, `directory`)",
    );
    says(
        "[link]\nlatancy = '5ms'",
        "x.toml:9: unknown key `latancy` in `link`; did you mean `latency`? (keys: `latency`, `jitter`, `loss`, `gilbert-elliott`, `corrupt`, `duplicate`, `reorder`, `bandwidth`, `queue`, `mtu`, `oversized`, `up`, `down`)",
    );
    says(
        "[expect]\nprobes = ['glair']",
        &format!(
            "x.toml:9: unknown probe `glair`; did you mean `glare`? (probes: {} and {} more)",
            scenarios::PROBES[..32].iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            scenarios::PROBES.len() - 32
        ),
    );
    says(
        "[expect]\nprobe = []",
        "x.toml:9: unknown key `probe` in [expect]; did you mean `probes`? (keys: `connected`, `unconnected`, `relayed`, `probes`)",
    );
    says(
        "[[step]]\nat = '1s'\ndo = 'drop'\nactr = 'ana'",
        "\
x.toml:8: `drop` needs `actor`: a name, or a list of names in [ ]
x.toml:11: unknown key `actr` in `drop`; did you mean `actor`? (keys: `at`, `do`, `actor`)",
    );
    says(
        "[[actor]]\nname = 'c'\nnat = 'symmetric'\noverride = { udp_lifetime = '1s' }",
        "x.toml:11: unknown key `udp_lifetime` in `override`; did you mean `udp-lifetime`? (keys: `mapping`, `filtering`, `filter-state`, `port-allocation`, `hairpinning`, `pooling`, `udp-lifetime-new`, `udp-lifetime`, `udp-stream-after`, `udp-inbound-refresh`, `tcp-lifetime`, `tcp-lifetime-opening`, `tcp-lifetime-closing`, `tcp-lifetime-reset`, `tcp-pick-up`, `unsolicited`, `max-mappings`, `udp-blocked`, `tcp-ports-blocked`)",
    );
}

#[test]
fn unknown_names() {
    says(
        "[[actor]]\nname = 'c'\nnat = 'home-linx'",
        "x.toml:10: unknown NAT profile `home-linx`; did you mean `home-linux`? (profiles: `open`, `full-cone`, `restricted-cone`, `port-restricted-cone`, `symmetric`, `home-linux`, `home-linux-reject`, `home-linux-open`, `home-median`, `home-hairpin`, `corp-symmetric`, `cgn-wired`, `cgn-cellular`, `cgn-cellular-symmetric`, `udp-blocked`)",
    );
    says("[[actor]]\nname = 'c'\nnetwork = 'home'", "x.toml:10: unknown network `home` (networks: none)");
    says(
        "[[network]]\nname = 'home'\nnat = 'home-linux'\nbehind = 'isp'",
        "x.toml:11: unknown network `isp` (networks: `home`)",
    );
    says(
        "[[step]]\nat = '1s'\ndo = 'drop'\nactor = 'ano'",
        "x.toml:11: unknown actor `ano`; did you mean `ana`? (actors: `ana`, `ben`)",
    );
    says(
        "[[step]]\nat = '1s'\ndo = 'boot'\nmachine = 'sever'",
        "x.toml:11: unknown machine `sever`; did you mean `server`? (machines: `ana`, `ben`, `server`)",
    );
    says(
        "[[step]]\nat = '1s'\ndo = 'nat-reboot'\nnetwork = 'ana'",
        "x.toml:11: unknown network `ana` (networks: none)",
    );
    says(
        "[[step]]\nat = '1s'\ndo = 'jion'",
        "x.toml:10: unknown verb `jion`; did you mean `join`? (verbs: `join`, `leave`, `drop`, `say`, `hangup`, `ice-restart`, `offer`, `call`, `accept`, `reject`, `media`, `add-track`, `power-loss`, `boot`, `shutdown`, `stall`, `clock-jump`, `new-secret`, `move`, `suspend`, `resume`, `nat-reboot`, `partition`, `heal`, `link`)",
    );
    says(
        "[expect]\nunconnected = [['ana', 'bin']]",
        "x.toml:9: unknown actor `bin`; did you mean `ben`? (actors: `ana`, `ben`)",
    );
}

/// After ana and ben, who play mesh: a sender, a viewer and two users.
const CAST: &str = "[[actor]]\nname = 'sue'\nplays = 'sender'\n[[actor]]\nname = 'vic'\nplays = 'viewer'\n\
    [[actor]]\nname = 'uma'\nplays = 'user'\n[[actor]]\nname = 'uwe'\nplays = 'user'\n";

#[test]
fn roles() {
    says(
        "[[actor]]\nname = 'c'\nplays = 'veiwer'",
        "x.toml:10: `plays`: unknown role `veiwer`; did you mean `viewer`? (roles: `mesh`, `sender`, `viewer`, `user`, `relay`, `broadcast`)",
    );
    says(
        "[[actor]]\nname = 'c'\nplays = 'user'\nroom = 'r'",
        "x.toml:11: `room`: users have no rooms, each can call any other: remove it",
    );
    says(
        "[[actor]]\nname = 'c'\nplays = 'broadcast'\nroom = 'r'\nover = 'websocket'",
        "\
x.toml:11: `room`: all broadcasters share one room: remove it
x.toml:12: `over` is only for the role `user`, not for `broadcast`",
    );
    says(
        "[[actor]]\nname = 'c'\nplays = 'user'\nover = 'socketio'",
        "x.toml:11: `over`: `socketio` must be \"websocket\" or \"socket.io\"",
    );
    says(
        "[[actor]]\nname = 'r'\nplays = 'relay'\ncount = 3",
        "x.toml:9: `r-3` is the third relay in room `demo`: messages do not name their sender, so WebRTC works for two only; remove it, or set `webrtc = false`",
    );
    for (step, wrong) in [
        (
            "call'\nactor = 'ana'\nwith = 'ben'",
            "24: `ana` cannot call `ben`: only users can call, and `ana` plays `mesh`",
        ),
        (
            "call'\nactor = 'uma'\nwith = 'ben'",
            "24: `uma` cannot call `ben`: `uma` plays `user` and `ben` plays `mesh`",
        ),
        ("accept'\nactor = 'sue'", "23: `sue` cannot accept a call: only users can call, and it plays `sender`"),
        (
            "offer'\nactor = 'vic'\nwith = 'sue'",
            "24: `vic` cannot offer to `sue`: a viewer's offer is refused; only its sender offers",
        ),
        (
            "hangup'\nactor = 'sue'\nwith = 'vic'",
            "24: `sue` cannot hang up on `vic`: `sue` plays `sender`, which has no hangup",
        ),
        ("media'\nactor = 'uma'\nkind = 'vidoe'\nenabled = true", "24: `kind`: `vidoe` must be \"video\" or \"audio\""),
    ] {
        says(&format!("{CAST}[[step]]\nat = '1s'\ndo = '{step}"), &format!("x.toml:{wrong}"));
    }
}

#[test]
fn telephones() {
    let call = "[[step]]\nat = '1s'\ndo = 'call'\nactor = 'uma'\nwith = 'uwe'\n";
    for (step, wrong) in [
        ("accept'\nactor = 'uma'", "`uma` cannot accept a call: nobody is calling it at 2s"),
        ("call'\nactor = 'uma'\nwith = 'uwe'", "`uma` cannot call: it is already in a call at 2s"),
        ("offer'\nactor = 'uma'\nwith = 'uwe'", "`uma` cannot offer: it is not in a call with `uwe` at 2s"),
    ] {
        says(&format!("{CAST}{call}[[step]]\nat = '2s'\ndo = '{step}"), &format!("x.toml:25: {wrong}"));
    }
    let end = "[[step]]\nat = '2s'\ndo = 'shutdown'\n";
    for (step, wrong) in [
        ("reject'\nactor = 'uwe'", "`uwe` cannot reject a call: nobody is calling it at 3s"),
        ("hangup'\nactor = 'uwe'\nwith = 'uma'", "`uwe` cannot hang up on `uma`: there is no call between them at 3s"),
        (
            "media'\nactor = 'uma'\nkind = 'audio'\nenabled = false",
            "`uma` cannot turn audio on or off: it is not in a call at 3s",
        ),
    ] {
        says(&format!("{CAST}{call}{end}[[step]]\nat = '3s'\ndo = '{step}"), &format!("x.toml:28: {wrong}"));
    }
}

/// A fault of the network may end a call, or keep a user from noticing one. Only the run can show that.
#[test]
fn a_call_after_a_fault_of_the_network_is_left_to_the_run() {
    let call = "[[step]]\nat = '1s'\ndo = 'call'\nactor = 'uma'\nwith = 'uwe'\n";
    let faults = [
        "partition'\nfrom = 'uma'\nto = 'server'",
        "partition'\nfrom = ['sue', 'server']\nto = 'uwe'",
        "link'\nmachine = 'uwe'\nlink = { loss = '100%' }",
        "link'\nmachine = 'server'\nlink = { loss = '100%' }",
    ];
    let steps = [
        "call'\nactor = 'uwe'\nwith = 'uma'",
        "call'\nactor = 'uma'\nwith = 'uwe'",
        "accept'\nactor = 'uma'",
        "reject'\nactor = 'uwe'",
        "hangup'\nactor = 'uma'\nwith = 'uwe'",
        "offer'\nactor = 'uma'\nwith = 'uwe'",
        "media'\nactor = 'uma'\nkind = 'audio'\nenabled = false",
    ];
    let file = |fault: &str, step: &str| {
        let text = format!("{CAST}{call}[[step]]\nat = '2s'\ndo = '{fault}\n[[step]]\nat = '3s'\ndo = '{step}\n");
        parse("x.toml", &format!("name = 'x'\nduration = '10s'\n{text}"))
    };
    for (fault, step) in faults.iter().flat_map(|fault| steps.map(|step| (fault, step))) {
        assert!(file(fault, step).is_ok(), "{fault}, {step}: {:?}", file(fault, step));
    }
    // The connection between two users carries no signaling.
    for fault in ["partition'\nfrom = 'uma'\nto = 'uwe'", "link'\nmachine = 'sue'\nlink = {}"] {
        let error = file(fault, steps[1]).expect_err("the call goes on").to_string();
        assert!(error.contains("`uma` cannot call: it is already in a call at 3s"), "{error}");
    }
}

#[test]
fn names_twice_or_not_free() {
    says("[[actor]]\nname = 'ana'", "x.toml:9: duplicate actor `ana`: the first is on line 4");
    says(
        "[[actor]]\nname = 'b'\ncount = 2\n[[actor]]\nname = 'b-2'",
        "x.toml:12: duplicate actor `b-2`: the first is on line 9",
    );
    says(
        "[[network]]\nname = 'n'\nnat = 'open'\n[[network]]\nname = 'n'\nnat = 'open'",
        "x.toml:12: duplicate network `n`: the first is on line 9",
    );
    says(
        "[[network]]\nname = 'c'\nnat = 'symmetric'\n[[actor]]\nname = 'c'\nnat = 'symmetric'",
        "x.toml:12: duplicate network `c`: the first is on line 9",
    );
    says("[[actor]]\nname = 'server'", "x.toml:9: `server` is the name of the server's machine: choose another name");
    says(
        "[[network]]\nname = 'internet'\nnat = 'open'",
        "x.toml:9: `internet` is the name of the internet itself: choose another name",
    );
    says("[[actor]]\nname = 'Cam'", "x.toml:9: `name`: `Cam` is not a valid name: use up to 50 of a–z, 0–9 and `-`");
}

#[test]
fn times() {
    for (time, wrong) in [
        ("-1s", "`-1s` is negative: a time is at least 0s"),
        ("5", "`5` is not a time: write a number and ms, s, m or h, such as \"250ms\" or \"1.5s\""),
        ("NaNs", "`NaNs` is not a time: write a number and ms, s, m or h, such as \"250ms\" or \"1.5s\""),
        ("1e999s", "`1e999s` is not a time: write a number and ms, s, m or h, such as \"250ms\" or \"1.5s\""),
        ("0.1ms", "`0.1ms` is too fine: times are whole milliseconds"),
        ("9999999999999999999999h", "`9999999999999999999999h` is too long: at most 720h"),
    ] {
        says(&format!("[[step]]\nat = '{time}'\ndo = 'shutdown'"), &format!("x.toml:9: `at`: {wrong}"));
    }
    says(
        "[[step]]\nat = nan\ndo = 'shutdown'",
        "x.toml:9: `at` must be a time such as \"250ms\", \"1.5s\" or \"2m\", not a bare number",
    );
    says("[[step]]\nat = '11s'\ndo = 'shutdown'", "x.toml:9: `at`: 11s is not before the end: `duration` is 10s");
    says(
        "[[actor]]\nname = 'c'\njoins = '10s'",
        "x.toml:10: joins at 10s, which is not before the end: `duration` is 10s",
    );
    says(
        "[[actor]]\nname = 'c'\ncount = 30\nevery = '1s'",
        "x.toml:11: the last would join at 10s or later: `duration` is 10s",
    );
    says("[server]\nheartbeat = '500ms'", "x.toml:9: `heartbeat` must be at least 1s");
    says(
        "[link]\nlatency = '0s'\njitter = '2m'",
        "x.toml:9: `latency` must be from 1ms to 60s\nx.toml:10: `jitter` must be at most 60s",
    );
    wrong("name = 'x'\nduration = '0s'\n[[actor]]\nname = 'ana'", "x.toml:2: `duration` must be longer than 0s");
}

#[test]
fn values() {
    says("[link]\nloss = '101%'", "x.toml:9: `loss`: `101%` is over 100%");
    says("[link]\nloss = 2", "x.toml:9: `loss` must be a share such as \"2%\", not a bare number");
    says(
        "[link]\nbandwidth = '5MB'",
        "x.toml:9: `bandwidth`: `5MB` is not a bandwidth: write a number and bit, kbit, Mbit or Gbit, such as \"5Mbit\"",
    );
    wrong(
        "name = 'x'\nduration = '1s'\ntiming = 'chrome'\n[[actor]]\nname = 'a'",
        "x.toml:3: `timing`: `chrome` is not a valid timing (words: `browser`, `rtc`, `fast`)",
    );
    says("[[actor]]\nname = 'c'\nwebrtc = 'yes'", "x.toml:10: `webrtc` must be true or false, not a string");
    says("[[actor]]\nname = 'c'\ncount = 0", "x.toml:10: `count`: `0` must be from 1 to 4294967295");
    says("[[actor]]\nname = 'c'\ncount = 50000", "x.toml:9: more than 50000 actors");
    says("[[actor]]\nname = 'c'\nroom = ''", "x.toml:10: `room` must not be empty");
    says(
        "[[actor]]\nname = 'c'\naddress = '1.2.3'",
        "x.toml:10: `address`: `1.2.3` is not an IPv4 address: write four numbers, such as \"198.51.100.7\"",
    );
    says("[[actor]]\nname = 'c'\nnat = 'symmetric'\noverride = { filtering = 'adress-dependent', udp-lifetime = '0s' }", "\
x.toml:11: `filtering`: `adress-dependent` is not a valid dependence; did you mean `address-dependent`? (words: `endpoint-independent`, `address-dependent`, `address-and-port-dependent`)
x.toml:11: `udp-lifetime`: a mapping must live longer than 0s");
    says(
        "[[actor]]\nname = 'c'\nnat = 'symmetric'\noverride = { unsolicited = 'deny', tcp-lifetime-reset = '0s', tcp-lifetime-closing = '-1s', tcp-pick-up = 'no', udp-stream-after = 2 }",
        "\
x.toml:11: `udp-stream-after` must be a time such as \"250ms\", \"1.5s\" or \"2m\", not a bare number
x.toml:11: `tcp-lifetime-closing`: `-1s` is negative: a time is at least 0s
x.toml:11: `tcp-lifetime-reset`: a mapping must live longer than 0s
x.toml:11: `tcp-pick-up` must be true or false, not a string
x.toml:11: `unsolicited`: `deny` is not a valid way with unsolicited packets (words: `drop`, `reject`, `accept`)",
    );
    const OVERLOADS: &str = "with `port-allocation = \"preserve-overloading\"`, only the remote endpoint tells mappings apart, so `mapping` and `filtering` must be \"address-and-port-dependent\"; or use `port-allocation = \"preserve\"`";
    for (nat, overrides) in [
        ("full-cone", "{ port-allocation = 'preserve-overloading' }"),
        ("home-linux", "{ mapping = 'endpoint-independent' }"),
        ("home-linux", "{ filtering = 'address-dependent' }"),
    ] {
        says(
            &format!("[[actor]]\nname = 'c'\nnat = '{nat}'\noverride = {overrides}"),
            &format!("x.toml:11: `override`: {OVERLOADS}"),
        );
    }
    says(
        "[[actor]]\nname = 'c'\nnat = 'home-linux'\noverride = { hairpinning = 'router-source' }",
        "x.toml:11: `override`: with `hairpinning = \"router-source\"`, the port at the router's address must belong to one mapping, so `port-allocation` must not be \"preserve-overloading\"",
    );
    says(
        "[[network]]\nname = 'n'\nnat = 'symmetric'\noverride = { hairpinning = 'router-source' }\nexternal = 2",
        "x.toml:9: `n`: with `hairpinning = \"router-source\"`, a port at the router's address must belong to one external address: give it one `external`",
    );
    says("[[step]]\nat = '1s'\ndo = 'leave'\nactor = []", "x.toml:11: `actor` must name an actor or a machine");
    says(
        "[[step]]\nat = '1s'\ndo = 'leave'\nactor = ['ana', 7]",
        "x.toml:11: `actor` must be a string, not a bare number",
    );
    wrong(
        "name = 'x'\nabout = \"\"\"\na\nb\"\"\"\nduration = '1s'\n[[actor]]\nname = 'a'",
        "x.toml:2: `about` must be one line: put details in a comment above it",
    );
}

#[test]
fn keys_that_exclude_or_need_one_another() {
    says(
        "[[network]]\nname = 'n'\nnat = 'open'\n[[actor]]\nname = 'c'\nnetwork = 'n'\nnat = 'symmetric'",
        "x.toml:14: `nat` gives the actor its own network: use either `network` or `nat`",
    );
    says(
        "[[actor]]\nname = 'c'\noverride = {}\nbehind = 'n'",
        "\
x.toml:10: `override` applies to the actor's own NAT: add `nat`
x.toml:11: `behind` applies to the actor's own NAT: add `nat`",
    );
    says(
        "[[actor]]\nname = 'c'\ncount = 2\naddress = '203.0.113.7'",
        "x.toml:11: `address` is for one actor: remove `address` or `count`",
    );
    says(
        "[[actor]]\nname = 'c'\nevery = '1s'",
        "x.toml:10: `every` is the time between the joins of several actors: add `count`",
    );
    says(
        "[[actor]]\nname = 'c'\ncount = 2\nevery = '1s'\njoins = 'never'",
        "x.toml:11: `every` is the time between the joins of several actors, but these never join by themselves",
    );
    says(
        "[[network]]\nname = 'n'\nnat = 'open'\noverride = {}",
        "x.toml:11: `override`: `open` has no NAT, so there is nothing to override",
    );
}

#[test]
fn fields_of_verbs() {
    says("[[step]]\nat = '1s'\ndo = 'say'\nactor = 'ana'", "x.toml:8: `say` needs `text`: a string");
    says(
        "[[step]]\nat = '1s'\ndo = 'drop'\nactor = 'ana'\ntext = 'x'",
        "x.toml:12: `drop` takes no `text`; it takes `at`, `do` and `actor`",
    );
    says(
        "[[step]]\nat = '1s'\ndo = 'heal'\nactor = 'ana'",
        "x.toml:11: `heal` takes no `actor`; it takes `at` and `do`",
    );
    says("[[step]]\ndo = 'shutdown'", "x.toml:8: [[step]] needs `at`: a time such as \"250ms\", \"1.5s\" or \"2m\"");
    says("[[step]]\nat = '1s'", "x.toml:8: [[step]] needs `do`: a string");
    says("[[step]]\nat = '1s'\ndo = 'link'\nlink = {}", "x.toml:8: `link` needs either `machine` or `network`");
    says(
        "[[step]]\nat = '1s'\ndo = 'hangup'\nactor = 'ana'\nwith = 'ana'",
        "x.toml:12: `ana` cannot hang up on itself: name another actor",
    );
    says(
        "[[step]]\nat = '1s'\ndo = 'ice-restart'\nactor = 'ana'\nwith = 'ana'",
        "x.toml:12: `ana` cannot restart ICE with itself: name another actor",
    );
    says(
        "[[actor]]\nname = 'c'\nroom = 'other'\n[[step]]\nat = '1s'\ndo = 'hangup'\nactor = 'ana'\nwith = 'c'",
        "x.toml:15: `ana` cannot hang up on `c`: they are in different rooms",
    );
    says(
        "[[actor]]\nname = 'c'\nwebrtc = false\n[[step]]\nat = '1s'\ndo = 'hangup'\nactor = 'ana'\nwith = 'c'",
        "x.toml:15: `ana` cannot hang up on `c`: `c` has `webrtc = false`",
    );
    says(
        "[[actor]]\nname = 'c'\ncount = 3\n[[step]]\nat = '1s'\ndo = 'hangup'\nactor = 'c'\nwith = 'ana'",
        "x.toml:14: `c` is several actors: name one, such as `c-1`",
    );
    says("[[step]]\nat = '1s'\ndo = 'leave'\nactor = 'server'", "x.toml:11: `server` is not an actor: name an actor");
    says(
        "[[step]]\nat = '1s'\ndo = 'partition'\nfrom = ['ana', 'server']\nto = 'ana'",
        "x.toml:8: `ana` is on both sides of the partition",
    );
    says(
        "[[network]]\nname = 'n'\nnat = 'open'\n[[step]]\nat = '1s'\ndo = 'nat-reboot'\nnetwork = 'n'",
        "x.toml:14: `n` has no NAT that could reboot",
    );
    says(
        "[[actor]]\nname = 'c'\nnat = 'cgn-cellular-symmetric'\n[[step]]\nat = '1s'\ndo = 'nat-reboot'\nnetwork = 'c'\nnew-address = true",
        "x.toml:15: `new-address`: `c` has 4 external addresses; only a NAT with one can change it",
    );
}

#[test]
fn steps_that_could_do_nothing() {
    for (step, wrong) in [
        ("do = 'leave'\nactor = 'ben'", "`ben` cannot leave: it is not there at 1s"),
        ("do = 'join'\nactor = 'ana'", "`ana` cannot join: it is already there at 1s"),
        ("do = 'drop'\nactor = 'ben'", "`ben` has no connection to drop: it is not there at 1s"),
        ("do = 'say'\nactor = 'ben'\ntext = ''", "`ben` cannot say anything: it is not there at 1s"),
        ("do = 'hangup'\nactor = 'ana'\nwith = 'ben'", "`ben` cannot be hung up on: it is not there at 1s"),
        ("do = 'boot'\nmachine = 'ana'", "`ana` cannot boot: it is not down at 1s"),
        ("do = 'boot'\nmachine = 'server'", "`server` cannot boot: it is not down at 1s"),
        ("do = 'heal'", "there is no partition to heal at 1s"),
    ] {
        says(&format!("[[step]]\nat = '1s'\n{step}"), &format!("x.toml:8: {wrong}"));
    }
    says(
        "[[step]]\nat = '1s'\ndo = 'shutdown'\n[[step]]\nat = '2s'\ndo = 'power-loss'\nmachine = 'server'\n[[step]]\nat = '3s'\ndo = 'shutdown'",
        "\
x.toml:11: `server` cannot lose power: it is already down at 2s
x.toml:15: `server` cannot shut down: it is already down at 3s",
    );
    says(
        "[[step]]\nat = '1s'\ndo = 'power-loss'\nmachine = 'ana'\n[[step]]\nat = '2s'\ndo = 'leave'\nactor = 'ana'",
        "x.toml:12: `ana` cannot leave: it has no power at 2s",
    );
    says(
        "[[actor]]\nname = 'c'\njoins = '5s'\n[[step]]\nat = '1s'\ndo = 'power-loss'\nmachine = 'c'",
        "x.toml:9: `c` cannot join: it has no power at 5s",
    );
}

#[test]
fn networks_and_addresses() {
    says(
        "[[network]]\nname = 'a'\nnat = 'home-linux'\nbehind = 'b'\n[[network]]\nname = 'b'\nnat = 'home-linux'\nbehind = 'a'",
        "\
x.toml:11: `a` is behind `b` is behind `a`: these NATs form a cycle; the outermost must have no `behind`
x.toml:15: `b` is behind `a` is behind `b`: these NATs form a cycle; the outermost must have no `behind`",
    );
    says(
        "[[network]]\nname = 'a'\nnat = 'home-linux'\nbehind = 'a'",
        "x.toml:11: `a` is behind `a`: these NATs form a cycle; the outermost must have no `behind`",
    );
    says(
        "[[actor]]\nname = 'c'\nnat = 'open'\nbehind = 'n'",
        "x.toml:11: `c` is `open`, so it is on the internet: remove `behind`",
    );
    const HOME: &str = "[[network]]\nname = 'home'\nnat = 'home-linux'";
    says(
        &format!("{HOME}\n[[actor]]\nname = 'c'\nnetwork = 'home'\naddress = '192.168.2.7'"),
        "x.toml:14: 192.168.2.7 is not in the subnet 192.168.1.0/24 of that network",
    );
    says(
        &format!("{HOME}\n[[actor]]\nname = 'c'\nnetwork = 'home'\naddress = '192.168.1.255'"),
        "x.toml:14: 192.168.1.255 cannot belong to a host: it is the first or the last of 192.168.1.0/24",
    );
    says(
        &format!("{HOME}\n[[actor]]\nname = 'c'\nnetwork = 'home'\naddress = '192.168.1.1'"),
        "x.toml:14: 192.168.1.1 is already taken by the router of `home`",
    );
    says(
        &format!("{HOME}\n[[actor]]\nname = 'c'\nnetwork = 'home'\ncount = 254"),
        "x.toml:12: `home` (192.168.1.0/24) has no address left: give it a larger `subnet`",
    );
    says(
        &format!("{HOME}\nsubnet = '192.168.1.7/24'"),
        "x.toml:11: `subnet`: `192.168.1.7/24` begins in the middle of a subnet; did you mean `192.168.1.0/24`?",
    );
    says(
        &format!("{HOME}\nsubnet = '8.8.8.0/24'"),
        "x.toml:11: 8.8.8.0/24 is not private, as the inside of a NAT must be: use one such as 192.168.1.0/24",
    );
    says(
        &format!("{HOME}\nexternal = ['10.0.0.1']"),
        "x.toml:11: 10.0.0.1 is not a public address: use one such as 203.0.113.7",
    );
    says(&format!("{HOME}\nexternal = ['198.51.100.7', '198.51.100.7']"), "x.toml:11: 198.51.100.7 is listed twice");
    says(&format!("{HOME}\nexternal = []"), "x.toml:11: `external`: a NAT needs an external address");
    says(&format!("{HOME}\nexternal = 257"), "x.toml:11: `external`: 257 addresses are too many: at most 256");
    says(
        &format!(
            "{HOME}\nsubnet = '10.0.0.0/8'\n[[network]]\nname = 'n'\nnat = 'symmetric'\nbehind = 'home'\nsubnet = '10.1.0.0/16'"
        ),
        "x.toml:16: 10.1.0.0/16 overlaps 10.0.0.0/8, the network outside the NAT: a NAT cannot distinguish them",
    );
    says(
        "[[network]]\nname = 'n'\nnat = 'open'\nsubnet = '192.168.1.0/24'",
        "x.toml:11: 192.168.1.0/24 is not public, as the subnet of an `open` network must be: use one such as 192.0.2.0/24",
    );
    says(
        "[[network]]\nname = 'n'\nnat = 'open'\nsubnet = '203.0.113.0/24'",
        "x.toml:11: 203.0.113.0/24 contains 203.0.113.1, the address of the server",
    );
    says("[[actor]]\nname = 'c'\naddress = '203.0.113.1'", "x.toml:10: 203.0.113.1 is already taken by the server");
    says(
        "[[actor]]\nname = 'c'\naddress = '203.0.113.7'\n[[actor]]\nname = 'd'\naddress = '203.0.113.7'",
        "x.toml:13: 203.0.113.7 is already taken by `c`",
    );
}

#[test]
fn expectations() {
    for (pairs, wrong) in [
        ("['ana', 'ana']", "`ana` and `ana` are the same: name two actors"),
        ("['ana', 'ben']", "`ana` and `ben` are not both there at the end: remove the pair"),
        ("['ana']", "a pair has two actors, not 1"),
        ("['ana', 'mute']", "`ana` and `mute` have no WebRTC (`webrtc = false`): remove the pair"),
        ("['ana', 'far']", "`ana` and `far` are in different rooms, so they never connect: remove the pair"),
        ("['ana', 'dia'], ['dia', 'ana']", "`dia` and `ana` are listed twice"),
    ] {
        let others =
            "[[actor]]\nname = 'mute'\nwebrtc = false\n[[actor]]\nname = 'far'\nroom = 'b'\n[[actor]]\nname = 'dia'";
        says(&format!("{others}\n[expect]\nunconnected = [{pairs}]"), &format!("x.toml:17: `unconnected`: {wrong}"));
    }
}

#[test]
fn expected_connections() {
    for (entry, wrong) in [
        ("pair = ['ana', 'ana']", "`pair`: `ana` and `ana` are the same: name two actors"),
        ("pair = ['ana', 'ben']", "`pair`: `ana` and `ben` are not both there at the end: add an `until`"),
        ("pair = ['ana']", "`pair`: a pair has two actors, not 1"),
        ("from = '1s'", "`connected` needs `pair`: a list in [ ]"),
        ("pair = ['ana', 'dia'], until = '20s'", "`until`: 20s is after the end: `duration` is 10s"),
        (
            "pair = ['ana', 'dia'], from = '20s'",
            "`pair`: `ana` and `dia` are also listed in `unconnected`: remove one of the two\nx.toml:12: `from`: 20s is after 10s, when the expectation ends",
        ),
        ("pair = ['ana', 'dia'], from = '5s', until = '4s'", "`from`: 5s is after 4s, when the expectation ends"),
        ("pair = ['ana', 'dia'], to = '4s'", "unknown key `to` in `connected` (keys: `pair`, `from`, `until`)"),
        ("pair = ['dia', 'ana']", "`pair`: `dia` and `ana` are also listed in `unconnected`: remove one of the two"),
    ] {
        let rest =
            format!("[[actor]]\nname = 'dia'\n[expect]\nunconnected = [['ana', 'dia']]\nconnected = [{{ {entry} }}]");
        says(&rest, &format!("x.toml:12: {wrong}"));
    }
    says(
        "[expect]\nconnected = [['ana', 'ben']]",
        "x.toml:9: `connected` must be a table such as { pair = [\"ana\", \"ben\"], from = \"5s\" }, not a list",
    );
}

#[test]
fn no_scenario_at_all() {
    wrong(
        "",
        "\
x.toml:1: a scenario needs `name`: a name such as \"ana\"
x.toml:1: a scenario needs `duration`: a time such as \"250ms\", \"1.5s\" or \"2m\"",
    );
    wrong("name = 'x'\nduration = '1s'", "x.toml:1: there are no actors: add an [[actor]]");
    wrong(
        "name = 'x'\nduration = \n[[actor]",
        "\
x.toml:2: not TOML: string values must be quoted, expected literal string
x.toml:3: not TOML: unclosed array table, expected `]`",
    );
    says("[lan]\n[lan]", "x.toml:9: not TOML: duplicate key `lan`");
}

/// All problems of one stage are reported at once.
#[test]
fn several_problems_at_once() {
    says(
        "[[step]]\nat = '1s'\ndo = 'drop'\nactor = 'bob'\n[[step]]\nat = '20s'\ndo = 'nat-reboot'\nnetwork = 'home'\n[expect]\nunconnected = [['ana']]",
        "\
x.toml:11: unknown actor `bob` (actors: `ana`, `ben`)
x.toml:13: `at`: 20s is not before the end: `duration` is 10s
x.toml:15: unknown network `home` (networks: none)
x.toml:17: `unconnected`: a pair has two actors, not 1",
    );
}

#[test]
fn text_from_outside_is_shown_on_one_line() {
    says(
        "[[actor]]\nname = \"a\\nb\\u0007\"",
        "x.toml:9: `name`: `a\\nb\\u{7}` is not a valid name: use up to 50 of a–z, 0–9 and `-`",
    );
    let long = "z".repeat(100);
    says(
        &format!("{long} = 1"),
        &format!(
            "x.toml:8: unknown key `{}…` in [[actor]] (keys: `name`, `network`, `nat`, `override`, `behind`, `address`, `ipv4`, `ipv6`, `link`, `plays`, `over`, `room`, `joins`, `webrtc`, `ice-servers`, `ice-transport-policy`, `turn-credential`, `media`, `run`, `env`, `directory`, `runs`, `stack`, `count`, `every`, `per-room`)",
            "z".repeat(60)
        ),
    );
}

#[test]
fn names_that_are_not_shipped() {
    let names: Vec<_> = scenarios::shipped().map(|shipped| format!("`{}`", shipped.name)).collect();
    let more = names.len().saturating_sub(32);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shipped = format!("(shipped: {}{more})", names[..names.len().min(32)].join(", "));
    for (name, near) in [
        ("mesh-4", "; did you mean `mesh-3` or `mesh-6`?"),
        ("nat-reboot", "; did you mean `nat-reboot-during-ice-restart` or `nat-reboot-mid-call`?"),
        ("zzz", ""),
    ] {
        load_says(
            name,
            &format!("{name}: no shipped scenario has this name, and a path must end in .toml{near} {shipped}"),
        );
    }
}

#[test]
fn files_that_cannot_be_read() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    load_says(&path("absent.toml"), &format!("{}: there is no such file", path("absent.toml")));
    load_says(&path(""), &format!("{}: is a directory: name a .toml file in it", path("")));
    fs::write(path("latin-1.toml"), b"name = 'x'\n# caf\xe9\n").expect("writable");
    load_says(&path("latin-1.toml"), &format!("{}:2: is not UTF-8: save the file as UTF-8 text", path("latin-1.toml")));
}

/// Checks the error about a file with two actors, ana and ben (who never joins), and with `rest` from line 8 on.
fn says(rest: &str, expected: &str) {
    const HEAD: &str =
        "name = 'x'\nduration = '10s'\n[[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\njoins = 'never'\n";
    wrong(&format!("{HEAD}{rest}\n"), expected);
}

/// Like [`says`], for the beginning of the message.
#[track_caller]
fn begins(rest: &str, expected: &str) {
    let text = format!(
        "name = 'x'\nduration = '10s'\n[[actor]]\nname = 'ana'\n[[actor]]\nname = 'ben'\njoins = 'never'\n{rest}\n"
    );
    let error = parse("x.toml", &text).expect_err("it is wrong").to_string();
    assert!(error.starts_with(expected), "{expected}\nis not\n{error}");
}

fn wrong(text: &str, expected: &str) {
    match parse("x.toml", text) {
        Ok(_) => panic!("no error about\n{text}"),
        Err(error) => assert_eq!(error.to_string(), expected, "\n{text}"),
    }
}

fn load_says(name: &str, expected: &str) {
    match load(name) {
        Ok(_) => panic!("no error about {name}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

#[test]
fn links() {
    let says = |link: &str, expected: &str| says(&format!("[link]\n{link}"), &format!("x.toml:9: {expected}"));
    says("mtu = 10", "`mtu`: `10` must be from 68 (RFC 791) to 65535 bytes");
    says("mtu = 65536", "`mtu`: `65536` must be from 68 (RFC 791) to 65535 bytes");
    says("mtu = -1", "`mtu`: `-1` must be from 68 (RFC 791) to 65535 bytes");
    says("mtu = '1400B'", "`mtu`: `1400B` must be a number of bytes such as 1400, or \"unlimited\"");
    says("mtu = true", "`mtu` must be a number of bytes such as 1400, or \"unlimited\", not a boolean");
    says(
        "oversized = 'split'",
        "`oversized`: `split` is not a valid way with oversized datagrams (words: `reject`, `fragment`, `drop`)",
    );
    says(
        "oversized = 'drop'\nmtu = 'unlimited'",
        "`oversized` is for a link with an `mtu`: nothing is too long for one without",
    );
    says("queue = '1000B'", "`queue`: `1000B` must be from 1500B, one packet, to 1000MB");
    says("queue = '61s'", "`queue`: `61s` must be at most 60s");
    says("queue = '64KB'", "`queue`: `64KB` must be a time such as \"250ms\", or a size such as \"64kB\"");
    says(
        "queue = '64kB'\nbandwidth = 'unlimited'",
        "`queue` is for a link with a `bandwidth`: nothing waits on one without",
    );
    says("corrupt = '150%'", "`corrupt`: `150%` is over 100%");
    says(
        "jitter = 5",
        "`jitter` must be a time such as \"20ms\", or a table such as { distribution = \"normal\", mean = \"20ms\", \
         deviation = \"5ms\" }, not a bare number",
    );
    says(
        "jitter = { distribution = 'normal', mean = '5ms' }",
        "`jitter` with the distribution `normal` needs `deviation`: a time such as \"5ms\"",
    );
    says(
        "jitter = { distribution = 'pareto', mean = '5ms', deviation = '5ms' }",
        "`deviation` is for the distribution `normal`: that of `pareto` follows from its mean",
    );
    says(
        "jitter = { distribution = 'gauss', mean = '5ms' }",
        "`distribution`: `gauss` is not a valid distribution (words: `normal`, `pareto`)",
    );
    says("jitter = { distribution = 'pareto', mean = '0s' }", "`mean` must be from 1ms to 60s");
    says("jitter = { mean = '1s' }", "`jitter` needs `distribution`: \"normal\" or \"pareto\"");
    says("gilbert-elliott = { p = '1%' }", "`gilbert-elliott` needs `r`: a share such as \"2%\"");
    says("gilbert-elliott = { p = '0%', r = '5%' }", "`p` must be over 0%: the bad state would never begin");
    says("gilbert-elliott = { p = '5%', r = '0%' }", "`r` must be over 0%: the bad state would never end");
    says("gilbert-elliott = { p = '5%', r = '101%' }", "`r`: `101%` is over 100%");
    says(
        "gilbert-elliott = { p = '5%', r = '5%', h = '60%', k = '50%' }",
        "`h` must be less than `k`: fewer packets get through in the bad state than in the good one",
    );
    says(
        "gilbert-elliott = 'on'",
        "`gilbert-elliott`: `on` must be a table such as { p = \"1%\", r = \"25%\" }, or \"off\"",
    );
    says("up = { loss = '1.5' }", "`loss`: `1.5` is not a share: write a number and %, such as \"2%\" or \"0.5%\"");
    says("up = '5ms'", "`up` must be a table such as { bandwidth = \"1Mbit\" }, not a string");
    says(
        "down = { up = {} }",
        "unknown key `up` in `down` (keys: `latency`, `jitter`, `loss`, `gilbert-elliott`, \
         `corrupt`, `duplicate`, `reorder`, `bandwidth`, `queue`, `mtu`, `oversized`)",
    );
}
