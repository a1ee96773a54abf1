"use strict";
// The page of `primus-jax explore`: time is in seconds after the first row.
const data = JSON.parse(document.getElementById("data").textContent);
const MISSING = -32768, POINTS = 2400, AXES = ["x", "y", "z"];
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star"];
const DASHES = ["solid", "dash", "dot"];
const config = { displaylogo: false, responsive: true };

function numbers(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Kind(bytes.buffer);
}

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds * 10) / 10), day = Math.floor(whole / 86400);
  const part = (value) => String(Math.floor(value)).padStart(2, "0");
  const time = `${part((whole / 3600) % 24)}:${part((whole / 60) % 60)}:${part(whole % 60)}`;
  return day ? `day ${day + 1} ${time}` : time;
}

const date = (seconds) => new Date(seconds * 1000).toISOString();
const secondsOf = (value) => (typeof value === "number" ? value : Date.parse(value.endsWith("Z") ? value : value.replace(" ", "T") + "Z")) / 1000;

// The signal: [least or largest][stretch][axis].
const sensors = ["acc", "gyro"].map((name) => ({
  unit: data[name].unit, scale: data[name].scale, values: numbers(data[name].values, Int16Array),
}));
const length = data.stretches * data.stretch;

function drawn(sensor, axis, from, to) {
  const first = Math.max(0, Math.floor(from / data.stretch));
  const last = Math.min(data.stretches, Math.ceil(to / data.stretch) + 1);
  const per = Math.max(1, Math.ceil((last - first) / POINTS));
  const x = [], y = [], count = data.stretches;
  for (let k = first; k < last; k += per) {
    let low = Infinity, high = -Infinity;
    for (let j = k; j < Math.min(k + per, last); j++) {
      const least = sensor.values[3 * j + axis];
      if (least === MISSING) continue;
      low = Math.min(low, least);
      high = Math.max(high, sensor.values[3 * (count + j) + axis]);
    }
    const time = date(k * data.stretch);
    if (low > high) { x.push(time); y.push(null); continue; }
    x.push(time); y.push(low * sensor.scale);
    if (high !== low) { x.push(time); y.push(high * sensor.scale); }
  }
  return { x, y };
}

function signalTraces(from, to) {
  return sensors.flatMap((sensor, s) => AXES.map((name, axis) => ({
    ...drawn(sensor, axis, from, to), type: "scatter", mode: "lines", name,
    line: { width: 1, color: data.colors[axis], dash: DASHES[axis] }, connectgaps: false,
    yaxis: s ? "y2" : "y", legendgroup: name, showlegend: !s,
    hovertemplate: `${s ? "gyroscope" : "accelerometer"} ${name} %{y:.3f} ${sensor.unit}<extra></extra>`,
  })));
}

// Bouts: a bar for each; the pointer shows how sure the classifier is.
function boutTraces() {
  const names = [...data.labels, ...(data.bouts.some((b) => b[2] === null) ? ["unsure"] : [])];
  return names.map((name, k) => {
    const x = [], y = [], text = [];
    for (const [start, end, label, sure] of data.bouts) {
      if ((label === null ? "unsure" : label) !== name) continue;
      const words = `${name}, ${clock(start)} to ${clock(end)}, ${Math.round(100 * sure)} %`;
      x.push(date(start), date(end), null); y.push(name, name, null); text.push(words, words, "");
    }
    return { x, y, text, type: "scatter", mode: "lines", connectgaps: false, yaxis: "y3", name,
      line: { width: 12, color: data.colors[k % data.colors.length] }, showlegend: false,
      hovertemplate: "%{text}<extra></extra>" };
  });
}

const hasBouts = data.bouts.length > 0;
let range = [0, length];
const layout = {
  margin: { l: hasBouts ? 130 : 70, r: 20, t: 10, b: 40 }, hovermode: "closest", dragmode: "zoom",
  xaxis: { type: "date", range: range.map(date), anchor: hasBouts ? "y3" : "y2",
    tickformatstops: [{ dtickrange: [null, 1000], value: "%H:%M:%S.%L" },
      { dtickrange: [1000, 60000], value: "%H:%M:%S" },
      { dtickrange: [60000, 86400000], value: "%H:%M" },
      { dtickrange: [86400000, null], value: "day %-j" }] },
  yaxis: { domain: hasBouts ? [0.62, 1] : [0.54, 1], title: { text: "m/s²" } },
  yaxis2: { domain: hasBouts ? [0.26, 0.58] : [0, 0.48], title: { text: "rad/s" } },
  yaxis3: { domain: [0, 0.2], type: "category", fixedrange: true },
  legend: { orientation: "h", x: 0, y: 1.06 }, shapes: [],
};
if (!hasBouts) delete layout.yaxis3;

const signal = document.getElementById("signal"), map = document.getElementById("map");
const windows = {
  start: numbers(data.windows.start, Float32Array),
  place: numbers(data.windows.place, Int16Array),
  label: data.windows.label && numbers(data.windows.label, Uint8Array),
  sure: data.windows.sure && numbers(data.windows.sure, Uint8Array),
};
let pointed = null, drawing = false, again = false;

function shapes() {
  const band = (start, end, color) => ({ type: "rect", xref: "x", yref: "paper", x0: date(start),
    x1: date(end), y0: 0, y1: 1, fillcolor: color, opacity: 0.25, line: { width: 1, color } });
  const gaps = data.gaps.map(([a, b]) => band(a, b, "#bbbbbb"));
  const found = Object.values(data.matches).flat().map(([a, b]) => band(a, b, "#E69F00"));
  if (pointed !== null) {
    const start = windows.start[pointed];
    found.push(band(start, start + data.windows.seconds, "#333333"));
  }
  return [...gaps, ...found];
}

async function draw() {
  if (drawing) { again = true; return; }
  drawing = true;
  layout.xaxis.range = range.map(date);
  layout.shapes = shapes();
  try {
    await Plotly.react(signal, [...signalTraces(...range), ...boutTraces()], layout, config);
    document.body.dataset.range = range.map((x) => x.toFixed(2)).join(" ");
  } finally {
    drawing = false;
  }
  if (again) { again = false; draw(); }
}

function show(from, to) {
  const width = Math.min(Math.max(to - from, 20 * data.stretch), length);
  const start = Math.min(Math.max(0, (from + to - width) / 2), length - width);
  range = [start, start + width];
  draw();
}

function jump(start, end) {
  const around = Math.max(15, 2 * (end - start));
  show(start - around, end + around);
}

function press(key) {
  const [from, to] = range, width = to - from;
  const move = { ArrowLeft: -0.5, ArrowRight: 0.5 }[key];
  if (move) show(from + move * width, to + move * width);
  else if (key === "+" || key === "=") show(from + width / 4, to - width / 4);
  else if (key === "-") show(from - width / 2, to + width / 2);
  else if (key === "0" || key === "Home") show(0, length);
  else return false;
  return true;
}

function mapTraces() {
  const groups = windows.label ? data.labels : [""];
  const traces = groups.map((name, k) => {
    const x = [], y = [], ids = [], text = [];
    for (let i = 0; i < windows.start.length; i++) {
      if (windows.label && windows.label[i] !== k) continue;
      x.push(windows.place[2 * i] * data.windows.scale);
      y.push(windows.place[2 * i + 1] * data.windows.scale);
      ids.push(i);
      text.push(clock(windows.start[i]) + (windows.sure ? `, ${windows.sure[i]} %` : ""));
    }
    const time = { color: ids.map((i) => windows.start[i] / 3600), colorscale: "Viridis",
      showscale: true, colorbar: { title: { text: "hours" } } };
    return { x, y, customdata: ids, text, name, type: "scattergl", mode: "markers",
      marker: { size: 6, opacity: 0.7, symbol: SYMBOLS[k % SYMBOLS.length],
        ...(windows.label ? { color: data.colors[k % data.colors.length] } : time) },
      hovertemplate: `${name ? name + ", " : ""}%{text}<extra></extra>`, showlegend: !!name };
  });
  // The window under the pointer.
  traces.push({ x: [], y: [], type: "scatter", mode: "markers", hoverinfo: "skip", showlegend: false,
    marker: { size: 16, color: "rgba(0,0,0,0)", line: { width: 3, color: "#000" } } });
  return traces;
}

function point(index) {
  if (index === pointed) return;
  pointed = index;
  const start = windows.start[index], name = windows.label ? data.labels[windows.label[index]] : "";
  document.getElementById("here").textContent =
    `window at ${clock(start)}${name ? `: ${name}, ${windows.sure[index]} %` : ""}`;
  document.body.dataset.pointed = start.toFixed(2);
  Plotly.relayout(signal, { shapes: shapes() });
  const place = [0, 1].map((k) => windows.place[2 * index + k] * data.windows.scale);
  Plotly.restyle(map, { x: [[place[0]]], y: [[place[1]]] }, [map.data.length - 1]);
}

function nearest(seconds) {
  let low = 0, high = windows.start.length - 1;
  const wanted = seconds - data.windows.seconds / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (windows.start[middle] < wanted) low = middle + 1; else high = middle;
  }
  if (low > 0 && wanted - windows.start[low - 1] < windows.start[low] - wanted) low--;
  return low;
}

function listMatches() {
  const place = document.getElementById("matches");
  for (const [sentence, found] of Object.entries(data.matches)) {
    const heading = document.createElement("h2");
    heading.textContent = `“${sentence}”`;
    place.append(heading);
    for (const [start, end, score] of found) {
      const button = document.createElement("button");
      button.textContent = `${clock(start)} (${score.toFixed(2)})`;
      button.addEventListener("click", () => jump(start, end));
      place.append(button);
    }
  }
}

async function begin() {
  document.getElementById("title").textContent = data.title;
  document.getElementById("about").textContent = data.about;
  listMatches();
  await draw();
  await Plotly.newPlot(map, mapTraces(), { margin: { l: 50, r: 20, t: 10, b: 40 },
    legend: { orientation: "h", x: 0, y: 1.08 }, hovermode: "closest", dragmode: "pan", xaxis: { title: { text: "first component" } },
    yaxis: { title: { text: "second component" } } }, { ...config, scrollZoom: true });
  signal.on("plotly_relayout", (change) => {
    if (change["xaxis.autorange"]) show(0, length);
    else if (change["xaxis.range[0]"] !== undefined) {
      show(secondsOf(change["xaxis.range[0]"]), secondsOf(change["xaxis.range[1]"]));
    }
  });
  signal.on("plotly_hover", (event) => point(nearest(secondsOf(event.points[0].x))));
  map.on("plotly_hover", (event) => {
    if (event.points[0].customdata !== undefined) point(event.points[0].customdata);
  });
  map.on("plotly_click", (event) => {
    const start = windows.start[event.points[0].customdata];
    jump(start, start + data.windows.seconds);
  });
  document.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && press(event.key)) event.preventDefault();
  });
  for (const button of document.querySelectorAll("#buttons button")) {
    button.addEventListener("click", () => press(button.dataset.key));
  }
  document.body.dataset.ready = "yes";
}

begin();
