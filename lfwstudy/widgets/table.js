const make = (tag, values = {}) => Object.assign(document.createElement(tag), values);

const shown = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number" || typeof b === "number") return typeof a === "number" ? -1 : 1; // numbers before empty cells
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function render({ model, el }) {
  el.classList.add("lfw-table");
  el.dataset.lmSuppressShortcuts = "true";
  const label = make("label", { textContent: "Show rows with " });
  const words = make("input", { type: "search", value: model.get("words") });
  label.append(words);
  const table = make("table"), caption = make("caption"), head = make("thead"), body = make("tbody");
  const scroll = make("div", { className: "lfw-scroll", tabIndex: 0 });
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Table of runs");
  const count = make("p", { className: "lfw-note" });
  count.setAttribute("role", "status");
  table.append(caption, head, body);
  scroll.append(table);
  el.append(label, scroll, count);

  const sortBy = (column) => {
    model.set("descending", model.get("sort") === column && !model.get("descending"));
    model.set("sort", column);
    model.save_changes();
  };
  const heading = (column) => {
    const cell = make("th", { scope: "col" }), button = make("button", { type: "button", textContent: column });
    button.addEventListener("click", () => sortBy(column));
    cell.append(button);
    return cell;
  };
  const showHead = () => {
    caption.textContent = model.get("caption");
    const line = make("tr");
    line.append(...model.get("columns").map(heading));
    head.replaceChildren(line);
  };
  const show = () => {
    const columns = model.get("columns"), at = columns.indexOf(model.get("sort"));
    const wanted = model.get("words").toLowerCase().split(/\s+/).filter(Boolean);
    const rows = model.get("rows").filter((row) => {
      const text = row.join(" ").toLowerCase();
      return wanted.every((word) => text.includes(word));
    });
    if (at >= 0) {
      const sign = model.get("descending") ? -1 : 1;
      rows.sort((a, b) => (typeof a[at] === typeof b[at] ? sign : 1) * compare(a[at], b[at]));
    }
    [...head.querySelectorAll("th")].forEach((cell, i) =>
      cell.setAttribute("aria-sort", i !== at ? "none" : model.get("descending") ? "descending" : "ascending"));
    body.replaceChildren(...rows.map((row) => {
      const line = make("tr");
      line.append(...row.map((value, i) => typeof value !== "number" ? make("td", { textContent: value ?? "" })
        : make("td", { className: "lfw-number", textContent: shown(value, model.get("digits")[i] ?? 0) })));
      return line;
    }));
    count.textContent = `${rows.length} of ${model.get("rows").length} rows`;
  };
  words.addEventListener("input", () => {
    model.set("words", words.value);
    model.save_changes();
  });
  const wordsChanged = () => { if (words.value !== model.get("words")) words.value = model.get("words"); };
  model.on("change:columns change:caption", showHead);
  model.on("change:words", wordsChanged);
  model.on("change", show);
  showHead();
  show();
  return () => { model.off(null, showHead); model.off(null, show); model.off(null, wordsChanged); };
}

export default { render };
