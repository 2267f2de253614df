// One sender and one viewer per room. The sender offers at `viewer-ready`; the viewer only answers.
import {
  $, Peer, T, address, begin, clearAlert, connect, fail, iceServers, isAddress, isName, log, media, play, put, server, showNumbers, stop,
} from "./shared.js";

/** What a refusal means, in words. */
const REFUSALS = {
  "sender-already-exists": T("This room has a sender already. Choose another room, or be the viewer."),
  "viewer-already-exists": T("This room has a viewer already. Choose another room, or be the sender."),
  "not-joined": T("The server says that this page has not joined a room."),
  "not-allowed": T("The server says that this role may not send that."),
  "no-peer": T("The server says that nobody is on the other side."),
  "invalid-message": T("The server did not understand this page."),
};

const form = $("form");
let signaling = null;
let peer = null;
let stream = null;
let ice = [];
let role = "sender";

function state(name, key, values) {
  const state = $("state");
  state.textContent = name;
  state.dataset.state = name;
  if (key) put($("note"), key, values);
}

function drop() {
  peer?.close();
  peer = null;
  if (role === "viewer") play($("video"), null);
}

function meet() {
  drop();
  const made = new Peer({
    config: { iceServers: ice },
    stream,
    offers: role === "sender" ? "first" : "never",
    polite: role === "viewer",
    restarts: true,
    send: ({ description, candidate }) => {
      if (description) signaling?.send({ type: description.type, sdp: description });
      else signaling?.send({ type: "ice-candidate", candidate });
    },
    on: {
      stream: (theirs) => role === "viewer" && play($("video"), theirs),
      state: (now) => {
        if (made !== peer) return;
        log(T("The connection is {state}."), { state: now });
        if (now === "connected") state("ACTIVE", role === "sender" ? T("The viewer sees your video.") : T("You see the sender’s video."));
        if (now === "disconnected") put($("note"), T("The connection is interrupted. It may come back by itself."));
        if (now === "failed") put($("note"), T("There is no way from here to the other side at the moment."));
      },
    },
  });
  peer = made;
  showNumbers(made, $("numbers"));
}

function received(message) {
  switch (message.type) {
    case "joined":
      log(T("Joined the room as {client}."), { client: message.clientId });
      if (role === "sender") state("WAITING", T("Waiting for a viewer."));
      else state("INIT", T("Waiting for the sender."));
      return;
    case "viewer-ready":
      log(T("A viewer is there."));
      return meet();
    case "offer":
      if (!peer?.continues(message.sdp ?? {})) meet();
      return peer.description(message.sdp);
    case "answer":
      return peer?.description(message.sdp);
    case "ice-candidate":
      return peer?.candidate(message.candidate);
    case "viewer-left":
      drop();
      return state("WAITING", T("The viewer has left. Waiting for the next one."));
    case "sender-left":
      drop();
      return state("WAITING", T("The sender has left. Waiting for the next one."));
    case "error": {
      const refusal = REFUSALS[message.reason];
      if (refusal) fail(refusal);
      else fail(T("The server reports an error: {reason}"), { reason: message.reason });
      if (message.reason?.endsWith("-already-exists")) ended();
      return;
    }
    default:
      log(T("The server sent a message that this page does not know."));
  }
}

/** Ends everything; what went wrong is on the page already. */
function ended() {
  signaling?.close();
  signaling = null;
  drop();
  stop(stream);
  stream = null;
  play($("video"), null);
  state("ERROR", T("Ended. See above for the reason."));
  busy(false);
}

function busy(isBusy) {
  $("start").disabled = isBusy;
  $("stop").disabled = !isBusy;
  for (const field of form.querySelectorAll("input, select")) field.disabled = isBusy;
}

async function start() {
  clearAlert();
  const room = $("room").value;
  if (!isName(room, T("A room’s name has 1 to 64 characters; this one has {length}."))) return;
  const url = $("server").value;
  if (!isAddress(url)) return;
  role = form.elements.role.value;
  busy(true);
  state("INIT", T("Starting."));
  if (role === "sender") {
    stream = await media({ camera: $("source").value === "camera", audio: true, size: $("size").value });
    const { width, height } = stream.getVideoTracks()[0]?.getSettings() ?? {};
    log(T("Sending {width}×{height}."), { width, height });
    $("video").muted = true;
    play($("video"), stream);
  } else {
    $("video").muted = false;
  }
  ice = await iceServers(new URL("/", url.replace(/^ws/, "http")));
  signaling = connect(url, { opened: () => signaling.send({ type: "join", role, room }), received, ended });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("stop").addEventListener("click", () => {
  ended();
  state("INIT", T("Stopped."));
});

begin();
$("server").value = address(await server(), "sender-viewer");
