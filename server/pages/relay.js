// The server passes messages on to the others in the room, as they are. Who calls is the caller. There are no names: if both call at
// once, the texts of the two offers decide who gives way.
import {
  $, Peer, T, address, begin, clearAlert, connect, fail, iceServers, isAddress, isName, log, media, play, politeByText, put, server, showNumbers,
  statistics, stop, tile,
} from "./shared.js";

let signaling = null;
let stream = null;
let ice = [];
let peer = null;
/** The connection that was hung up last: what the other side sent before it knew is no new call. */
let over = null;
let place = null;

function drop() {
  peer?.close();
  peer = null;
  place?.figure.remove();
  place = null;
  $("hangup").disabled = true;
  $("pair").textContent = "–";
}

/** Lists a candidate. What is not said stays empty: a browser may hide its address behind a name. */
function list(whose, { type, protocol, address, port }) {
  const row = document.createElement("tr");
  const at = address ? `${address}:${port}` : "–";
  const cells = ["", type ?? "–", protocol ?? "–", at].map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    row.append(cell);
    return cell;
  });
  put(cells[0], whose);
  row.dataset.type = type;
  $("candidates").append(row);
}

async function showPair(made) {
  // The statistics follow the event by a moment.
  for (let tries = 0; made === peer && tries < 50; tries++) {
    const { pair } = await statistics(made.pc);
    if (pair) return void ($("pair").textContent = pair);
    await new Promise((done) => setTimeout(done, 100));
  }
}

function meet(offers) {
  drop();
  $("candidates").replaceChildren();
  place = tile($("videos"), T("The other side: {state}"), { state: "new" });
  const made = new Peer({
    config: { iceServers: ice, iceTransportPolicy: $("only").checked ? "relay" : "all" },
    stream,
    offers,
    repeats: true,
    polite: politeByText,
    send: ({ description, candidate }) => {
      if (description) signaling?.send({ type: description.type, [description.type]: description });
      else signaling?.send({ type: "candidate", candidate });
    },
    on: {
      stream: (theirs) => made === peer && play(place.video, theirs),
      candidate: (own) => list(T("ours"), own),
      glare: (gaveWay) => log(gaveWay ? T("Both offered: this side gives way.") : T("Both offered: the other side gives way.")),
      state: (state) => {
        if (made !== peer) return;
        log(T("The connection is {state}."), { state });
        place.figure.dataset.state = state;
        place.tell(T("The other side: {state}"), { state });
        if (state === "connected") {
          put($("note"), T("You are connected to the other side."));
          showPair(made);
        }
        if (state === "failed") fail(T("No pair of candidates works. Call again, or try without “TURN only”."));
      },
    },
  });
  peer = made;
  showNumbers(made, place.numbers);
  $("hangup").disabled = false;
}

function received(message) {
  switch (message.type) {
    case "offer": {
      if (!peer && over?.hasMet(message.offer ?? {})) return log(T("The other side sent an offer before it knew that you have hung up."));
      const isOffering = peer?.pc.signalingState === "have-local-offer";
      if (!peer || (!isOffering && !peer.continues(message.offer ?? {}))) {
        put($("note"), T("Somebody calls: you are the callee."));
        meet("later");
      }
      return peer.description(message.offer);
    }
    case "answer":
      return peer?.description(message.answer);
    case "candidate": {
      if (!peer) return;
      try {
        if (message.candidate?.candidate) list(T("theirs"), new RTCIceCandidate(message.candidate));
      } catch {
        return log(T("What the other side sent cannot be used: {why}"), { why: T("a candidate of no known form") });
      }
      return peer.candidate(message.candidate);
    }
    case "error":
      return fail(T("The server reports an error: {reason}"), { reason: message.message });
    default:
      log(T("The server sent a message that this page does not know."));
  }
}

function busy(isBusy) {
  for (const field of $("form").querySelectorAll("input, select, #connect")) field.disabled = isBusy;
  for (const id of ["disconnect", "call"]) $(id).disabled = !isBusy;
}

function ended() {
  signaling?.close();
  signaling = null;
  drop();
  stop(stream);
  stream = null;
  play($("local"), null);
  put($("note"), T("You are not connected."));
  busy(false);
}

async function start() {
  clearAlert();
  const room = $("room").value;
  if (!isName(room, T("A room’s name has 1 to 64 characters; this one has {length}."))) return;
  const url = $("server").value;
  if (!isAddress(url)) return;
  busy(true);
  ice = await iceServers();
  if ($("only").checked && !ice.some(({ urls }) => String(urls).startsWith("turn"))) {
    fail(T("The server names no TURN server, so “TURN only” cannot work: start it with a TURN secret."));
    return busy(false);
  }
  stream = await media({ camera: $("source").value === "camera" });
  play($("local"), stream);
  const inRoom = new URL(url);
  inRoom.searchParams.set("room", room);
  const opened = () => put($("note"), T("You are in the room “{room}”. Call, or wait for a call."), { room });
  signaling = connect(inRoom.href, { opened, received, ended });
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("disconnect").addEventListener("click", ended);
$("call").addEventListener("click", () => {
  put($("note"), T("You are the caller. Waiting for an answer."));
  meet("first");
});
$("hangup").addEventListener("click", () => {
  over = peer;
  drop();
  put($("note"), T("You have hung up."));
});

begin();
put($("note"), T("You are not connected."));
$("server").value = address(await server(), "relay");
