// A server of rooms on protoo-server, which its users build like this: the library carries requests, responses and
// notifications, and the application says what they mean.
const http = require("http");
const protoo = require("protoo-server");

const rooms = new Map();
const server = http.createServer((_, response) => response.writeHead(404).end());
const sockets = new protoo.WebSocketServer(server, {
  maxReceivedFrameSize: 960_000,
  maxReceivedMessageSize: 960_000,
  fragmentOutgoingMessages: false,
});

sockets.on("connectionrequest", ({ request }, accept, reject) => {
  const query = new URL(request.url, "http://localhost").searchParams;
  const [roomId, peerId] = [query.get("roomId"), query.get("peerId")];
  if (!roomId || !peerId) return reject(400, "roomId and peerId are needed");
  if (!rooms.has(roomId)) rooms.set(roomId, new protoo.Room());
  const room = rooms.get(roomId);
  // Who reconnects takes the place of the connection that it has lost.
  if (room.hasPeer(peerId)) room.getPeer(peerId).close();
  const peer = room.createPeer(peerId, accept());
  const others = () => room.peers.filter((other) => other !== peer && other.data.joined);
  peer.on("request", (request, accept, reject) => handle(room, peer, others, request, accept, reject));
  peer.on("close", () => {
    if (peer.data.joined) others().forEach((other) => other.notify("peerClosed", { peerId }).catch(() => {}));
    if (room.peers.length === 0 && rooms.get(roomId) === room) rooms.delete(roomId);
  });
});

function handle(room, peer, others, { method, data }, accept, reject) {
  if (method === "join") {
    const info = ({ id, data: { displayName } }) => ({ id, displayName });
    const isNew = !peer.data.joined;
    peer.data.displayName = typeof data.displayName === "string" ? data.displayName : undefined;
    peer.data.joined = true;
    accept({ peers: others().map(info) });
    if (isNew) others().forEach((other) => other.notify("newPeer", info(peer)).catch(() => {}));
  } else if (method === "signal") {
    const { to, kind } = data;
    if (!peer.data.joined) return reject(403, "not joined");
    if (typeof to !== "string" || typeof kind !== "string" || !("data" in data)) return reject(400, "not a signal");
    const other = others().find(({ id }) => id === to);
    if (!other) return reject(404, "no such peer");
    other.request("signal", { from: peer.id, kind, data: data.data }).catch(() => {});
    accept();
  } else {
    reject(404, "no such method");
  }
}

server.listen(Number(process.env.PORT), process.env.HOST ?? "127.0.0.1");
