// Everybody in a room is connected to everybody else. Those who are there offer to a newcomer, who only answers; later, both may
// offer: the one with the smaller id gives way.
import {
  $, Peer, T, address, begin, clearAlert, connect, fail, iceServers, isName, log, media, play, put, server, showNumbers, stop, tile,
} from "./shared.js";

let signaling = null;
let stream = null;
let ice = [];
let room = "";
let me = "";
/** Members by id: their name, their place on the page, their connection if there is one. */
const members = new Map();

const named = (id, member) => member?.name ?? id;

function signal(to, type, data) {
  signaling?.send({ action: "signal", roomId: room, type, data, to });
}

/** Adds a member to the page. */
function add({ clientId, name }) {
  remove(clientId);
  const place = tile($("videos"), T("{name}: waiting"), { name: name ?? clientId });
  place.figure.dataset.peer = clientId;
  members.set(clientId, { name, place, peer: null });
}

function remove(id) {
  const member = members.get(id);
  if (!member) return;
  drop(member);
  member.place.figure.remove();
  members.delete(id);
}

function drop(member) {
  member.peer?.close();
  member.peer = null;
  play(member.place.video, null);
}

/** A fresh connection to a member. `offers` as in `Peer`. */
function meet(id, offers) {
  const member = members.get(id);
  drop(member);
  const name = named(id, member);
  const peer = new Peer({
    config: { iceServers: ice },
    stream,
    offers,
    polite: me < id,
    restarts: true,
    send: ({ description, candidate }) => {
      if (description) signal(id, description.type, description);
      else signal(id, "ice-candidate", candidate);
    },
    on: {
      stream: (theirs) => play(member.place.video, theirs),
      glare: (gaveWay) => log(gaveWay ? T("Both offered: this side gives way to {name}.") : T("Both offered: {name} gives way."), { name }),
      hopeless: () => {
        if (member.peer !== peer) return;
        log(T("The connection to {name} is made anew."), { name });
        meet(id, "first");
      },
      state: (state) => {
        if (member.peer !== peer) return;
        log(T("The connection to {name} is {state}."), { name, state });
        member.place.figure.dataset.state = state;
        member.place.tell(T("{name}: {state}"), { name, state });
      },
    },
  });
  member.peer = peer;
  showNumbers(peer, member.place.numbers);
}

function signalled({ from, type, data }) {
  if (!members.has(from)) add({ clientId: from });
  const member = members.get(from);
  if (type === "hangup") {
    drop(member);
    member.place.tell(T("{name} has hung up"), { name: named(from, member) });
  } else if (type === "offer") {
    if (!member.peer?.continues(data ?? {})) meet(from, "later");
    member.peer.description(data);
  } else if (type === "answer") {
    member.peer?.description(data);
  } else if (type === "ice-candidate") {
    member.peer?.candidate(data);
  }
}

function received(message) {
  switch (message.action) {
    case "joined":
      me = message.clientId;
      [...members.keys()].forEach(remove);
      message.peers.forEach(add);
      log(T("Joined “{room}” as {client}; {count} others are there."), { room, client: me, count: message.peers.length });
      put($("note"), T("You are in the room “{room}”."), { room });
      return;
    case "peer-joined":
      add(message.peer);
      log(T("{name} has come."), { name: message.peer.name ?? message.peer.clientId });
      return meet(message.peer.clientId, "first");
    case "peer-left":
      log(T("{name} has left."), { name: named(message.clientId, members.get(message.clientId)) });
      return remove(message.clientId);
    case "signal":
      return signalled(message);
    case "error":
      // Somebody left while a message to them was on its way: the notice follows.
      if (String(message.message).startsWith("Target client")) return log(T("The server reports an error: {reason}"), { reason: message.message });
      return fail(T("The server reports an error: {reason}"), { reason: message.message });
    default:
      log(T("The server sent a message that this page does not know."));
  }
}

function busy(isBusy) {
  for (const id of ["server", "room", "name", "connect"]) $(id).disabled = isBusy;
  for (const id of ["disconnect", "call", "hangup"]) $(id).disabled = !isBusy;
}

function ended() {
  signaling?.close();
  signaling = null;
  [...members.keys()].forEach(remove);
  put($("note"), T("You are not connected."));
  busy(false);
}

async function start() {
  clearAlert();
  room = $("room").value;
  const name = $("name").value;
  if (!isName(room, T("A room’s name has 1 to 64 characters; this one has {length}."))) return;
  if (name && !isName(name, T("A name has 1 to 64 characters; this one has {length}."))) return;
  busy(true);
  ice = await iceServers();
  const join = { action: "join", roomId: room, ...(name && { name }) };
  signaling = connect($("server").value, { opened: () => signaling.send(join), received, ended });
  if (!signaling) ended();
}

async function toggleMedia() {
  const button = $("media");
  button.disabled = true;
  if (stream) {
    stop(stream);
    stream = null;
  } else {
    stream = await media({ camera: $("source").value === "camera", audio: true });
  }
  play($("local"), stream);
  for (const { peer } of members.values()) peer?.setStream(stream);
  put(button, stream ? T("Stop media") : T("Start media"));
  button.disabled = false;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("disconnect").addEventListener("click", () => {
  signaling?.send({ action: "leave", roomId: room });
  ended();
});
$("media").addEventListener("click", toggleMedia);
$("hangup").addEventListener("click", () => {
  for (const [id, member] of members) {
    signal(id, "hangup", null);
    drop(member);
    member.place.tell(T("You have hung up on {name}"), { name: named(id, member) });
  }
});
$("call").addEventListener("click", () => {
  for (const [id, member] of members) if (!member.peer) meet(id, "first");
});

begin();
put($("note"), T("You are not connected."));
$("server").value = address(await server(), "mesh");
