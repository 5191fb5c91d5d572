function render({ model, el }) {
  own(el, "lfw-box");
  const area = make("div", { className: "lfw-box-area", tabIndex: 0 }, { role: "application" });
  const image = make("img", { draggable: false }), frame = make("div", { className: "lfw-box-frame" });
  const note = make("p", { className: "lfw-note" });
  area.append(image, frame);
  el.append(area, note);

  const scale = () => image.clientWidth / (model.get("width") || 1);
  const set = (box) => {
    const [w, h] = [model.get("width"), model.get("height")];
    const inside = (v, top) => Math.round(Math.min(Math.max(v, 0), top));
    send(model, { box: [inside(box[0], w), inside(box[1], h), inside(box[2], w), inside(box[3], h)] });
  };
  const place = (event) => {
    const bounds = image.getBoundingClientRect();
    return [(event.clientX - bounds.left) / scale(), (event.clientY - bounds.top) / scale()];
  };
  let from = null;
  area.addEventListener("pointerdown", (event) => {
    if (image.hidden) return;
    from = place(event);
    area.setPointerCapture(event.pointerId);
  });
  area.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = place(event);
    if (Math.abs(to[0] - from[0]) < 4 || Math.abs(to[1] - from[1]) < 4) return;
    set([Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])]);
  });
  area.addEventListener("lostpointercapture", () => { from = null; });
  area.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || image.hidden) return;
    event.preventDefault();
    event.stopPropagation();
    const [w, h] = [model.get("width"), model.get("height")], by = Math.max(1, Math.round(Math.min(w, h) / 50));
    const box = model.get("box").length === 4 ? [...model.get("box")] : [w / 4, h / 4, 3 * w / 4, 3 * h / 4];
    [w, h].forEach((length, at) => {
      // A box that is moved against an edge keeps its size.
      const way = event.shiftKey ? step[at] * by : Math.min(Math.max(step[at] * by, -box[at]), length - box[at + 2]);
      if (!event.shiftKey) box[at] += way;
      box[at + 2] += way;
    });
    if (box[2] - box[0] >= 4 && box[3] - box[1] >= 4) set(box);
  });
  const show = () => {
    const box = model.get("box"), has = model.get("image") !== "";
    area.setAttribute("aria-label", `${model.get("label")}: arrow keys move the box, with shift they change its size`);
    image.alt = has ? model.get("label") : "";
    image.hidden = !has;
    if (!has) image.removeAttribute("src");
    else if (image.src !== model.get("image")) image.src = model.get("image");
    frame.hidden = box.length !== 4;
    if (box.length === 4) {
      const [left, top, right, bottom] = box.map((v) => v * scale());
      Object.assign(frame.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    }
    note.textContent = !has ? `${model.get("label")}: no photo yet` : box.length === 4
      ? `Face: ${box.map(Math.round).join(", ")} (left, top, right, bottom)` : "No box yet: draw one around the face";
  };
  image.addEventListener("load", show);
  return follow(model, show);
}

export default { initialize, render };
