const frame = () => new Promise((done) => requestAnimationFrame(done));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const KEYS = { s: true, S: true, ArrowLeft: true, d: false, D: false, ArrowRight: false };
const CROSS_MS = 500;

// Fine noise in the images' own greys, so that no afterimage remains.
function noise(canvas) {
  canvas.width = canvas.height = 73;
  const context = canvas.getContext("2d"), pixels = context.createImageData(73, 73);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const grey = Math.floor(Math.random() * 256);
    pixels.data.set([grey, grey, grey, 255], i);
  }
  context.putImageData(pixels, 0, 0);
}

function render({ model, el }) {
  own(el, "lfw-test"); // s and d are answers here, not the notebook's commands
  el.tabIndex = -1;
  const explain = make("p", { textContent: "Press Start and look at the cross. Two faces are shown for a moment, then covered with noise. " +
    "Answer with the keys S (same person) or D (different), with ← or →, or with the buttons." });
  const stage = make("div", { className: "lfw-stage" },
                     { role: "img", "aria-label": "Two faces, shown for a moment: this test needs sight" });
  const cross = make("span", { className: "lfw-cross", textContent: "+" });
  const images = [make("img", { alt: "" }), make("img", { alt: "" })];
  const masks = [make("canvas"), make("canvas")];
  stage.append(cross, ...images, ...masks);
  const start = make("button", { type: "button", textContent: "Start" });
  const same = make("button", { type: "button", textContent: "Same (S)" });
  const different = make("button", { type: "button", textContent: "Different (D)" });
  const buttons = make("div", { className: "lfw-buttons" });
  buttons.append(start, same, different);
  const status = make("p", {}, { role: "status" });
  el.append(explain, stage, buttons, status);

  let run = 0, waiting = null, undisturbed = true;
  const only = (...shown) => { for (const part of [cross, ...images, ...masks]) part.hidden = !shown.includes(part); };
  const answerable = (yes) => { same.disabled = different.disabled = !yes; };
  const rest = () => {
    run++;
    waiting = null;
    only(cross);
    answerable(false);
    start.disabled = !model.get("trials").length;
    status.textContent = `${model.get("trials").length} pairs are ready.`;
  };

  // The pair is painted one frame after it is shown, and disappears one frame after it is hidden.
  async function flash(trial) {
    images[0].src = trial.left;
    images[1].src = trial.right;
    await Promise.all(images.map((image) => image.decode().catch(() => {})));
    masks.forEach(noise);
    const earlier = await frame(), last = await frame();
    const length = Math.min(last - earlier, 40);
    only(...images);
    const from = await frame(), wanted = model.get("milliseconds");
    let now = from;
    // A hidden pair disappears one frame later: choose the frame that ends nearest to the requested time.
    while (now - from < wanted - 1.5 * length) now = await frame();
    only(...masks);
    return { from, shown: (await frame()) - from };
  }

  async function trials() {
    const own = ++run, all = model.get("trials");
    send(model, { answers: [] });
    start.disabled = true;
    el.focus({ preventScroll: true });
    const answers = [];
    for (let i = 0; i < all.length; i++) {
      status.textContent = `Pair ${i + 1} of ${all.length}`;
      only(cross);
      await pause(CROSS_MS);
      if (own !== run) return;
      undisturbed = !document.hidden && document.hasFocus();
      const answered = new Promise((done) => { waiting = done; });
      answerable(true);
      const { from, shown } = await flash(all[i]);
      const { same: said, at } = await answered;
      if (own !== run) return;
      answers.push({ trial: i, same: said, shown_ms: shown, response_ms: Math.max(0, at - from), undisturbed });
      send(model, { answers: [...answers] });
    }
    only(cross);
    start.disabled = false;
    start.textContent = "Start again";
    status.textContent = "Done. The result is below.";
  }

  const answer = (said, at) => {
    if (!waiting) return;
    const done = waiting;
    waiting = null;
    answerable(false);
    done({ same: said, at });
  };
  const disturbed = () => { if (document.hidden || !document.hasFocus()) undisturbed = false; };
  start.addEventListener("click", trials);
  for (const button of [same, different]) button.addEventListener("click", (event) => {
    answer(button === same, event.timeStamp);
    el.focus({ preventScroll: true });
  });
  el.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) answer(KEYS[event.key], event.timeStamp);
  });
  document.addEventListener("visibilitychange", disturbed);
  window.addEventListener("blur", disturbed);
  model.on("change:trials", rest);
  rest();
  return () => {
    run++;
    model.off(null, null);
    document.removeEventListener("visibilitychange", disturbed);
    window.removeEventListener("blur", disturbed);
  };
}

export default { initialize, render };
