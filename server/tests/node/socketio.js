// `node socketio.js BROADCAST_URL CALL_URL`: plays both Socket.IO dialects with socket.io-client in its three modes.
// Exits with 0 when all came as it should; what did not is on stderr.
import assert from "node:assert/strict";
import { once } from "node:events";
import { io } from "socket.io-client";

const [broadcast, call] = process.argv.slice(2);
const MODES = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };

setTimeout(() => {
  console.error("not done after 300 s");
  process.exit(1);
}, 300_000).unref();

/** The connections of all sockets. */
const engines = new Set();

/** A socket that keeps what it receives until `next` or `hears` takes it. */
function open(url, transports, options = {}) {
  const socket = io(url, { transports, forceNew: true, reconnection: false, ...options });
  engines.add(socket.io.engine);
  socket.on("connect", () => engines.add(socket.io.engine));
  const heard = [];
  const waiting = [];
  socket.onAny((...event) => (waiting.shift() ?? ((e) => heard.push(e)))(event));
  socket.next = () => (heard.length ? heard.shift() : new Promise((resolve) => waiting.push(resolve)));
  socket.hears = async (...event) => assert.deepEqual(await socket.next(), event);
  socket.on("disconnect", (reason) => {
    if (reason !== "io client disconnect") socket.lost = reason;
  });
  return socket;
}

async function connected(url, transports) {
  const socket = open(url, transports);
  await once(socket, "connect");
  return socket;
}

async function plays(mode, transports) {
  const a = open(broadcast, transports);
  const upgraded = mode === "upgrade" && once(a.io.engine, "upgrade");
  await once(a, "connect");
  // Sent while the transport changes: nothing may be lost, doubled or overtaken.
  for (let n = 0; n < 100; n++) a.emit("send-offer", n, { sdp: "v=0\r\n" });
  for (let n = 0; n < 100; n++) await a.hears("receive-offer", n, { sdp: "v=0\r\n" });
  await upgraded;
  assert.equal(a.io.engine.transport.name, mode === "polling" ? "polling" : "websocket");

  const b = await connected(broadcast, transports);
  assert.notEqual(a.id, b.id);
  const everyone = [a, b];
  const odd = { __proto__x: null, "é\u2028😀": [1.5, "\ud800", { "": true }] };
  b.emit("send-answer", odd);
  for (const socket of everyone) await socket.hears("receive-answer", odd);
  const binary = { video: Buffer.from([0, 1, 255]), more: [Buffer.alloc(100_000, 7)] };
  b.emit("send-offer", binary, Buffer.alloc(0));
  for (const socket of everyone) await socket.hears("receive-offer", binary, Buffer.alloc(0));
  const large = "é".repeat(300_000);
  a.emit("send-offer", large);
  for (const socket of everyone) await socket.hears("receive-offer", large);
  assert.deepEqual(await a.timeout(60_000).emitWithAck("send-answer", 1), undefined);
  for (const socket of everyone) await socket.hears("receive-answer", 1);
  // Several pings long.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  for (const socket of everyone) {
    assert.equal(socket.lost, undefined);
    assert.equal(socket.connected, true);
  }

  const stranger = open(`${broadcast}/admin`, transports);
  const [error] = await once(stranger, "connect_error");
  assert.equal(error.message, "Invalid namespace");
  stranger.disconnect();
  a.disconnect();
  b.emit("send-offer", "still there");
  await b.hears("receive-offer", "still there");
  b.disconnect();
  a.connect();
  await once(a, "connect");
  a.disconnect();
}

async function calls(transports) {
  const [a, b] = [await connected(call, transports), await connected(call, transports)];
  a.emit("join", { username: "A" });
  await a.hears("userList", ["A"]);
  b.emit("join", { username: "B" });
  for (const socket of [a, b]) await socket.hears("userList", ["A", "B"]);
  a.emit("call", { target: "B" });
  await b.hears("incomingCall", { caller: "A", callerId: a.id });
  b.emit("callResponse", { accepted: true, caller: "A", callerId: a.id });
  await a.hears("callAnswered", { accepted: true, target: "B" });
  a.emit("offer", { target: "B", offer: { type: "offer", sdp: "v=0" } });
  await b.hears("offer", { offer: { type: "offer", sdp: "v=0" }, caller: "A" });
  b.emit("iceCandidate", { target: "A", candidate: null });
  await a.hears("iceCandidate", { candidate: null, sender: "B" });
  a.emit("video-offer", { target: "B", sdp: {} });
  await b.hears("video-offer", { name: "A", target: "B", sdp: {} });
  a.emit("zzz");
  const [name, { code }] = await a.next();
  assert.deepEqual([name, code], ["error", "invalid-message"]);
  a.disconnect();
  await b.hears("callEnded", { caller: "A" });
  await b.hears("userList", ["B"]);
  b.disconnect();
}

for (const [mode, transports] of Object.entries(MODES)) {
  await plays(mode, transports);
  await calls(transports);
  console.log(`${mode} is well`);
}
// On a busy machine the last packets may still be on their way, or an upgrade may still be running.
for (const engine of engines) {
  if (engine.readyState !== "closed") await once(engine, "close");
}
process.exit(0);
