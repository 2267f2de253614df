// Reads a container file as builders do, and says as JSON what is wrong with it and what its stages do.
//
//   node container.mjs FOLDER CONTAINERFILE
//
// FOLDER holds node_modules with dockerfile-ast and dockerfile-utils.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, file] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const text = readFileSync(file, "utf8");
const { validate } = load("dockerfile-utils");
const { DockerfileParser } = load("dockerfile-ast");

const stages = [];
for (const instruction of DockerfileParser.parse(text).getInstructions()) {
  const keyword = instruction.getKeyword();
  if (keyword === "FROM") stages.push({ image: instruction.getImage(), name: instruction.getBuildStage(), steps: [] });
  else {
    const { start, end } = instruction.getRange();
    const lines = text.split("\n").slice(start.line, end.line + 1);
    stages.at(-1).steps.push([keyword, lines.join("\n").replace(/^\s*\w+\s+/, "")]);
  }
}
const problems = validate(text).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`);
console.log(JSON.stringify({ problems, stages }));
