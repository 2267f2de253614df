// Opens pages in headless Chromium, as a person would, and says as JSON what is wrong with them.
//
//   node look.mjs CHROMIUM FOLDER PAGE.html…
//
// It counts what the page puts into the document and measures no time: how long that takes is a matter of the machine.
//
// With LOOK_AT=points in the environment, it asks only what points.mjs asks.
// FOLDER holds node_modules with puppeteer-core and axe-core; with SCREENSHOTS=DIR in the environment, pictures go there.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";
import { ask, prepare } from "./points.mjs";

const [chromium, folder, ...pages] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const puppeteer = load("puppeteer-core");
const axe = readFileSync(load.resolve("axe-core"), "utf8");
const screenshots = process.env.SCREENSHOTS;
const points = process.env.LOOK_AT === "points";

/** Milliseconds after which a browser that does not answer is taken to hang. */
const HANG = 300_000;
const options = { headless: true, args: ["--no-sandbox", "--disable-gpu"], timeout: HANG, protocolTimeout: HANG };
const browser = await puppeteer.launch({ executablePath: chromium, ...options });
const findings = [];
const looks = [
  ["desktop", 1280, 900, "light"],
  ["dark", 1280, 900, "dark"],
  ["phone", 390, 844, "light"],
];
for (const file of pages) {
  for (const [name, width, height, scheme] of looks) {
    const page = await browser.newPage();
    const say = (what) => findings.push(`${basename(file)}, ${name}: ${what}`);
    page.on("pageerror", (error) => say(`script error: ${error.message}`));
    page.on("console", (message) => ["error", "warn"].includes(message.type()) && say(`console: ${message.text()}`));
    page.on("request", (request) => /^(https?|wss?):/.test(request.url()) && say(`asks the network for ${request.url()}`));
    await page.setViewport({ width, height });
    // What scrolls smoothly has not arrived when it is looked at.
    const features = { "prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce" };
    await page.emulateMediaFeatures(Object.entries(features).map(([name, value]) => ({ name, value })));
    await prepare(page);
    page.setDefaultTimeout(HANG);
    await page.goto(pathToFileURL(file), { waitUntil: "load" });
    const seen = await page.evaluate(() => ({
      overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      elements: document.querySelectorAll("*").length,
      rows: document.querySelectorAll(".event").length,
      explorer: Boolean(document.querySelector("[data-explorer]")),
      ran: window.pwned === true,
    }));
    if (seen.overflow > 0) say(`is ${seen.overflow} px too wide`);
    if (seen.elements > 20_000) say(`${seen.elements} elements are in the document at once`);
    if (seen.rows > 200) say(`${seen.rows} events are in the document at once`);
    if (seen.explorer && seen.rows === 0) say("no event is listed");
    if (seen.ran) say("a string of the result was executed");
    if (seen.explorer && !points) await use(page, say);
    if (screenshots) {
      await page.evaluate(() => scrollTo(0, 0));
      const path = `${screenshots}/${basename(file, ".html")}-${name}.png`;
      await page.screenshot({ path, fullPage: name !== "phone" });
    }
    if (!points) {
      await page.evaluate(axe);
      await audit(page, say);
      // A trace of a matrix is looked at as well, above the page.
      const cell = await page.$("td > button.mark.fail");
      if (cell) {
        await cell.evaluate((cell) => cell.click());
        await audit(page, say);
        if (screenshots) await page.screenshot({ path: `${screenshots}/${basename(file, ".html")}-${name}-trace.png` });
        await page.evaluate(() => document.querySelector("#trace").close());
      }
    }
    await ask(page, say);
    await page.close();
  }
}
await browser.close();
console.log(JSON.stringify(findings));

async function audit(page, say) {
  const violations = await page.evaluate(async () => (await axe.run()).violations);
  for (const { id, impact, nodes } of violations) {
    say(`axe ${impact} ${id}: ${nodes[0].html.slice(0, 200)}`);
  }
}

/** Scrolls, filters and follows links, and counts the nodes that the page draws for it. */
async function use(page, say) {
  const result = await page.evaluate(async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const list = document.querySelector(".list");
    const first = () => [...list.querySelectorAll(".event")].map((row) => Number(row.dataset.event)).sort((a, b) => a - b)[0];
    const before = first();
    let drawn = 0;
    const count = (records) => records.forEach((record) => (drawn += record.addedNodes.length));
    const watch = new MutationObserver(count);
    watch.observe(document, { childList: true, subtree: true });
    const drawnSince = (earlier) => (count(watch.takeRecords()), drawn - earlier);
    const start = drawnSince(0);
    for (let n = 1; n <= 20; n++) {
      list.scrollTop = (list.scrollHeight * n) / 21;
      await frame();
    }
    const scrolled = drawnSince(start) / 20;
    const moved = first() !== before || list.scrollHeight <= list.clientHeight;
    list.scrollTop = 0;
    const boxes = [...document.querySelectorAll(".layers input")];
    const clicked = drawnSince(0);
    const counted = () => parseInt(document.querySelector(".window").textContent.replaceAll(",", ""), 10);
    boxes.forEach((box) => box.checked || box.click());
    const all = counted();
    boxes.forEach((box) => box.click());
    const none = counted();
    boxes.forEach((box) => box.click());
    await frame();
    const filtered = drawnSince(clicked) / (3 * boxes.length);
    const packet = list.querySelector("[data-packet]");
    packet?.click();
    await frame();
    const followed = counted();
    const link = document.querySelector(".run a[data-event]");
    link?.click();
    await frame();
    const here = document.querySelector(".event.here");
    return { scrolled, moved, all, none, filtered, followed: !packet || (followed > 0 && followed < all), linked: !link || here?.dataset.event === link.dataset.event };
  });
  if (!result.moved) say("the list does not scroll");
  if (result.scrolled > 200) say(`a step of scrolling draws ${result.scrolled.toFixed(0)} nodes`);
  if (!(result.all > 0) || result.none !== 0) say(`the filter shows ${result.all} and then ${result.none} events`);
  if (result.filtered > 400) say(`a click on a filter draws ${result.filtered.toFixed(0)} nodes`);
  if (!result.followed) say("a packet’s number does not lead to what happened to it");
  if (!result.linked) say("a step of the story does not lead to its event");
}
