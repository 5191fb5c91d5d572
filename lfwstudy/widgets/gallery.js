const NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

function render({ model, el }) {
  own(el, "lfw-gallery");
  const title = make("h4"), list = make("ul");
  el.append(title, list);

  const card = ({ key, images, text, mark }) => {
    const item = make("li"), size = model.get("size"), opens = model.get("opens");
    const holder = make(opens ? "button" : "div", { className: "lfw-card" }, { "data-key": key });
    const strip = make("span", { className: "lfw-images" });
    strip.append(...images.map(({ src, alt }) => make("img", { src, alt, title: alt, width: size, height: size })));
    holder.append(strip, make("span", { className: "lfw-text", textContent: text }));
    if (mark) holder.append(make("span", { className: `lfw-mark lfw-${mark}`, textContent: model.get("marks")[mark] }));
    if (opens) {
      holder.type = "button";
      holder.addEventListener("click", () => send(model, { chosen: key }));
    }
    item.append(holder);
    return item;
  };
  // Room for all cards is kept: the height must not depend on their number. The last one has no width and only keeps
  // a row with shorter cards at full height.
  const room = (last) => {
    const blank = { images: Array(model.get("across")).fill({ src: NOTHING, alt: "" }), text: "\u00a0\n".repeat(model.get("lines")) };
    const item = card(blank);
    item.className = last ? "lfw-room lfw-strut" : "lfw-room";
    item.setAttribute("aria-hidden", "true");
    for (const holder of item.querySelectorAll("button")) holder.disabled = true;
    return item;
  };
  const press = () => {
    for (const holder of list.querySelectorAll("button:enabled"))
      holder.setAttribute("aria-pressed", String(holder.dataset.key === model.get("chosen")));
  };
  model.on("change:chosen", press);
  const show = () => {
    const cards = model.get("cards"), slots = model.get("slots");
    title.textContent = model.get("label");
    list.replaceChildren(...cards.map(card));
    if (!cards.length) list.append(make("li", { className: "lfw-note lfw-none", textContent: model.get("empty") }));
    for (let i = Math.min(cards.length, slots); i <= slots; i++) list.append(room(i === slots));
    press();
  };
  model.on("change:cards change:empty", show);
  show();
  return () => model.off(null, null);
}

export default { initialize, render };
