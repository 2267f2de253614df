// The same with Socket.IO's own client, from the file that a person names; and that client as the original page uses it: with bare
// names as arguments.
import assert from "node:assert/strict";
import { calls } from "./calls.mjs";
import { until } from "./stage.mjs";

export async function play(stage) {
  const client = `${stage.modules}/node_modules/socket.io-client/dist/socket.io.min.js`;
  const settings = ["--socketio-client", client];
  await calls(stage, "call-socketio", ...settings);

  const server = await stage.serve(...settings);
  const origin = `http://127.0.0.1:${server.ports["call-socketio-port"]}`;
  const browser = await stage.browser();
  const page = await browser.newPage({ type: "window" });
  await page.goto(`${origin}/healthz`);
  await page.addScriptTag({ url: `${origin}/socket.io/socket.io.js` });
  await page.evaluate(() => {
    globalThis.heard = [];
    globalThis.socket = globalThis.io();
    globalThis.socket.onAny((...event) => globalThis.heard.push(event));
    globalThis.socket.on("connect", () => globalThis.socket.emit("join", "origin"));
  });
  const heard = (wanted) => until(() => page.evaluate((wanted) => globalThis.heard.find(([name]) => name === wanted), wanted), `${wanted} is heard`);
  assert.deepEqual(await heard("userList"), ["userList", ["origin"]]);
  const ana = await stage.tab(browser, server, "call.html");
  await ana.choose("over", "call-socketio");
  await ana.fill({ name: "ana" });
  await ana.click("#join");
  await ana.shows("#people", "Call origin");
  await page.evaluate(() => globalThis.socket.emit("call", "ana"));
  await ana.shows("#caller", "origin is calling.");
  await page.evaluate(() => globalThis.socket.emit("endCall", "ana"));
  await ana.logged("origin has ended the call.");
  await ana.click('button[data-name="origin"]');
  const [, { caller, callerId }] = await heard("incomingCall");
  assert.equal(caller, "ana");
  await page.evaluate((callerId) => globalThis.socket.emit("callResponse", { accepted: false, caller: "ana", callerId }), callerId);
  await ana.shows("#alert", "origin rejected the call.");
}
