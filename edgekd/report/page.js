// Draws every figure of the page into the element of its name, as wide as that is, and at paper width for printing.
"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const options = { displayModeBar: false };
const PAPER_WIDTH = 640;

const observer = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0) Plotly.relayout(entry.target, { width });
  }
});

for (const [id, figure] of Object.entries(figures)) {
  const element = document.getElementById(id);
  const layout = { ...figure.layout, width: element.clientWidth, height: element.clientHeight };
  Plotly.newPlot(element, figure.data, layout, options).then(() => observer.observe(element));
}

function setWidths(width) {
  for (const id of Object.keys(figures)) {
    const element = document.getElementById(id);
    Plotly.relayout(element, { width: width ?? element.clientWidth });
  }
}

window.addEventListener("beforeprint", () => {
  observer.disconnect();
  setWidths(PAPER_WIDTH);
});

window.addEventListener("afterprint", () => {
  setWidths(null);
  for (const id of Object.keys(figures)) observer.observe(document.getElementById(id));
});
