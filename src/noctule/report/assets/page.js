"use strict";
// Tables: sorted by their headings, filtered by the fields above them.

const key = (row, column, numeric) => {
  const text = row.cells[column].dataset.key;
  if (!numeric) return text;
  return text === "" ? null : Number(text);
};

function compare(a, b, numeric) {
  if (numeric) return a - b;
  return a.localeCompare(b, undefined, { numeric: true });
}

function sortBy(table, heading) {
  const column = heading.cellIndex;
  const numeric = heading.classList.contains("number");
  const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [key(row, column, numeric), row]);
  // Undefined values come last in both directions.
  const isMissing = (value) => value === null || value === "";
  rows.sort(([a], [b]) => isMissing(a) - isMissing(b) || (isMissing(a) ? 0 : sign * compare(a, b, numeric)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
}

function filter(controls) {
  const table = document.getElementById(controls.dataset.table);
  const wanted = (controls.querySelector("[data-search]")?.value ?? "").toLowerCase();
  const chosen = [...controls.querySelectorAll("[data-facet]")].filter((one) => one.value !== "");
  let count = 0;
  for (const row of table.tBodies[0].rows) {
    const facets = JSON.parse(row.dataset.facets ?? "{}");
    const fits = chosen.every((one) => facets[one.dataset.facet] === one.value);
    row.hidden = !(fits && row.textContent.toLowerCase().includes(wanted));
    count += !row.hidden;
  }
  controls.querySelector("output").textContent = `${count} of ${table.tBodies[0].rows.length} rows`;
}

for (const button of document.querySelectorAll("button.sort")) {
  button.addEventListener("click", () => sortBy(button.closest("table"), button.closest("th")));
}
for (const controls of document.querySelectorAll(".filters[data-table]")) {
  controls.hidden = false;
  controls.addEventListener("input", () => filter(controls));
  filter(controls);
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
