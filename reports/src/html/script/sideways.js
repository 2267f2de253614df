  // ---- what is wider than its place

  // On the side where there is more, it fades out, and a line below says so.
  const sideways = (box) => {
    const more = [box.scrollLeft > 1 && "left", box.scrollLeft + box.clientWidth < box.scrollWidth - 1 && "right"].filter(Boolean);
    box.dataset.more = more.join(" ");
    let hint = box.nextElementSibling?.classList.contains("sideways") ? box.nextElementSibling : null;
    if (more.length && !hint) {
      hint = document.createElement("p");
      hint.className = "sideways";
      // A reader of the screen is told by the box itself that it scrolls.
      hint.setAttribute("aria-hidden", "true");
      box.after(hint);
    }
    if (!hint) return;
    hint.hidden = !more.length;
    hint.textContent = more.includes("right") ? "more to the side →" : "← more to the side";
  };
  const sizes = new ResizeObserver((changes) => changes.forEach(({ target }) => sideways(target.closest(".scroll, .sequence"))));
  for (const box of all(".scroll, .sequence")) {
    box.addEventListener("scroll", () => sideways(box), { passive: true });
    sizes.observe(box);
    if (box.lastElementChild) sizes.observe(box.lastElementChild);
  }

