// Runs a composite action's steps as a runner of GitHub does, and says as JSON what its outputs are.
//
//   node action.mjs FOLDER ACTION.yml [STEP…]
//
// FOLDER holds node_modules with yaml. INPUT_name in the environment are the inputs, ACTION_REF is the tag at which the action is used; steps that
// are named are replaced by nothing.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { tmpdir } from "node:os";

const [folder, file, ...skipped] = process.argv.slice(2);
const { parse } = createRequire(`${folder}/`)("yaml");
const action = parse(readFileSync(file, "utf8"));
const temp = process.env.RUNNER_TEMP ?? mkdtempSync(join(tmpdir(), "runner-"));
if (action.runs.using !== "composite") throw new Error("only composite actions have steps");

const inputs = {};
for (const [name, { required, default: otherwise }] of Object.entries(action.inputs ?? {})) {
  inputs[name] = process.env[`INPUT_${name}`] ?? otherwise;
  if (inputs[name] === undefined && required) throw new Error(`input ${name} is required`);
}
const github = { action_ref: process.env.ACTION_REF ?? "" };
const context = { inputs, github, runner: { temp }, steps: {} };

/** `${{ a.b.c }}` in a text. */
const expand = (text) =>
  String(text).replace(/\$\{\{\s*([\w.-]+)\s*\}\}/g, (whole, path) => {
    const value = path.split(".").reduce((at, name) => at?.[name], context);
    // A step may write an output or not.
    if (value === undefined && !path.startsWith("steps.")) throw new Error(`${whole} is nothing`);
    return value ?? "";
  });

/** Whether a step runs: its condition compares one value with a text. */
const holds = (condition) => {
  const [, path, operator, text] = /^([\w.-]+) (==|!=) '([^']*)'$/.exec(condition);
  const value = path.split(".").reduce((at, name) => at?.[name], context) ?? "";
  return (value === text) === (operator === "==");
};

let failed = 0;
for (const [index, step] of action.runs.steps.entries()) {
  if (step.uses && !step.run) {
    // Other actions do nothing here, but what they are given must be something.
    for (const value of Object.values(step.with ?? {})) expand(value);
    if (!/^[\w./-]+@v\d+$/.test(step.uses)) throw new Error(`step ${index} uses ${step.uses}, which has no version`);
    continue;
  }
  if (!step.shell || !step.run) throw new Error(`step ${index} of a composite action needs a shell and something to run`);
  if (step.shell !== "bash") throw new Error(`${step.shell} is not known here`);
  if (skipped.includes(step.name) || failed || (step.if && !holds(step.if))) continue;
  const script = join(temp, `step-${index}.sh`);
  const output = join(temp, `output-${index}`);
  writeFileSync(script, expand(step.run));
  writeFileSync(output, "");
  const env = Object.fromEntries(Object.entries(step.env ?? {}).map(([name, value]) => [name, expand(value)]));
  const run = spawnSync("bash", ["--noprofile", "--norc", "-e", "-o", "pipefail", script], {
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...process.env,
      GITHUB_ACTIONS: "true",
      GITHUB_ACTION_PATH: dirname(resolve(file)),
      GITHUB_OUTPUT: output,
      RUNNER_TEMP: temp,
      ...env,
    },
  });
  failed = run.status ?? 1;
  const outputs = readFileSync(output, "utf8").split("\n").filter(Boolean).map((line) => line.split(/=(.*)/s).slice(0, 2));
  if (step.id) context.steps[step.id] = { outputs: Object.fromEntries(outputs) };
}
const said = {};
for (const [name, { value }] of Object.entries(action.outputs ?? {})) said[name] = failed ? null : expand(value);
console.log(JSON.stringify({ status: failed, outputs: said }));
process.exit(failed);
