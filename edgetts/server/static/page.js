// The page: its fields to requests, and what comes back to sound, figures and sentences.

import { emotionWeights, makeEmotions } from "./emotions.js";
import { Player, Speech } from "./sound.js";
import { drawWave } from "./wave.js";

const TOKEN = "edgetts-token"; // in sessionStorage
const CHARACTERS_PER_S = 14; // guess, until the speech has arrived
const MAX_HISTORY = 20;
const $ = (id) => document.getElementById(id);

const player = new Player();
let request = null; // AbortController of the speech that is arriving
let shown = null; // the take in the picture: {text, voice, speed, seed, speech, firstS, rtf, isStopped}
const takes = [];

// --- the server --------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer: check that it still runs.");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) {
    $("access").hidden = false;
    $("token").focus();
    throw new Error(token ? "The token is wrong: enter the one of this server." : "Enter the token of this server.");
  }
  const table = await answer.json().catch(() => null);
  throw new Error(table?.error?.message ?? `The server answered with status ${answer.status}.`);
}

function showError(place, message) {
  place.textContent = message ?? "";
  place.hidden = !message;
}

async function connect() {
  showError($("error"));
  try {
    const description = await (await ask("/openapi.json")).json();
    const fields = description.components.schemas.Speech.properties;
    $("text").maxLength = fields.input.maxLength;
    $("seed").max = fields.seed.maximum;
    $("speed").min = fields.speed.minimum;
    $("speed").max = fields.speed.maximum;
    $("preset").replaceChildren(new Option("default", ""), ...fields.preset.enum.map((name) => new Option(name, name)));
    makeEmotions(Object.keys(fields.emotion.oneOf.find((form) => form.minProperties).properties));
    const models = await (await ask("/v1/models")).json();
    $("model").textContent = `Model: ${models.data[0].id}`;
    await loadVoices();
    $("access").hidden = true;
  } catch (error) {
    showError($("error"), error.message);
  }
}

$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value.trim());
  $("token").value = "";
  connect();
});

// --- speech --------------------------------------------------------------------------------------------

function body() {
  const fields = { input: $("text").value, response_format: "pcm" };
  if ($("voice").value) fields.voice = $("voice").value;
  if ($("preset").value) fields.preset = $("preset").value;
  if ($("speed").valueAsNumber !== 1) fields.speed = $("speed").valueAsNumber;
  if ($("seed").value !== "") fields.seed = $("seed").valueAsNumber;
  const weights = emotionWeights();
  if (Object.keys(weights).length) fields.emotion = weights;
  return fields;
}

async function speak() {
  stop();
  showError($("error"));
  const fields = body();
  const speed = fields.speed ?? 1;
  const take = { text: fields.input.trim(), voice: fields.voice ?? "default", speed, speech: new Speech() };
  const mine = (request = new AbortController());
  const startedAt = performance.now();
  const elapsedS = () => (performance.now() - startedAt) / 1000;
  shown = take;
  player.start(take.speech);
  try {
    const headers = { "Content-Type": "application/json" };
    const options = { method: "POST", headers, body: JSON.stringify(fields), signal: mine.signal };
    const answer = await ask("/v1/audio/speech", options);
    take.seed = answer.headers.get("X-Seed");
    const reader = answer.body.getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      take.firstS ??= elapsedS();
      take.speech.feed(piece.value);
      take.rtf = elapsedS() / take.speech.seconds;
      player.feed();
    }
  } catch (error) {
    take.isStopped = true;
    const isCut = take.speech.length > 0;
    const message = isCut ? "The speech broke off before its end: see the server's log." : error.message;
    if (error.name !== "AbortError") showError($("error"), message);
  }
  take.speech.isComplete = true;
  if (request === mine) request = null;
  player.feed();
  if (take.speech.length) remember(take);
}

function stop() {
  request?.abort();
  request = null;
  player.stop();
}

function play(take) {
  stop();
  showError($("error"));
  shown = take;
  player.start(take.speech);
}

function download(take) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(take.speech.wav());
  const words = take.text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["speech"];
  link.download = `${words.slice(0, 5).join("-").slice(0, 60)}.wav`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$("speak").addEventListener("submit", (event) => {
  event.preventDefault();
  speak();
});
$("speed").addEventListener("input", () => {
  $("speed-value").textContent = `${$("speed").valueAsNumber.toFixed(2)} ×`;
});
$("stop").addEventListener("click", stop);
$("download").addEventListener("click", () => download(shown));
$("text").addEventListener("input", () => {
  const n = $("text").value.length;
  $("count").textContent = `${n} character${n === 1 ? "" : "s"}`;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("speak").requestSubmit();
  if (event.key === "Escape") stop();
});

// --- what is seen while it speaks ---------------------------------------------------------------------

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const number = (value, unit = "") => (value === undefined ? "–" : `${value.toFixed(2)}${unit}`);

function statusLine() {
  if (request && !shown.speech.length) return "Waiting for the first sound …";
  if (request && player.nBreaks && !player.isSounding) return "Collecting sound: this machine speaks slower than it plays.";
  if (request) return "Speaking while the rest is computed.";
  return player.hasEnded ? "" : "Speaking.";
}

function setText(place, text) {
  if (place.textContent !== text) place.textContent = text; // else screen readers repeat it
}

let drawn = "";

function frame() {
  player.feed();
  if (player.speech && player.hasEnded) player.stop();
  const isArriving = request !== null;
  const speech = shown?.speech;
  const seconds = speech?.seconds ?? 0;
  const playedS = player.speech ? player.playedS : 0;
  $("stop").disabled = !isArriving && !player.speech;
  $("download").disabled = isArriving || !seconds;
  setText($("time"), `${clock(playedS)} / ${clock(seconds)}`);
  setText($("first"), number(shown?.firstS, " s"));
  setText($("rtf"), number(shown?.rtf));
  setText($("status"), statusLine());
  const guessS = shown ? shown.text.length / CHARACTERS_PER_S / shown.speed : 0;
  const totalS = isArriving ? Math.max(seconds * 1.05, guessS) : seconds;
  const state = [seconds, playedS, totalS, $("wave").clientWidth, devicePixelRatio, dark.matches].join();
  if (state !== drawn) drawWave($("wave"), speech, totalS, player.speech ? playedS : isArriving ? 0 : Infinity);
  drawn = state;
  requestAnimationFrame(frame);
}
const dark = matchMedia("(prefers-color-scheme: dark)");
setInterval(() => player.feed(), 100); // frames are not drawn in the background

// --- history --------------------------------------------------------------------------------------------

function button(label, about, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.setAttribute("aria-label", `${label}: ${about}`);
  made.addEventListener("click", act);
  return made;
}

function remember(take) {
  takes.push(take);
  const item = document.createElement("li");
  const what = document.createElement("div");
  const said = document.createElement("span");
  const facts = document.createElement("span");
  what.className = "what";
  said.className = "said";
  facts.className = "hint";
  said.textContent = said.title = take.text;
  const told = [take.voice, `${take.speech.seconds.toFixed(1)} s`, `seed ${take.seed}`];
  if (take.speed !== 1) told.push(`speed ${take.speed}`);
  facts.textContent = [...told, ...(take.isStopped ? ["stopped"] : [])].join(" · ");
  what.append(said, facts);
  const about = take.text.slice(0, 40);
  const forget = () => {
    takes.splice(takes.indexOf(take), 1);
    item.remove();
    $("no-history").hidden = takes.length > 0;
  };
  take.forget = forget;
  item.append(what, button("Play", about, () => play(take)), button("Download", about, () => download(take)));
  item.append(button("Remove", about, forget));
  $("history").prepend(item);
  if (takes.length > MAX_HISTORY) takes[0].forget();
  $("no-history").hidden = true;
}

// --- voices -----------------------------------------------------------------------------------------------

async function loadVoices(chosen = $("voice").value) {
  const { data } = await (await ask("/v1/voices")).json();
  const group = (label, source) => {
    const made = document.createElement("optgroup");
    made.label = label;
    made.append(...data.filter((voice) => voice.source === source).map((voice) => new Option(voice.name, voice.id)));
    return made;
  };
  const groups = [group("Yours", "stored"), group("Of the model", "model")].filter((made) => made.children.length);
  $("voice").replaceChildren(...(groups.length ? groups : [new Option("none yet", "")]));
  if (data.some((voice) => voice.id === chosen)) $("voice").value = chosen;
  if (!data.length) $("new-voice").open = true;
  showVoice();
}

function showVoice() {
  $("delete").disabled = $("voice").selectedOptions[0]?.parentElement.label !== "Yours";
}

$("voice").addEventListener("change", showVoice);
$("delete").addEventListener("click", async () => {
  const name = $("voice").value;
  if (!confirm(`Delete the voice ${name}? Its recording is not kept by the server.`)) return;
  showError($("learn-error"));
  try {
    await ask(`/v1/voices/${encodeURIComponent(name)}`, { method: "DELETE" });
    await loadVoices();
    $("voice").focus();
  } catch (error) {
    showError($("error"), error.message);
  }
});

function showFile() {
  const file = $("file").files[0];
  $("drop").classList.toggle("full", Boolean(file));
  $("file-name").textContent = file ? file.name : "Drop a recording here, or choose a file";
  const name = file?.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N} _-]+/gu, " ").trim().slice(0, 48);
  if (name && !$("name").value) $("name").value = name;
}

$("file").addEventListener("change", showFile);
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // a file beside the field would replace the page
    $("drop").classList.toggle("over", kind === "dragover" && $("drop").contains(event.target));
    if (kind !== "drop" || !$("drop").contains(event.target) || !event.dataTransfer.files.length) return;
    $("file").files = event.dataTransfer.files;
    showFile();
  });
}

$("learn").addEventListener("submit", async (event) => {
  event.preventDefault();
  showError($("learn-error"));
  const file = $("file").files[0];
  if (!file) return showError($("learn-error"), "Choose a recording first.");
  const form = new FormData();
  form.append("name", $("name").value.trim());
  if ($("adapt").value !== "") form.append("adapt_steps", $("adapt").value);
  form.append("file", file);
  $("make").disabled = true;
  const startedAt = performance.now();
  const tell = () => {
    const seconds = (performance.now() - startedAt) / 1000;
    $("learn-status").textContent = `Making the voice, which can take minutes: ${clock(seconds)}`;
  };
  const telling = setInterval(tell, 1000);
  tell();
  try {
    const voice = await (await ask("/v1/voices", { method: "POST", body: form })).json();
    clearInterval(telling);
    await loadVoices(voice.id);
    $("learn-status").textContent = [`The voice ${voice.id} is ready.`, ...voice.notices].join(" ");
    $("learn").reset();
    showFile();
  } catch (error) {
    clearInterval(telling);
    $("learn-status").textContent = "";
    showError($("learn-error"), error.message);
  }
  $("make").disabled = false;
});

connect();
frame();
