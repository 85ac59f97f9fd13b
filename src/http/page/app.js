"use strict";
// The page: a list of jobs, and one of them as the server pushes it. Everything that comes from outside is put
// in as text, never as markup.

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en-US");
const count = (n) => (n === null || n === undefined ? "–" : number.format(Math.round(n)));
const bytes = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${n.toFixed(unit ? 1 : 0)} ${units[unit]}`;
};
const ms = (n) => (n === null || n === undefined ? "–" : n < 10000 ? `${count(n)} ms` : `${(n / 1000).toFixed(1)} s`);
const seconds = (n) => (n === null || n === undefined ? "–" : n < 120 ? `${n.toFixed(1)} s` : `${count(n / 60)} min`);
// UTC, and says so: a log beside it is in UTC too, and whoever looks may be anywhere.
const clock = (time) => (time ? time.replace("T", " ").replace(/(\.\d{3})?\d*Z$/, "$1Z") : "–");

function make(tag, text, properties = {}) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  Object.assign(element, properties);
  return element;
}

/// Replaces what is in an element, but only when it has changed: a selection or a focus stays otherwise.
function fill(element, children) {
  const next = make(element.tagName);
  next.append(...children);
  if (next.innerHTML !== element.innerHTML) element.replaceChildren(...next.childNodes);
}

function table(id, heads, rows, none) {
  if (!rows.length) return fill(byId(id), [make("caption", none)]);
  const head = make("tr");
  heads.forEach(([name, kind]) => head.append(make("th", name, { className: kind || "", scope: "col" })));
  const body = make("tbody");
  rows.forEach(({ cells, className }) => {
    const row = make("tr", null, { className: className || "" });
    cells.forEach((cell, i) => row.append(make("td", cell, { className: heads[i][1] || "" })));
    body.append(row);
  });
  const top = make("thead");
  top.append(head);
  fill(byId(id), [top, body]);
}

function pairs(id, entries) {
  fill(byId(id), entries.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

// Asking.

let token = sessionStorage.getItem("token");

async function ask(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) {
    byId("token").hidden = false;
    throw new Error("a token is needed");
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || `${answer.status} ${answer.statusText}`);
  }
  byId("token").hidden = true;
  return answer;
}

byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = new FormData(event.target).get("token");
  sessionStorage.setItem("token", token);
  start();
});

// Charts.

const KEPT = 900;
const points = { t: [], p50: [], p99: [], read: [], landed: [] };
const charts = [];

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function chart(id, series, unit) {
  const element = byId(id);
  const axis = { stroke: () => color("--dim"), grid: { stroke: () => color("--line"), width: 1 }, ticks: { show: false } };
  const width = () => Math.max(element.clientWidth, 200);
  const plot = new uPlot({
    width: width(), height: 180, cursor: { y: false },
    // As the times in the tables.
    tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
    axes: [axis, { ...axis, size: 70, values: (_, all) => all.map(unit) }],
    scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
    series: [{ value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}Z" }, ...series.map(([label, , stroke]) => ({
      label, stroke: () => color(stroke), width: 2, spanGaps: true, points: { show: false },
      value: (_, v) => (v === null ? "–" : unit(v)),
    }))],
  }, [[], ...series.map(() => [])], element);
  new ResizeObserver(() => plot.setSize({ width: width(), height: 180 })).observe(element);
  charts.push(() => plot.setData([points.t, ...series.map(([, key]) => points[key])]));
}

function add(point) {
  if (!point || (points.t.length && point.t <= points.t.at(-1))) return false;
  points.t.push(point.t);
  points.p50.push(point.p50_ms);
  points.p99.push(point.p99_ms);
  points.read.push(point.read);
  points.landed.push(point.landed);
  if (points.t.length > KEPT) Object.values(points).forEach((series) => series.shift());
  return true;
}

function draw() {
  charts.forEach((one) => one());
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// Showing.

function show(status) {
  const { account, watermark, epochs, rates, freshness } = status;
  byId("job").textContent = status.job;
  byId("state").textContent = `${status.state}${status.generation ? `, generation ${status.generation}` : ""}, since ${clock(status.started_at)}, processes ${status.processes.length}, workers ${status.workers.length}, version ${status.version}`;
  document.title = `${status.findings.some((f) => f.severity === "stalled") ? "! " : ""}${status.job} ${status.state} – Strandline`;
  fill(byId("findings"), status.findings.map((finding) => {
    const item = make("li", finding.message, { className: finding.severity });
    item.append(make("small", `Next: ${finding.hint}`));
    return item;
  }));
  fill(byId("flow"), status.operators.map((operator) => {
    const item = make("li", null, { className: operator.pressure });
    item.append(make("b", operator.name), make("span", `${count(operator.rate)} ${operator.unit}/s`, { className: "rate" }));
    item.append(make("small", `${count(operator.waiting)} wait`), make("small", operator.says || "keeps up"));
    return item;
  }));
  pairs("account", [
    ["consumed", count(account.consumed)], ["landed", count(account.landed)], ["of them late", count(account.late)],
    ["duplicates", count(account.duplicates)], ["dead letters", count(account.dead_letters)],
    ["dropped", count(account.dropped)], ["gaps", count(account.gaps)],
  ]);
  const balanced = account.consumed === account.landed + account.duplicates + account.dead_letters + account.dropped;
  byId("balance").textContent = `consumed ${balanced ? "=" : "IS NOT"} landed + duplicates + dead letters + dropped`;
  byId("balance").className = balanced ? "" : "bad";
  pairs("figures", [
    ["lag", `${count(status.lag)} records`], ["read", `${count(rates.read)}/s, ${bytes(rates.bytes)}/s`],
    ["freshness p50 / p99", `${ms(freshness.p50_ms)} / ${ms(freshness.p99_ms)}`],
    ["watermark", clock(watermark.time)], ["behind the clock", seconds(watermark.lag_seconds)],
    ["held by", watermark.held_by || "–"],
    ["epochs in flight", count(epochs.in_flight)], ["commit under way", epochs.committing ? ms(epochs.committing_ms) : "no"],
    ["ids known", count(status.dedup.entries)],
    ...Object.entries(status.memory).map(([part, n]) => [`memory: ${part}`, bytes(n)]),
  ]);
  table("partitions", [["partition"], ["worker", "n"], ["committed", "n"], ["read", "n"], ["end", "n"], ["lag", "n"], ["watermark"], [""]],
    status.partitions.map((p) => ({
      className: p.holds_watermark ? "holds" : "",
      cells: [`${p.topic}[${p.partition}]`, p.worker, count(p.committed), count(p.next), count(p.end), count(p.lag), clock(p.watermark),
        p.idle ? "idle" : p.holds_watermark ? "holds the watermark" : ""],
    })), "none is known yet");
  table("commits", [["at"], ["epoch", "n"], ["took", "n"], ["rows", "n"], ["files", "n"], ["size", "n"], ["snapshot", "n"]],
    status.commits.last.map((c) => ({
      cells: [clock(c.at), `${Math.floor(c.epoch / 2 ** 32)}.${c.epoch % 2 ** 32}`, ms(c.duration_ms), count(c.rows), count(c.files), bytes(c.bytes), c.snapshot_id],
    })), "none yet");
  const kinds = Object.entries(status.dead_letters.by_type).map(([kind, n]) => `${kind} ${count(n)}`);
  byId("letter-counts").textContent = kinds.length ? `Since the last start: ${kinds.join(", ")}.` : "";
  table("letters", [["at"], ["from"], ["cause"], ["message", "text"], ["payload", "text"]],
    status.dead_letters.samples.map((l) => ({
      cells: [clock(l.failed_at), `${l.kafka_topic}[${l.kafka_partition}] ${l.kafka_offset}`, l.error_type, l.error_message,
        l.original_payload === null ? "null" : l.original_payload + (l.payload_cut ? ` … (${bytes(l.payload_bytes)})` : "")],
    })), "none since the last start");
  table("restarts", [["at"], ["had run", "n"], ["cause", "text"]],
    status.restarts.last.map((r) => ({ cells: [clock(r.at), seconds(r.ran_seconds), r.cause] })), "none");
  document.querySelectorAll("#commands button").forEach((button) => { button.disabled = status.state === "ended"; });
}

function connection(text, lost) {
  byId("connection").textContent = text;
  byId("connection").className = lost ? "lost" : "";
}

// The job shown, and the stream of what it says. Another job ends the stream of the one before.

let shown = null;
let stream = null;

async function open(job) {
  stream?.abort();
  const ours = stream = new AbortController();
  shown = job;
  Object.values(points).forEach((series) => { series.length = 0; });
  while (!ours.signal.aborted) {
    try {
      const path = `api/v1/jobs/${job}`;
      (await (await ask(`${path}/history`)).json()).points.forEach(add);
      const { settings } = await (await ask(`${path}/settings`)).json();
      table("settings", [["key"], ["value", "text"], ["from"]],
        settings.map((s) => ({ cells: [s.key, typeof s.value === "string" ? s.value : JSON.stringify(s.value), s.origin] })), "none");
      draw();
      const answer = await ask(`${path}/events`, { signal: ours.signal });
      connection("live");
      await listen(answer.body.getReader());
    } catch (error) {
      if (ours.signal.aborted) return;
      connection(error.message === "Failed to fetch" || error instanceof TypeError ? "the job does not answer; trying again" : error.message, true);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function listen(reader) {
  const decoder = new TextDecoder();
  let unread = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    unread += decoder.decode(value, { stream: true });
    let end;
    while ((end = unread.indexOf("\n\n")) >= 0) {
      const data = unread.slice(0, end).split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      unread = unread.slice(end + 2);
      if (!data) continue;
      const { status, point } = JSON.parse(data);
      show(status);
      if (add(point)) draw();
    }
  }
}

byId("commands").addEventListener("click", async (event) => {
  const command = event.target.dataset.command;
  if (!command || !shown) return;
  const questions = {
    stop: `Drain ${shown}, commit, and end it?`,
    cancel: `End ${shown} at once? Nothing is lost: it goes on from its table.`,
    savepoint: `Tag every table of ${shown} now?`,
  };
  if (!confirm(questions[command])) return;
  byId("said").textContent = `${command} …`;
  try {
    const answer = await (await ask(`api/v1/jobs/${shown}/${command}`, { method: "POST" })).json();
    byId("said").textContent = command === "savepoint" ? `savepoint ${answer.savepoint} is made` : `${command}: ${answer.state}`;
  } catch (error) {
    byId("said").textContent = error.message;
  }
});

async function list() {
  const { jobs } = await (await ask("api/v1/jobs")).json();
  const wanted = decodeURIComponent(location.hash.slice(1));
  const job = jobs.find((j) => j.name === wanted) || jobs.find((j) => j.running) || jobs[0];
  fill(byId("jobs"), jobs.map((j) => {
    const link = make("a", `${j.name}: ${j.state}`, { href: `#${j.name}`, title: j.description });
    link.dataset.running = j.running;
    if (job && j.name === job.name) link.setAttribute("aria-current", "page");
    return link;
  }));
  return job?.name;
}

async function start() {
  try {
    const job = await list();
    if (job && job !== shown) open(job);
  } catch (error) {
    connection(error.message, true);
  }
}

chart("freshness", [["p50", "p50", "--one"], ["p99", "p99", "--two"]], ms);
chart("rate", [["read", "read", "--one"], ["landed", "landed", "--two"]], count);
addEventListener("hashchange", start);
setInterval(start, 10000);
start();
