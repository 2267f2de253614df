// What people and machines do wrong: a sentence on the page, nothing executed, and the page can be used again.
import assert from "node:assert/strict";
import { until } from "./stage.mjs";

const SCRIPT = `<script>window.pwned=1</script>`;

export async function play(stage) {
  const server = await stage.serve();
  await cameras(stage, server);
  const browser = await stage.browser();
  await addresses(stage, browser, server);
  await names(stage, browser, server);
  await messages(stage, browser, server);
  await tokens(stage, browser);
}

/** No camera, and one that the person does not allow: the moving picture is sent. */
async function cameras(stage, server) {
  for (const [flags, permission, sentence] of [
    [[], "granted", "No camera was found."],
    [["--use-fake-device-for-media-stream"], "denied", "The browser was not allowed to use the camera."],
  ]) {
    const browser = await stage.browser(flags);
    const tab = await stage.tab(browser, server, "mesh.html");
    await tab.page.browserContext().setPermission(new URL(server.page("")).origin, ...["camera", "microphone"].map((name) => ({ permission: { name }, state: permission })));
    await tab.click("#media");
    await tab.shows("#alert", sentence);
    await tab.plays("#local");
    await browser.close();
  }
}

/** What is no address, and an address where nobody is. */
async function addresses(stage, browser, server) {
  for (const [name, button] of [["mesh.html", "connect"], ["call.html", "join"], ["relay.html", "connect"], ["broadcast.html", "connect"], ["sender-viewer.html", "start"]]) {
    const tab = await stage.tab(browser, server, name);
    if (await tab.page.$("#name")) await tab.fill({ name: "ana" });
    if (await tab.page.$("#source")) await tab.fill({ source: "picture" });
    const right = await tab.page.$eval("#server", (field) => field.value);
    for (const [url, sentence] of [
      ["nonsense", "“nonsense” is not the address of a server"],
      ["", "“” is not the address of a server"],
      ["javascript:window.pwned=1", "is not the address of a server"],
      [`${right.startsWith("ws") ? "ws" : "http"}://127.0.0.1:1/`, "cannot be reached, or refuses this page."],
      [right.replace(/^(\w+:\/\/[^/]+)\/.*/, "$1/nowhere"), "cannot be reached, or refuses this page."],
    ]) {
      // At the ports of mesh and call, every path is theirs only if it is `/`.
      await tab.fill({ server: url });
      await tab.click(`#${button}`);
      await tab.shows("#alert", sentence);
    }
    await tab.fill({ server: right });
    await tab.click(`#${button}`);
    await until(() => tab.page.$eval("#alert", (alert) => alert.hidden), `${name} can be used again`);
    await unharmed(tab);
    await tab.page.close();
  }
}

/** Names that are too long, or that contain a script. */
async function names(stage, browser, server) {
  const mesh = await stage.tab(browser, server, "mesh.html");
  for (const [fields, sentence] of [
    [{ room: "x".repeat(10_000) }, "A room’s name has 1 to 64 characters; this one has 10000."],
    [{ room: "" }, "A room’s name has 1 to 64 characters; this one has 0."],
    [{ room: "demo", name: "😀".repeat(65) }, "A name has 1 to 64 characters; this one has 65."],
  ]) {
    await mesh.fill(fields);
    await mesh.click("#connect");
    await mesh.shows("#alert", sentence);
  }
  await mesh.fill({ room: SCRIPT, name: SCRIPT });
  await mesh.click("#connect");
  await mesh.shows("#note", SCRIPT);
  const other = await stage.tab(browser, server, "mesh.html");
  await other.fill({ room: SCRIPT, name: "😀".repeat(64) });
  await other.click("#connect");
  await other.shows("#videos", SCRIPT);
  await mesh.shows("#videos", "😀".repeat(64));
  const call = await stage.tab(browser, server, "call.html");
  await call.fill({ name: SCRIPT });
  await call.click("#join");
  const callee = await stage.tab(browser, server, "call.html");
  await callee.fill({ name: "ben", source: "picture" });
  await callee.click("#join");
  await callee.shows("#people", SCRIPT);
  await call.click('button[data-name="ben"]');
  await callee.shows("#caller", SCRIPT);
  for (const tab of [mesh, other, call, callee]) {
    await unharmed(tab);
    await tab.page.close();
  }
}

/** Another client sends what is no description and no candidate. */
async function messages(stage, browser, server) {
  const relay = await stage.tab(browser, server, "relay.html");
  await relay.fill({ source: "picture" });
  await relay.click("#connect");
  await relay.shows("#note", "You are in the room");
  const attacker = await stage.tab(browser, server, "relay.html");
  await attacker.page.evaluate(async (url, script) => {
    const socket = new WebSocket(url);
    await new Promise((done) => (socket.onopen = done));
    const long = "x".repeat(200_000);
    for (const message of [
      { type: "offer" },
      { type: "offer", offer: null },
      { type: "offer", offer: script },
      { type: "offer", offer: { type: "offer", sdp: script } },
      { type: "offer", offer: { type: script, sdp: long } },
      { type: "answer", answer: { type: "answer", sdp: "v=0" } },
      { type: "candidate" },
      { type: "candidate", candidate: script },
      { type: "candidate", candidate: { candidate: script, sdpMid: script } },
      { type: "candidate", candidate: { candidate: "candidate:1 1 udp 1 <b>x</b> 9 typ host", sdpMid: "0" } },
    ]) {
      socket.send(JSON.stringify(message));
    }
    globalThis.socket = socket;
  }, `ws://127.0.0.1:${server.ports["http-port"]}/relay?room=demo`, SCRIPT);
  await relay.logged("What the other side sent cannot be used");
  await unharmed(relay);
  // A call works all the same.
  await attacker.page.evaluate(() => globalThis.socket.close());
  await attacker.fill({ source: "picture" });
  await attacker.click("#connect");
  await relay.click("#call");
  for (const tab of [relay, attacker]) await tab.meets(1);
  for (const tab of [relay, attacker]) await tab.page.close();
}

/** A server that asks for a token: a sentence without one, and everything with the one behind `#`. */
async function tokens(stage, browser) {
  const server = await stage.serve("--tokens", "secret-token", "--admin-token", "admin-token");
  const without = await stage.tab(browser, server, "mesh.html");
  await without.click("#connect");
  await without.shows("#alert", "cannot be reached, or refuses this page.");
  const status = await stage.tab(browser, server, "status.html");
  await status.shows("#alert", "The server refused ../api/status");
  const people = [];
  for (let n = 0; n < 2; n++) {
    const tab = await stage.tab(browser, server, "mesh.html", { hash: "#token=secret-token" });
    await tab.fill({ source: "picture" });
    await tab.click("#media");
    await tab.click("#connect");
    people.push(tab);
  }
  for (const tab of people) {
    await tab.meets(1);
    assert.ok(!(await tab.text("body")).includes("secret-token"), "the token is not shown");
  }
  const start = await stage.tab(browser, server, "", { hash: "#token=secret-token" });
  await start.shows("#dialects", "mesh");
  assert.ok((await start.text("#services")).includes("Open connections: –"), "counts need the admin token");
}

async function unharmed(tab) {
  assert.equal(await tab.page.evaluate(() => window.pwned), undefined, `${tab.page.url()}: nothing was executed`);
  assert.equal(await tab.page.evaluate(() => document.querySelectorAll("main script").length), 0);
}
