#!/usr/bin/env node
// Runs the program that npm has installed for this platform, as a package of its own.
"use strict";

const { spawn } = require("node:child_process");
const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { constants } = require("node:os");
const { dirname, join } = require("node:path");

const { homepage, optionalDependencies } = require("./package.json");
/** The oldest glibc that the program runs with. */
const GLIBC = "@GLIBC@";

function fail(what, hint) {
  console.error(`glare: ${what}\n${hint}`);
  process.exit(2);
}

/** The name of this platform's package. */
function platform() {
  const name = `@glare-webrtc/${process.platform}-${process.arch}`;
  if (!(name in optionalDependencies)) {
    fail(
      `there is no program for ${process.platform} ${process.arch}: simulations need Linux, on x86-64 or ARM64`,
      `Use the container image, or Linux in a virtual machine (on Windows: WSL 2): ${homepage}#install`,
    );
  }
  const { glibcVersionRuntime: glibc } = process.report.getReport().header;
  if (!glibc) {
    fail(
      `this system has another C library than glibc, such as Alpine's musl, and the program needs glibc ${GLIBC} or newer`,
      "Use an image with glibc, such as node:22-slim in place of node:22-alpine",
    );
  }
  if (glibc.localeCompare(GLIBC, "en", { numeric: true }) < 0) {
    fail(`this system has glibc ${glibc}, and the program needs ${GLIBC} or newer`, "Use a newer system or image, such as node:22-slim");
  }
  return name;
}

/** The folder of this platform's package. */
function installed(name) {
  try {
    return dirname(require.resolve(`${name}/package.json`));
  } catch {
    return fail(
      `the package ${name}, which contains the program, is not installed: npm leaves it out with --omit=optional, and with a lock file that was written on another platform`,
      `Install again without that option, or install that package too: npm install ${name}@${optionalDependencies[name]}`,
    );
  }
}

/** Explains why the program does not run, if its file is damaged. */
function check(folder, program) {
  const { sha256 } = require(join(folder, "package.json")).glare;
  let found = "missing";
  try {
    found = createHash("sha256").update(readFileSync(program)).digest("hex");
  } catch {}
  if (found !== sha256) {
    fail(`${program} is damaged: its SHA-256 is ${found}, and should be ${sha256}`, `Delete ${folder} and install again`);
  }
}

const folder = installed(platform());
const program = join(folder, "glare");
// The commands that the program prints are to be pasted.
const env = process.env.npm_command === "exec" ? { ...process.env, GLARE_PROGRAM: "npx @glare-webrtc/glare" } : process.env;
// A terminal sends SIGINT to the program itself. The program decides what a signal means, and when it ends. The handlers are there before
// the program is, so that a request to end at this moment is passed on, too: they run when this script has run to its end.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
const child = spawn(program, process.argv.slice(2), { stdio: "inherit", env });

child.on("error", (error) => {
  check(folder, program);
  fail(`${program} does not start: ${error.message}`, `Delete ${folder} and install again`);
});
child.on("exit", (code, signal) => {
  // A damaged program crashes, or is taken for a script of a shell, whose exit codes are 2, 126 and 127.
  if (![0, 1, 3, 4].includes(code)) check(folder, program);
  process.exit(code ?? 128 + constants.signals[signal]);
});
