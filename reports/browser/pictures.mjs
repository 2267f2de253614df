// Takes the pictures that README shows: what a person sees first of a page.
//
//   node pictures.mjs CHROMIUM FOLDER OUT PHONES NAME=PAGE.html…
//
// FOLDER holds node_modules with puppeteer-core. Each page gives OUT/NAME.webp and, as it looks on a phone, PHONES/NAME.webp.
import { createRequire } from "node:module";
import { statSync } from "node:fs";
import { pathToFileURL } from "node:url";

const BYTES_MAX = 150_000;

const [chromium, folder, out, phones, ...pages] = process.argv.slice(2);
const looks = [
  [out, { width: 1280, height: 1000, deviceScaleFactor: 1.5 }],
  [phones, { width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
];
const puppeteer = createRequire(`${folder}/`)("puppeteer-core");
const browser = await puppeteer.launch({ executablePath: chromium, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
for (const [name, file] of pages.map((page) => page.split(/=(.*)/s))) {
  for (const [into, viewport] of looks) {
    const page = await browser.newPage();
    await page.setViewport(viewport);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
    await page.goto(pathToFileURL(file), { waitUntil: "load" });
    const path = `${into}/${name}.webp`;
    await page.screenshot({ path, type: "webp", quality: 82 });
    const { size } = statSync(path);
    console.log(`${path}  ${size} bytes`);
    if (size > BYTES_MAX) throw new Error(`${path} is too big`);
    await page.close();
  }
}
await browser.close();
