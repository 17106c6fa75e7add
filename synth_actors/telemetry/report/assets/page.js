// Draws what stands in the data block, in the colours of the page; nothing here makes markup of text.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;
  const PRINT_WIDTH = 660; // CSS pixels that fit on A4 and on letter
  const NARROW = 480;
  const drawn = new Map(); // holder -> uPlot

  // Figures: as synth_actors/telemetry/report/units.py writes them.
  const grouped = (value) => Math.round(value).toLocaleString("en-US");
  const number = (value) => {
    const size = Math.abs(value);
    return size >= 99.95 ? grouped(value) : value.toFixed(size >= 9.995 ? 1 : 2);
  };
  const plain = (value) => (Math.abs(value) >= 1000 ? grouped(value) : String(Number(value.toPrecision(3))));
  const count = (value) => (Number.isInteger(value) ? grouped(value) : number(value));
  const seconds = (value, write) => {
    const size = Math.abs(value);
    if (size === 0) return "0 s";
    if (size < 0.0009995) return `${write(value * 1e6)} µs`;
    return size < 0.9995 ? `${write(value * 1e3)} ms` : `${write(value)} s`;
  };
  const bytes = (value, write) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (Math.abs(value) >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
    return unit === 0 ? `${value.toFixed(0)} B` : `${write(value)} ${units[unit]}`;
  };
  const dollars = (value) => {
    if (value === 0) return "$0";
    if (Math.abs(value) >= 1) return "$" + value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    return "$" + value.toFixed(Math.min(12, 2 - Math.floor(Math.log10(Math.abs(value)))));
  };
  const WRITE = {
    s: seconds,
    bytes,
    "1/s": (value, write) => `${write(value)}/s`,
    "": (value, write) => (write === number ? count(value) : write(value)),
    USD: (value, write) => (write === number ? dollars(value) : `$${write(value)}`),
    share: (value, write) => `${write(value * 100)} %`,
  };
  const exact = (unit, value) => (value == null ? "" : WRITE[unit](value, number));
  const tick = (unit, value) => (value == null ? "" : WRITE[unit](value, plain));
  const percentile = (x) => {
    const left = 100 / x; // per cent of the samples that are above
    const digits = left >= 10 ? 0 : Math.min(8, 1 - Math.floor(Math.log10(left) + 1e-9));
    return `${Number((100 - left).toFixed(digits))} %`;
  };
  const clock = (value) => {
    const [hours, minutes, rest] = [Math.floor(value / 3600), Math.floor((value % 3600) / 60), value % 60];
    const two = (part) => String(part).padStart(2, "0");
    return hours ? `${hours}:${two(minutes)}:${two(Math.floor(rest))}` : `${minutes}:${two(Math.floor(rest))}`;
  };

  // Axes.
  const PERCENTILES = [1, 2, 4, 10, 20, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
  const FEW_PERCENTILES = [2, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
  const TIMES = [1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 604800];
  const BYTES = [];
  for (let unit = 1; unit <= 2 ** 40; unit *= 1024) for (const step of [1, 2, 5, 10, 20, 50, 100, 200, 500]) BYTES.push(step * unit);
  const STEPS = [1, 2, 5];

  // The nearest of 1, 2, 5 x 10^n: below, or above.
  const rounded = (value, isUp) => {
    const power = 10 ** Math.floor(Math.log10(value) + 1e-9);
    const found = STEPS.filter((step) => (isUp ? step * power >= value * (1 - 1e-9) : step * power <= value * (1 + 1e-9)));
    return isUp ? (found[0] ?? 10) * power : (found.at(-1) ?? 1) * power;
  };
  const logRange = (_, low, high) => {
    if (low == null || low <= 0) return [1e-3, 1];
    const [from, to] = [rounded(low, false), rounded(high, true)];
    return from < to ? [from, to] : [from / 2, to * 2];
  };
  const linearRange = (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1];
  // Memory hardly moves beside what it is: what it gains is to be seen.
  const bytesRange = (_, low, high) => {
    const room = Math.max(((high ?? 0) - (low ?? 0)) * 0.3, (high ?? 1) * 0.05);
    return [Math.max(0, (low ?? 0) - room), (high ?? 1) + room];
  };
  const logSplits = (plot, axis, low, high) => {
    const found = [];
    const tight = high / low > (plot.height < 200 ? 30 : 300);
    for (let power = 10 ** Math.floor(Math.log10(low)); power <= high * 1.001; power *= 10)
      for (const step of tight ? [1] : STEPS) {
        const at = Number((step * power).toPrecision(3));
        if (at >= low * 0.999 && at <= high * 1.001) found.push(at);
      }
    return found;
  };
  const all = (_, splits) => splits;

  function xScale(chart) {
    const [first, last] = [chart.x[0], chart.x.at(-1)];
    if (chart.axis === "percentile") return { time: false, distr: 3, range: (_, low, high) => [low ?? 1, Math.max(high ?? 10, 10)] };
    if (chart.axis === "entries") return { time: false, distr: 3, range: (_, low, high) => [low ?? first, high > low ? high : last * 2] };
    const from = first < last * 0.05 ? 0 : first;
    return { time: false, range: (_, low, high) => [low == null || low === first ? from : low, high > low ? high : last + 1] };
  }

  function xAxis(chart, width, style) {
    if (chart.axis === "percentile") {
      const ticks = width < NARROW ? FEW_PERCENTILES : PERCENTILES;
      return { ...style, splits: (_, __, low, high) => ticks.filter((at) => at >= low && at <= high), values: (_, at) => at.map(percentile), filter: all };
    }
    if (chart.axis === "entries") {
      const every = Math.ceil((chart.x.length * 70) / width); // from the last, so that the present size has its label
      const ticks = chart.x.filter((_, at) => (chart.x.length - 1 - at) % every === 0);
      return { ...style, splits: () => ticks, values: (_, at) => at.map(count), filter: all };
    }
    const long = chart.x.at(-1) >= 180;
    return { ...style, incrs: TIMES, space: 55, values: (_, at) => at.map((value) => (long ? clock(value) : `${plain(value)} s`)) };
  }

  function yRange(chart) {
    if (chart.log) return logRange;
    return chart.lines[0].unit === "bytes" ? bytesRange : linearRange;
  }

  function yAxis(chart, style) {
    const unit = chart.lines[0].unit;
    const values = (_, at) => at.map((value) => tick(unit, value));
    const axis = { ...style, size: 68, space: 34, values };
    if (chart.log) return { ...axis, splits: logSplits, filter: all };
    if (unit === "bytes") return { ...axis, incrs: BYTES };
    const isWhole = unit === "" || unit === "1/s";
    return isWhole ? { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8] } : axis;
  }

  function series(chart, colours) {
    const first = {
      percentile: { label: "percentile", value: (_, x) => (x == null ? "" : percentile(x)) },
      time: { label: "time", value: (_, x) => (x == null ? "" : `${number(x)} s`) },
      entries: { label: "entries", value: (_, x) => (x == null ? "" : count(x)) },
    }[chart.axis];
    const lines = chart.lines.map((line, at) => ({
      label: line.label,
      stroke: colours[line.colour],
      fill: line.area ? colours[line.colour] + "26" : undefined,
      width: 2,
      dash: at >= 4 ? [8, 4] : undefined,
      spanGaps: false,
      paths: line.step ? uPlot.paths.stepped({ align: -1 }) : undefined,
      points: line.step || chart.axis === "percentile" || chart.x.length > 60 ? { show: isAlone } : { size: 5 },
      value: (_, value) => exact(line.unit, value),
    }));
    return [first, ...lines];
  }

  // A line of less than two values would not be seen.
  const isAlone = (plot, at) => plot.data[at].filter((value) => value != null).length < 2;

  function options(chart, width) {
    const style = getComputedStyle(root);
    const variable = (name) => style.getPropertyValue(name).trim();
    const colours = Array.from({ length: 8 }, (_, at) => variable(`--line-${at}`));
    const axis = {
      stroke: variable("--quiet"),
      grid: { stroke: variable("--grid"), width: 1 },
      ticks: { stroke: variable("--grid"), width: 1, size: 4 },
      font: "12px system-ui, sans-serif",
    };
    return {
      width,
      height: chart.axis === "percentile" ? (width < NARROW ? 260 : 330) : 180,
      cursor: { sync: chart.group ? { key: chart.group, scales: ["x", null] } : undefined, drag: { x: true, y: false, dist: 8 }, points: { size: 7 } },
      scales: { x: xScale(chart), y: { distr: chart.log ? 3 : 1, range: yRange(chart) } },
      axes: [xAxis(chart, width, { ...axis, size: 34 }), yAxis(chart, axis)],
      series: series(chart, colours),
    };
  }

  // Whoever has no mouse hides and shows lines with the keyboard.
  function makeReachable(plot) {
    for (const head of plot.root.querySelectorAll(".u-legend .u-series:not(:first-child) th")) {
      head.tabIndex = 0;
      head.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        head.click();
      });
    }
  }

  const widthOf = (holder) => (root.dataset.print ? PRINT_WIDTH : holder.clientWidth);

  function draw(holder) {
    const width = widthOf(holder);
    if (!width) return; // in a closed part of the page: its turn comes when it is opened
    drawn.get(holder)?.destroy();
    const chart = charts[Number(holder.dataset.chart)];
    const plot = new uPlot(options(chart, width), [chart.x, ...chart.lines.map((line) => line.values)], holder);
    makeReachable(plot);
    drawn.set(holder, plot);
  }

  root.classList.add("js");
  const holders = [...document.querySelectorAll("[data-chart]")];
  const drawAgain = () => [...drawn.keys()].forEach(draw);
  const seen = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting && !drawn.has(entry.target)).forEach((entry) => draw(entry.target)),
    { rootMargin: "600px" },
  );
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = drawn.get(target);
      if (plot && target.clientWidth && plot.width !== widthOf(target)) draw(target);
    }
  });
  for (const holder of holders) {
    seen.observe(holder);
    resized.observe(holder);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);

  // On paper everything is open, drawn, and dark on white.
  let closed = [];
  addEventListener("beforeprint", () => {
    root.dataset.print = "yes";
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const part of closed) part.open = true;
    holders.forEach(draw);
  });
  addEventListener("afterprint", () => {
    delete root.dataset.print;
    for (const part of closed) part.open = false;
    drawAgain();
  });
})();
