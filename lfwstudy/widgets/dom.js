// What the controls share: every script is sent after this one.
const make = (tag, values = {}, attributes = {}) => {
  const element = Object.assign(document.createElement(tag), values);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

const send = (model, values) => {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
};

// Draw a control now and whenever the kernel changes it. Returns what takes it down.
const follow = (model, draw) => {
  model.on("change", draw);
  draw();
  return () => model.off(null, null);
};

// Keys pressed here belong to the control, not to the notebook.
const own = (el, name) => {
  el.classList.add(name);
  el.dataset.lmSuppressShortcuts = "true";
};
