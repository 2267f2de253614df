// Every message goes to everybody, its sender included. Peer A offers, peer B answers. There is no message for candidates, so a
// description waits for them. `from` and `to` in a description say whose it is; clients that lack them are understood too.
import {
  $, Peer, T, address, begin, clearAlert, connectSocketIo, iceServers, isSocketIoAddress, log, media, play, politeByText, put, server, showNumbers, stop,
  tile,
} from "./shared.js";

let info = null;
let signaling = null;
let stream = null;
let ice = [];
let peer = null;
/** The connection that was hung up last: what the other side sent before it knew is no new call. */
let over = null;
let place = null;
/** Who this page is in its messages. */
const me = crypto.getRandomValues(new Uint32Array(2)).join("-");
let other;
/** Descriptions that this page has sent: they come back. */
const sent = new Set();

const role = () => $("form").elements.role.value;

function drop() {
  peer?.close();
  peer = null;
  place?.figure.remove();
  place = null;
  other = undefined;
  $("hangup").disabled = true;
}

function meet(offers) {
  drop();
  place = tile($("videos"), T("The other side: {state}"), { state: "new" });
  const made = new Peer({
    config: { iceServers: ice },
    stream,
    offers,
    trickle: false,
    repeats: true,
    polite: politeByText,
    send: ({ description }) => {
      sent.add(description.sdp);
      signaling?.send([`send-${description.type}`, { ...description, from: me, to: other }]);
      log(description.type === "offer" ? T("Sent an offer.") : T("Sent an answer."));
    },
    on: {
      stream: (theirs) => made === peer && play(place.video, theirs),
      glare: (gaveWay) => log(gaveWay ? T("Both offered: this side gives way.") : T("Both offered: the other side gives way.")),
      state: (state) => {
        if (made !== peer) return;
        log(T("The connection is {state}."), { state });
        place.figure.dataset.state = state;
        place.tell(T("The other side: {state}"), { state });
        if (state === "failed") put($("note"), T("The connection is lost. Send an offer again."));
        if (state === "connected") put($("note"), T("You are connected to the other side."));
      },
    },
  });
  peer = made;
  showNumbers(made, place.numbers);
  $("hangup").disabled = false;
}

function received(message) {
  if (!Array.isArray(message)) return;
  const [name, description] = message;
  if (name !== "receive-offer" && name !== "receive-answer") return;
  if (typeof description?.sdp !== "string" || sent.has(description.sdp)) return;
  const isForOthers = description.to && description.to !== me;
  if (isForOthers) return;
  const type = name === "receive-offer" ? "offer" : "answer";
  if (type === "offer") {
    const isOffering = peer?.pc.signalingState === "have-local-offer";
    if (role() === "a" && !isOffering) return log(T("Somebody else offers: peer A does not answer."));
    if (!peer && over?.hasMet(description)) return log(T("The other side sent an offer before it knew that you have hung up."));
    if (!peer || (!isOffering && !peer.continues(description))) meet("later");
    log(T("Received an offer."));
  } else {
    if (peer?.pc.signalingState !== "have-local-offer") return;
    log(T("Received an answer."));
  }
  other = description.from;
  peer.description({ type, sdp: description.sdp });
}

function busy(isBusy) {
  for (const field of $("form").querySelectorAll("input, select, #connect")) field.disabled = isBusy;
  $("disconnect").disabled = !isBusy;
  $("offer").disabled = !isBusy || role() !== "a";
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
  const url = $("server").value;
  if (!isSocketIoAddress(url)) return;
  busy(true);
  ice = await iceServers();
  stream = await media({ camera: $("source").value === "camera" });
  play($("local"), stream);
  const opened = () => put($("note"), role() === "a" ? T("You are peer A: send an offer once peer B is there.") : T("You are peer B: waiting for an offer."));
  signaling = await connectSocketIo(url, info, { opened, received, ended });
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("disconnect").addEventListener("click", ended);
$("offer").addEventListener("click", () => meet("first"));
$("hangup").addEventListener("click", () => {
  over = peer;
  drop();
  put($("note"), T("You have hung up."));
});

begin();
put($("note"), T("You are not connected."));
info = await server();
$("server").value = address(info, "broadcast");
