// What the pages have in common: words, the log, the way to the server, media, connections, statistics.
//
// Whatever comes from the network or from a person is text: it gets onto the page by textContent alone.
import { chinese } from "./words.js";

export const $ = (id) => document.getElementById(id);

// ── Words ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Marks an English text that words.js translates. */
export const T = (text) => text;

/** Texts without a translation that were shown; a test looks here. */
export const untranslated = new Set();

let language = remembered("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // The person does not let pages store anything.
  }
}

function words(key, values = {}) {
  if (language === "zh" && !(key in chinese)) untranslated.add(key);
  const text = language === "zh" ? (chinese[key] ?? key) : key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Shows a text in an element, in the language of the page, and again when that changes. */
export function put(element, key, values) {
  element.said = { key, values };
  element.dataset.t = "";
  element.textContent = words(key, values);
}

/** Gives an element an accessible name. */
export function label(element, key, values) {
  element.labelled = { key, values };
  element.dataset.label = "";
  element.setAttribute("aria-label", words(key, values));
}

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-t]")) {
    element.said ??= { key: element.textContent.trim().replace(/\s+/g, " ") };
    put(element, element.said.key, element.said.values);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.labelled ??= { key: element.dataset.label };
    label(element, element.labelled.key, element.labelled.values);
  }
}

// ── The frame of a page ────────────────────────────────────────────────────────────────────────────────────────────────

const PAGES = [
  ["./", T("Start page")],
  ["sender-viewer.html", "sender-viewer"],
  ["status.html", T("Status")],
  ["mesh.html", "mesh"],
  ["call.html", "call"],
  ["broadcast.html", "broadcast"],
  ["relay.html", "relay"],
];

/** Parameters behind `#`, which browsers send to nobody: `token` opens a server that asks for one. */
const parameters = new URLSearchParams(location.hash.slice(1));
export const token = parameters.get("token");

/** Draws what all pages have, and translates the page. */
export function begin() {
  const box = document.createElement("div");
  const nav = document.createElement("nav");
  label(nav, T("Pages"));
  const here = location.pathname.split("/").pop() || "./";
  for (const [href, name] of PAGES) {
    const link = document.createElement("a");
    link.href = href + location.hash;
    if (href === here || (href === "./" && here === "index.html")) link.setAttribute("aria-current", "page");
    if (name === T("Start page") || name === T("Status")) put(link, name);
    else link.textContent = name;
    nav.append(link);
  }
  const button = document.createElement("button");
  button.type = "button";
  button.id = "language";
  const other = () => {
    button.textContent = language === "zh" ? "English" : "中文";
    button.lang = language === "zh" ? "en" : "zh-CN";
  };
  button.addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    try {
      localStorage.setItem("language", language);
    } catch {
      // It holds until the page is left.
    }
    other();
    translate();
  });
  other();
  box.append(nav, button);
  document.querySelector("header").append(box);
  translate();
}

const LOG_ENTRIES_MAX = 200;

/** Adds a line to the page's log. */
export function log(key, values) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString("sv");
  const text = document.createElement("span");
  put(text, key, values);
  line.append(time, text);
  const list = $("log");
  const box = list.parentElement;
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 20;
  list.append(line);
  while (list.childElementCount > LOG_ENTRIES_MAX) list.firstElementChild.remove();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

/** Says what went wrong, where nobody can miss it. */
export function fail(key, values) {
  const alert = $("alert");
  put(alert, key, values);
  alert.hidden = false;
  log(key, values);
}

export function clearAlert() {
  $("alert").hidden = true;
}

/** Whether a name is one that the server takes, 1 to 64 code points; says what is wrong with it otherwise. */
export function isName(text, what) {
  const length = [...text].length;
  if (length >= 1 && length <= 64) return true;
  fail(what, { length });
  return false;
}

// ── The server ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const bearer = (secret) => (secret ? { Authorization: `Bearer ${secret}` } : {});

/** JSON from a path beside the pages, or null after saying why not. `secret` is a bearer token. */
export async function fetchJson(url, { secret = token, ...options } = {}) {
  try {
    const response = await fetch(url, { ...options, headers: { ...bearer(secret), ...options.headers } });
    const body = await response.json();
    if (response.ok) return body;
    fail(T("The server refused {url}: {why}"), { url, why: body.message ?? response.status });
  } catch {
    fail(T("There was no usable answer from {url}."), { url });
  }
  return null;
}

/** What this server serves, and where. */
export const server = () => fetchJson("server");

/** The URL of a dialect of this server as the page reaches it, or an empty text. */
export function address(info, name) {
  const entry = info?.dialects.find((known) => known.name === name);
  if (!entry) {
    if (info) fail(T("This server does not serve {name}. Enter the address of one that does."), { name });
    return "";
  }
  const scheme = (entry.framing === "websocket" ? "ws" : "http") + (location.protocol === "https:" ? "s" : "");
  return `${scheme}://${location.hostname}:${entry.port}${entry.path}`;
}

/** The ICE servers of the server at `base`, by default this one. */
export async function iceServers(base = new URL("..", location.href)) {
  try {
    const response = await fetch(new URL("api/config", base), { headers: bearer(token) });
    const { iceServers } = await response.json();
    if (Array.isArray(iceServers)) return iceServers;
  } catch {
    // Said below.
  }
  log(T("The server names no ICE servers: only addresses of this machine are tried."));
  return [];
}

/** The URL with the token, or null after saying that it is none. */
function usable(text, schemes) {
  let url;
  try {
    url = new URL(text);
  } catch {
    url = null;
  }
  if (!url || !schemes.includes(url.protocol)) {
    fail(T("“{text}” is not the address of a server: write it like {example}."), {
      text: text.slice(0, 200),
      example: `${schemes[0]}//127.0.0.1:8080/`,
    });
    return null;
  }
  url.hash = "";
  if (token) url.searchParams.set("token", token);
  return url;
}

/** Whether a text is an address that `connect` takes; says what is wrong with it otherwise. */
export const isAddress = (text) => usable(text, plain.schemes) !== null;

/** The same for `connectSocketIo`. */
export const isSocketIoAddress = (text) => usable(text, socketio.schemes) !== null;

const DELAYS_S = [1, 2, 3, 4, 5];

/** What can be said of a connection that ended. */
function farewell(code, reason) {
  if (code === 1008) return [T("The server closed the connection, because a limit was passed: {reason}"), { reason }];
  if (code === 1013) return [T("The server is full."), {}];
  return [T("The server closed the connection: {reason}"), { reason: reason || code }];
}

/** Frames of a WebSocket: one JSON object each. */
const plain = {
  schemes: ["ws:", "wss:"],
  url: (url) => url,
  write: (socket, message) => socket.send(JSON.stringify(message)),
  opened: () => true,
  read: (text) => JSON.parse(text),
};

/** Socket.IO 5 over Engine.IO 4, over a WebSocket alone: events of the main namespace. A message is `[name, argument…]`. */
const socketio = {
  schemes: ["http:", "https:"],
  url: (url) => {
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("EIO", "4");
    url.searchParams.set("transport", "websocket");
    return url;
  },
  write: (socket, message) => socket.send(`42${JSON.stringify(message)}`),
  opened: () => false,
  read: (text, socket, opened) => {
    if (text.startsWith("0")) socket.send("40");
    else if (text.startsWith("40")) opened();
    else if (text === "2") socket.send("3");
    else if (text.startsWith("42")) return JSON.parse(text.slice(2));
    else if (text.startsWith("41") || text.startsWith("44") || text === "1") socket.close();
    return undefined;
  },
};

/**
 * A connection to a signaling server that comes back by itself: after an abnormal end it tries again after 1, 2, 3, 4 and 5 s,
 * and a success begins the count anew. `on.opened()`, `on.received(message)`, `on.lost()` after each end, `on.ended()` when it
 * does not come back.
 */
class Signaling {
  #framing;
  #url;
  #on;
  #socket = null;
  #timer = 0;
  #attempts = 0;
  #wasOpen = false;

  constructor(url, framing, on) {
    this.#url = url;
    this.#framing = framing;
    this.#on = on;
    this.#open();
  }

  #open() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    let isOpen = false;
    const opened = () => {
      isOpen = true;
      this.#wasOpen = true;
      this.#attempts = 0;
      clearAlert();
      log(T("Connected to {url}"), { url: shown(this.#url) });
      this.#on.opened();
    };
    socket.onopen = () => this.#framing.opened() && opened();
    socket.onmessage = ({ data }) => {
      let message;
      try {
        message = this.#framing.read(String(data), socket, opened);
      } catch {
        log(T("The server sent something that is not JSON."));
      }
      if (message !== undefined && message !== null) this.#on.received(message);
    };
    socket.onclose = ({ code, reason }) => {
      if (socket !== this.#socket) return;
      if (isOpen) this.#on.lost?.();
      this.#closed(code, reason, isOpen);
    };
  }

  #closed(code, reason, wasOpen) {
    if (code === 1000 || code === 1008 || code === 1013) return this.#end(...farewell(code, reason));
    if (!this.#wasOpen) {
      const url = shown(this.#url);
      return this.#end(T("{url} cannot be reached, or refuses this page. Does the server run there?"), { url });
    }
    if (wasOpen) log(T("The connection to the server is lost."));
    const seconds = DELAYS_S[this.#attempts];
    if (seconds === undefined) return this.#end(T("The server did not come back: five attempts failed. Try again later."));
    this.#attempts += 1;
    fail(T("The server is gone. Attempt {attempt} of 5 to connect again in {seconds} s."), {
      attempt: this.#attempts,
      seconds,
    });
    this.#timer = setTimeout(() => this.#open(), seconds * 1000);
  }

  #end(key, values) {
    this.#socket = null;
    fail(key, values);
    this.#on.ended();
  }

  /** Sends a message, if there is a connection. */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#framing.write(this.#socket, message);
  }

  close() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }
}

/** A URL without its token, to show it. */
function shown(url) {
  const copy = new URL(url);
  copy.search = "";
  return copy.href;
}

/** Socket.IO's own client in place of ours, if the server has it. The same events as from `Signaling`. */
class Stock {
  #socket;

  constructor(io, url, on) {
    const socket = io(url.origin, {
      path: url.pathname,
      query: token ? { token } : {},
      forceNew: true,
      reconnectionDelay: 1000,
      reconnectionDelayMax: 5000,
      reconnectionAttempts: DELAYS_S.length,
    });
    this.#socket = socket;
    let wasOpen = false;
    socket.on("connect", () => {
      wasOpen = true;
      clearAlert();
      log(T("Connected to {url}"), { url: shown(url) });
      on.opened();
    });
    socket.onAny((...message) => on.received(message));
    socket.on("disconnect", (reason) => {
      if (reason === "io client disconnect") return;
      log(T("The connection to the server is lost."));
      on.lost?.();
      if (!socket.active) {
        fail(T("The server closed the connection: {reason}"), { reason });
        on.ended();
      }
    });
    socket.on("connect_error", () => {
      if (wasOpen) return;
      socket.close();
      fail(T("{url} cannot be reached, or refuses this page. Does the server run there?"), { url: shown(url) });
      on.ended();
    });
    socket.io.on("reconnect_attempt", (attempt) => {
      fail(T("The server is gone. Attempt {attempt} of 5 to connect again in {seconds} s."), { attempt, seconds: attempt });
    });
    socket.io.on("reconnect_failed", () => {
      fail(T("The server did not come back: five attempts failed. Try again later."));
      on.ended();
    });
  }

  send([name, ...data]) {
    this.#socket.emit(name, ...data);
  }

  close() {
    this.#socket.close();
  }
}

/** Connects to a WebSocket server; null after saying why it cannot. */
export function connect(text, on) {
  const url = usable(text, plain.schemes);
  return url && new Signaling(plain.url(url), plain, on);
}

/** The same for Socket.IO, with its own client if the server has it. */
export async function connectSocketIo(text, info, on) {
  const url = usable(text, socketio.schemes);
  if (!url) return null;
  if (info?.hasSocketioClient) {
    const script = document.createElement("script");
    script.src = "../socket.io/socket.io.js";
    const loaded = new Promise((done) => (script.onload = script.onerror = done));
    document.head.append(script);
    await loaded;
    if (globalThis.io) return new Stock(globalThis.io, url, on);
  }
  return new Signaling(socketio.url(url), socketio, on);
}

// ── Media ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

const PICTURES_PER_SECOND = 15;

/** A moving picture, for a machine without a camera. */
function animation(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const hue = Math.floor(Math.random() * 360);
  let step = 0;
  const draw = () => {
    step += 1;
    context.fillStyle = `hsl(${hue} 45% 25%)`;
    context.fillRect(0, 0, width, height);
    context.fillStyle = `hsl(${hue + 40} 80% 65%)`;
    const turn = (step / PICTURES_PER_SECOND) * 2;
    context.beginPath();
    context.arc(width / 2 + (Math.cos(turn) * width) / 3, height / 2 + (Math.sin(turn) * height) / 3, height / 9, 0, 7);
    context.fill();
    context.font = `${Math.round(height / 8)}px sans-serif`;
    context.textAlign = "center";
    context.fillText(String(step), width / 2, height / 2);
  };
  draw();
  const timer = setInterval(draw, 1000 / PICTURES_PER_SECOND);
  const stream = canvas.captureStream(PICTURES_PER_SECOND);
  const track = stream.getVideoTracks()[0];
  const stop = track.stop.bind(track);
  track.stop = () => {
    clearInterval(timer);
    stop();
  };
  return stream;
}

function whyNoCamera(error) {
  if (!navigator.mediaDevices) {
    return T("A browser gives the camera only to pages over HTTPS or from this machine. A moving picture is sent instead.");
  }
  switch (error.name) {
    case "NotAllowedError":
      return T("The browser was not allowed to use the camera. A moving picture is sent instead.");
    case "NotFoundError":
    case "OverconstrainedError":
      return T("No camera was found. A moving picture is sent instead.");
    default:
      return T("The camera does not work, or another program uses it. A moving picture is sent instead.");
  }
}

/** The camera and, if wanted, the microphone; or the moving picture. `size` is like "640x480". */
export async function media({ camera = true, audio = false, size = "640x480" } = {}) {
  const [width, height] = size.split("x").map(Number);
  if (!camera) return animation(width, height);
  const video = { width: { ideal: width }, height: { ideal: height } };
  let why;
  for (const wanted of audio ? [{ video, audio }, { video }] : [{ video }]) {
    try {
      return await navigator.mediaDevices.getUserMedia(wanted);
    } catch (error) {
      why = error;
    }
  }
  const key = whyNoCamera(why);
  fail(key);
  return animation(width, height);
}

export function stop(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}

/** Plays a stream. A browser that plays no sound before a click plays it without. */
export function play(video, stream) {
  if (video.srcObject === stream) return;
  video.srcObject = stream;
  if (!stream) return;
  video.play().catch((error) => {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    video.play().catch(() => {});
    log(T("The browser plays the sound only after a click on the video."));
    video.addEventListener("click", () => (video.muted = false), { once: true });
  });
}

/** A place for a remote video, with a caption and numbers. */
export function tile(grid, key, values) {
  const figure = document.createElement("figure");
  const video = document.createElement("video");
  Object.assign(video, { autoplay: true, playsInline: true });
  const caption = document.createElement("figcaption");
  const text = document.createElement("span");
  const numbers = document.createElement("output");
  numbers.className = "numbers";
  caption.append(text, numbers);
  figure.append(video, caption);
  grid.append(figure);
  const tell = (key, values) => {
    put(text, key, values);
    label(video, key, values);
  };
  tell(key, values);
  return { figure, video, numbers, tell };
}

// ── Connections ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** How long a description waits for candidates if none can be sent after it, in ms. */
const GATHERING_MAX = 1500;

/** A connection that fails again within this time after a restart of ICE is not helped by another one, in ms. */
const RESTART_PROVEN = 60_000;

/**
 * An RTCPeerConnection with perfect negotiation (W3C WebRTC §10.7). Everything is done in order, one step after the other.
 *
 * - `send({ description })` and `send({ candidate })` go to the other side.
 * - `offers`: `"first"`, `"later"` (once the other side has offered) or `"never"`.
 * - `polite`: whether this side gives way if both offer, or a function of the other side's offer.
 * - `trickle`: whether candidates can be sent on their own. Otherwise a description waits for them.
 * - `repeats`: whether an offer that collides is sent again, because the other side may not have been there for it.
 * - `restarts`: whether it restarts ICE by itself when it fails.
 * - `on.stream(stream)`, `on.state(state)`, `on.candidate(candidate)` for each own one, `on.glare(gaveWay)`, and
 *   `on.hopeless()` if it fails again soon after it has restarted ICE.
 */
export class Peer {
  #steps = Promise.resolve();
  #early = [];
  #isIgnoring = false;
  #isNeeded = false;
  #isClosed = false;
  #restarted = -Infinity;
  #o;

  constructor(options) {
    this.#o = { offers: "first", polite: true, trickle: true, restarts: false, on: {}, ...options };
    const { config, stream, trickle, send, on } = this.#o;
    this.pc = new RTCPeerConnection(config);
    this.pc.ontrack = ({ track, streams }) => on.stream?.(streams[0] ?? new MediaStream([track]));
    this.pc.onicecandidate = ({ candidate }) => {
      if (this.#isClosed) return;
      if (candidate) on.candidate?.(candidate);
      if (candidate && trickle) send({ candidate: candidate.toJSON() });
    };
    this.pc.onconnectionstatechange = () => {
      const state = this.pc.connectionState;
      on.state?.(state);
      if (state === "failed" && this.#o.restarts && this.#o.offers === "first") this.#recover();
    };
    this.pc.onnegotiationneeded = () => {
      if (this.#o.offers !== "first") return;
      this.#isNeeded = true;
      this.#step(() => this.#offer());
    };
    this.setStream(stream);
  }

  /** Sends these tracks, or none. Where there are none, the first offer asks for the other side's. */
  setStream(stream) {
    for (const sender of this.pc.getSenders()) if (sender.track) this.pc.removeTrack(sender);
    stream?.getTracks().forEach((track) => this.pc.addTrack(track, stream));
    if (this.#o.offers !== "first") return;
    const kinds = this.pc.getTransceivers().map(({ receiver }) => receiver.track.kind);
    for (const kind of ["audio", "video"]) if (!kinds.includes(kind)) this.pc.addTransceiver(kind, { direction: "recvonly" });
  }

  /** Whether a description is from the same connection of the other side as the last one. */
  continues({ sdp }) {
    const known = this.pc.remoteDescription;
    return !known || fingerprints(known) === fingerprints({ sdp });
  }

  /** Whether a description was on its way when this side hung up. Its sender may keep its certificate, but not its session. */
  hasMet({ sdp }) {
    const known = this.pc.remoteDescription;
    return Boolean(known) && this.continues({ sdp }) && session(known) === session({ sdp });
  }

  /** Takes an offer or an answer of the other side. */
  description(description) {
    return this.#step(async () => {
      const { pc } = this;
      const isOffer = description.type === "offer";
      // An offer that was sent again, and has arrived before.
      if (isOffer && pc.remoteDescription && origin(pc.remoteDescription) === origin(description)) return;
      const collides = isOffer && pc.signalingState !== "stable";
      if (collides) {
        const { polite } = this.#o;
        const gaveWay = typeof polite === "function" ? polite(description, pc.localDescription) : polite;
        this.#isIgnoring = !gaveWay;
        this.#o.on.glare?.(gaveWay);
        if (!gaveWay && this.#o.repeats) this.#o.send({ description: pc.localDescription.toJSON() });
        if (!gaveWay) return;
        await this.#takeBack();
      }
      // A second answer, or one to an offer that was taken back.
      if (!isOffer && pc.signalingState !== "have-local-offer") return;
      this.#isIgnoring = false;
      await pc.setRemoteDescription(description);
      if (this.#o.offers === "later") this.#o.offers = "first";
      for (const candidate of this.#early.splice(0)) await this.#add(candidate);
      if (!isOffer) return;
      // The answer serves the wish that the other side's offer came across; the browser asks again for what it does not.
      this.#isNeeded = false;
      await pc.setLocalDescription();
      await this.#describe();
    });
  }

  /** Takes a candidate of the other side, which may come before the description that it belongs to. */
  candidate(candidate) {
    return this.#step(() => {
      if (!this.pc.remoteDescription) return void this.#early.push(candidate);
      return this.#add(candidate);
    });
  }

  close() {
    this.#isClosed = true;
    this.pc.close();
  }

  /** Restarts ICE. If that was of no use a moment ago, only another connection may help. */
  #recover() {
    const now = Date.now();
    if (this.#o.on.hopeless && now - this.#restarted < RESTART_PROVEN) return this.#o.on.hopeless();
    this.#restarted = now;
    this.pc.restartIce();
  }

  /** Takes its own offer back, and what was in it only to receive: the other side's offer has its own. */
  async #takeBack() {
    await this.pc.setLocalDescription({ type: "rollback" });
    for (const transceiver of this.pc.getTransceivers()) {
      if (transceiver.mid === null && !transceiver.sender.track) transceiver.stop();
    }
  }

  async #offer() {
    if (!this.#isNeeded || this.pc.signalingState !== "stable") return;
    this.#isNeeded = false;
    await this.pc.setLocalDescription();
    await this.#describe();
  }

  async #describe() {
    if (!this.#o.trickle) await gathered(this.pc);
    if (!this.#isClosed) this.#o.send({ description: this.pc.localDescription.toJSON() });
  }

  async #add(candidate) {
    try {
      await this.pc.addIceCandidate(candidate ?? undefined);
    } catch (error) {
      // Candidates of an offer that was not taken, or of a connection before this one.
      if (!this.#isIgnoring && error.name !== "OperationError") throw error;
    }
  }

  #step(work) {
    const step = this.#steps.then(() => (this.#isClosed ? undefined : work()));
    this.#steps = step.catch((error) => {
      if (this.#isClosed) return;
      log(T("What the other side sent cannot be used: {why}"), { why: String(error?.message ?? error).slice(0, 200) });
    });
    return this.#steps;
  }
}

/** The line that is different in each description of a connection (RFC 9429 §5.2.1). */
const origin = ({ sdp }) => String(sdp).match(/^o=.*$/m)?.[0];

/** What stays the same in all descriptions of a connection (RFC 9429 §5.2.1). */
const session = (description) => origin(description)?.split(" ")[1];

const fingerprints = ({ sdp }) => String(sdp).match(/^a=fingerprint:.*$/gm)?.join();

function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((done) => {
    setTimeout(done, GATHERING_MAX);
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && done());
  });
}

/** For sides without names: the one whose offer comes first in the alphabet gives way. Both sides decide alike. */
export const politeByText = (theirs, ours) => String(ours?.sdp) < String(theirs.sdp);

// ── Statistics ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The numbers of a connection: video received, the selected pair, the time of a round trip. */
export async function statistics(pc) {
  const numbers = { frames: 0, bytes: 0, sent: 0 };
  const byId = new Map();
  (await pc.getStats()).forEach((report) => byId.set(report.id, report));
  let selected;
  for (const report of byId.values()) {
    if (report.type === "inbound-rtp" && report.kind === "video") {
      numbers.frames += report.framesDecoded ?? 0;
      numbers.bytes += report.bytesReceived ?? 0;
      numbers.size = report.frameWidth ? `${report.frameWidth}×${report.frameHeight}` : numbers.size;
    }
    if (report.type === "outbound-rtp" && report.kind === "video") {
      numbers.sent += report.framesSent ?? 0;
      numbers.bytes += report.bytesSent ?? 0;
    }
    if (report.type === "transport") selected = byId.get(report.selectedCandidatePairId) ?? selected;
    if (report.type === "candidate-pair" && report.selected) selected ??= report;
  }
  if (selected) {
    const [local, remote] = [byId.get(selected.localCandidateId), byId.get(selected.remoteCandidateId)];
    numbers.pair = `${local?.candidateType ?? "?"} ⇄ ${remote?.candidateType ?? "?"}`;
    numbers.rtt = Math.round((selected.currentRoundTripTime ?? 0) * 1000);
  }
  return numbers;
}

/** Shows the numbers of a connection every second until it is closed. */
export function showNumbers(peer, output) {
  let before = 0;
  const timer = setInterval(async () => {
    if (peer.pc.signalingState === "closed") {
      clearInterval(timer);
      output.textContent = "";
      return;
    }
    const { frames, sent, bytes, size = "–", pair = "–", rtt = "–" } = await statistics(peer.pc);
    const rate = Math.round(((bytes - before) * 8) / 1000);
    before = bytes;
    const values = { frames, sent, size, pair, rtt, rate };
    put(output, T("{size} · {frames} frames received, {sent} sent · {rate} kbit/s · {pair} · {rtt} ms"), values);
  }, 1000);
}
