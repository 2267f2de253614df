// A sender and a viewer: the states that they pass through, a refused role, a kick, a reload, the server's restart.
import assert from "node:assert/strict";
import { until } from "./stage.mjs";

export async function play(stage) {
  const server = await stage.serve();
  const browser = await stage.browser();
  const open = () => stage.tab(browser, server, "sender-viewer.html");
  const [sender, viewer] = [await open(), await open()];
  const state = (tab, wanted) => tab.shows("#state", wanted);

  await state(sender, "INIT");
  await sender.fill({ size: "320x240" });
  await sender.click("#start");
  await state(sender, "WAITING");
  await sender.logged("Sending 320×240.");
  await viewer.choose("role", "viewer");
  const begun = Date.now();
  await viewer.click("#start");
  await viewer.plays("#video");
  console.log(`sender-viewer: video ${Date.now() - begun} ms after the viewer began to join`);
  for (const tab of [sender, viewer]) await state(tab, "ACTIVE");
  const size = await viewer.page.$eval("#video", (video) => [video.videoWidth, video.videoHeight]);
  assert.deepEqual(size, [320, 240]);
  await viewer.shows("#numbers", "frames received");
  await stage.picture(viewer, "sender-viewer");

  // The status names both, and a third one is told that its role is taken.
  const status = await stage.tab(browser, server, "status.html");
  await status.shows("#online", "2");
  const third = await open();
  await third.choose("role", "viewer");
  await third.click("#start");
  await state(third, "ERROR");
  await third.shows("#alert", "This room has a viewer already.");
  await third.page.close();

  // A reload of the viewer: the sender waits, then sends again.
  await viewer.page.reload();
  await state(sender, "WAITING");
  await viewer.choose("role", "viewer");
  await viewer.click("#start");
  await viewer.plays("#video");
  await state(sender, "ACTIVE");

  // The sender stops and starts; the viewer waits for it, and sees it again.
  await sender.click("#stop");
  await state(viewer, "WAITING");
  await sender.click("#start");
  await viewer.plays("#video");

  // The server's restart: both come back without a click.
  await server.stop();
  for (const tab of [sender, viewer]) await tab.shows("#alert", "The server is gone. Attempt 1 of 5");
  await server.start();
  for (const tab of [sender, viewer]) await until(() => tab.page.$eval("#alert", (alert) => alert.hidden), "nothing is wrong any more");
  await until(async () => (await server.status()).some((room) => room.sender.connected && room.viewer.connected), "both are back");
  await viewer.plays("#video");
  for (const tab of [sender, viewer]) await state(tab, "ACTIVE");

  // A kick ends a client for good: 1000 is no reason to come back.
  const id = await until(async () => (await server.status())[0]?.viewer.clientId, "the viewer's id");
  await status.click(`button[data-client="${id}"]`);
  await viewer.shows("#alert", "Kicked by admin");
  await state(viewer, "ERROR");
  await state(sender, "WAITING");
  await status.shows("#online", "1");
  await stage.picture(status, "status");

  // A server that does not come back: five attempts, then a sentence.
  await server.stop();
  await sender.shows("#alert", "The server did not come back");
  await state(sender, "ERROR");
  const attempts = (await sender.text("#log")).split("of 5 to connect again").length - 1;
  assert.equal(attempts, 1 + 5, "one before the restart, five after the end");
}
