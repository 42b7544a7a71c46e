"use strict";
// Readouts under the pointer, and one episode from above. Everything shown goes through textContent.

for (const figure of document.querySelectorAll("figure")) {
  const output = figure.querySelector("output");
  const svg = figure.querySelector("svg");
  if (!output || !svg) continue;
  const resting = output.textContent;
  const chart = svg.dataset.chart ? JSON.parse(svg.dataset.chart) : null;
  const cursor = svg.querySelector(".cursor");
  svg.addEventListener("pointermove", (event) => {
    if (!chart) {
      output.textContent = event.target.dataset.hint || resting;
      return;
    }
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    let place = null;
    const texts = [];
    for (const line of chart.lines) {
      const index = nearest(line.x, x);
      if (index < 0) continue;
      if (place === null) place = line.x[index];
      texts.push(chart.lines.length > 1 ? `${line.label} ${line.text[index]}` : line.text[index]);
    }
    if (place === null) return;
    cursor.setAttribute("transform", `translate(${place} 0)`);
    cursor.style.opacity = 0.5;
    output.textContent = texts.join("; ");
  });
  svg.addEventListener("pointerleave", () => {
    output.textContent = resting;
    if (cursor) cursor.style.opacity = 0;
  });
}

function nearest(sorted, wanted) {
  let best = -1;
  for (let index = 0; index < sorted.length; index += 1) {
    if (best < 0 || Math.abs(sorted[index] - wanted) < Math.abs(sorted[best] - wanted)) best = index;
  }
  return best;
}

const source = document.getElementById("trace");
const canvas = document.getElementById("world");
if (source && canvas) animate(JSON.parse(source.textContent), canvas);

function animate(trace, canvas) {
  const METRES_ACROSS = 50; // the shorter side of the canvas
  const AHEAD = 0.72; // of the longer side lies ahead of the ego
  const STOPS = { red: "#d62728", yellow: "#e8b400", green: "#2ca02c", stop: "#b2182b", yield: "#9467bd" };
  const WALKER = "#e377c2"; // people are narrower than any vehicle
  const frames = trace.frames;
  const pen = canvas.getContext("2d");
  const slider = document.getElementById("time");
  const button = document.getElementById("play");
  const clock = document.getElementById("clock");
  const state = document.getElementById("state");
  const terms = document.getElementById("terms");
  const range = termRange(trace);
  let index = 0;
  let timer = null;
  let colours = readColours();

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["road", "lane", "edge", "route", "ego", "actor", "ink"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  function draw() {
    const frame = frames[index];
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const scale = (ratio * Math.min(width, height)) / METRES_ACROSS;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = colours.road;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    // CARLA's world has y to the right of x, as a canvas has; turn it so that the ego drives along the longer side.
    const isWide = width > 1.3 * height;
    if (isWide) pen.translate(canvas.width * (1 - AHEAD), canvas.height / 2);
    else pen.translate(canvas.width / 2, canvas.height * AHEAD);
    pen.scale(scale, scale);
    pen.rotate((isWide ? 0 : -Math.PI / 2) - frame.ego[2]);
    pen.translate(-frame.ego[0], -frame.ego[1]);
    for (const line of trace.road) if (line.kind === "route") stroke(line.points, colours.route, 2.4, []);
    for (const line of trace.road) if (line.kind === "edge") stroke(line.points, colours.edge, 0.25, []);
    for (const line of trace.road) {
      if (line.kind !== "route" && line.kind !== "edge") stroke(line.points, colours.lane, 0.15, [3, 6]);
    }
    stroke(frames.slice(Math.max(0, index - 100), index + 1).map((past) => past.ego), colours.ego, 0.3, []);
    for (const [ax, ay, bx, by, state] of frame.stops ?? []) {
      stroke([[ax, ay], [bx, by]], STOPS[state] ?? colours.lane, 0.7, []);
    }
    for (const actor of frame.actors) box(actor, actor[4] < 0.4 ? WALKER : colours.actor);
    box(frame.ego, colours.ego);
    label(frame);
  }

  function stroke(points, colour, width, dashes) {
    pen.beginPath();
    points.forEach((point, place) => (place ? pen.lineTo(point[0], point[1]) : pen.moveTo(point[0], point[1])));
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.setLineDash(dashes);
    pen.stroke();
    pen.setLineDash([]);
  }

  function box(actor, colour) {
    const [x, y, yaw, halfLength, halfWidth] = actor;
    pen.save();
    pen.translate(x, y);
    pen.rotate(yaw);
    pen.fillStyle = colour;
    pen.fillRect(-halfLength, -halfWidth, 2 * halfLength, 2 * halfWidth);
    pen.fillStyle = colours.road; // the windscreen shows which way it faces
    pen.globalAlpha = 0.55;
    pen.fillRect(halfLength * 0.2, -halfWidth * 0.8, halfLength * 0.3, 1.6 * halfWidth);
    pen.restore();
  }

  function label(frame) {
    clock.textContent = frame.time_s === null ? `${index + 1} of ${frames.length}` : `${frame.time_s.toFixed(1)} s`;
    const speed = frame.ego[5];
    const rows = [
      bar("speed", speed, 0, 30, `${speed.toFixed(1)} m/s`),
      bar("steer (right +)", frame.action[0], -1, 1, frame.action[0].toFixed(2)),
      bar(frame.action[1] < 0 ? "brake" : "throttle", frame.action[1], -1, 1, frame.action[1].toFixed(2)),
      bar("route driven", frame.completion, 0, 1, percent(frame.completion)),
      bar("timed score so far", frame.timed_driving_score, 0, 100, number(frame.timed_driving_score, 1)),
      bar("reward", frame.reward, range.reward[0], range.reward[1], frame.reward.toFixed(3)),
    ];
    if (frame.ended) rows.push(text("The episode ended here."));
    state.replaceChildren(...rows);
    terms.replaceChildren(
      ...frame.terms.flatMap((value, place) =>
        range.used[place]
          ? [bar(trace.reward_terms[place].replaceAll("_", " "), value, ...range.terms[place], value.toFixed(3))]
          : [],
      ),
    );
  }

  function go(next) {
    index = Math.max(0, Math.min(frames.length - 1, next));
    slider.value = String(index);
    draw();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }

  button.addEventListener("click", () => {
    if (timer !== null) return pause();
    if (index === frames.length - 1) index = 0;
    button.textContent = "Pause";
    timer = setInterval(() => (index === frames.length - 1 ? pause() : go(index + 1)), interval(frames));
  });
  slider.addEventListener("input", () => go(Number(slider.value)));
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours = readColours();
    draw();
  });
  go(0);
}

function interval(frames) {
  const steps = frames.length - 1;
  const span = steps > 0 ? frames[steps].time_s - frames[0].time_s : 0;
  return span > 0 ? Math.max(20, (1000 * span) / steps) : 100;
}

function termRange(trace) {
  const span = (values) => [Math.min(0, ...values), Math.max(0, ...values)];
  const columns = trace.reward_terms.map((_, place) => trace.frames.map((frame) => frame.terms[place] ?? 0));
  return {
    reward: span(trace.frames.map((frame) => frame.reward)),
    terms: columns.map(span),
    used: columns.map((column) => column.some((value) => value !== 0)),
  };
}

function bar(name, value, low, high, shown) {
  const row = document.createElement("div");
  row.className = "bar";
  const track = document.createElement("span");
  track.className = "track";
  if (value !== null && high > low) {
    const place = (number) => (100 * (Math.max(low, Math.min(high, number)) - low)) / (high - low);
    const fill = document.createElement("i");
    fill.style.left = `${Math.min(place(0), place(value))}%`;
    fill.style.width = `${Math.abs(place(value) - place(0))}%`;
    if (value < 0) fill.className = "negative";
    track.append(fill);
  }
  row.append(text(name), track, text(shown));
  return row;
}

function text(content) {
  const span = document.createElement("span");
  span.textContent = content;
  return span;
}

function number(value, digits) {
  return value === null ? "\u2013" : value.toFixed(digits);
}

function percent(value) {
  return value === null ? "\u2013" : `${(100 * value).toFixed(0)} %`;
}
