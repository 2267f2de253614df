// How the pages look and what they weigh: axe-core has no findings, nothing is wider than a phone, nothing lacks a translation, the
// policy holds, and a keyboard reaches everything.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const PAGES = ["", "sender-viewer.html", "status.html", "mesh.html", "call.html", "broadcast.html", "relay.html"];
const LOOKS = [
  { look: "light", width: 1000 },
  { look: "dark", width: 1000, scheme: "dark" },
  { look: "phone", width: 360, height: 740 },
  { look: "phone-dark-chinese", width: 360, height: 740, scheme: "dark", language: "zh" },
  { look: "chinese", width: 1000, language: "zh" },
];

/** A page with all that it loads, without Socket.IO's client. */
const BYTES_MAX = 60_000;

export async function play(stage) {
  const axe = readFileSync(stage.load.resolve("axe-core"), "utf8");
  const server = await stage.serve();
  const browser = await stage.browser();
  for (const name of PAGES) {
    for (const as of LOOKS) {
      const tab = await stage.tab(browser, server, name, as);
      const { page } = tab;
      const where = `${name || "start"}-${as.look}`;
      if (name === "") await page.waitForSelector("#dialects tr");
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, `${where} fits`);
      await stage.picture(tab, where.replace(".html", ""));
      // Opens what is closed at first, so that it is looked at too.
      await page.evaluate(() => {
        const dialog = document.getElementById("incoming");
        dialog?.querySelector("h2").append("ana");
        dialog?.showModal();
      });
      const audit = async () => {
        // Chromium runs what the debugger asks for, whatever the page's policy says.
        await page.evaluate(axe);
        const violations = await page.evaluate(async () => (await globalThis.axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`));
        assert.deepEqual(violations, [], where);
      };
      if (name === "call.html") await audit();
      await page.evaluate(() => document.getElementById("incoming")?.close());
      await page.evaluate(async () => {
        const { fail } = await import("./shared.js");
        fail("The server is full.");
      });
      await audit();
      assert.deepEqual(await page.evaluate(async () => [...(await import("./shared.js")).untranslated]), [], where);
      await page.close();
    }
    await weigh(stage, browser, server, name);
    await keyboard(stage, browser, server, name);
  }
  await policy(browser, server);
}

/** The bytes of a page and of the files that it loads, and that it asks nobody else for anything. */
async function weigh(stage, browser, server, name) {
  const page = await browser.newPage({ type: "window" });
  const origin = new URL(server.page("")).origin;
  let bytes = 0;
  const loading = [];
  page.on("response", (response) => {
    const url = new URL(response.url());
    assert.equal(url.origin, origin, `asks ${url}`);
    if (url.pathname.startsWith("/pages/") && url.pathname !== "/pages/server") loading.push(response.buffer().then((body) => (bytes += body.length)));
  });
  await page.goto(server.page(name), { waitUntil: "networkidle0" });
  await Promise.all(loading);
  console.log(`${name || "start"}: ${bytes} bytes`);
  assert.ok(bytes > 10_000 && bytes <= BYTES_MAX, `${name} weighs ${bytes}`);
  await page.close();
}

/** Tab reaches every control that can be used, and each shows that it has the focus. */
async function keyboard(stage, browser, server, name) {
  const tab = await stage.tab(browser, server, name);
  const wanted = await tab.page.$$eval("a, button:not([disabled]), input:not([disabled]), select:not([disabled])", (all) => all.filter((element) => element.checkVisibility()).length);
  const reached = new Set();
  for (let step = 0; step < wanted + 10; step++) {
    await tab.page.keyboard.press("Tab");
    const at = await tab.page.evaluate(() => {
      const element = document.activeElement;
      if (!element.matches("a, button, input, select")) return null;
      const all = [...document.querySelectorAll("a, button, input, select")];
      return { index: all.indexOf(element), outlined: getComputedStyle(element).outlineStyle !== "none" };
    });
    if (!at) continue;
    assert.ok(at.outlined, `${name}: control ${at.index} shows that it has the focus`);
    reached.add(at.index);
  }
  // Of radio buttons, Tab reaches one; the arrow keys reach the others.
  const radios = await tab.page.$$eval("input[type=radio]", (all) => all.length - new Set(all.map((radio) => radio.name)).size);
  assert.equal(reached.size, wanted - radios, `${name}: Tab reaches everything`);
  await tab.page.close();
}

/** A script and a style that get into a page all the same are not obeyed. */
async function policy(browser, server) {
  const page = await browser.newPage({ type: "window" });
  await page.goto(server.page("mesh.html"), { waitUntil: "load" });
  const forbidden = await page.evaluate(async () => {
    const forbidden = [];
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => forbidden.push(effectiveDirective));
    const script = document.createElement("script");
    script.textContent = "window.pwned = true";
    const style = document.createElement("style");
    style.textContent = "body { display: none }";
    const image = document.createElement("img");
    image.setAttribute("onerror", "window.pwned = true");
    image.src = "nowhere.png";
    document.body.append(script, style, image);
    await new Promise((done) => setTimeout(done, 500));
    return { forbidden: forbidden.sort(), pwned: window.pwned === true, shown: getComputedStyle(document.body).display };
  });
  assert.deepEqual(forbidden, { forbidden: ["script-src-attr", "script-src-elem", "style-src-elem"], pwned: false, shown: "block" });
  await page.close();
}
