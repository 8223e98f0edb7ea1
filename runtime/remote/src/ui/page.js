"use strict";
// The token of this start stands after the '#': the browser never sends it by itself.
const [token, ...wishes] = location.hash.slice(1).split("&");
const by = (id) => document.getElementById(id);
const canvas = by("canvas"), pen = canvas.getContext("2d", { willReadFrequently: true });
let shape = [1, 28, 28], drawing = false;

async function call(path, body) {
  const answer = await fetch(path, { method: body ? "POST" : "GET", body, headers: { "x-token": token } });
  const value = await answer.json();
  if (!answer.ok) throw new Error(`${value.where}: ${value.what}${value.remedy ? " (" + value.remedy + ")" : ""}`);
  return value;
}

const bytes = (n) => n < 1e4 ? `${n} B` : n < 1e7 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`;
const ms = (seconds) => `${(seconds * 1e3).toFixed(1)} ms`;

function clear() { pen.fillStyle = "#000"; pen.fillRect(0, 0, canvas.width, canvas.height); }

function stroke(points) {
  pen.strokeStyle = "#fff"; pen.lineWidth = 22; pen.lineCap = pen.lineJoin = "round";
  pen.beginPath(); points.forEach(([x, y], k) => k ? pen.lineTo(x, y) : pen.moveTo(x, y)); pen.stroke();
}

function example() { clear(); stroke([[85, 65], [185, 65], [130, 125], [180, 160], [175, 205], [130, 225], [85, 205]]); }

let last = null;
const place = (e) => { const r = canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
canvas.addEventListener("pointerdown", (e) => { drawing = true; last = place(e); stroke([last, last]); canvas.setPointerCapture(e.pointerId); });
canvas.addEventListener("pointermove", (e) => { if (!drawing) return; const p = place(e); stroke([last, p]); last = p; });
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { drawing = false; });

async function take(file) {
  try {
    const image = await createImageBitmap(file);
    clear(); pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  } catch { by("answer").textContent = "This file is no image that the browser can read."; }
}
by("file").addEventListener("change", (e) => e.target.files[0] && take(e.target.files[0]));
canvas.addEventListener("dragover", (e) => { e.preventDefault(); canvas.classList.add("over"); });
canvas.addEventListener("dragleave", () => canvas.classList.remove("over"));
canvas.addEventListener("drop", (e) => { e.preventDefault(); canvas.classList.remove("over"); if (e.dataTransfer.files[0]) take(e.dataTransfer.files[0]); });
by("clear").addEventListener("click", clear);
by("example").addEventListener("click", example);

// The picture in the model's size: one byte an element, channel first.
function elements() {
  const [channels, height, width] = shape.length === 3 ? shape : [1, 28, 28];
  const small = document.createElement("canvas");
  small.width = width; small.height = height;
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data, out = new Uint8Array(channels * height * width);
  for (let k = 0; k < height * width; k++) {
    const [r, g, b] = rgba.subarray(4 * k, 4 * k + 3);
    if (channels === 1) out[k] = Math.round(0.299 * r + 0.587 * g + 0.114 * b);
    else [r, g, b].forEach((v, c) => { out[c * height * width + k] = v; });
  }
  return out;
}

function rows(table, list, best) {
  const body = table.querySelector("tbody");
  body.replaceChildren(...list.map(([name, value], k) => {
    const row = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
    head.scope = "row"; head.textContent = name; cell.textContent = value;
    if (k === best) row.className = "best";
    row.append(head, cell);
    return row;
  }));
  table.hidden = false;
}

async function view() { by("view").textContent = JSON.stringify(await call("api/server"), null, 1); }

async function classify() {
  by("go").disabled = true;
  by("answer").textContent = "Encrypting, sending, waiting …";
  try {
    const a = await call("api/predict", elements()), x = a.exchange;
    by("answer").textContent = `It is ${a.label ?? "class " + a.class}.` + (a.outside ? " (The picture lies outside the model's range.)" : "") + (a.warning ? ` (${a.warning})` : "");
    rows(by("scores"), a.scores.map((s, k) => [names[k] ?? k, s.toFixed(3)]), a.class);
    rows(by("sent"), [
      ["encrypted picture sent", bytes(x.upload_bytes)], ["encrypted answer received", bytes(x.download_bytes)],
      ["encryption here", ms(x.encrypt_s)], ["server, with the way there and back", ms(x.server_s)],
      ["of it evaluation", x.evaluation_ms === null ? "unknown" : `${x.evaluation_ms.toFixed(1)} ms`],
      ["decryption here", ms(x.decrypt_s)],
    ]);
    await view();
  } catch (e) { by("answer").textContent = `It did not work: ${e.message}`; }
  by("go").disabled = false;
}
by("go").addEventListener("click", classify);

let names = [];
clear();
call("api/facts").then(async (f) => {
  shape = f.shape; names = f.labels;
  by("model").textContent = `Model ${f.model} at ${f.server}; ring degree 2^${f.log_n}, log QP ${f.log_qp} of at most ${f.bound} for 128 bits.`;
  await view();
  if (wishes.includes("example")) { example(); await classify(); }
}).catch((e) => { by("model").textContent = e.message; });
