  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const one = (selector, from = document) => from.querySelector(selector);

  // ---- all pages

  const dark = () => {
    const set = document.documentElement.style.colorScheme;
    return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const redraw = [];
  const toggle = () => {
    document.documentElement.style.colorScheme = dark() ? "light" : "dark";
    redraw.forEach((draw) => draw());
  };
  one("#theme").addEventListener("click", toggle);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw.forEach((draw) => draw()));

  document.addEventListener("click", async (click) => {
    const button = click.target.closest("[data-copy]");
    if (!button) return;
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page opened from a file may not access the clipboard: select the text, so that one key copies it.
      getSelection().selectAllChildren(button.previousElementSibling);
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });

  const failures = all(".failure");
  let at = -1;
  const go = (step) => {
    if (!failures.length) return;
    at = (at + step + failures.length) % failures.length;
    failures[at].open = true;
    one("summary", failures[at]).focus({ preventScroll: true });
    bringIn(failures[at]);
  };
  // Shows a failure from its beginning, or its row that is wrong if the screen is too small for both.
  const bringIn = (failure) => {
    const wrong = one(".marked", failure);
    const height = wrong ? wrong.getBoundingClientRect().bottom - failure.getBoundingClientRect().top : 0;
    if (height > innerHeight - 24) wrong.scrollIntoView({ block: "center" });
    else failure.scrollIntoView({ block: "start" });
  };
  document.addEventListener("keydown", (key) => {
    if (key.key === "Escape" && key.target.matches("input[type=search]")) {
      // Everything is shown again, and the letters are keys of the page again.
      key.preventDefault();
      key.target.value = "";
      key.target.dispatchEvent(new Event("input"));
      key.target.blur();
      return;
    }
    if (key.ctrlKey || key.metaKey || key.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(key.target.tagName)) return;
    if (key.key === "n") go(1);
    else if (key.key === "p") go(at < 0 ? 0 : -1);
    else if (key.key === "t") toggle();
    else if (key.key === "/") {
      const field = one("#filter") || one("input[type=search]");
      if (!field) return;
      field.focus();
      key.preventDefault();
    }
  });
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target || target.tagName !== "DETAILS") return;
    target.open = true;
    if (failures.includes(target)) bringIn(target);
  };
  addEventListener("hashchange", reveal);
  reveal();
  // On paper everything is unfolded, but the description of each case, of which there are hundreds.
  addEventListener("beforeprint", () => all("details:not(.matrix details)").forEach((details) => (details.open = true)));

