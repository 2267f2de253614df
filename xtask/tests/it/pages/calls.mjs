// People who call each other, over either carrier: a rejection, a busy callee, a call with everything in it, both calling at once, a
// taken name, the server's restart.
import assert from "node:assert/strict";
import { until } from "./stage.mjs";

/** Plays it with pages that connect over `carrier`. */
export async function calls(stage, carrier, ...settings) {
  const server = await stage.serve(...settings);
  const browser = await stage.browser();
  const person = async (name) => {
    const tab = await stage.tab(browser, server, "call.html");
    await tab.choose("over", carrier);
    await tab.fill({ name, source: "camera" });
    await tab.click("#join");
    await tab.shows("#note", `You are here as ${name}`);
    return tab;
  };
  const call = (tab, name) => tab.click(`button[data-name="${name}"]`);
  const [ana, ben, cid] = [await person("ana"), await person("ben"), await person("cid")];
  await ana.shows("#people", "Call cid");

  await call(ana, "ben");
  await ben.shows("#caller", "ana is calling.");
  await stage.picture(ben, `incoming-${carrier}`);
  await ben.click("#reject");
  await ana.shows("#alert", "ben rejected the call.");

  await call(ana, "ben");
  await ben.shows("#caller", "ana is calling.");
  const begun = Date.now();
  await ben.click("#accept");
  for (const tab of [ana, ben]) await tab.meets(1);
  console.log(`${carrier}: video ${Date.now() - begun} ms after the call was accepted`);
  await call(cid, "ben");
  await cid.shows("#alert", "ben is in another call.");
  await stage.picture(ana, `call-${carrier}`);

  // Turning the camera off is told, and turning it on again too.
  await ana.click("#camera");
  await ben.shows("#theirs", "ana has turned the camera off.");
  await ana.click("#microphone");
  await ben.shows("#theirs", "ana has turned the microphone off.");
  await ana.click("#camera");
  await ben.shows("#theirs", "ana has turned the camera on.");
  await ben.meets(1);

  await ben.click("#hangup");
  await ana.logged("ben has ended the call.");
  for (const tab of [ana, ben]) await tab.alone();

  // Esc rejects, and a caller can give up.
  await call(ana, "ben");
  await ben.shows("#caller", "ana is calling.");
  await ben.page.keyboard.press("Escape");
  await ana.shows("#alert", "ben rejected the call.");
  await call(ana, "ben");
  await ben.shows("#caller", "ana is calling.");
  await ana.click("#hangup");
  await ben.logged("ana has ended the call.");

  // Both click at once: they are in one call, and nobody is asked. Whoever clicks too late is asked.
  let collisions = 0;
  for (let round = 0; round < 20 && collisions < 2; round++) {
    await Promise.all([[ana, "ben"], [ben, "ana"]].map(([tab, name]) => tab.page.$eval(`button[data-name="${name}"]`, (button) => button.click())));
    const isAsked = (tab) => tab.page.$eval("#incoming", (dialog) => dialog.open);
    const isMet = async (tab) => (await tab.page.$$("#videos figure:not(:first-child)")).length > 0;
    await until(async () => (await isAsked(ana)) || (await isAsked(ben)) || ((await isMet(ana)) && (await isMet(ben))), "a call or a question");
    const asked = (await isAsked(ana)) ? ana : (await isAsked(ben)) ? ben : null;
    if (asked) await asked.click("#accept");
    else collisions += 1;
    for (const tab of [ana, ben]) await tab.meets(1);
    await [ana, ben][round % 2].click("#hangup");
    for (const tab of [ana, ben]) await tab.alone();
  }
  assert.ok(collisions > 0, "both called at once");
  console.log(`${carrier}: ${collisions} collisions`);

  // A reload ends a call, and the name is free again.
  await call(ana, "ben");
  await ben.click("#accept");
  await ana.meets(1);
  await ben.page.reload();
  await ana.logged("ben has ended the call.");
  await ana.alone();
  await ben.choose("over", carrier);
  await ben.fill({ name: "ana" });
  await ben.click("#join");
  await ben.shows("#alert", "Somebody else has this name.");
  await ben.fill({ name: "ben" });
  await ben.click("#join");
  await ben.shows("#note", "You are here as ben");

  // The server's restart ends calls; everybody is there again, and calls work.
  await call(ana, "ben");
  await ben.click("#accept");
  for (const tab of [ana, ben]) await tab.meets(1);
  await server.stop();
  for (const tab of [ana, ben]) await tab.alone();
  for (const tab of [ana, ben, cid]) {
    await tab.shows("#note", "You are not connected.");
    assert.equal(await tab.text("#people"), "", "nobody can be called");
  }
  await server.start();
  for (const tab of [ana, ben, cid]) await tab.shows("#note", "You are here as");
  await ana.shows("#people", "Call ben");
  await call(cid, "ana");
  await ana.click("#accept");
  for (const tab of [ana, cid]) await tab.meets(1);
  await ben.click("#leave");
  await ben.shows("#note", "You are not connected.");
}
