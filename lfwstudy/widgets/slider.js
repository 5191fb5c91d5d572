let count = 0;

function render({ model, el }) {
  const id = `lfw-slider-${count++}-${Math.random().toString(36).slice(2)}`;
  const label = make("label", { htmlFor: id }), input = make("input", { type: "range", id }), output = make("output", { htmlFor: id });
  own(el, "lfw-slider");
  el.append(label, input, output);
  const told = () => { output.textContent = Number(input.value).toFixed(model.get("digits")); };
  // JupyterLab takes arrow keys before the browser's slider gets them: they are handled here.
  input.addEventListener("keydown", (event) => {
    const [low, high, step] = ["min", "max", "step"].map((name) => model.get(name)), value = Number(input.value);
    const far = Math.max(step, (high - low) / 10);
    const to = { ArrowRight: value + step, ArrowUp: value + step, ArrowLeft: value - step, ArrowDown: value - step,
                 PageUp: value + far, PageDown: value - far, Home: low, End: high }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    input.value = to; // the browser rounds it to a step and keeps it within the ends
    input.dispatchEvent(new Event("input"));
  });
  input.addEventListener("input", () => {
    told();
    send(model, { value: Number(input.value) });
  });
  return follow(model, () => {
    label.textContent = model.get("description");
    for (const name of ["min", "max", "step"]) input[name] = model.get(name);
    // While it is being moved, ignore older values from the kernel, which would make the slider jump.
    if (document.activeElement !== input || Number(input.value) !== model.get("value")) input.value = model.get("value");
    told();
  });
}

export default { initialize, render };
