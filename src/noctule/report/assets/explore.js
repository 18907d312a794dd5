"use strict";
// Requests the image that the controls describe. Everything from the server is set as text, and
// an answer to an outdated request is dropped.

const known = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const fields = ["photo", "corruption", "seed", "mode"];
const WAIT_MS = 120;

let turn = 0;
let running = null;
let timer = null;

const severity = () => document.querySelector("input[name=severity]:checked");

function request() {
  const values = Object.fromEntries(fields.map((name) => [name, byId(name).value]));
  return { ...values, severity: severity()?.value ?? known.start.severity };
}

function choose(wanted) {
  for (const name of fields) {
    const before = byId(name).value;
    byId(name).value = wanted[name];
    if (byId(name).value !== wanted[name]) byId(name).value = before;
  }
  const radio = [...document.querySelectorAll("input[name=severity]")].find((one) => one.value === wanted.severity);
  if (radio) radio.checked = true;
  describeCorruption();
}

function fromAddress() {
  const fromHash = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const wanted = { ...known.start, ...fromHash };
  // After a reload, the list lacks the photographs that were added.
  if (/^[0-9a-f]{16}$/.test(wanted.photo)) addOption(wanted.photo, wanted.photo);
  choose(wanted);
}

function say(text, isBad = false) {
  byId("message").textContent = text;
  byId("message").classList.toggle("bad", isBad);
}

function describeCorruption() {
  const one = known.corruptions[byId("corruption").value];
  byId("summary").textContent = one.summary;
  byId("ranges").textContent = one.ranges.join("; ") || "only noise";
  byId("source").textContent = one.source;
  byId("mode").disabled = !one.has_modes;
}

async function fetched(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("noctule does not respond. Is it still running?");
  }
  const answer = await response.json().catch(() => ({ error: `noctule responded with status ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function ask() {
  const mine = ++turn;
  running?.abort();
  running = new AbortController();
  if (!byId("seed").checkValidity()) {
    fail(`The seed must be a whole number from 0 to ${byId("seed").max}.`);
    return;
  }
  const wanted = request();
  const query = new URLSearchParams(wanted);
  history.replaceState(null, "", `#${query}`);
  byId("result").classList.add("busy");
  byId("result").setAttribute("aria-busy", "true");
  try {
    const answer = await fetched(`answer?${query}`, { signal: running.signal });
    if (mine === turn) show(answer, wanted);
  } catch (error) {
    if (mine === turn) fail(error.message);
  }
}

function askSoon() {
  describeCorruption();
  ++turn; // a request in progress is now outdated
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
}

function idle() {
  byId("result").classList.remove("busy");
  byId("result").removeAttribute("aria-busy");
}

function fail(text) {
  idle();
  say(text, true);
}

function show(answer, wanted) {
  idle();
  const at = wanted.severity === "full" ? "full range" : `severity ${wanted.severity}`;
  const condition = `${wanted.corruption}, ${at}, seed ${wanted.seed}`;
  byId("corrupted-title").textContent = `${wanted.corruption}, ${at}`;
  image("clean", answer, `${answer.photo.id}, original`);
  image("corrupted", answer, `${answer.photo.id} under ${condition}`);
  if (byId("change")) byId("change").textContent = answer.change;
  byId("drawn").textContent = answer.drawn.join("; ") || "only noise";
  byId("image-id").textContent = answer.photo.id;
  byId("size").textContent = answer.photo.size;
  byId("python").textContent = answer.python;
  byId("command").textContent = answer.command;
  byId("own-note").hidden = !answer.command.includes("YOUR-PHOTO");
  say(`${byId("photo").selectedOptions[0].text}: ${condition}.`);
}

function image(id, answer, text) {
  const image = byId(id);
  image.src = answer[id].image;
  image.alt = text;
  image.hidden = false;
  image.classList.toggle("coarse", answer.photo.side_px < 160);
  const list = byId(`${id}-predictions`);
  if (list) list.replaceChildren(...answer[id].predictions.map(row));
}

function element(name, text, className = "") {
  const one = document.createElement(name);
  one.textContent = text;
  one.className = className;
  return one;
}

function row(prediction) {
  const bar = element("div", "", "bar");
  const filled = document.createElement("span");
  filled.style.width = `${100 * prediction.confidence}%`;
  bar.append(filled);
  bar.setAttribute("aria-hidden", "true");
  const item = document.createElement("li");
  item.append(element("span", prediction.name), element("span", prediction.percent), bar);
  item.append(element("small", prediction.note, prediction.has_moved ? "moved" : ""));
  return item;
}

function addOption(key, text) {
  const group = byId("uploads");
  const option = [...group.children].find((one) => one.value === key) ?? new Option(text, key);
  group.hidden = false;
  group.append(option);
}

async function upload(file) {
  if (!file) return;
  if (file.size > known.largest_bytes) {
    fail(`${file.name} is larger than ${known.largest_bytes / 1e6} MB.`);
    return;
  }
  const mine = ++turn;
  clearTimeout(timer);
  running?.abort();
  say(`Reading ${file.name}.`);
  try {
    const added = await fetched("photographs", { method: "POST", body: file });
    addOption(added.key, file.name);
    if (mine !== turn) return; // the selection has changed meanwhile
    byId("photo").value = added.key;
    ask();
  } catch (error) {
    if (mine === turn) fail(`${file.name}: ${error.message}`);
  }
}

byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("controls").addEventListener("input", (event) => {
  if (event.target.id !== "file") askSoon();
});
byId("file").addEventListener("change", (event) => {
  upload(event.target.files[0]);
  event.target.value = ""; // the same file can be chosen again
});
// On the whole page: a photograph dropped outside the frame must not replace the page.
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") upload(event.dataTransfer.files[0]);
  });
}
addEventListener("hashchange", () => {
  fromAddress();
  ask();
});
fromAddress();
ask();
