  // ---- all events of a run

  const ROW = 22;
  const LANE = 20;

  function explore(root) {
    const data = JSON.parse(one("script", root).textContent);
    const count = data.t.length;
    const time = new Float64Array(count);
    for (let i = 0, now = 0; i < count; i++) time[i] = (now += data.t[i]) / 1e6;
    const end = count ? time[count - 1] : 1;
    const layers = data.layers;
    const used = layers.map((_, layer) => data.l.includes(layer));
    // Packets are most of a run's events, so they are hidden at first.
    const shownLayers = layers.map((layer) => layer !== "packet");
    const shownParties = data.parties.map(() => true);
    let [from, to] = [0, end || 1];
    let cursor = end;
    let here = -1;
    let query = "";
    let visible = new Uint32Array(0);

    const box = (into, name, checked, change, color) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "checkbox";
      input.checked = checked;
      input.addEventListener("change", () => change(input.checked));
      const word = document.createElement("span");
      word.textContent = " " + name;
      if (color) word.style.color = `var(--${color})`;
      label.append(input, word);
      into.append(label);
    };
    layers.forEach((layer, i) => {
      if (used[i]) box(one(".layers", root), layer, shownLayers[i], (on) => ((shownLayers[i] = on), select()), layer);
    });
    const present = new Set(data.n);
    const lanes = data.order.filter((party) => present.has(party));
    for (const i of lanes) {
      box(one(".parties", root), data.parties[i], true, (on) => ((shownParties[i] = on), select()));
    }

    // Which events are shown: by layer, peer, search and time window.
    const first = (when) => {
      let [low, high] = [0, count];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (time[middle] < when) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    let hits = null;
    // With a capture, a number is a frame's: show that frame's packet in all frames in which it was seen.
    const captured = data.f.length > 0;
    const sameFrame = (number) => {
      const packet = data.p[data.f.findIndex((frame, i) => frame === number && data.p[i])];
      const frames = new Set([number]);
      if (packet) data.p.forEach((other, i) => other === packet && frames.add(data.f[i]));
      frames.delete(0);
      return (i) => frames.has(data.f[i]) || (packet && data.p[i] === packet);
    };
    const search = () => {
      const number = Number(/^#(\d+)$/.exec(query)?.[1]);
      if (!query) hits = null;
      else if (number) hits = captured ? sameFrame(number) : (i) => data.p[i] === number;
      else {
        const found = data.texts.map((text) => text.toLowerCase().includes(query));
        hits = (i) => found[data.x[i]];
      }
    };
    const wanted = (i) => (hits ? hits(i) : shownLayers[data.l[i]]) && shownParties[data.n[i]];
    const select = () => {
      const list = [];
      for (let i = first(from); i < count && time[i] <= to; i++) if (wanted(i)) list.push(i);
      visible = Uint32Array.from(list);
      spacer.style.height = visible.length * ROW + "px";
      one(".window", root).textContent =
        `${visible.length.toLocaleString("en")} events from ${from.toFixed(3)} s to ${to.toFixed(3)} s`;
      rows(true);
      draw();
    };

    // The list: only the visible rows are in the document.
    const list = one(".list", root);
    const spacer = one(".spacer", root);
    let drawn = "";
    const rows = (again) => {
      const top = Math.max(0, Math.floor(list.scrollTop / ROW) - 10);
      const bottom = Math.min(visible.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 10);
      const now = `${top} ${bottom}`;
      if (now === drawn && !again) return;
      drawn = now;
      const made = document.createDocumentFragment();
      for (let row = top; row < bottom; row++) made.append(line(visible[row], row));
      spacer.replaceChildren(made);
    };
    const cell = (className, text) => {
      const span = document.createElement("span");
      span.className = className;
      span.textContent = text;
      return span;
    };
    const line = (i, row) => {
      const layer = layers[data.l[i]];
      const div = document.createElement("div");
      div.className = `event ${layer}${i === here ? " here" : ""}`;
      div.style.top = row * ROW + "px";
      div.dataset.event = i;
      const what = cell("what", data.texts[data.x[i]]);
      what.title = what.textContent;
      div.append(cell("t", time[i].toFixed(3)), cell("layer", layer), cell("who", data.parties[data.n[i]]), what);
      const number = captured ? data.f[i] : data.p[i];
      if (number) {
        const packet = document.createElement("button");
        packet.type = "button";
        packet.tabIndex = -1;
        packet.textContent = "#" + number + (captured ? " " + data.interfaces[data.i[i]] : "");
        const inWireshark = captured ? `frame.number == ${number}` : `frame.comment contains "packet ${number},"`;
        packet.title = "All events of this packet; in Wireshark: " + inWireshark;
        packet.dataset.packet = number;
        div.append(packet);
      }
      return div;
    };
    list.addEventListener("scroll", () => requestAnimationFrame(() => rows(false)), { passive: true });
    list.addEventListener("click", (click) => {
      const packet = click.target.closest("[data-packet]");
      if (packet) {
        field.value = "#" + packet.dataset.packet;
        return searched();
      }
      const row = click.target.closest("[data-event]");
      if (row) mark(Number(row.dataset.event));
    });
    list.addEventListener("keydown", (key) => {
      if (key.key === "Escape") return one(".to-story", root).click();
      const step = { ArrowDown: 1, ArrowUp: -1 }[key.key];
      if (!step || !visible.length) return;
      key.preventDefault();
      const place = visible.indexOf(here);
      const next = visible[Math.min(visible.length - 1, Math.max(0, place < 0 ? 0 : place + step))];
      mark(next);
      reveal(next);
    });
    const reveal = (i) => {
      const row = visible.indexOf(i);
      if (row < 0) return;
      if (row * ROW < list.scrollTop || (row + 1) * ROW > list.scrollTop + list.clientHeight) {
        list.scrollTop = row * ROW - list.clientHeight / 2;
      }
      rows(true);
    };
    const mark = (i) => {
      here = i;
      setCursor(time[i]);
      rows(true);
    };

    const field = one(".search", root);
    const searched = () => {
      query = field.value.trim().toLowerCase();
      search();
      select();
    };
    field.addEventListener("input", searched);

    // The axis.
    const canvas = one("canvas", root);
    const brush = one(".brush", root);
    const lane = new Map(lanes.map((party, i) => [party, i]));
    const NAMES = 84;
    const span = () => canvas.clientWidth - NAMES - 8;
    const x = (when) => NAMES + ((when - from) / (to - from)) * span();
    const when = (px) => Math.min(to, Math.max(from, from + ((px - NAMES) / span()) * (to - from)));
    const draw = () => {
      const ratio = devicePixelRatio || 1;
      const [width, height] = [canvas.clientWidth, lanes.length * LANE + 24];
      canvas.style.height = height + "px";
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      const probe = document.createElement("i");
      root.append(probe);
      const resolve = (name) => ((probe.style.color = `var(--${name})`), getComputedStyle(probe).color);
      const colors = layers.map(resolve);
      const [text, faint, rule, link] = ["text", "faint", "line", "link"].map(resolve);
      probe.remove();
      pen.font = "11px system-ui, sans-serif";
      pen.textBaseline = "middle";
      lanes.forEach((party, i) => {
        pen.fillStyle = text;
        pen.fillText(data.parties[party].slice(0, 13), 8, i * LANE + LANE / 2 + 2, NAMES - 14);
        pen.fillStyle = rule;
        pen.fillRect(NAMES, i * LANE + LANE / 2 + 2, width - NAMES, 1);
      });
      // One mark per event, but at most one per pixel, layer and lane.
      const seen = new Set();
      for (let j = 0; j < visible.length; j++) {
        const i = visible[j];
        const px = Math.round(x(time[i]));
        const key = (px * 16 + data.l[i]) * 256 + lane.get(data.n[i]);
        if (seen.has(key)) continue;
        seen.add(key);
        pen.fillStyle = colors[data.l[i]];
        pen.globalAlpha = layers[data.l[i]] === "packet" || layers[data.l[i]] === "nat" ? 0.45 : 0.95;
        const tall = layers[data.l[i]] === "fault" ? 16 : 10;
        pen.fillRect(px - 0.75, lane.get(data.n[i]) * LANE + (LANE - tall) / 2 + 2, 1.75, tall);
      }
      pen.globalAlpha = 1;
      pen.fillStyle = faint;
      const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
      const step = steps.find((step) => (step / (to - from)) * span() > 60) || 7200;
      for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) {
        pen.fillRect(x(tick), height - 20, 1, 4);
        pen.textAlign = "center";
        pen.fillText(`${+tick.toFixed(3)} s`, x(tick), height - 8);
      }
      pen.textAlign = "start";
      if (cursor >= from && cursor <= to) {
        pen.fillStyle = link;
        pen.fillRect(x(cursor) - 0.5, 0, 1.5, height - 20);
      }
    };
    redraw.push(draw);
    new ResizeObserver(() => (draw(), rows(true))).observe(canvas.parentElement);

    const zoom = (a, b) => {
      from = Math.max(0, a);
      to = Math.min(end || 1, b);
      if (to - from < 0.002) to = from + 0.002;
      slider.value = 1000 * Math.min(1, Math.max(0, (cursor - from) / (to - from)));
      select();
    };
    const scale = (by, around = Math.min(to, Math.max(from, cursor))) =>
      zoom(around - (around - from) * by, around + (to - around) * by);
    one(".zoom-in", root).addEventListener("click", () => scale(0.5));
    one(".zoom-out", root).addEventListener("click", () => scale(2));
    one(".zoom-all", root).addEventListener("click", () => zoom(0, end));
    canvas.addEventListener(
      "wheel",
      (wheel) => {
        if (!wheel.ctrlKey && !wheel.metaKey) return;
        wheel.preventDefault();
        scale(wheel.deltaY > 0 ? 1.25 : 0.8, when(wheel.offsetX));
      },
      { passive: false },
    );
    let grip = null;
    canvas.addEventListener("pointerdown", (press) => {
      grip = press.offsetX;
      canvas.setPointerCapture(press.pointerId);
    });
    canvas.addEventListener("pointermove", (move) => {
      if (grip === null || Math.abs(move.offsetX - grip) < 4) return;
      brush.hidden = false;
      brush.style.left = Math.min(grip, move.offsetX) + "px";
      brush.style.width = Math.abs(move.offsetX - grip) + "px";
    });
    canvas.addEventListener("pointerup", (release) => {
      if (grip === null) return;
      const [a, b] = [when(Math.min(grip, release.offsetX)), when(Math.max(grip, release.offsetX))];
      if (!brush.hidden) zoom(a, b);
      else setCursor(when(release.offsetX));
      brush.hidden = true;
      grip = null;
    });
    canvas.addEventListener("dblclick", () => zoom(0, end));

    // The tables of all NATs at the cursor's time.
    const slider = one(".position", root);
    slider.addEventListener("input", () => setCursor(from + (slider.value / 1000) * (to - from), true));
    const tables = one(".tables-of-nats", root);
    const setCursor = (moment, bySlider) => {
      cursor = moment;
      if (here >= 0 && time[here] !== moment) here = -1;
      if (!bySlider) slider.value = 1000 * Math.min(1, Math.max(0, (cursor - from) / (to - from)));
      all(".at", root).forEach((span) => (span.textContent = cursor.toFixed(3) + " s"));
      draw();
      mappings();
    };
    const mappings = () => {
      const nats = new Map();
      for (const [event, kind, protocol, internal, external, remote] of data.nat) {
        if (time[event] > cursor) break;
        const party = data.n[event];
        if (!nats.has(party)) nats.set(party, new Map());
        const table = nats.get(party);
        const key = `${protocol} ${internal} ${external}`;
        if (kind === "+") table.set(key, [protocol, internal, external, remote, time[event]]);
        else if (kind === "-") table.delete(key);
        else table.clear();
      }
      const made = document.createDocumentFragment();
      for (const party of [...nats.keys()].sort((a, b) => a - b)) {
        const rows = [...nats.get(party).values()];
        const head = document.createElement("h5");
        head.textContent = `${data.parties[party]}: ${rows.length} mapping${rows.length === 1 ? "" : "s"}`;
        const table = document.createElement("table");
        for (const [protocol, internal, external, , since] of rows.slice(0, 200)) {
          const row = table.insertRow();
          for (const text of [protocol.toUpperCase(), internal, "⇒ " + external, since.toFixed(1) + " s"]) {
            row.insertCell().textContent = text;
          }
        }
        made.append(head, table);
      }
      if (!nats.size) made.append("No NAT has a mapping.");
      tables.replaceChildren(made);
    };

    select();
    setCursor(Math.min(end, data.end || end));

    return {
      root,
      // The event that is marked, if any, and the time of the cursor.
      at: () => ({ event: here, time: cursor }),
      // Shows the event of a step of the story.
      show: (i) => {
        if (i >= count) return;
        field.value = "";
        query = "";
        search();
        shownLayers[data.l[i]] = true;
        shownParties[data.n[i]] = true;
        for (const [place, names, name] of [[".layers", layers, layers[data.l[i]]], [".parties", data.parties, data.parties[data.n[i]]]]) {
          all(`${place} input`, root).forEach((input) => {
            if (names.includes(name) && input.parentElement.textContent.trim() === name) input.checked = true;
          });
        }
        if (time[i] < from || time[i] > to) zoom(0, end);
        else select();
        mark(i);
        reveal(i);
        root.scrollIntoView({ block: "start" });
        list.focus({ preventScroll: true });
      },
    };
  }
