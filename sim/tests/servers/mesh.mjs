// A signaling server of the protocol `mesh` on npm `ws`: rooms whose members are told of each other and exchange signals.
import { randomBytes } from 'node:crypto';
import { WebSocketServer } from 'ws';

const port = Number(process.env.PORT ?? 8787);
const rooms = new Map();
const others = (client) => [...(rooms.get(client.room) ?? [])].filter((other) => other !== client);
// Some servers send their messages in binary frames.
const frame = (text) => (process.env.BINARY ? Buffer.from(text) : text);
const say = (to, message) => to.forEach((client) => client.send(frame(JSON.stringify(message))));

function leave(client) {
  if (client.room === undefined) return;
  const { room: roomId, id: clientId } = client;
  rooms.get(roomId).delete(client);
  say([...rooms.get(roomId)], { action: 'peer-left', roomId, clientId });
  if (rooms.get(roomId).size === 0) rooms.delete(roomId);
  client.room = undefined;
}

function handle(client, { action, roomId, type, data, to, name }) {
  if (action === 'join') {
    if (client.room !== roomId) leave(client);
    if (!rooms.has(roomId)) rooms.set(roomId, new Set());
    const isNew = client.room === undefined;
    client.room = roomId;
    const peers = others(client).map((other) => ({ clientId: other.id, name: other.name }));
    client.name = name;
    say([client], { action: 'joined', roomId, clientId: client.id, peers });
    if (isNew) say(others(client), { action: 'peer-joined', roomId, peer: { clientId: client.id, name } });
    rooms.get(roomId).add(client);
  } else if (client.room !== roomId) {
    say([client], { action: 'error', message: 'Not in this room' });
  } else if (action === 'leave') {
    leave(client);
  } else {
    const targets = others(client).filter((other) => to === undefined || other.id === to);
    if (to !== undefined && targets.length === 0) say([client], { action: 'error', message: `Target client ${to} not found or not in room` });
    say(targets, { action: 'signal', roomId, from: client.id, type, data });
  }
}

const server = new WebSocketServer({ port }, () => console.log(`listening on ${port}`));
server.on('connection', (client, request) => {
  client.id = randomBytes(5).toString('hex');
  client.answered = true;
  console.log(`${client.id} connects from ${request.socket.remoteAddress}`);
  client.on('message', (text) => handle(client, JSON.parse(text)));
  client.on('pong', () => (client.answered = true));
  client.on('error', () => client.terminate());
  client.on('close', () => leave(client));
});
setInterval(() => {
  for (const client of server.clients) {
    if (!client.answered) client.terminate();
    client.answered = false;
    client.ping();
  }
}, 20_000);
process.on('SIGTERM', () => {
  for (const client of server.clients) client.close(1001);
  server.close(() => process.exit(0));
});
