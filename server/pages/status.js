// The status of sender-viewer: who is in which room, and a button that closes a client's connection.
import { $, T, begin, fetchJson, label, log, put } from "./shared.js";

const EVERY_MS = 2000;

async function kick(clientId) {
  const body = JSON.stringify({ clientId });
  const headers = { "Content-Type": "application/json" };
  const done = await fetchJson("../api/kick", { method: "POST", body, headers, secret: $("admin").value });
  if (done) log(T("Closed the connection of {client}."), { client: clientId });
  await show();
}

function row(roomId, role, { connected, clientId }) {
  const row = document.createElement("tr");
  const cells = [roomId, "", "", clientId ?? "–", ""].map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    row.append(cell);
    return cell;
  });
  put(cells[1], role);
  put(cells[2], connected ? T("yes") : T("no"));
  if (connected && clientId) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.client = clientId;
    put(button, T("Kick"));
    label(button, T("Kick {client}"), { client: clientId });
    button.addEventListener("click", () => kick(clientId));
    cells[4].append(button);
  }
  return row;
}

let shownBefore = "";

async function show() {
  const status = await fetchJson("../api/status");
  if (!status) return;
  // Rows that did not change stay, and so does the focus in them.
  const now = JSON.stringify(status);
  if (now === shownBefore) return;
  shownBefore = now;
  const rows = status.rooms.flatMap(({ roomId, sender, viewer }) => [
    row(roomId, T("Sender"), sender),
    row(roomId, T("Viewer"), viewer),
  ]);
  $("rooms").replaceChildren(...rows);
  $("nobody").hidden = rows.length > 0;
  const seats = status.rooms.flatMap(({ sender, viewer }) => [sender, viewer]);
  $("online").textContent = String(seats.filter(({ connected }) => connected).length);
}

begin();
for (;;) {
  await show();
  await new Promise((done) => setTimeout(done, EVERY_MS));
}
