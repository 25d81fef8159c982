// Shows the rows and pictures of one model, one target, or both; sections without any are hidden.
const filter = document.querySelector("form.filter");
if (filter) {
  filter.hidden = false;
  filter.addEventListener("change", choose);
  choose(); // a browser keeps the choice when it loads the page again
}

function choose() {
  const chosen = [...new FormData(filter)].filter(([, value]) => value);
  for (const shown of document.querySelectorAll("[data-model], [data-target]")) {
    shown.hidden = chosen.some(([name, value]) => (shown.dataset[name] ?? value) !== value);
  }
  for (const section of document.querySelectorAll("main section")) {
    const parts = [...section.querySelectorAll("tbody tr, figure")];
    const left = parts.filter((part) => !part.hidden);
    section.hidden = left.length === 0;
    document.querySelector(`nav a[href="#${section.id}"]`).hidden = section.hidden;
    const count = section.querySelector("summary");
    if (count) count.textContent = `${left.length} ${left.length === 1 ? "row" : "rows"}`;
  }
}
