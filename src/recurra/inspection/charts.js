// Draws the charts of a report on canvases: lines, bars, axes, levels, and what the pointer is on. No library, no network.
"use strict";
const INK = "#1a1a1a", SOFT = "#666", GRID = "#e6e6e6", FONT = "13px system-ui, sans-serif";

function niceTicks(low, high, most) {
  const raw = (high - low) / Math.max(1, most), size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((digit) => digit * size).find((one) => one >= raw * 0.999);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) ticks.push(n * step);
  return ticks;
}

function plain(value, percent) {
  if (percent) return `${parseFloat((value * 100).toPrecision(3))} %`;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(parseFloat(value.toPrecision(3)));
}

class Drawing {
  constructor(figure) {
    this.figure = figure;
    this.chart = JSON.parse(figure.querySelector("script").textContent);
    this.canvas = figure.querySelector("canvas");
    this.tip = figure.querySelector(".tip");
    this.hidden = new Set();
    figure.querySelectorAll(".legend button").forEach((button, number) =>
      button.addEventListener("click", () => {
        const shown = this.hidden.delete(number) || !this.hidden.add(number);
        button.setAttribute("aria-pressed", String(shown));
        this.draw();
      }));
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    new ResizeObserver(() => this.draw()).observe(figure);
  }

  get series() { return this.chart.series.map((one, number) => ({ ...one, number })).filter((one) => !this.hidden.has(one.number)); }

  draw() {
    const width = this.figure.clientWidth, height = width < 500 ? 260 : 320, scale = window.devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    this.canvas.style.height = `${height}px`;
    const pen = this.pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = FONT;
    const labels = this.chart.y.ticks.map((tick) => pen.measureText(tick[1]).width);
    this.box = { left: Math.max(0, ...labels) + 34, right: width - 16, top: 10, bottom: height - 46 };
    this.spots = [];
    this.axes();
    pen.save();
    pen.beginPath();
    pen.rect(this.box.left - 1, this.box.top - 5, this.box.right - this.box.left + 6, this.box.bottom - this.box.top + 7);
    pen.clip();
    if (this.chart.kind === "lines") this.series.forEach((one) => this.line(one)); else this.bars();
    pen.restore();
    this.levels();
  }

  x(value) { const { low, high } = this.chart.x; return this.box.left + (value - low) / (high - low) * (this.box.right - this.box.left); }

  y(value) {
    const { low, high, log } = this.chart.y, on = (one) => log ? Math.log10(one) : one;
    return this.box.bottom - (on(value) - on(low)) / (on(high) - on(low)) * (this.box.bottom - this.box.top);
  }

  rule(x0, y0, x1, y1, colour, dash = []) {
    const pen = this.pen;
    pen.strokeStyle = colour; pen.lineWidth = 1; pen.setLineDash(dash);
    pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke();
    pen.setLineDash([]);
  }

  text(words, x, y, align = "center", baseline = "middle", colour = SOFT) {
    const pen = this.pen;
    pen.textAlign = align; pen.textBaseline = baseline; pen.lineJoin = "round";
    pen.strokeStyle = "#fff"; pen.lineWidth = 4; pen.strokeText(words, x, y);
    pen.fillStyle = colour; pen.fillText(words, x, y);
  }

  axes() {
    const { left, right, top, bottom } = this.box, { x, y } = this.chart, pen = this.pen;
    for (const [value, label] of y.ticks) {
      this.rule(left, this.y(value), right, this.y(value), GRID);
      this.text(label, left - 7, this.y(value), "right");
    }
    if (x.names) x.names.forEach((name, place) => this.text(name, this.x(place), bottom + 14, "center", "middle"));
    else {
      const wide = pen.measureText(plain(x.high, x.percent)).width + 28;
      for (const value of niceTicks(x.low, x.high, Math.min(12, Math.floor((right - left) / wide)))) {
        this.rule(this.x(value), bottom, this.x(value), bottom + 4, SOFT);
        this.text(plain(value, x.percent), this.x(value), bottom + 14);
      }
    }
    this.rule(left, bottom, right, bottom, SOFT);
    this.text(x.label, (left + right) / 2, bottom + 35, "center", "middle", INK);
    pen.save();
    pen.translate(10, (top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    this.text(y.label, 0, 0, "center", "middle", INK);
    pen.restore();
  }

  line(one) {
    const pen = this.pen, known = one.y.map((value) => value !== null);
    pen.strokeStyle = pen.fillStyle = one.colour; pen.lineWidth = 1.8; pen.lineJoin = "round"; pen.setLineDash(one.dash);
    pen.beginPath();
    one.y.forEach((value, place) => {
      if (!known[place]) return;
      const x = this.x(one.x[place]), y = this.y(value);
      if (known[place - 1]) pen.lineTo(x, y); else pen.moveTo(x, y);
      this.spots.push({ x, y, words: [this.chart.hover, one.name], at: one.x[place], value });
    });
    pen.stroke();
    pen.setLineDash([]);
    one.y.forEach((value, place) => {
      if (!known[place] || !(one.markers || (!known[place - 1] && !known[place + 1]))) return;
      pen.beginPath(); pen.arc(this.x(one.x[place]), this.y(value), 3.2, 0, 7); pen.fill();
    });
  }

  bars() {
    const shown = this.series, sums = new Map(), pen = this.pen, stacked = this.chart.kind === "stacked";
    const share = stacked ? 1 : 1 / Math.max(1, shown.length);
    shown.forEach((one, order) => one.y.forEach((value, place) => {
      if (!value) return;
      const base = stacked ? sums.get(one.x[place]) || 0 : 0, width = this.chart.x.bar;
      sums.set(one.x[place], base + value);
      const start = this.x(one.x[place] + width * (stacked ? -0.5 : order * share - 0.5));
      const stop = this.x(one.x[place] + width * (stacked ? 0.5 : (order + 1) * share - 0.5));
      const above = this.y(base + value), below = this.y(base);
      pen.fillStyle = one.colour;
      pen.fillRect(start + 0.5, above, Math.max(1, stop - start - 1), below - above);
      this.spots.push({ x: (start + stop) / 2, y: above, words: [one.texts[place], one.name], box: [start, above, stop, below] });
    }));
  }

  levels() {
    const { left, right, bottom, top } = this.box;
    for (const [value, label, below] of this.chart.levels) {
      this.rule(left, this.y(value), right, this.y(value), SOFT, [2, 3]);
      this.text(label, right - 4, this.y(value) + (below ? 9 : -9), "right");
    }
    for (const [value, label] of this.chart.places) {
      if (value < this.chart.x.low || value > this.chart.x.high) continue;
      const late = this.x(value) > (left + right) / 2;
      this.rule(this.x(value), top, this.x(value), bottom, INK, [2, 3]);
      this.text(label, this.x(value) + (late ? -5 : 5), bottom - 9, late ? "right" : "left", "middle", INK);
    }
  }

  point(event) {
    const near = { spot: null, far: 40 ** 2 };
    for (const spot of this.spots) {
      const [x0, y0, x1, y1] = spot.box || [spot.x, spot.y, spot.x, spot.y];
      const dx = Math.max(x0 - event.offsetX, 0, event.offsetX - x1), dy = Math.max(y0 - event.offsetY, 0, event.offsetY - y1);
      if (dx * dx + dy * dy < near.far) Object.assign(near, { spot, far: dx * dx + dy * dy });
    }
    this.tip.hidden = !near.spot;
    if (!near.spot) return;
    const [words, name] = near.spot.words, { x, y } = this.chart;
    const filled = words.replace("{x}", () => plain(near.spot.at, x.percent)).replace("{y}", () => plain(near.spot.value, y.percent));
    this.tip.textContent = `${name}: ${filled}`;
    const wide = this.tip.offsetWidth, width = this.figure.clientWidth;
    this.tip.style.left = `${Math.max(0, Math.min(width - wide, near.spot.x - wide / 2))}px`;
    this.tip.style.top = `${this.canvas.offsetTop + Math.max(0, near.spot.y - 40)}px`;
  }
}

document.querySelectorAll("figure.chart").forEach((figure) => new Drawing(figure));
