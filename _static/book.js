// What the pages do besides what the theme does. It makes no request and stores nothing.

// What is wider than the screen scrolls in itself, and what scrolls must be reachable by keyboard. The theme sees to that when the window
// changes its size; code in a fold gets its size when the fold is opened.
const scrolling = new ResizeObserver(entries => {
  for (const { target: box } of entries) {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    box.tabIndex = scrolls ? 0 : -1;
    if (box.matches(".formula, .pst-scrollable-table-container")) {
      for (const [name, value] of [["role", "group"], ["aria-label", box.matches(".formula") ? "Formula" : "Table"]]) {
        if (scrolls) box.setAttribute(name, value); else box.removeAttribute(name);
      }
    }
  }
});
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll("pre, .cell_output > .output, .formula, .pst-scrollable-table-container")) scrolling.observe(box);
});

// Words of the glossary. Their definition appears where the pointer or the keyboard is, can be pointed at, and goes with Escape;
// on a touch screen the first tap shows it, and the second follows the link.
function showDefinitions() {
  const box = document.createElement("div");
  box.id = "book-definition";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  let shown = null, leaving = 0;

  function hide() {
    clearTimeout(leaving);
    if (shown) shown.removeAttribute("aria-describedby");
    box.hidden = true;
    shown = null;
  }

  function show(term) {
    clearTimeout(leaving);
    if (shown === term) return;
    hide();
    shown = term;
    box.innerHTML = term.dataset.definition;
    term.after(box);  // beside the word, so that it is read in its place
    box.hidden = false;
    term.setAttribute("aria-describedby", box.id);
    const line = term.getClientRects()[0], screen = document.documentElement.clientWidth;
    box.style.left = `${Math.max(8, Math.min(line.left, screen - box.offsetWidth - 8))}px`;
    const below = line.bottom + 4;
    box.style.top = `${below + box.offsetHeight > innerHeight ? Math.max(8, line.top - 4 - box.offsetHeight) : below}px`;
  }

  const later = () => { clearTimeout(leaving); leaving = setTimeout(hide, 200); };
  for (const term of document.querySelectorAll("a.term")) {
    let touched = false;
    term.addEventListener("pointerenter", event => { if (event.pointerType === "mouse") show(term); });
    term.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") later(); });
    term.addEventListener("pointerdown", event => { touched = event.pointerType !== "mouse" && shown !== term; });
    term.addEventListener("focus", () => show(term));
    term.addEventListener("blur", later);
    term.addEventListener("click", event => {
      if (touched) { event.preventDefault(); show(term); }
      touched = false;
    });
  }
  box.addEventListener("pointerenter", () => clearTimeout(leaving));
  box.addEventListener("pointerleave", later);
  document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
  document.addEventListener("scroll", hide, { passive: true });
}

document.addEventListener("DOMContentLoaded", showDefinitions);
