const number = (text) => text === "" ? NaN : Number(text.replaceAll(",", ""));

// Numbers by size, then words, then empty cells.
function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  if (!isNaN(x) && !isNaN(y)) return x - y;
  return isNaN(x) - isNaN(y) || (a === "") - (b === "") || a.localeCompare(b, undefined, { numeric: true });
}

function render({ model, el }) {
  own(el, "lfw-table");
  const label = make("label", { textContent: "Show rows with " }), words = make("input", { type: "search" });
  label.append(words);
  const table = make("table"), caption = make("caption"), head = make("thead"), body = make("tbody");
  const scroll = make("div", { className: "lfw-scroll", tabIndex: 0 }, { role: "region", "aria-label": "Table of runs" });
  const count = make("p", { className: "lfw-note" }, { role: "status" });
  table.append(caption, head, body);
  scroll.append(table);
  el.append(label, scroll, count);
  words.addEventListener("input", () => send(model, { words: words.value }));
  // A heading that has the focus keeps it: headings are made once.
  const headings = model.get("columns").map((column, at) => {
    const cell = make("th", { scope: "col" }), button = make("button", { type: "button", textContent: column });
    button.addEventListener("click", () =>
      send(model, { sort: at, descending: model.get("sort") === at && !model.get("descending") }));
    cell.append(button);
    return cell;
  });
  const line = make("tr");
  line.append(...headings);
  head.append(line);

  return follow(model, () => {
    caption.textContent = model.get("caption");
    if (words.value !== model.get("words")) words.value = model.get("words");
    const at = model.get("sort"), descending = model.get("descending");
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = model.get("rows").filter((row) => wanted.every((word) => row.join(" ").toLowerCase().includes(word)));
    if (at >= 0) rows.sort((a, b) => compare(a[at], b[at]) * (descending && a[at] && b[at] ? -1 : 1));
    headings.forEach((cell, i) => cell.setAttribute("aria-sort", i !== at ? "none" : descending ? "descending" : "ascending"));
    body.replaceChildren(...rows.map((row) => {
      const line = make("tr");
      line.append(...row.map((text) => make("td", { textContent: text, className: isNaN(number(text)) ? "" : "lfw-number" })));
      return line;
    }));
    count.textContent = `${rows.length} of ${model.get("rows").length} rows`;
  });
}

export default { initialize, render };
