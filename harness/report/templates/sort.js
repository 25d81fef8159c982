"use strict";
// A click on a column's heading sorts the table by it, a second one the other way round.
// Numbers sort as numbers; what is missing stays last either way.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const upwards = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", upwards ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column], upwards));
      body.append(...rows);
    });
  });
}

// Paper has no rows to ask for.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});

function compare(a, b, upwards) {
  const missing = (cell) => "missing" in cell.dataset;
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const numeric = "sort" in a.dataset && "sort" in b.dataset;
  const order = numeric
    ? Number(a.dataset.sort) - Number(b.dataset.sort)
    : a.textContent.localeCompare(b.textContent);
  return upwards ? order : -order;
}
