// A call through TURN, while an operator cuts it, degrades it and heals it: `serve --faults`.
import assert from "node:assert/strict";
import { pause, until } from "./stage.mjs";

const TOKEN = "a token for a test";

export async function play(stage) {
  const more = ["--turn-secret", "a secret for a test", "--turn-allow-private-peers", "--faults", "--faults-port", "0", "--faults-token", TOKEN];
  const server = await stage.serve(...more);
  const browser = await stage.browser();
  const order = async (method, path, body) => {
    const headers = { Authorization: `Bearer ${TOKEN}` };
    const answer = await fetch(`http://127.0.0.1:${server.faults}/faults${path}`, { method, headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
    return answer.json();
  };
  const pages = [];
  for (const source of ["camera", "picture"]) {
    const tab = await stage.tab(browser, server, "relay.html");
    await tab.fill({ source, only: true });
    await tab.click("#connect");
    await tab.shows("#note", "You are in the room");
    pages.push(tab);
  }
  await pages[0].click("#call");
  for (const tab of pages) await tab.meets(1);
  for (const tab of pages) await tab.shows("#pair", "relay ⇄ relay");
  const frames = () => Promise.all(pages.map((tab) => tab.page.$eval("#videos video:not(#local)", (video) => video.getVideoPlaybackQuality().totalVideoFrames)));

  // Both clients are known by their TURN usernames, and by the room in their URLs.
  const { clients } = await order("GET", "");
  assert.equal(clients.filter(({ user }) => user).length >= 2, true, JSON.stringify(clients));
  assert.equal(clients.filter(({ request }) => request?.startsWith("/relay?room=demo")).length, 2, JSON.stringify(clients));

  // Cut: a second later no frame comes any more, on either side. Then they come again, on the same connection.
  const cut = await order("POST", "", { on: "turn", cut: true });
  await pause(1000);
  const seen = await frames();
  await pause(1000);
  assert.deepEqual(await frames(), seen, "nothing passes");
  await order("DELETE", `/${cut.id}`);
  for (const [n] of pages.entries()) await until(async () => (await frames())[n] > seen[n] + 10, "the picture moves again");

  // 30 % of what goes to the pages is lost: the browser notices, and the picture still moves.
  const { id } = await order("POST", "", { on: "turn", loss_percent: 30, way: "to-client" });
  const before = await frames();
  for (const [n] of pages.entries()) await until(async () => (await frames())[n] > before[n] + 10, "the picture moves in spite of loss");
  await order("DELETE", `/${id}`);

  // For a time, and signaling alone: the call goes on, and a message that was held back arrives when the fault is over.
  await order("POST", "", { on: "signaling", client: "room=demo", cut: true, for_ms: 1500 });
  const during = await frames();
  for (const [n] of pages.entries()) await until(async () => (await frames())[n] > during[n] + 5, "media is not signaling");
  await pages[0].click("#hangup");
  await until(async () => (await order("GET", "")).faults.length === 0, "it ends by itself");
  await pages[1].shows("#videos", "disconnected");
}
