// People join under a name and call each other, over WebSocket or Socket.IO. The caller offers once the call is accepted.
import {
  $, Peer, T, address, begin, clearAlert, connect, connectSocketIo, fail, iceServers, isName, log, media, play, put, server,
  showNumbers, stop, tile,
} from "./shared.js";

const REFUSALS = {
  "username-taken": T("Somebody else has this name. Choose another one."),
  "user-not-found": T("Nobody has this name any more."),
  busy: T("You are in a call already."),
  "not-joined": T("The server says that this page has not joined."),
  "not-in-call": T("The server knows no such call: it may have ended."),
  "invalid-message": T("The server did not understand this page."),
};

let info = null;
let signaling = null;
let send = () => {};
let me = "";
let hasJoined = false;
let stream = null;
let ice = [];
/** The call: with whom, since which step (`calling`, `ringing`, `accepted`), over which connection. */
let call = null;

function show() {
  $("hangup").disabled = !call || call.step === "ringing";
  for (const [id, kind] of [["camera", "video"], ["microphone", "audio"]]) {
    const track = stream?.getTracks().find((track) => track.kind === kind);
    $(id).disabled = !call || !track;
    $(id).setAttribute("aria-pressed", String(track?.enabled ?? true));
  }
  for (const button of $("people").querySelectorAll("button")) button.disabled = Boolean(call);
}

function note(key, values) {
  put($("note"), key, values);
  log(key, values);
}

/** Ends the call on this side. */
function end() {
  if (!call) return;
  call.peer?.close();
  call.place?.figure.remove();
  call = null;
  if ($("incoming").open) $("incoming").close();
  stop(stream);
  stream = null;
  play($("local"), null);
  $("theirs").textContent = "";
  show();
}

async function ownMedia() {
  const taken = await media({ camera: $("source").value === "camera", audio: true });
  stop(stream);
  stream = taken;
  play($("local"), stream);
}

/** The connection of the call that goes on. */
function meet(offers) {
  const now = call;
  const { name } = now;
  now.peer?.close();
  now.place ??= tile($("videos"), T("{name}: waiting"), { name });
  const peer = new Peer({
    config: { iceServers: ice },
    stream,
    offers,
    polite: offers !== "first",
    restarts: true,
    send: ({ description, candidate }) => {
      if (description) send(description.type, { target: name, [description.type]: description });
      else send("iceCandidate", { target: name, candidate });
    },
    on: {
      stream: (theirs) => play(now.place.video, theirs),
      state: (state) => {
        if (now.peer !== peer) return;
        log(T("The connection to {name} is {state}."), { name, state });
        now.place.figure.dataset.state = state;
        now.place.tell(T("{name}: {state}"), { name, state });
      },
    },
  });
  now.peer = peer;
  showNumbers(peer, now.place.numbers);
}

async function place(name) {
  clearAlert();
  const now = { name, step: "calling" };
  call = now;
  show();
  note(T("Calling {name}."), { name });
  await ownMedia();
  // The camera may take its time; meanwhile the call may have been given up.
  if (call !== now) return void (call || (stop(stream), play($("local"), null)));
  send("call", { target: name });
  show();
}

async function accept() {
  const now = call;
  $("incoming").close();
  if (now?.step !== "ringing") return;
  now.step = "accepted";
  await ownMedia();
  if (call !== now) return void (call || (stop(stream), play($("local"), null)));
  note(T("In a call with {name}."), { name: now.name });
  send("callResponse", { accepted: true, caller: now.name, callerId: now.id });
  show();
}

function reject() {
  if (call?.step !== "ringing") return;
  send("callResponse", { accepted: false, caller: call.name, callerId: call.id });
  note(T("You rejected the call of {name}."), { name: call.name });
  end();
}

/** A member of a list of users: a name, or an object that has it, as with some servers. */
const nameOf = (user) => (typeof user === "string" ? user : typeof user?.username === "string" ? user.username : nameOf(user?.username ?? ""));

/** A person in the list, with a button. */
function person(name) {
  const item = document.createElement("li");
  const text = document.createElement("span");
  text.textContent = name;
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.name = name;
  put(button, T("Call {name}"), { name });
  button.addEventListener("click", () => place(name));
  item.append(text, button);
  return item;
}

function listed(users) {
  const names = users.map(nameOf);
  hasJoined ||= names.includes(me);
  const others = names.filter((name) => name !== me);
  // Items that stay are not touched: a list that comes in the middle of a click must not take the button away.
  const list = $("people");
  const nameIn = (item) => item.querySelector("button").dataset.name;
  for (const item of [...list.children]) if (!others.includes(nameIn(item))) item.remove();
  const known = new Map([...list.children].map((item) => [nameIn(item), item]));
  others.forEach((name, index) => {
    const item = known.get(name) ?? person(name);
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  $("alone").hidden = others.length > 0;
  if (hasJoined && !call) put($("note"), T("You are here as {name}."), { name: me });
  show();
}

const HANDLERS = {
  userList: (users) => Array.isArray(users) && listed(users),
  incomingCall: ({ caller, callerId }) => {
    // Both call each other: the server takes the second call as the answer to the first.
    if (call) return;
    call = { name: caller, id: callerId, step: "ringing" };
    log(T("{name} is calling."), { name: caller });
    put($("caller"), T("{name} is calling."), { name: caller });
    $("incoming").showModal();
    show();
  },
  callAnswered: ({ accepted, target, reason }) => {
    if (call?.name !== target) return;
    if (!accepted) {
      fail(reason === "busy" ? T("{name} is in another call.") : T("{name} rejected the call."), { name: target });
      return end();
    }
    call.step = "accepted";
    note(T("In a call with {name}."), { name: target });
    meet("first");
    show();
  },
  offer: ({ offer, caller }) => {
    if (call?.name !== caller) return;
    call.step = "accepted";
    if (!call.peer?.continues(offer ?? {})) meet("later");
    put($("note"), T("In a call with {name}."), { name: caller });
    call.peer.description(offer);
    show();
  },
  answer: ({ answer }) => call?.peer?.description(answer),
  iceCandidate: ({ candidate }) => call?.peer?.candidate(candidate),
  mediaStateChange: ({ sender, mediaType, enabled }) => {
    const video = mediaType === "video";
    const key = enabled
      ? video ? T("{name} has turned the camera on.") : T("{name} has turned the microphone on.")
      : video ? T("{name} has turned the camera off.") : T("{name} has turned the microphone off.");
    put($("theirs"), key, { name: sender });
    log(key, { name: sender });
  },
  callEnded: ({ caller }) => {
    if (!call) return;
    note(T("{name} has ended the call."), { name: caller });
    end();
  },
  error: ({ code, message }) => {
    if (code in REFUSALS) fail(REFUSALS[code]);
    else fail(T("The server reports an error: {reason}"), { reason: message ?? code });
    if (!hasJoined) return ended();
    if (call?.step === "calling") end();
  },
};

function handle(name, data) {
  if (Object.hasOwn(HANDLERS, name)) HANDLERS[name](data ?? {});
  else log(T("The server sent a message that this page does not know."));
}

function busy(isBusy) {
  for (const field of $("form").querySelectorAll("input, #join")) field.disabled = isBusy;
  $("leave").disabled = !isBusy;
}

/** Nobody can be called until the page has joined. */
function away() {
  end();
  hasJoined = false;
  $("people").replaceChildren();
  $("alone").hidden = false;
  put($("note"), T("You are not connected."));
}

function ended() {
  away();
  signaling?.close();
  signaling = null;
  busy(false);
}

async function start() {
  clearAlert();
  me = $("name").value;
  if (!isName(me, T("A name has 1 to 64 characters; this one has {length}."))) return;
  busy(true);
  ice = await iceServers();
  const lost = () => {
    if (call) fail(T("The call ended, because the connection to the server is lost."));
    away();
  };
  const opened = () => send("join", { username: me });
  const url = $("server").value;
  if (over() === "call") {
    send = (type, data) => signaling?.send({ type, data });
    signaling = connect(url, { opened, lost, ended, received: ({ type, data }) => handle(type, data) });
  } else {
    send = (type, data) => signaling?.send([type, data]);
    const received = (message) => Array.isArray(message) && handle(message[0], message[1]);
    signaling = await connectSocketIo(url, info, { opened, lost, ended, received });
  }
  if (!signaling) ended();
}

const over = () => $("form").elements.over.value;

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("form").addEventListener("change", ({ target }) => {
  if (target.name === "over") $("server").value = address(info, over());
});
$("leave").addEventListener("click", ended);
$("accept").addEventListener("click", accept);
$("reject").addEventListener("click", () => ($("incoming").close(), reject()));
$("incoming").addEventListener("cancel", reject);
$("hangup").addEventListener("click", () => {
  if (!call) return;
  send("endCall", { target: call.name });
  note(T("You have ended the call."));
  end();
});
for (const [id, mediaType] of [["camera", "video"], ["microphone", "audio"]]) {
  $(id).addEventListener("click", () => {
    const tracks = stream?.getTracks().filter((track) => track.kind === mediaType) ?? [];
    if (!call || tracks.length === 0) return;
    const enabled = !tracks[0].enabled;
    tracks.forEach((track) => (track.enabled = enabled));
    send("mediaStateChange", { target: call.name, mediaType, enabled });
    show();
  });
}

begin();
put($("note"), T("You are not connected."));
info = await server();
$("server").value = address(info, over());
