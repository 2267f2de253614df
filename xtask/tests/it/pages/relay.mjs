// A caller and a callee, whose candidates are listed; both calling at once; an offer that nobody heard; TURN alone.
import assert from "node:assert/strict";
import { until } from "./stage.mjs";

export async function play(stage) {
  const server = await stage.serve("--turn-secret", "a secret for a test", "--turn-allow-private-peers");
  const browser = await stage.browser();
  const peer = async (source, only = false) => {
    const tab = await stage.tab(browser, server, "relay.html");
    await tab.fill({ source, only });
    await tab.click("#connect");
    await tab.shows("#note", "You are in the room");
    return tab;
  };
  const [caller, callee] = [await peer("camera"), await peer("picture")];
  const begun = Date.now();
  await caller.click("#call");
  for (const tab of [caller, callee]) await tab.meets(1);
  console.log(`relay: video ${Date.now() - begun} ms after the call`);
  await callee.logged("connected");
  const types = (tab) => tab.page.$$eval("#candidates tr", (rows) => [...new Set(rows.map((row) => row.dataset.type))].sort());
  for (const tab of [caller, callee]) {
    // Whether others come depends on whether they are found before the connection is there.
    await until(async () => (await types(tab)).includes("host"), "a host candidate");
    await tab.shows("#pair", "⇄");
  }
  await stage.picture(caller, "relay");

  // A reload of the callee, and the new page calls: the other one answers.
  await callee.page.reload();
  await callee.fill({ source: "picture" });
  await callee.click("#connect");
  await callee.click("#call");
  for (const tab of [caller, callee]) await tab.meets(1);

  // Both at once.
  let collisions = 0;
  for (let round = 0; round < 3 || (round < 20 && collisions === 0); round++) {
    await Promise.all([caller, callee].map((tab) => tab.page.$eval("#call", (button) => button.click())));
    for (const tab of [caller, callee]) await tab.meets(1);
    const logs = await Promise.all([caller, callee].map((tab) => tab.text("#log")));
    collisions = logs.filter((log) => log.includes("Both offered")).length;
  }
  assert.ok(collisions > 0, "both called at once");

  // An offer that nobody was there to hear does not stand in the way of one that comes later.
  await callee.click("#disconnect");
  await caller.click("#call");
  await caller.shows("#note", "You are the caller.");
  await callee.click("#connect");
  await callee.click("#call");
  for (const tab of [caller, callee]) await tab.meets(1);
  await caller.click("#hangup");
  await caller.alone();
  await callee.shows("#videos", "disconnected");

  // What the callee sent before it knew is no new call; what another connection sends is one.
  await listen(callee);
  await callee.click("#call");
  for (const tab of [caller, callee]) await tab.meets(1);
  await caller.click("#hangup");
  await say(callee, { type: "offer", offer: await heard(callee) });
  await caller.logged("before it knew that you have hung up");
  assert.equal((await caller.page.$$("#videos figure")).length, 1);
  assert.ok((await caller.text("#note")).includes("You have hung up"));
  await callee.click("#call");
  for (const tab of [caller, callee]) await tab.meets(1);
  await Promise.all([caller, callee].map((tab) => tab.page.close()));

  // TURN alone: every packet goes through the server.
  const [one, two] = [await peer("camera", true), await peer("picture", true)];
  const called = Date.now();
  await one.click("#call");
  for (const tab of [one, two]) await tab.meets(1);
  console.log(`relay: video ${Date.now() - called} ms after the call, through TURN alone`);
  for (const tab of [one, two]) {
    await tab.shows("#pair", "relay ⇄ relay");
    assert.deepEqual(await types(tab), ["relay"]);
  }
}

/** Opens a second connection to the room from a page, which keeps what it hears. */
const listen = (tab) =>
  tab.page.evaluate(
    () =>
      new Promise((opened, failed) => {
        const url = new URL(document.getElementById("server").value);
        url.searchParams.set("room", document.getElementById("room").value);
        window.heard = [];
        window.second = new WebSocket(url);
        window.second.onopen = opened;
        window.second.onerror = failed;
        window.second.onmessage = ({ data }) => window.heard.push(JSON.parse(data));
      }),
  );

/** The last offer that was heard, as the offer after it: only its version is another (RFC 9429 §5.2.2). */
const heard = (tab) =>
  tab.page.evaluate(() => {
    const { offer } = window.heard.filter(({ type }) => type === "offer").at(-1);
    return { ...offer, sdp: offer.sdp.replace(/^(o=\S+ \S+) (\d+)/m, (_, before, version) => `${before} ${Number(version) + 1}`) };
  });

const say = (tab, message) => tab.page.evaluate((text) => window.second.send(text), JSON.stringify(message));
