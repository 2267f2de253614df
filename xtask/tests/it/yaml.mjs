// Prints all documents of a YAML file as a JSON array.
//
//   node yaml.mjs FOLDER FILE.yaml
//
// FOLDER holds node_modules with yaml.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, file] = process.argv.slice(2);
const { parseAllDocuments } = createRequire(`${folder}/`)("yaml");
const documents = parseAllDocuments(readFileSync(file, "utf8"));
for (const { errors } of documents) if (errors.length) throw errors[0];
console.log(JSON.stringify(documents.map((document) => document.toJS())));
