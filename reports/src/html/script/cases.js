  // ---- the matrix of cases

  const filter = one("#filter");
  if (filter) {
    const rows = all("tr.case").map((row) => [row, row.textContent.toLowerCase(), row.dataset.verdicts.split(" ")]);
    const boxes = all(".verdicts input");
    const changed = one("#changed");
    const apply = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      for (const [row, text, verdicts] of rows) {
        const fits = words.every((word) => text.includes(word)) && verdicts.some((verdict) => wanted.has(verdict));
        row.hidden = !fits || (changed?.checked && !row.classList.contains("changed"));
      }
      for (const body of all(".matrix tbody")) body.hidden = !one("tr.case:not([hidden])", body);
    };
    filter.addEventListener("input", apply);
    [...boxes, changed].forEach((box) => box?.addEventListener("change", apply));
  }

