const make = (tag, values = {}) => Object.assign(document.createElement(tag), values);
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

function render({ model, el }) {
  el.classList.add("lfw-gallery");
  el.dataset.lmSuppressShortcuts = "true";
  const title = make("h4"), list = make("ul");
  el.append(title, list);

  const image = ({ src, alt }) => {
    const shown = make("img", { src, alt, title: alt });
    shown.width = shown.height = model.get("size");
    return shown;
  };
  const card = ({ key, images, text, mark }) => {
    const item = make("li"), holder = make(model.get("opens") ? "button" : "div", { className: "lfw-card" });
    const strip = make("span", { className: "lfw-images" });
    strip.append(...images.map(image));
    const words = make("span", { className: "lfw-text", textContent: text });
    holder.append(strip, words);
    if (mark) holder.append(make("span", { className: `lfw-mark lfw-${mark}`, textContent: model.get("marks")[mark] }));
    if (model.get("opens")) {
      holder.type = "button";
      holder.setAttribute("aria-pressed", String(model.get("chosen") === key));
      holder.addEventListener("click", () => {
        model.set("chosen", key);
        model.save_changes();
      });
    }
    holder.dataset.key = key;
    item.append(holder);
    return item;
  };
  const show = () => {
    const cards = model.get("cards");
    title.textContent = model.get("label");
    list.replaceChildren(...cards.map(card));
    if (!cards.length) list.append(make("li", { className: "lfw-note lfw-none", textContent: model.get("empty") }));
    // Reserve room for all cards: the height must not depend on their number. The last one has no width and only keeps
    // a row with shorter cards at full height.
    for (let i = Math.min(cards.length, model.get("slots")); i <= model.get("slots"); i++) {
      const blank = { key: "", images: Array(model.get("across")).fill({ src: NOTHING, alt: "" }), mark: "",
                      text: "\u00a0\n".repeat(model.get("lines")) };
      const room = card(blank);
      room.className = i < model.get("slots") ? "lfw-room" : "lfw-room lfw-strut";
      room.setAttribute("aria-hidden", "true");
      for (const holder of room.querySelectorAll("button")) holder.disabled = true;
      list.append(room);
    }
  };
  const press = () => {
    for (const holder of list.querySelectorAll("button:enabled"))
      holder.setAttribute("aria-pressed", String(holder.dataset.key === model.get("chosen")));
  };
  model.on("change:cards change:label change:size change:slots change:across change:lines change:empty", show);
  model.on("change:chosen", press);
  show();
  return () => { model.off(null, show); model.off(null, press); };
}

export default { render };
