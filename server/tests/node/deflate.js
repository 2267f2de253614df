// `node deflate.js ECHO_URL`: npm's ws offers permessage-deflate in all its ways, and sends messages of many lengths and kinds
// that all come back, as in the cases 12 and 13 of Autobahn's test suite. Prints how many, and what the server agreed to.
import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";

const [url] = process.argv.slice(2);

setTimeout(() => {
  console.error("not done after 300 s");
  process.exit(1);
}, 300_000).unref();

const offers = {
  default: true,
  "none kept": { serverNoContextTakeover: true, clientNoContextTakeover: true },
  "server keeps none": { serverNoContextTakeover: true },
  "client keeps none": { clientNoContextTakeover: true },
  "windows of 9": { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
  "windows of 15": { serverMaxWindowBits: 15, clientMaxWindowBits: 15 },
  "windows of 9, none kept": {
    serverMaxWindowBits: 9,
    clientMaxWindowBits: 9,
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
  },
};

// Text like that of an SDP, and bytes without a pattern.
const words = ["a=candidate:", "typ host", "udp", "192.0.2.", "a=rtpmap:", "opus/48000/2", "é", "🙂", "\r\n"];
let state = 1;
const random = (below) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % below;
const text = (length) => {
  let made = "";
  while (made.length < length) made += words[random(words.length)] + random(1000);
  return made.slice(0, length).replace(/[\ud800-\udbff]$/u, ".");
};
const bytes = (length) => Buffer.from(Array.from({ length }, () => random(251)));

let messages = 0;
for (const [name, perMessageDeflate] of Object.entries(offers)) {
  const socket = new WebSocket(url, { perMessageDeflate: perMessageDeflate === true || { threshold: 0, ...perMessageDeflate } });
  socket.once("upgrade", (response) => console.log(`${name}: ${response.headers["sec-websocket-extensions"]}`));
  await once(socket, "open");
  for (const length of [0, 1, 16, 63, 64, 125, 126, 127, 256, 1024, 4096, 8192, 32_768, 65_535, 65_536, 131_072]) {
    for (let time = 0; time < 4; time += 1) {
      for (const message of [text(length), bytes(length), Buffer.alloc(length, "x"), "x".repeat(length)]) {
        // In one frame, and in three.
        if (time % 2 || length < 3) {
          socket.send(message);
        } else {
          const binary = typeof message !== "string";
          const [a, b] = [Math.floor(length / 3), Math.floor((2 * length) / 3)];
          const parts = [[0, a], [a, b], [b, length]].map((part) => Buffer.from(message).subarray(...part));
          const rest = Buffer.from(message).subarray(length);
          socket.send(parts[0], { fin: false, binary });
          socket.ping();
          socket.send(parts[1], { fin: false, binary });
          socket.send(Buffer.concat([parts[2], rest]), { binary });
        }
        const [back, isBinary] = await once(socket, "message");
        assert.equal(isBinary, typeof message !== "string");
        assert.ok(back.equals(Buffer.from(message)), `${name}: ${length} bytes, ${messages}`);
        messages += 1;
      }
    }
  }
  socket.close(1000);
  const [code] = await once(socket, "close");
  assert.equal(code, 1000);
}
console.log(`${messages} messages came back`);
process.exit(0);
