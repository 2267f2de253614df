// `node mesh.js MESH_URL`: two clients of npm's ws meet in a room. Exits with 0 when all came as it should.
import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";

const [url] = process.argv.slice(2);

setTimeout(() => {
  console.error("not done after 300 s");
  process.exit(1);
}, 300_000).unref();

async function connected() {
  const socket = new WebSocket(url);
  const heard = [];
  const waiting = [];
  socket.on("message", (data) => (waiting.shift() ?? ((text) => heard.push(text)))(data.toString()));
  socket.next = () => (heard.length ? heard.shift() : new Promise((resolve) => waiting.push(resolve)));
  socket.say = (message) => socket.send(JSON.stringify(message));
  await once(socket, "open");
  return socket;
}

const [a, b] = [await connected(), await connected()];
a.say({ action: "join", roomId: "demo", name: "Ana" });
const { clientId: ana, peers } = JSON.parse(await a.next());
assert.deepEqual(peers, []);
b.say({ action: "join", roomId: "demo" });
const joined = JSON.parse(await b.next());
assert.deepEqual(joined.peers, [{ clientId: ana, name: "Ana" }]);
const ben = joined.clientId;
assert.deepEqual(JSON.parse(await a.next()), { action: "peer-joined", roomId: "demo", peer: { clientId: ben } });

const data = '{ "z": 1.0, "sdp":"v=0\\r\\n\\u00e9" }';
a.send(`{"action":"signal","roomId":"demo","type":"offer","data":${data},"to":"${ben}"}`);
assert.equal(await b.next(), `{"action":"signal","roomId":"demo","from":"${ana}","type":"offer","data":${data}}`);
const large = "x".repeat(200_000);
b.say({ action: "signal", roomId: "demo", type: "answer", data: large });
assert.equal(JSON.parse(await a.next()).data, large);
b.say({ action: "signal", roomId: "demo", type: "answer", data: "x".repeat(262_144) });
assert.deepEqual(JSON.parse(await b.next()), { action: "error", message: "Message too large" });
a.ping("still there?");
assert.equal((await once(a, "pong"))[0].toString(), "still there?");

b.close(4000, "done");
const [code] = await once(b, "close");
assert.equal(code, 4000);
assert.deepEqual(JSON.parse(await a.next()), { action: "peer-left", roomId: "demo", clientId: ben });
a.send(Buffer.from("{}"));
assert.equal((await once(a, "close"))[0], 1003);
console.log("mesh is well");
process.exit(0);
