// What a reader needs of a page, each point a function that says what is missing. Each leaves the page as it was, but for the last
// ones: what is scrolled and unfolded.

/** All points, in the order in which they are asked. `page` is puppeteer's, `say` takes a sentence. */
export async function ask(page, say) {
  for (const point of [wrongRow, level, sideways, escape, changed, filter, wayBack, traces, paper]) await point(page, say);
}

/** In the diagram of a failure the row that is wrong is in view, and the key for the next failure brings it there. */
async function wrongRow(page, say) {
  const hidden = await page.evaluate(() => {
    const hidden = [];
    for (const row of document.querySelectorAll(".failure[open] .excerpt .marked")) {
      const at = row.getBoundingClientRect();
      for (let box = row.parentElement; box !== document.body; box = box.parentElement) {
        const inside = box.getBoundingClientRect();
        const clips = getComputedStyle(box).overflowY !== "visible" || !box.checkVisibility();
        if (clips && (at.bottom > inside.bottom + 1 || at.top < inside.top - 1)) hidden.push(row.dataset.step);
      }
    }
    return hidden;
  });
  if (hidden.length) say(`the row that is wrong is out of view: step ${hidden[0]}`);
  const failures = await page.evaluate(() => [...document.querySelectorAll(".failure")].map((failure) => Boolean(failure.querySelector(".excerpt .marked"))));
  for (const [number, has] of failures.slice(0, 4).entries()) {
    await page.keyboard.press("n");
    await settled(page);
    if (!has) continue;
    const seen = await page.evaluate((number) => {
      const at = document.querySelectorAll(".failure")[number].querySelector(".excerpt .marked").getBoundingClientRect();
      return at.top >= 0 && at.bottom <= innerHeight + 1;
    }, number);
    if (!seen) say(`the key n does not bring the row that is wrong into view, in failure ${number + 1}`);
  }
  await page.evaluate(() => (document.activeElement?.blur(), scrollTo(0, 0)));
  await settled(page);
}

/** The level of a case stands on one line. */
async function level(page, say) {
  const broken = await page.evaluate(() => {
    const lines = (cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return new Set([...range.getClientRects()].map((line) => Math.round(line.top))).size;
    };
    return [...document.querySelectorAll("td.level")].find((cell) => lines(cell) > 1)?.textContent;
  });
  if (broken) say(`the level “${broken}” is broken over lines`);
}

/** What is wider than its place shows that there is more to the side, and on which side. */
async function sideways(page, say) {
  const wrong = await page.evaluate(async () => {
    const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));
    const wrong = [];
    for (const box of document.querySelectorAll(".scroll, .sequence, .wide-table")) {
      if (!box.checkVisibility()) continue;
      const hint = box.nextElementSibling?.classList.contains("sideways") ? box.nextElementSibling : null;
      const says = (arrow) => hint?.checkVisibility() && hint.textContent.includes(arrow);
      const fades = () => getComputedStyle(box).maskImage !== "none";
      const name = box.getAttribute("aria-label") || box.className;
      if (box.scrollWidth <= box.clientWidth + 1) {
        if (says("→") || says("←") || fades()) wrong.push(`${name} says that there is more to the side, and there is not`);
        continue;
      }
      if (!says("→") || !fades()) wrong.push(`${name} does not show that there is more to the side`);
      box.scrollLeft = box.scrollWidth;
      await frames();
      if (!says("←")) wrong.push(`${name} does not show that there is more to the left`);
      box.scrollLeft = 0;
      await frames();
    }
    return wrong;
  });
  wrong.forEach(say);
}

/** Esc leaves the filter: it is empty, everything is shown again, and letters are keys of the page. */
async function escape(page, say) {
  const field = await page.$("#filter, .search");
  if (!field || !(await field.isVisible())) return;
  const count = () => page.evaluate(() => [...document.querySelectorAll("tr.case")].filter((row) => row.checkVisibility()).length);
  const before = await count();
  await page.keyboard.press("/");
  await page.keyboard.type("no such thing");
  await page.keyboard.press("Escape");
  const after = await field.evaluate((field) => ({ value: field.value, left: document.activeElement !== field }));
  if (!after.left || after.value) say("Esc does not leave the filter");
  if ((await count()) !== before) say("after Esc, cases are still hidden");
  await page.evaluate(() => document.activeElement?.blur());
}

/** Of two results, what changed can be shown alone, and is marked. */
async function changed(page, say) {
  if (!(await page.$("#changed"))) return;
  await page.click("#changed");
  const rows = await page.evaluate(() =>
    [...document.querySelectorAll("tr.case")].filter((row) => row.checkVisibility()).map((row) => Boolean(row.querySelector(".change"))),
  );
  const marked = await page.evaluate(() => document.querySelectorAll("tr.case .change").length);
  await page.click("#changed");
  if (rows.length !== marked || rows.includes(false)) say(`of what changed, ${rows.length} cases are shown, ${rows.filter(Boolean).length} marked`);
}

/** A story can be filtered by layer and by actor. */
async function filter(page, say) {
  const wrong = await page.evaluate(() => {
    const card = document.querySelector(".run[open] .story");
    if (!card) return [];
    const wrong = [];
    const rows = [...card.querySelectorAll("li.row")];
    const seen = () => rows.filter((row) => row.checkVisibility());
    const press = (selector) => card.querySelector(selector).click();
    for (const button of card.querySelectorAll("[data-layer], [data-party]")) {
      const { layer, party } = button.dataset;
      const fits = (row) => (layer ? row.classList.contains(layer) : row.dataset.who.split(" ").includes(party));
      button.click();
      const now = seen();
      if (!now.length || !now.every(fits) || now.length !== rows.filter(fits).length) wrong.push(`the filter of the story by ${layer || button.textContent} shows ${now.length} steps`);
      button.click();
      if (seen().length !== rows.length) wrong.push("a filter of the story that is released still hides steps");
    }
    press("[data-layer]");
    press("[data-party]");
    if (seen().length > rows.length / 1.01 && rows.length > 20) wrong.push("two filters of the story show everything");
    press(".clear");
    if (seen().length !== rows.length) wrong.push("“Show all” does not show the whole story");
    return wrong;
  });
  wrong.forEach(say);
}

/** A row of the story leads to its event on the axis, and from there back to the row, also if it is filtered out by then. */
async function wayBack(page, say) {
  const links = await page.$$(".run[open] .story a[data-event]");
  const button = await page.$(".run[open] .to-story");
  if (!links.length || !button) return;
  for (const [way, link] of [["a click", links.at(-1)], ["Escape", links[Math.floor(links.length / 2)]]]) {
    await link.evaluate((link) => link.click());
    await settled(page);
    const there = await page.evaluate(() => ({ event: document.querySelector(".event.here")?.dataset.event, axis: inView(document.querySelector(".axis")) }));
    const event = await link.evaluate((link) => link.dataset.event);
    if (there.event !== event || !there.axis) say(`a row of the story does not lead to the axis: ${JSON.stringify(there)}`);
    // The row is hidden in the meantime.
    await page.evaluate((link) => [...document.querySelectorAll(".story [data-layer]")].find((button) => !link.closest(".row").classList.contains(button.dataset.layer))?.click(), link);
    if (way === "Escape") await page.keyboard.press("Escape");
    else await button.evaluate((button) => button.click());
    await settled(page);
    const back = await page.evaluate((link) => ({ here: link.closest(".row").classList.contains("here"), view: inView(link), focus: document.activeElement === link }), link);
    if (!back.here || !back.view || !back.focus) say(`with ${way}, the axis does not lead back to the row: ${JSON.stringify(back)}`);
    await page.evaluate(() => document.querySelectorAll(".story [aria-pressed=true]").forEach((button) => button.click()));
  }
}

/** Each cell of a matrix opens its trace, an address does so too, and Esc leads back to the cell. */
async function traces(page, say) {
  const cells = await page.$$("td > button.mark");
  const seen = () =>
    page.evaluate(() => {
      const dialog = document.querySelector("#trace");
      return { open: dialog.open, title: dialog.querySelector("h2").textContent, rows: [...dialog.querySelectorAll("li.row")].filter((row) => row.checkVisibility()).length };
    });
  for (const cell of cells.slice(0, 3)) {
    const { name, unsupported } = await cell.evaluate((cell) => ({
      name: cell.closest("tr").querySelector(".id").textContent,
      unsupported: cell.classList.contains("unsupported"),
    }));
    await cell.evaluate((cell) => cell.click());
    await settled(page);
    const { open, title, rows } = await seen();
    const hasRows = rows > 0 || unsupported || (await cell.evaluate((cell) => cell.classList.contains("pass")));
    if (!open || !title.endsWith(name) || !hasRows) say(`a cell does not open its trace: ${JSON.stringify({ open, title: title.slice(0, 80), rows })}`);
    const address = await page.evaluate(() => location.hash);
    await page.keyboard.press("Escape");
    await settled(page);
    if ((await seen()).open || !(await cell.evaluate((cell) => document.activeElement === cell))) say("Esc does not close a trace, or does not lead back to its cell");
    await page.evaluate((address) => (document.querySelector("#trace").close(), (location.hash = address)), address);
    await settled(page);
    const again = await seen();
    if (address.length < 2 || !again.open || again.title !== title) say("an address does not open its trace");
    await page.evaluate(() => document.querySelector("#trace").close());
    await settled(page);
  }
}

/** On A4 paper no text is cut. */
async function paper(page, say) {
  const before = page.viewport();
  // 210 mm less margins of 12 mm, at 96 pixels per inch.
  await page.setViewport({ ...before, width: 703 });
  await page.emulateMediaType("print");
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  await settled(page);
  const cut = await page.evaluate(() => {
    const cut = [];
    const width = document.documentElement.clientWidth;
    const words = (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    for (const element of document.querySelectorAll("body *")) {
      if (!element.checkVisibility({ visibilityProperty: true }) || element.closest(".skip, .topology title")) continue;
      const style = getComputedStyle(element);
      const clips = style.overflowX !== "visible" || style.overflowY !== "visible" || style.maskImage !== "none";
      const name = `${element.tagName.toLowerCase()}.${element.className}`;
      if (clips && (element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1)) cut.push(`${name} cuts its text`);
      if (words(element) && element.getBoundingClientRect().right > width + 1) cut.push(`${name} passes the edge`);
    }
    return cut;
  });
  if (cut.length) say(`on paper, ${cut.length} texts are cut: ${cut[0]}`);
  await page.emulateMediaType("screen");
  await page.setViewport(before);
}

async function settled(page) {
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))));
}

/** Installs what the questions share in the page. */
export async function prepare(page) {
  await page.evaluateOnNewDocument(() => {
    window.inView = (element) => {
      const at = element?.getBoundingClientRect();
      return Boolean(at) && at.bottom > 0 && at.top < innerHeight;
    };
  });
}
