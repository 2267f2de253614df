// Four people in a room: video between all, a hang-up, both calling again at once, a reload, the server's restart.
import assert from "node:assert/strict";
import { until } from "./stage.mjs";

export async function play(stage) {
  const server = await stage.serve();
  const browser = await stage.browser();
  const people = [];
  for (const name of ["ana", "ben", "cid"]) {
    const tab = await stage.tab(browser, server, "mesh.html");
    await tab.fill({ name, source: people.length === 0 ? "camera" : "picture" });
    await tab.click("#media");
    await tab.plays("#local");
    people.push(tab);
  }
  const [ana, ben, cid] = people;
  await ana.click("#connect");
  await ana.shows("#note", "You are in the room");
  const begun = Date.now();
  await ben.click("#connect");
  await ben.meets(1);
  console.log(`mesh: video ${Date.now() - begun} ms after the second joined`);
  await cid.click("#connect");
  for (const tab of people) await tab.meets(2);
  await ana.shows("#videos", "cid: connected");
  await stage.picture(ana, "mesh");

  // Who has no media receives all the same, and can send later: then the newcomer's side offers.
  const dan = await stage.tab(browser, server, "mesh.html");
  await dan.fill({ name: "<img src=x onerror=window.pwned=1>", source: "picture" });
  await dan.click("#connect");
  await dan.meets(3);
  await dan.click("#media");
  for (const tab of [ana, ben, cid]) await tab.meets(3);
  await ana.shows("#videos", "<img src=x onerror=window.pwned=1>: connected");
  assert.equal(await ana.page.evaluate(() => window.pwned), undefined, "a name is text");
  await dan.click("#disconnect");
  for (const tab of people) await tab.meets(2);
  await dan.page.close();

  // A hang-up ends all connections of one person, and nobody else's.
  await cid.click("#hangup");
  await ana.shows("#videos", "cid has hung up");
  assert.equal(await ana.page.$$eval("#videos video", (videos) => videos.filter((video) => video.srcObject).length), 2);

  // Both sides of a pair call again at once, until they really collide: one gives way, and they are connected.
  const count = async (tab, text) => (await tab.text("#log")).split(text).length - 1;
  let collisions = 0;
  for (let round = 0; round < 3 || (round < 20 && collisions === 0); round++) {
    for (const [tab, name] of [[ana, "ana"], [ben, "ben"], [cid, "cid"]]) {
      await tab.click("#hangup");
      for (const other of people) if (other !== tab) await other.shows("#videos", `${name} has hung up`);
    }
    await Promise.all(people.map((tab) => tab.page.$eval("#call", (button) => button.click())));
    for (const tab of people) await tab.meets(2);
    collisions = (await Promise.all(people.map((tab) => count(tab, "Both offered")))).reduce((a, b) => a + b);
  }
  assert.ok(collisions > 0, "both offered at once");
  console.log(`mesh: ${collisions} collisions`);

  // A reload is a newcomer.
  await ben.page.reload();
  await ben.page.waitForFunction(() => document.getElementById("server").value !== "");
  await ana.meets(1);
  await ben.fill({ name: "ben", source: "picture" });
  await ben.click("#media");
  await ben.click("#connect");
  for (const tab of people) await tab.meets(2);

  // From now on, ana's connections can be reached from here.
  await ana.page.evaluate(() => {
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...options) {
        super(...options);
        window.connections.push(this);
      }
    };
  });

  // The server ends and comes back; so does everybody, without a click.
  await server.stop();
  await ana.shows("#alert", "The server is gone. Attempt 1 of 5");
  await server.start();
  for (const tab of people) {
    await tab.logged("The connection to the server is lost.");
    await until(() => tab.page.$eval("#alert", (alert) => alert.hidden), "the alert goes away once the server is back");
    await tab.meets(2);
  }

  // A connection that fails again soon after it has restarted ICE is made anew.
  await ana.page.evaluate(() => {
    for (const connection of window.connections.filter(({ connectionState }) => connectionState === "connected")) {
      Object.defineProperty(connection, "connectionState", { value: "failed" });
      for (let time = 0; time < 2; time++) connection.dispatchEvent(new Event("connectionstatechange"));
    }
  });
  for (const name of ["ben", "cid"]) await ana.logged(`The connection to ${name} is made anew.`);
  for (const tab of people) await tab.meets(2);
  await ana.click("#disconnect");
  await ana.alone();
  await ben.meets(1);
}
