// The page: one button for the microphone, files to be opened or dropped, takes below.

import { Dictation } from "./dictation.js";
import { Files } from "./files.js";
import { Take } from "./take.js";
import { clock } from "./text.js";
import { Token } from "./token.js";

const at = (id) => document.getElementById(id);
const token = new Token();
const takes = [];
let dictation = null; // while the microphone is open

const files = new Files((file) => addTake(file.name, file.name.replace(/\.[^.]+$/, ""), false), token, say);

at("speak").addEventListener("click", () => (dictation ? dictation.stop() : start()));
at("files").addEventListener("change", ({ target }) => {
  files.add([...target.files]);
  target.value = ""; // so that the same one can be opened again
});
acceptDrops();
window.addEventListener("beforeunload", (event) => {
  if (dictation || takes.some((take) => take.element.isConnected && take.isUnsaved)) event.preventDefault();
});
requestAnimationFrame(showReadings);

async function start() {
  at("speak").disabled = true;
  complain("");
  try {
    dictation = await Dictation.begin(makeSpokenTake, token, stopped);
    label("Stop");
    say("Recording");
  } catch (problem) {
    complain(problem.message);
  }
  at("speak").disabled = false;
}

function stopped() {
  dictation = null;
  label("Start");
  complain("");
  say("Recording has stopped");
}

function label(text) {
  at("speak").textContent = text;
  at("speak").classList.toggle("recording", text === "Stop");
  at("readings").hidden = text !== "Stop";
}

function makeSpokenTake() {
  const now = new Date();
  const time = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const stamp = new Date(now - 60_000 * now.getTimezoneOffset()).toISOString().slice(0, 19);
  return addTake(`Microphone, ${time}`, `ds2edge-${stamp.replace("T", "-").replaceAll(":", "")}`, true);
}

/** The newest comes first, beside the buttons. */
function addTake(title, file, isLive) {
  const take = new Take(title, file, say, isLive);
  takes.push(take);
  at("welcome").hidden = true;
  at("takes").prepend(take.element);
  return take;
}

function complain(message) {
  if (at("problem").textContent === message) return;
  at("problem").textContent = message;
  at("problem").hidden = !message;
}

/** To a screen reader. */
function say(message) {
  at("status").textContent = message;
}

function showReadings() {
  if (dictation) {
    const decibels = 20 * Math.log10(Math.max(dictation.level, 1e-6));
    at("level").style.setProperty("--level", Math.max(0, 1 + decibels / 60).toFixed(3));
    at("level").classList.toggle("loud", dictation.level > 0.99);
    at("elapsed").textContent = clock(dictation.seconds);
    const { latency } = dictation;
    at("latency").textContent = Number.isNaN(latency) ? "\u2013" : `${Math.round(latency)} ms`;
    complain(dictation.isSilent ? "No sound arrives. Is the microphone muted, or is another one meant?" : "");
  }
  requestAnimationFrame(showReadings);
}

function acceptDrops() {
  const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
  const mark = (on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(true);
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || mark(false));
  document.addEventListener("drop", (event) => {
    mark(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    files.add([...event.dataTransfer.files]);
  });
}
