// What the tests of the pages have in common: a server that can be ended and started again, a browser, and what a person sees.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

/** Longer than anything here takes, on the slowest machine: whoever waits this long hangs. In ms. */
export const PATIENCE = Number(process.env.PATIENCE_MS ?? 120_000);

/** How many more decoded frames show that a video plays. */
const FRAMES = 10;

/** A page that does not come from the network is not taken to be one of this machine. */
const FROM_FOLDER = ["--disable-features=LocalNetworkAccessChecks"];

const PORTS = ["port", "http-port", "call-port", "call-socketio-port", "broadcast-port", "stun-port"];

/** Waits until `look` gives something other than undefined, null or false. */
export async function until(look, what) {
  const end = Date.now() + PATIENCE;
  let seen;
  while (Date.now() < end) {
    seen = await look();
    if (seen !== undefined && seen !== null && seen !== false) return seen;
    await pause(50);
  }
  throw new Error(`not in ${PATIENCE / 1000} s: ${what}`);
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** `glare serve` on free ports. */
class Server {
  #glare;
  #child;
  /** The port of the faults, if it takes orders for some. */
  faults;
  /** The ports, by the names of their flags. */
  ports = Object.fromEntries(PORTS.map((name) => [name, 0]));
  #more;

  constructor(glare, more) {
    this.#glare = glare;
    this.#more = more;
  }

  async start() {
    const ports = Object.entries(this.ports).flatMap(([name, port]) => [`--${name}`, String(port)]);
    const child = spawn(this.#glare, ["serve", ...ports, ...this.#more], { stdio: ["ignore", "pipe", "ignore"] });
    this.#child = child;
    const found = {};
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith("ready")) {
        // Where it was, it is again after a restart: its pages stay open in the browser.
        this.faults = found.faults?.[0];
        this.ports = { port: found.mesh[0], "http-port": found.api[0], "call-port": found.call[0], "call-socketio-port": found.call[1], "broadcast-port": found.broadcast[0], "stun-port": found.stun[0] };
        return this;
      }
      const [, name, port] = line.match(/^(\S+) .*:(\d+)/) ?? [];
      (found[name] ??= []).push(Number(port));
    }
    throw new Error("the server ended before it was ready");
  }

  async stop() {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGINT");
    await ended;
  }

  /** The URL of a page. */
  page(name) {
    return `http://127.0.0.1:${this.ports["http-port"]}/pages/${name}`;
  }

  async status() {
    return (await (await fetch(`http://127.0.0.1:${this.ports["http-port"]}/api/status`)).json()).rooms;
  }
}

/** A tab with a page, and what its person does and sees. */
class Tab {
  constructor(page) {
    this.page = page;
  }

  /** Writes into a field, in place of what is there. */
  async fill(fields) {
    for (const [id, value] of Object.entries(fields)) {
      await this.page.$eval(`#${id}`, (field, value) => {
        if (field.type === "checkbox") field.checked = value;
        else field.value = value;
        field.dispatchEvent(new Event("change", { bubbles: true }));
      }, value);
    }
  }

  async choose(name, value) {
    await this.page.click(`input[name="${name}"][value="${value}"]`);
  }

  async click(selector) {
    await this.page.waitForSelector(`${selector}:not([disabled])`, { visible: true, timeout: PATIENCE });
    await this.page.click(selector);
  }

  /** What a failure needs to be understood: what the person reads, and how the videos are. */
  async told() {
    const texts = await Promise.all(["#note", "#alert", "#videos", "#log"].map(async (id) => `${id} ${await this.text(id)}`));
    const videos = await this.page.$$eval("video", (all) => all.map(({ paused, readyState, srcObject }) => {
      const tracks = srcObject?.getTracks().map(({ kind, muted, readyState }) => ({ kind, muted, readyState }));
      return JSON.stringify({ paused, readyState, tracks });
    })).catch((error) => [error.message]);
    return [this.page.url(), ...texts, ...videos].join("\n    ");
  }

  text(selector) {
    return this.page.$eval(selector, (element) => element.textContent).catch(() => null);
  }

  /** Waits until an element's text contains this. */
  shows(selector, wanted) {
    return until(async () => {
      const text = await this.text(selector);
      const element = await this.page.$(selector);
      return (await element?.isVisible()) && text?.includes(wanted) ? text : null;
    }, `${selector} shows “${wanted}” at ${this.page.url()}`).catch(async (error) => {
      throw new Error(`${error.message}; it shows “${await this.text(selector)}”`);
    });
  }

  logged(wanted) {
    return this.shows("#log", wanted);
  }

  /** How many frames of a video were decoded and shown, by the browser's own count. */
  frames(selector) {
    return this.page.$eval(selector, (video) => (video.srcObject ? video.getVideoPlaybackQuality().totalVideoFrames : 0)).catch(() => 0);
  }

  /** Waits until a video plays: it has a size, and its frames grow. */
  async plays(selector) {
    const before = await this.frames(selector);
    await until(async () => (await this.frames(selector)) >= before + FRAMES, `${selector} plays at ${this.page.url()}`);
    const width = await this.page.$eval(selector, (video) => video.videoWidth);
    assert.ok(width > 0, `${selector} has a size`);
  }

  /** The selectors of all remote videos, which are to be this many. */
  async remotes(count) {
    const all = () => this.page.$$eval("#videos figure:not(:first-child) video", (videos) => videos.map((video) => Boolean(video.srcObject)));
    const ready = (videos) => videos.length === count && videos.every(Boolean);
    await until(async () => ready(await all()), `${count} remote videos at ${this.page.url()}`);
    return Array.from({ length: count }, (_, index) => `#videos figure:nth-child(${index + 2}) video`);
  }

  /** Waits until this many remote videos play, and there are no others. */
  async meets(count) {
    for (const video of await this.remotes(count)) await this.plays(video);
  }

  /** Waits until no remote video is there. */
  alone() {
    return until(async () => (await this.page.$$("#videos figure:not(:first-child) video")).length === 0, `no remote video at ${this.page.url()}`);
  }
}

export class Stage {
  #servers = [];
  #browsers = [];
  #tabs = [];
  /** What went wrong in a page: scripts that failed, what the policy forbids. Stays empty. */
  findings = [];

  constructor(modules, chromium, glare) {
    this.load = createRequire(`${modules}/`);
    this.modules = modules;
    this.chromium = chromium;
    this.glare = glare;
  }

  async serve(...more) {
    const server = new Server(this.glare, more);
    this.#servers.push(server);
    return server.start();
  }

  /** A browser with a camera that needs no permission, or as `flags` say instead. */
  async browser(flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]) {
    const browser = await this.load("puppeteer-core").launch({
      executablePath: this.chromium,
      headless: true,
      args: ["--no-sandbox", "--disable-gpu", ...(process.env.PAGES ? FROM_FOLDER : []), ...flags],
      timeout: PATIENCE,
      protocolTimeout: PATIENCE,
    });
    this.#browsers.push(browser);
    return browser;
  }

  /** A tab of the browser, in a window of its own, because a hidden tab is not drawn; `as.language` is what its person reads. `as.hash` stands behind the address. */
  async tab(browser, server, name, as = {}) {
    const page = await browser.newPage({ type: "window" });
    page.setDefaultTimeout(PATIENCE);
    const say = (what) => this.findings.push(`${name}: ${what}`);
    page.on("pageerror", (error) => say(`script error: ${error.message}`));
    page.on("console", (message) => {
      const text = message.text();
      // A server that is gone, or that refuses, is reported by the browser too.
      const expected = /ERR_|WebSocket connection|Failed to load resource/.test(text);
      if (["error", "warn"].includes(message.type()) && !expected) say(`console: ${text}`);
    });
    await page.setViewport({ width: as.width ?? 1000, height: as.height ?? 900 });
    const scheme = [{ name: "prefers-color-scheme", value: as.scheme ?? "light" }];
    await page.emulateMediaFeatures(scheme);
    await page.evaluateOnNewDocument((language) => {
      try {
        localStorage.setItem("language", language);
      } catch {
        // Not a page of ours.
      }
    }, as.language ?? "en");
    if (process.env.PAGES) await fromFolder(page, process.env.PAGES);
    await page.goto(server.page(name) + (as.hash ?? ""), { waitUntil: "load" });
    // Its script has run to its end once the header is there and the address of the server is filled in.
    await page.waitForSelector("header nav");
    if (await page.$("#server")) await page.waitForFunction(() => document.getElementById("server").value !== "");
    const tab = new Tab(page);
    this.#tabs.push(tab);
    return tab;
  }

  /** How every tab is that is still open. */
  async told() {
    const open = this.#tabs.filter((tab) => !tab.page.isClosed());
    return (await Promise.all(open.map((tab) => tab.told()))).join("\n");
  }

  /** A picture of a tab, if pictures are wanted. */
  async picture(tab, name) {
    const folder = process.env.SCREENSHOTS;
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    await tab.page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  }

  async end() {
    for (const browser of this.#browsers) await browser.close().catch(() => {});
    for (const server of this.#servers) await server.stop();
  }
}

/** Takes the files of the pages from a folder in place of the server's, with the server's headers: for work on the pages. */
async function fromFolder(page, folder) {
  await page.setRequestInterception(true);
  page.on("request", async (request) => {
    const name = new URL(request.url()).pathname.match(/^\/pages\/([\w-]+\.\w+)$/)?.[1];
    if (!name) return request.continue();
    const { headers } = await fetch(request.url());
    request.respond({ headers: Object.fromEntries(headers), body: readFileSync(`${folder}/${name}`) });
  });
}
