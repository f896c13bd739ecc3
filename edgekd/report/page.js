// Draws every figure of the page into the element of its name, as wide as that is, and at paper width for printing;
// lets the reader choose a confusion matrix, and filter rows and points, of which it marks the Pareto fronts.
"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const options = { displayModeBar: false };
const PAPER_WIDTH = 640;
const NARROW = 400; // pixels, in which a legend has one column
const MOST_ENTRIES = 6; // of a legend that is always shown on a narrow page
const LONG = 24; // characters of two names that have no room in one line with a count

const folds = {}; // the buttons that show and hide long legends on a narrow page, by the figures' ids

// What a width changes of a figure's layout: on a narrow page names are smaller, and a long legend is folded up, or makes
// room for itself.
function sized(element, width) {
  const { legend, height, yaxis } = figures[element.id].layout;
  const narrow = width < NARROW;
  const changes = { width };
  if (yaxis) changes["yaxis.tickfont.size"] = narrow ? 11 : 13;
  if (legend?.entrywidth) {
    const button = folds[element.id];
    const shown = !narrow || button?.getAttribute("aria-expanded") !== "false";
    if (button) button.hidden = !narrow;
    changes.showlegend = shown;
    changes["legend.entrywidth"] = narrow ? 1 : legend.entrywidth;
    changes["legend.font.size"] = narrow ? 10 : legend.font.size;
    changes.height = height + (narrow ? (shown ? 90 : -90) : 0);
    element.style.height = `${changes.height}px`;
  }
  return changes;
}

// Makes the button of a figure whose legend is long. The first one is open: others have the same colours.
function fold(element) {
  const { data, layout } = figures[element.id];
  const entries = data.filter((trace) => trace.showlegend ?? true).length;
  if (!layout.legend?.entrywidth || entries <= MOST_ENTRIES) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "fold";
  button.textContent = `Legend of ${entries} entries`;
  button.setAttribute("aria-expanded", String(Object.keys(folds).length === 0));
  button.setAttribute("aria-controls", element.id);
  button.addEventListener("click", () => {
    button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
    Plotly.relayout(element, sized(element, element.clientWidth));
  });
  button.hidden = true;
  element.before(button);
  folds[element.id] = button;
}

// A confusion matrix comes as counts. Returns it with colours, and with what each cell says, of which classes it is:
// ticks are shortened, and left out where there are many.
function readable(trace, classes) {
  const totals = trace.z.map((row) => row.reduce((sum, count) => sum + count, 0));
  const shares = trace.z.map((row, at) => row.map((count) => (totals[at] ? count / totals[at] : 0)));
  const whole = (count) => count.toLocaleString("en");
  const told = (at, to) => {
    const gap = classes[at].length + classes[to].length > LONG ? "<br>" : " ";
    const share = `(${(100 * shares[at][to]).toFixed(1)} %)`;
    return `${classes[at]} named as${gap}${classes[to]}:${gap}${whole(trace.z[at][to])} of ${whole(totals[at])} ${share}`;
  };
  return {
    ...trace,
    z: shares.map((row) => row.map(Math.sqrt)), // so that few confusions are seen beside the many that were named right
    text: trace.z.map((row) => row.map((count) => (count ? whole(count) : ""))),
    customdata: trace.z.map((row, at) => row.map((_, to) => told(at, to))),
  };
}

for (const figure of Object.values(figures)) {
  const classes = figure.layout.meta?.classes;
  if (classes) figure.data = figure.data.map((trace) => readable(trace, classes));
}

const observer = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0) Plotly.relayout(entry.target, sized(entry.target, width));
  }
});

// Returns the points that no other one beats in both, the cheapest first; equal ones are all kept.
function front(points) {
  const kept = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || b.y - a.y)) {
    const last = kept.at(-1);
    if (!last || point.y > last.y || (point.x === last.x && point.y === last.y)) kept.push(point);
  }
  return kept;
}

// Marks the fronts of the files that are seen, one for each group of those that can be ranked, in a graph and in the table of the best files.
function markFronts(element) {
  const seen = element.data.filter((trace) => trace.meta?.file && (trace.visible ?? true) === true);
  const places = [...element.data.keys()].filter((at) => element.data[at].meta?.front);
  const fronts = places.map((at) => {
    const { group } = element.data[at].meta;
    const alike = seen.filter((trace) => trace.meta.group === group);
    const kept = front(alike.map((trace) => ({ x: trace.x[0], y: trace.y[0], file: trace.meta.file })));
    const cell = document.querySelector(`[data-front="${element.id}"][data-of="${group}"]`);
    cell.textContent = kept.map((point) => point.file).join("; ") || "none is shown";
    return kept;
  });
  if (!places.length) return;
  const along = (axis) => fronts.map((kept) => kept.map((point) => point[axis]));
  Plotly.restyle(element, { x: along("x"), y: along("y") }, places);
}

const drawn = Object.entries(figures).map(([id, figure]) => {
  const element = document.getElementById(id);
  if (figure.layout.height) element.style.height = `${figure.layout.height}px`;
  fold(element);
  const layout = { ...figure.layout, width: element.clientWidth, height: element.clientHeight };
  return Plotly.newPlot(element, figure.data, structuredClone(layout), options).then(() => {
    observer.observe(element);
    element.on("plotly_restyle", ([changed]) => "visible" in changed && markFronts(element));
  });
});

function setWidths(width) {
  for (const id of Object.keys(figures)) {
    const element = document.getElementById(id);
    Plotly.relayout(element, sized(element, width ?? element.clientWidth));
  }
}

const unfolded = []; // details that were closed: paper cannot be opened

window.addEventListener("beforeprint", () => {
  observer.disconnect();
  unfolded.push(...document.querySelectorAll("details:not([open])"));
  for (const details of unfolded) details.open = true;
  setWidths(PAPER_WIDTH);
});

window.addEventListener("afterprint", () => {
  setWidths(null);
  for (const details of unfolded.splice(0)) details.open = false;
  for (const id of Object.keys(figures)) observer.observe(document.getElementById(id));
});

for (const select of document.querySelectorAll("select[data-plot]")) {
  const element = document.getElementById(select.dataset.plot);
  const show = () => Plotly.restyle(element, { visible: element.data.map((_, at) => at === Number(select.value)) });
  select.addEventListener("change", show);
  if (Number(select.value) !== 0) Promise.all(drawn).then(show); // a browser keeps what was chosen before a reload
}

const filter = document.getElementById("filter");
if (filter) {
  const kinds = ["run", "format", "scheme"];
  const rows = [...document.querySelectorAll(".results tr[data-format]")];
  const headings = [...document.querySelectorAll(".results tr.of-run")];
  const count = document.getElementById("filter-count");

  function chosen(kind) {
    const boxes = [...filter.querySelectorAll(`input[name=${kind}]`)];
    return boxes.length ? new Set(boxes.filter((box) => box.checked).map((box) => box.value)) : null;
  }

  function apply() {
    const sets = kinds.map((kind) => [kind, chosen(kind)]);
    // An empty text is what a kind does not ask of: a network has no scheme.
    const fits = (of) => sets.every(([kind, set]) => !set || !of[kind] || set.has(of[kind]));
    for (const row of rows) row.hidden = !fits(row.dataset);
    for (const heading of headings) {
      heading.hidden = !rows.some((row) => row.dataset.run === heading.dataset.run && !row.hidden);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = `${shown} of ${rows.length} rows shown.`;
    for (const [id, figure] of Object.entries(figures)) {
      if (!figure.data.some((trace) => trace.meta && "format" in trace.meta)) continue;
      const visible = figure.data.map((trace) => !trace.meta || fits(trace.meta));
      Plotly.restyle(document.getElementById(id), { visible });
    }
  }

  filter.hidden = false;
  filter.addEventListener("change", apply);
  filter.addEventListener("reset", () => setTimeout(apply)); // when the boxes are as they were
  filter.addEventListener("submit", (event) => event.preventDefault());
  Promise.all(drawn).then(apply);
}
