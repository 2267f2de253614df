// The start page: what listens where, and how much of it is in use.
import { $, T, address, begin, log, put, server } from "./shared.js";

const EVERY_MS = 2000;

function cell(row, text) {
  const cell = document.createElement("td");
  cell.textContent = text;
  row.append(cell);
  return cell;
}

/** The row of a dialect: a link to its page, its address, its counts. */
function row(info, { name, dialect }) {
  const row = document.createElement("tr");
  const page = cell(row, "");
  const known = ["sender-viewer", "mesh", "call", "broadcast", "relay"].includes(dialect);
  const link = document.createElement(known ? "a" : "span");
  if (known) link.href = `${dialect}.html${location.hash}`;
  link.textContent = name;
  page.append(link);
  const code = document.createElement("code");
  code.textContent = address(info, name);
  cell(row, "").append(code);
  const count = info.counts?.dialects[dialect];
  cell(row, count?.rooms ?? "–").className = "number";
  cell(row, count?.members ?? "–").className = "number";
  return row;
}

function service(key, values) {
  const item = document.createElement("li");
  put(item, key, values);
  return item;
}

function show(info) {
  $("dialects").replaceChildren(...info.dialects.map((entry) => row(info, entry)));
  const at = (scheme, port) => `${scheme}:${location.hostname}:${port}`;
  const services = [];
  if (info.stun) services.push(service(T("STUN at {url}"), { url: at("stun", info.stun) }));
  if (info.turn) services.push(service(T("TURN at {url}, {count} allocations"), { url: at("turn", info.turn), count: info.counts?.allocations ?? "–" }));
  services.push(service(T("Open connections: {count}"), { count: info.counts?.connections ?? "–" }));
  services.push(service(T("Glare {version}"), { version: info.version }));
  $("services").replaceChildren(...services);
}

async function refresh() {
  const info = await server();
  if (info) {
    $("alert").hidden = true;
    show(info);
  }
  setTimeout(refresh, EVERY_MS);
}

begin();
log(T("Connected to {url}"), { url: location.origin });
refresh();
