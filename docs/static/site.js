// The gallery's search: shows the corruptions whose section contains every word.
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll("p.caption[role=heading]")) {
    caption.ariaLevel = "2"; // the theme states no level
  }
  // What scrolls can be scrolled with the keyboard.
  for (const box of document.querySelectorAll(".table-wrapper, .highlight pre, article .output pre")) {
    box.tabIndex = 0;
  }
  const input = document.querySelector(".gallery-filter input");
  if (!input) return;
  const output = document.querySelector(".gallery-filter output");
  const entries = [...document.querySelectorAll("section section section")];
  const families = [...document.querySelectorAll("section section")].filter(
    (section) => section.querySelector("section")
  );
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const entry of entries) {
      const text = entry.textContent.toLowerCase();
      entry.hidden = !words.every((word) => text.includes(word));
    }
    for (const family of families) {
      family.hidden = !family.querySelector("section:not([hidden])");
    }
    const shown = entries.filter((entry) => !entry.hidden).length;
    output.textContent = words.length ? `${shown} of ${entries.length} corruptions` : "";
  };
  input.addEventListener("input", filter);
});
