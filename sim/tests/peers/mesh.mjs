// A peer of the protocol `mesh` on npm `werift`: it joins a room, connects to every other member, and sends each of them
// a text over a data channel.
//
// Where and as whom to join is in the environment: GLARE_URL, GLARE_ROOM, GLARE_NAME, GLARE_STUN. Orders arrive on standard
// input and reports go to standard output, one JSON object a line.
import { createInterface } from "node:readline";
import { RTCPeerConnection, RTCSctpTransport } from "werift";
import WebSocket from "ws";

// Both sides should start the SCTP association (RFC 8841 §9.3). werift starts it if it controls ICE, and then answers no start of
// the other side; stacks that start it if they are the DTLS client, as Glare's does, never get through to it. The DTLS role
// is known to both sides.
Object.defineProperty(RTCSctpTransport.prototype, "isServer", { get() { return this.dtlsTransport.role === "server"; } });

const { GLARE_URL: url, GLARE_ROOM: roomId, GLARE_NAME: name, GLARE_STUN: stun } = process.env;
const peers = new Map();
let socket;
let leaving = false;

const report = (event, peer, more) => console.log(JSON.stringify({ event, peer, ...more }));
const send = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));

class Peer {
  early = [];

  constructor(them) {
    this.them = them;
    this.connection = new RTCPeerConnection({ iceServers: stun ? [{ urls: stun }] : [] });
    this.connection.connectionStateChange.subscribe((state) => report("state", them, { state }));
    this.connection.onDataChannel.subscribe((channel) => this.use(channel));
    this.connection.onIceCandidate.subscribe((candidate) => {
      if (candidate) this.signal("ice-candidate", candidate.toJSON());
    });
  }

  use(channel) {
    this.channel = channel;
    channel.onMessage.subscribe((data) => report("received", this.them, { text: data.toString() }));
    const opened = () => {
      report("channel", this.them);
      this.say(`hello from ${name}`);
    };
    if (channel.readyState === "open") opened();
    else channel.stateChanged.subscribe((state) => state === "open" && opened());
  }

  say(text) {
    if (this.channel?.readyState !== "open") return;
    this.channel.send(text);
    report("sent", this.them, { text });
  }

  signal(type, data) {
    send({ action: "signal", roomId, to: this.them, type, data });
  }

  async describe(description) {
    // Candidates follow as they are found.
    await this.connection.setLocalDescription(description);
    const { type, sdp } = this.connection.localDescription;
    this.signal(type, { type, sdp });
  }

  async offer() {
    this.use(this.connection.createDataChannel("data"));
    await this.describe(await this.connection.createOffer());
  }

  async take(data) {
    await this.connection.setRemoteDescription(data);
    for (const candidate of this.early.splice(0)) await this.add(candidate);
    if (data.type === "offer") await this.describe(await this.connection.createAnswer());
  }

  async add(candidate) {
    if (!candidate?.candidate) return;
    if (!this.connection.remoteDescription) this.early.push(candidate);
    else await this.connection.addIceCandidate(candidate);
  }
}

const drop = async (them) => {
  const peer = peers.get(them);
  peers.delete(them);
  await peer?.connection.close();
};

const renew = async (them) => {
  await drop(them);
  peers.set(them, new Peer(them));
  return peers.get(them);
};

async function handle(message) {
  const them = message.from ?? message.clientId ?? message.peer?.clientId;
  if (message.action === "peer-joined") return (await renew(them)).offer();
  if (message.action === "peer-left") return drop(them);
  if (message.action === "error") return console.log(`error: ${message.message}`);
  if (message.action !== "signal") return;
  if (message.type === "offer") return (await renew(them)).take(message.data);
  if (message.type === "answer") return peers.get(them)?.take(message.data);
  if (message.type === "ice-candidate") return peers.get(them)?.add(message.data);
  if (message.type === "hangup") return drop(them);
}

/** Is in the room until it is to leave, and joins again whenever the connection breaks. */
function listen(attempt = 0) {
  let done = Promise.resolve();
  socket = new WebSocket(url);
  socket.on("open", () => {
    attempt = 0;
    send({ action: "join", roomId, name });
  });
  // One after the other: a signal may need what the last one has done.
  socket.on("message", (text) => {
    done = done.then(() => handle(JSON.parse(text))).catch((error) => console.log(`error: ${error.message}`));
  });
  socket.on("error", (error) => console.log(`lost the signaling connection: ${error.message}`));
  socket.on("close", () => leaving || setTimeout(() => listen(attempt + 1), 1000 * Math.min(attempt + 1, 5)));
}

createInterface({ input: process.stdin }).on("line", async (line) => {
  const order = JSON.parse(line);
  if (order.op === "say") for (const peer of peers.values()) peer.say(order.text);
  if (order.op === "hangup") {
    peers.get(order.to)?.signal("hangup", {});
    await drop(order.to);
  }
  if (order.op === "leave") {
    leaving = true;
    send({ action: "leave", roomId });
    socket.close(1000);
    await Promise.all([...peers.keys()].map(drop));
    socket.on("close", () => process.exit(0));
    if (socket.readyState === WebSocket.CLOSED) process.exit(0);
  }
});

listen();
