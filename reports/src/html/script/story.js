
  // ---- the story: what is shown of it, and the way to the events and back

  const stories = new Map();
  for (const card of all(".story")) {
    const rows = all("li.row", card);
    const buttons = all(".only [aria-pressed]", card);
    const clear = one(".clear", card);
    const pressed = (name) => buttons.filter((button) => button.ariaPressed === "true" && name in button.dataset).map((button) => button.dataset[name]);
    const apply = () => {
      const [layers, parties] = [pressed("layer"), pressed("party")];
      let shown = 0;
      for (const row of rows) {
        const who = row.dataset.who.split(" ");
        const fits = (!layers.length || layers.some((layer) => row.classList.contains(layer))) && (!parties.length || parties.some((party) => who.includes(party)));
        row.hidden = !fits;
        if (fits) shown += 1;
      }
      clear.hidden = !layers.length && !parties.length;
      one(".count", card).textContent = clear.hidden ? "" : `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} steps`;
    };
    const showAll = () => {
      buttons.forEach((button) => (button.ariaPressed = "false"));
      apply();
    };
    buttons.forEach((button) =>
      button.addEventListener("click", () => {
        button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
        apply();
      }),
    );
    clear.addEventListener("click", () => {
      showAll();
      buttons[0].focus();
    });
    one(".only", card).addEventListener("keydown", (key) => key.key === "Escape" && showAll());
    stories.set(card.closest(".run"), { rows, showAll });
  }

  const explorers = new Map();
  const runs = new Map(all(".run").map((run) => [run.dataset.case, run]));
  // A run is set up only when it is expanded.
  const start = (run) => {
    const root = run.open && one("[data-explorer]", run);
    if (root && !explorers.has(run)) {
      explorers.set(run, explore(root));
      one(".to-story", root).hidden = !stories.has(run);
      one(".to-story", root).addEventListener("click", () => toStory(run));
    }
    return explorers.get(run);
  };
  for (const run of runs.values()) {
    run.addEventListener("toggle", () => start(run));
    start(run);
  }
  document.addEventListener("click", (click) => {
    const link = click.target.closest("a[data-event]");
    if (!link) return;
    // The masthead is about the first failure.
    const failure = link.closest(".failure") || (link.closest(".masthead") && failures[0]);
    const run = link.closest(".run") || runs.get(failure?.dataset.case);
    if (run) run.open = true;
    const explorer = run && start(run);
    click.preventDefault();
    const row = link.closest(".story li.row");
    if (row) stories.get(run).from = row;
    if (explorer) explorer.show(Number(link.dataset.event));
    else if (run) toRow(run, (row) => one("[data-event]", row)?.dataset.event === link.dataset.event);
  });

  // Shows the last row of a story that fits.
  const toRow = (run, fits) => {
    const { rows, showAll } = stories.get(run) || { rows: [] };
    const row = rows.findLast(fits) || rows[0];
    if (!row) return;
    if (row.hidden) showAll();
    rows.forEach((other) => other.classList.toggle("here", other === row));
    row.scrollIntoView({ block: "center" });
    one("a", row)?.focus({ preventScroll: true });
  };
  // The row of the event that is marked, if possible that from which one came, or the last one before the cursor.
  const toStory = (run) => {
    const { event, time } = explorers.get(run).at();
    const { rows, from } = stories.get(run);
    const ofEvent = (row) => Number(one("[data-event]", row)?.dataset.event) === event;
    if (from && ofEvent(from)) return toRow(run, (row) => row === from);
    toRow(run, rows.some(ofEvent) ? ofEvent : (row) => parseFloat(one(".time", row).textContent) <= time + 0.0005);
  };
