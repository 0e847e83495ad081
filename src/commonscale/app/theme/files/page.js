// Citations lead to their document, the switch compares, and the conversation stays in view. Nothing here makes HTML.
(() => {
  "use strict";
  const calm = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");

  function show(target) {
    for (const shown of document.querySelectorAll(".shown")) shown.classList.remove("shown");
    target.classList.add("shown");
    target.scrollIntoView({ behavior: calm(), block: "center" });
    target.focus({ preventScroll: true });
  }

  function documentsTab() {
    const tab = document.querySelector("#tabs button[role=tab]");
    if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
  }

  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const cite = event.target.closest("a.cite");
    if (cite) {
      event.preventDefault();
      documentsTab();
      // The tab, if it was hidden, is there in the next frame.
      requestAnimationFrame(() => {
        const card = document.getElementById("hit-" + cite.dataset.key);
        const source = document.getElementById((cite.getAttribute("href") || "").slice(1));
        const target = card || source;
        if (target) show(target);
      });
      return;
    }
    const compare = event.target.closest("#compare");
    if (compare) {
      const on = compare.getAttribute("aria-checked") !== "true";
      compare.setAttribute("aria-checked", String(on));
      document.body.classList.toggle("comparing", on);
    }
  });

  // The same document in the other ranking lights up with the one that is pointed at.
  for (const kind of ["mouseover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const card = event.target instanceof Element ? event.target.closest(".card") : null;
      for (const twin of document.querySelectorAll(".card.twin")) twin.classList.remove("twin");
      if (!card) return;
      for (const other of document.querySelectorAll(".card")) {
        if (other.dataset.key === card.dataset.key) other.classList.add("twin");
      }
    });
  }

  // Follow the answer as it grows, unless the reader has scrolled up.
  let following = true;
  document.addEventListener("scroll", (event) => {
    const box = event.target;
    if (box instanceof Element && box.id === "conversation") {
      following = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
    }
  }, true);
  new MutationObserver((changes) => {
    const box = document.getElementById("conversation");
    if (!box || !changes.some((change) => box.contains(change.target))) return;
    if (changes.some((change) => [...change.addedNodes].some((node) => node instanceof Element && node.querySelector?.(".doing")))) following = true;
    if (following) box.scrollTop = box.scrollHeight;
  }).observe(document, { childList: true, subtree: true });
})();
