"use strict";
// The live page: asks the admin API once a second and draws. No library, nothing from elsewhere.

const PERIOD_MS = 1000;
const RANK_COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#888888", "#6a3d9a"];
const byId = (id) => document.getElementById(id);
const rankColour = (rank) => RANK_COLOURS[rank % RANK_COLOURS.length];

let key = sessionStorage.getItem("conclave-admin-key") || "";
let lastRanks = null;
let heat = null;                 // what the canvas shows
let cell = {row: 0, column: 0};  // chosen with the arrow keys
let answering = null;            // AbortController of the prompt under way

function headers(more) {
  return key ? {...more, Authorization: "Bearer " + key} : {...more};
}

async function ask(path, options = {}) {
  const answer = await fetch(path, {...options, headers: headers(options.headers || {}), cache: "no-store"});
  if (answer.status === 401) throw new WrongKey();
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Error(body.error ? body.error.message : `${path} answered ${answer.status}`);
  }
  return answer;
}
class WrongKey extends Error {}
const getJson = async (name) => (await ask("/admin/v1/" + name)).json();

function seconds(value) {
  if (!value) return "–";
  if (value < 1) return (value * 1000).toFixed(value < 0.1 ? 1 : 0) + " ms";
  return value < 60 ? value.toFixed(1) + " s" : Math.floor(value / 60) + "m" + String(Math.floor(value % 60)).padStart(2, "0") + "s";
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function sparkline(id, values) {
  const top = Math.max(...values, 1e-9);
  const points = values.map((v, i) => `${(i * 120 / Math.max(1, values.length - 1)).toFixed(1)},${(30 - 28 * v / top).toFixed(1)}`);
  const svg = byId(id);
  let line = svg.firstElementChild;
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    svg.append(line);
  }
  line.setAttribute("points", points.join(" "));
}

function showHealth(word) {
  byId("health").textContent = word;
  byId("health").dataset.health = word;
}

function showStatus(status) {
  showHealth(status.health);
  byId("model").textContent = status.model;
  byId("group").textContent = `${status.group.state}, ${status.ranks.up}/${status.ranks.total} ranks, ${status.group.kernel_set} ${status.group.compute}, up ${seconds(status.uptime_seconds)}`;
  byId("tps").textContent = status.recent.generated_tokens_per_second.toFixed(1);
  byId("ttft").textContent = seconds(status.recent.time_to_first_token_seconds.p50);
  byId("itl").textContent = seconds(status.recent.inter_token_latency_seconds.p50);
  const blocks = status.kv_blocks;
  const used = blocks.total ? blocks.used / blocks.total : 0;
  byId("kv").textContent = `${blocks.used}/${blocks.total} blocks`;
  byId("kv-meter").value = used;
  byId("counts").textContent = `${status.requests.running} running, ${status.requests.waiting} waiting`;
  byId("admission").textContent = status.admission.open ? "new requests are taken" : "closed: " + status.admission.reason;
}

function showHistory(history) {
  sparkline("spark-tps", history.points.map((p) => p.generated_tokens_per_second));
  sparkline("spark-ttft", history.points.map((p) => p.time_to_first_token_seconds.p50));
  sparkline("spark-itl", history.points.map((p) => p.inter_token_latency_seconds.p50));
}

function showChecks(health) {
  byId("checks-section").hidden = health.checks.length === 0;
  byId("checks").replaceChildren(...health.checks.map((check) => {
    const item = element("li");
    item.append(element("b", "", `${check.severity} ${check.code}`), ` ${check.summary}. `, element("span", "quiet", check.details.concat(check.advice).join("; ")));
    return item;
  }));
}

function showRanks(document) {
  const before = new Map((lastRanks ? lastRanks.ranks : []).map((r) => [r.rank, r.totals]));
  const slow = document.ranks.map((r) => r.totals.slowest_steps - (before.get(r.rank) || r.totals).slowest_steps);
  const all = slow.reduce((a, b) => a + b, 0);
  byId("ranks").replaceChildren(...document.ranks.map((rank, i) => {
    const item = element("li");
    const name = element("span", "name");
    const swatch = element("i", "swatch");
    swatch.style.background = rankColour(rank.rank);
    name.append(swatch, `rank ${rank.rank} ${rank.host}`);
    const bar = element("span", "bar");
    const fill = element("i");
    fill.style.width = (all > 0 ? 100 * slow[i] / all : 0) + "%";
    bar.append(fill);
    const doing = rank.up ? `${rank.operation}${rank.layer >= 0 ? " of layer " + rank.layer : ""}` : "not connected";
    item.append(name, bar, element("span", rank.up ? "quiet" : "down", doing));
    return item;
  }));
  lastRanks = document;
}

function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim().split(/\s+/).map(Number);
}

function mix(a, b, t) {
  return a.map((v, i) => Math.round(v + (b[i] - v) * t));
}

// 1: the layer's mean; three times that is as dark as it gets.
function heatColour(share, colours) {
  const x = Math.min(1, share / 3);
  const rgb = x < 0.5 ? mix(colours[0], colours[1], x * 2) : mix(colours[1], colours[2], x * 2 - 1);
  return `rgb(${rgb.join(",")})`;
}

function showExperts(document) {
  const perExpert = document.per_expert;
  heat = {
    column: perExpert ? "expert" : "rank",
    layers: document.layers.map((layer) => {
      const rows = perExpert ? layer.expert_rows : layer.rank_rows;
      const total = rows.reduce((a, b) => a + b, 0);
      return {
        name: layer.layer, rows, total,
        share: rows.map((v) => total > 0 ? v * rows.length / total : 0),
        holders: rows.map((_, i) => perExpert ? layer.holders[i] || [] : [i]),
      };
    }),
  };
  byId("heat-note").textContent = `Layers down, ${heat.column}s across; darker is busier than the layer's mean. The line below a cell has the colour of its rank. Arrow keys move.`;
  drawHeat();
}

function drawHeat() {
  const canvas = byId("heat");
  const columns = Math.max(1, ...heat.layers.map((l) => l.rows.length));
  const left = 34, height = 16;
  const width = Math.max(5, Math.min(40, Math.floor(1040 / columns)));
  canvas.width = left + columns * width;
  canvas.height = Math.max(1, heat.layers.length) * height;
  const colours = [cssColour("--heat-low"), cssColour("--heat-mid"), cssColour("--heat-high")];
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  heat.layers.forEach((layer, row) => {
    context.fillStyle = style.getPropertyValue("--quiet");
    context.fillText(layer.name, 2, row * height + height / 2 - 2);
    layer.share.forEach((share, column) => {
      const x = left + column * width, y = row * height;
      context.fillStyle = heatColour(share, colours);
      context.fillRect(x, y, width - 1, height - 5);
      layer.holders[column].forEach((rank, i, all) => {
        context.fillStyle = rankColour(rank);
        context.fillRect(x + i * (width - 1) / all.length, y + height - 5, (width - 1) / all.length, 3);
      });
      if (row === cell.row && column === cell.column && document.activeElement === canvas) {
        context.strokeStyle = style.getPropertyValue("--accent");
        context.lineWidth = 2;
        context.strokeRect(x, y, width - 1, height - 5);
      }
    });
  });
  heat.geometry = {left, width, height};
  canvas.dataset.total = heat.layers.reduce((sum, layer) => sum + layer.total, 0).toFixed(3);
  canvas.dataset.columns = columns;
}

function describeCell() {
  const layer = heat && heat.layers[cell.row];
  if (!layer || cell.column >= layer.rows.length) return;
  const where = heat.column === "expert" && layer.holders[cell.column].length ? `, on rank ${layer.holders[cell.column].join(" and ")}` : "";
  byId("heat-cell").textContent = `Layer ${layer.name}, ${heat.column} ${cell.column}: ${layer.share[cell.column].toFixed(2)} times the mean${where}`;
}

function moveCell(event) {
  const steps = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
  if (!heat || !steps[event.key] || heat.layers.length === 0) return;
  event.preventDefault();
  const clamp = (v, most) => Math.max(0, Math.min(v, most));
  cell.row = clamp(cell.row + steps[event.key][0], heat.layers.length - 1);
  cell.column = clamp(cell.column + steps[event.key][1], heat.layers[cell.row].rows.length - 1);
  drawHeat();
  describeCell();
}

function pointAtCell(event) {
  if (!heat || !heat.geometry) return;
  const box = byId("heat").getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left - heat.geometry.left) / heat.geometry.width);
  const row = Math.floor((event.clientY - box.top) / heat.geometry.height);
  if (row < 0 || row >= heat.layers.length || column < 0 || column >= heat.layers[row].rows.length) return;
  cell = {row, column};
  describeCell();
}

function notice(text) {
  byId("notice").textContent = text;
}

async function cancelRequest(id) {
  try {
    await ask("/admin/v1/requests/" + encodeURIComponent(id), {method: "DELETE"});
    notice("");
  } catch (error) {
    notice(error.message);
  }
  refresh();
}

// Rows are kept while their request lives, so that a button does not lose the focus.
function showRequests(document_) {
  const body = byId("requests");
  const known = new Map([...body.children].map((row) => [row.dataset.id, row]));
  for (const request of document_.requests) {
    const id = String(request.id);
    let row = known.get(id);
    known.delete(id);
    if (!row) {
      row = element("tr");
      row.dataset.id = id;
      for (let i = 0; i < 6; ++i) row.append(element("td"));
      const button = element("button", "cancel", "Cancel");
      button.type = "button";
      button.setAttribute("aria-label", "Cancel request " + request.request_id);
      button.addEventListener("click", () => cancelRequest(id));
      const last = element("td");
      last.append(button);
      row.append(last);
      body.append(row);
    }
    const texts = [request.request_id, request.state, request.rank < 0 ? "–" : request.rank, seconds(request.age_seconds), request.prompt_tokens, request.generated_tokens];
    texts.forEach((text, i) => { row.children[i].textContent = text; });
  }
  for (const row of known.values()) row.remove();
  byId("no-requests").hidden = document_.requests.length > 0;
}

function wantKey(message) {
  byId("key-form").hidden = false;
  byId("main").hidden = true;
  byId("key-error").textContent = message;
  showHealth("locked");
}

const PARTS = [["status", showStatus], ["health", showChecks], ["history", showHistory], ["ranks", showRanks], ["experts", showExperts], ["requests", showRequests]];

async function refresh() {
  try {
    const answers = await Promise.all(PARTS.map(([name]) => getJson(name)));
    byId("key-form").hidden = true;
    byId("main").hidden = false;
    PARTS.forEach(([, show], i) => show(answers[i]));
  } catch (error) {
    if (error instanceof WrongKey) return wantKey(key ? "That key is not valid." : "");
    showHealth("gone");
    byId("group").textContent = "The coordinator does not answer: " + error.message;
  }
}

function addText(data) {
  if (data === "[DONE]") return;
  const event = JSON.parse(data);
  if (event.error) throw new Error(event.error.message);
  const choice = event.choices && event.choices[0];
  const text = choice && (choice.delta ? choice.delta.content : choice.text);
  if (text) byId("answer").textContent += text;
}

async function readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ")) addText(line.slice(6).trimEnd());
    }
  }
}

async function sendPrompt(event) {
  event.preventDefault();
  if (answering || !byId("prompt").value.trim()) return;
  answering = new AbortController();
  byId("answer").textContent = "";
  byId("send").disabled = true;
  byId("stop").disabled = false;
  byId("prompt-state").textContent = "answering";
  try {
    const body = {
      model: byId("model").textContent, stream: true, max_completion_tokens: Number(byId("max-tokens").value) || 128,
      messages: [{role: "user", content: byId("prompt").value}],
    };
    const answer = await ask("/v1/chat/completions", {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal: answering.signal,
    });
    await readEvents(answer.body);
    byId("prompt-state").textContent = "done";
  } catch (error) {
    byId("prompt-state").textContent = error.name === "AbortError" ? "stopped" : error.message;
  }
  answering = null;
  byId("send").disabled = false;
  byId("stop").disabled = true;
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value.trim();
  sessionStorage.setItem("conclave-admin-key", key);
  byId("key").value = "";
  refresh();
});
byId("prompt-form").addEventListener("submit", sendPrompt);
byId("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) sendPrompt(event);
});
byId("stop").addEventListener("click", () => answering && answering.abort());
byId("heat").addEventListener("keydown", moveCell);
byId("heat").addEventListener("pointermove", pointAtCell);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => heat && drawHeat());
for (const name of ["focus", "blur"]) byId("heat").addEventListener(name, () => heat && drawHeat());

async function keepRefreshing() {
  await refresh();
  setTimeout(keepRefreshing, document.hidden ? 5 * PERIOD_MS : PERIOD_MS);
}
keepRefreshing();
