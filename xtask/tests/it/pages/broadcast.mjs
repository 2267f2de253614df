// Peers A and B, over a server that sends everything to everybody; both offering at once; a third page that must not disturb.
import assert from "node:assert/strict";

export async function play(stage) {
  const server = await stage.serve();
  const browser = await stage.browser();
  const peer = async (role, source) => {
    const tab = await stage.tab(browser, server, "broadcast.html");
    await tab.choose("role", role);
    await tab.fill({ source });
    await tab.click("#connect");
    await tab.shows("#note", "You are peer");
    return tab;
  };
  const [a, b] = [await peer("a", "camera"), await peer("b", "picture")];
  const begun = Date.now();
  await a.click("#offer");
  for (const tab of [a, b]) await tab.meets(1);
  console.log(`broadcast: video ${Date.now() - begun} ms after the offer`);
  await stage.picture(a, "broadcast");

  // Another offer to a peer that is connected begins anew.
  await a.click("#offer");
  for (const tab of [a, b]) await tab.meets(1);
  await a.click("#hangup");
  await a.alone();
  await b.shows("#videos", "disconnected");
  await a.click("#offer");
  for (const tab of [a, b]) await tab.meets(1);

  // Two peers A that offer at once: one gives way.
  await b.page.close();
  await a.click("#disconnect");
  await a.click("#connect");
  const other = await peer("a", "picture");
  await a.shows("#note", "You are peer A");
  let collisions = 0;
  for (let round = 0; round < 3 || (round < 20 && collisions === 0); round++) {
    await Promise.all([a, other].map((tab) => tab.page.$eval("#offer", (button) => button.click())));
    for (const tab of [a, other]) await tab.meets(1);
    const logs = await Promise.all([a, other].map((tab) => tab.text("#log")));
    collisions = logs.filter((log) => log.includes("Both offered")).length;
  }
  assert.ok(collisions > 0, "both offered at once");

  // A third peer hears all of it, and does not disturb.
  const third = await peer("b", "picture");
  await third.alone();
  for (const tab of [a, other]) await tab.meets(1);

  // The server's restart does not end what goes from browser to browser.
  await server.stop();
  await a.shows("#alert", "The server is gone. Attempt 1 of 5");
  for (const tab of [a, other]) await tab.meets(1);
  await server.start();
  await a.page.waitForFunction(() => document.getElementById("alert").hidden);
}
