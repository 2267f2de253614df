// Prints the steps of a workflow as JSON, after checks that a runner makes.
//
//   node workflow.mjs FOLDER WORKFLOW.yml
//
// FOLDER holds node_modules with yaml.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, file] = process.argv.slice(2);
const { parseDocument } = createRequire(`${folder}/`)("yaml");
const document = parseDocument(readFileSync(file, "utf8"));
if (document.errors.length) throw document.errors[0];
const { jobs } = document.toJS();

const steps = [];
for (const [name, job] of Object.entries(jobs)) {
  if (!job["runs-on"]) throw new Error(`job ${name} has no runs-on`);
  for (const needed of [job.needs ?? []].flat()) if (!jobs[needed]) throw new Error(`job ${name} needs ${needed}, which is not there`);
  const ids = job.steps.map((step) => step.id).filter(Boolean);
  for (const [index, step] of job.steps.entries()) {
    if (!step.run === !step.uses) throw new Error(`step ${index} of ${name} has either run or uses`);
    const text = JSON.stringify(step);
    for (const [, id] of text.matchAll(/steps\.([\w-]+)\./g)) if (!ids.includes(id)) throw new Error(`${name}: there is no step ${id}`);
    for (const [, value] of text.matchAll(/\$\{\{ matrix\.(\w+) \}\}/g)) {
      const { include: rows = [], [value]: list } = job.strategy?.matrix ?? {};
      if (!list?.length && (!rows.length || rows.some((row) => !(value in row)))) throw new Error(`${name}: the matrix has no ${value}`);
    }
    steps.push(step);
  }
}
console.log(JSON.stringify(steps));
