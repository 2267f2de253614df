  // ---- the trace behind a cell

  const dialog = one("#trace");
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const tables = new Map();
  // The data of a table are read when its first trace is opened.
  const dataOf = (section) => {
    if (!tables.has(section)) tables.set(section, JSON.parse(one("script", section).textContent));
    return tables.get(section);
  };

  // A sequence diagram, as on the page of a result.
  const sequence = (cell, texts) => {
    const parties = cell.who.map((who) => texts[who]);
    const present = parties.map((_, party) => party).filter((party) => cell.steps.some(([, who, to]) => who === party || to === party));
    const lane = new Map(present.map((party, place) => [party, place]));
    const box = make("div", "sequence");
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Trace");
    box.style.setProperty("--lanes", present.length);
    const head = make("div", "row head");
    head.setAttribute("aria-hidden", "true");
    const lanes = make("span", "lanes");
    for (const party of present) lanes.append(make("span", party === 0 ? "lane server" : "lane", parties[party]));
    head.append(make("span", "time", "s"), lanes, make("span", "text"));
    const list = make("ol");
    const [before, after] = cell.left_out || [0, 0];
    if (before) list.append(make("li", "gap", `${before.toLocaleString("en")} earlier steps are left out`));
    for (const [ms, who, to, text, wrong] of cell.steps) {
      const row = make("li", "row signaling" + (wrong ? " marked" : ""));
      const marks = make("span", "lanes");
      marks.setAttribute("aria-hidden", "true");
      const [a, b] = [lane.get(who), lane.get(to)];
      const mark = make("i", b === undefined || a === b ? "dot" : b < a ? "arrow back" : "arrow");
      mark.style.setProperty("--a", b === undefined ? a : Math.min(a, b));
      if (b !== undefined) mark.style.setProperty("--n", Math.abs(a - b));
      marks.append(mark);
      const words = make("span", "text");
      words.append(make("span", "who", parties[who] + (to >= 0 ? " → " + parties[to] : "")), " ", make("span", "what", texts[text]));
      row.append(make("span", "time", (ms / 1000).toFixed(3)), marks, words);
      list.append(row);
    }
    if (after) list.append(make("li", "gap", `${after.toLocaleString("en")} later steps are left out`));
    box.append(head, list);
    return box;
  };

  // What a mark is about: its place in the data of its table.
  const about = (mark) => {
    const { servers, cases, cells, texts } = dataOf(mark.closest("section"));
    const row = Number(mark.closest("tr").dataset.row);
    const column = mark.closest("td").cellIndex - 1;
    return { server: servers[column], asked: cases[row], cell: cells[row][column], texts };
  };
  const address = (mark) => {
    const { server, asked } = about(mark);
    return "#" + encodeURIComponent(server.name) + "/" + asked.id.split("/").map(encodeURIComponent).join("/");
  };

  const show = (mark) => {
    const { server, asked, cell, texts } = about(mark);
    one("#trace-title").textContent = `${server.name}: ${asked.id}`;
    const body = one(".body", dialog);
    const line = make("p");
    line.append(make("i", mark.className, mark.textContent), " ", make("b", "", mark.ariaLabel), ` · ${asked.level ? asked.level + " · " : ""}${server.protocol}`);
    body.replaceChildren(line, make("p", "asks", asked.title));
    for (const why of cell.why || []) body.append(make("p", "message", texts[why]));
    if (cell.known !== undefined) body.append(make("p", "remark", "Known: " + texts[cell.known]));
    for (const remark of cell.remarks || []) body.append(make("p", "remark", texts[remark]));
    for (const [section, url, quote] of asked.citations) {
      const cited = make("p", "cite");
      const source = make(url ? "a" : "span", "", section);
      if (url) [source.href, source.rel] = [url, "noreferrer"];
      cited.append(source, quote ? ` “${quote}”` : "");
      body.append(cited);
    }
    let diagram = null;
    if (cell.steps) body.append((diagram = sequence(cell, texts)));
    else if (["pass", "acceptable"].includes(cell.v)) body.append(make("p", "hint", "The result has no messages of this case: “conformance --traces” keeps those of passing cases."));
    const again = make("p", "again");
    const copy = make("span", "copy");
    const button = make("button", "", "Copy");
    button.type = "button";
    const command = cell.replay === undefined ? `${server.command} --case ${asked.id}` : texts[cell.replay];
    button.dataset.copy = command;
    button.setAttribute("aria-label", "Copy the command");
    copy.append(make("code", "", command), button);
    again.append(make("span", "label", "Repeat"), copy);
    body.append(again);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    if (diagram) {
      diagram.addEventListener("scroll", () => sideways(diagram), { passive: true });
      sideways(diagram);
      one(".marked", diagram)?.scrollIntoView({ block: "center" });
    }
  };

  // The address of the page names the trace, so that it can be passed on.
  const marks = () => all("td > button.mark");
  let opened = null;
  const here = () => {
    const wanted = location.hash;
    if (opened && address(opened) === wanted) return;
    opened = (wanted.includes("/") && marks().find((mark) => address(mark) === wanted)) || null;
    if (opened) show(opened);
    else if (dialog.open) dialog.close();
  };
  addEventListener("hashchange", here);
  here();
  document.addEventListener("click", (click) => {
    const mark = click.target.closest("td > button.mark");
    if (mark) {
      opened = mark;
      show(mark);
      history.replaceState(null, "", address(mark));
    }
    if (click.target === dialog || click.target.closest(".close")) dialog.close();
  });
  dialog.addEventListener("close", () => {
    history.replaceState(null, "", location.pathname + location.search);
    opened?.focus();
    opened = null;
  });
