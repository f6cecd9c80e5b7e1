// What the pages do besides what the theme does. It makes no request and stores nothing.

// A formula wider than the screen scrolls in itself, and what scrolls must be reachable by keyboard.
function letFormulasScroll() {
  for (const box of document.querySelectorAll(".formula")) {
    const wide = box.scrollWidth > box.clientWidth;
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", "Formula"]]) {
      if (wide) box.setAttribute(name, value); else box.removeAttribute(name);
    }
  }
}

document.addEventListener("DOMContentLoaded", letFormulasScroll);
window.addEventListener("resize", letFormulasScroll);
document.fonts.ready.then(letFormulasScroll);
