// Plays what people do with a page, in headless Chromium against `glare serve`, and prints what was seen.
//
//   node run.mjs MODULES CHROMIUM GLARE NAME
//
// MODULES holds node_modules with puppeteer-core and axe-core; NAME.mjs beside this file is what is played. With SCREENSHOTS=DIR in
// the environment, pictures go there. It ends with 0 if all was as it should be.
import assert from "node:assert/strict";
import { Stage } from "./stage.mjs";

const [modules, chromium, glare, name] = process.argv.slice(2);
const stage = new Stage(modules, chromium, glare);
try {
  const { play } = await import(`./${name}.mjs`);
  await play(stage);
  assert.deepEqual(stage.findings, []);
  console.log(`${name} is well`);
} catch (error) {
  console.error(error);
  console.error(await stage.told().catch((why) => why));
  if (stage.findings.length > 0) console.error(stage.findings);
  process.exitCode = 1;
} finally {
  await stage.end();
}
