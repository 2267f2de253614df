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
