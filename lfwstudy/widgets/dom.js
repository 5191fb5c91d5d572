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

// anywidget waits two seconds for a script. On a busy machine it may take longer, and the kernel's messages to that control
// are then lost for good. This runs when the script is there: messages are taken directly, and those missed made up for.
const initialize = ({ model }) => {
  const whole = model.set({}); // itself, of which `model` offers a part
  const widgetModel = Object.getPrototypeOf(Object.getPrototypeOf(whole));
  whole.comm?.on_msg(widgetModel._handle_comm_msg.bind(whole));
  whole.comm?.send({ method: "request_state" }, {});
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
