// With a dropdown's arrow keys JupyterLab would move to the next cell: plain keys within an explorer stay there.
function render({ el }) {
  let waiting = true;
  const keep = (event) => {
    const theirs = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape" || (event.shiftKey && event.key === "Enter");
    if (!theirs) event.stopPropagation();
  };
  const listen = () => {
    const place = el.closest(".lfw-explorer");
    if (place) place.addEventListener("keydown", keep);
    else if (waiting) requestAnimationFrame(listen); // not in the page yet
  };
  listen();
  return () => { waiting = false; };
}

export default { render };
