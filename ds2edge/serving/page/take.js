// One recording on the page: its text, its buttons, what goes wrong with it.

import { copy, download } from "./saving.js";
import { srt } from "./subtitles.js";
import { clock, gap, language } from "./text.js";
import { Transcript } from "./transcript.js";

const template = document.getElementById("take");

export class Take {
  transcript = new Transcript();
  #shown = 0; // segments
  #saved = 0; // segments that were copied or downloaded

  /** @param title its heading
   *  @param file name of its subtitles, without the ending
   *  @param say tells a screen reader
   *  @param isLive whether segments are read out as they come */
  constructor(title, file, say, isLive) {
    Object.assign(this, { title, file, say });
    this.element = template.content.firstElementChild.cloneNode(true);
    this.#find("h2").textContent = title;
    for (const button of ["copy", "save"]) {
      this.#find(`.${button}`).setAttribute("aria-label", `${this.#find(`.${button}`).textContent}: ${title}`);
    }
    if (isLive) {
      this.#find(".finals").setAttribute("role", "log");
      this.#find(".finals").setAttribute("aria-live", "polite");
    }
    this.#find(".copy").addEventListener("click", () => this.#copy());
    this.#find(".save").addEventListener("click", () => this.#download());
  }

  /** Whether something was said that was neither copied nor downloaded. */
  get isUnsaved() {
    return this.#saved < this.transcript.segments.length || this.transcript.open.words.length > 0;
  }

  /** The transcript has changed. */
  show() {
    const follows = this.#endIsInSight();
    const { segments, open, isEmpty } = this.transcript;
    this.#find(".finals").append(...segments.slice(this.#shown).map(paragraph));
    this.#shown = segments.length;
    fill(this.#find(".open"), open.words, open.stable);
    for (const button of ["copy", "save"]) this.#find(`.${button}`).disabled = isEmpty;
    if (follows) this.#find(".open").scrollIntoView({ block: "nearest" });
  }

  /** Show a problem, and the button that may help; without a problem, hide it. */
  report(problem, onRemedy) {
    const remedy = this.#find(".remedy");
    this.#find(".problem").hidden = !problem;
    this.#find(".what").textContent = problem?.message ?? "";
    remedy.hidden = !problem?.remedy;
    remedy.textContent = problem?.remedy ?? "";
    remedy.onclick = onRemedy;
  }

  /** Show how far something is; `part` is 0..1, null: nobody knows; without `doing`, hide it. */
  progress(doing, part = null, onCancel = null) {
    const bar = this.#find("progress");
    this.#find(".progress").hidden = !doing;
    this.#find(".doing").textContent = doing;
    bar.setAttribute("aria-label", `${doing} ${this.title}`);
    if (part === null) bar.removeAttribute("value");
    else bar.value = part;
    this.#find(".cancel").hidden = !onCancel;
    this.#find(".cancel").onclick = onCancel;
  }

  async #copy() {
    const all = this.transcript.segments.length;
    const done = await copy(this.transcript.text);
    if (done) this.#saved = all;
    this.#confirm(".copy", done ? "Copied" : "Not possible here");
  }

  #download() {
    const { segments, open } = this.transcript;
    download(`${this.file}.srt`, srt([...segments, open].filter(({ words }) => words.length)));
    this.#saved = segments.length;
    this.#confirm(".save", "Downloaded");
  }

  #confirm(name, done) {
    const button = this.#find(name);
    button.dataset.text ??= button.textContent;
    button.textContent = done;
    this.say(done);
    setTimeout(() => (button.textContent = button.dataset.text), 2000);
  }

  #endIsInSight() {
    return this.#find(".open").getBoundingClientRect().bottom <= window.innerHeight + 1;
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }
}

function paragraph({ words }) {
  const element = document.createElement("p");
  element.className = "segment";
  fill(element, words, words.length);
  return element;
}

/** Show words; a word that is there already stays, so that a selection does. */
function fill(element, words, stable) {
  words.forEach((word, i) => {
    const place = element.children[i] ?? placeIn(element);
    set(place.previousSibling, i ? gap(words[i - 1].text, word.text) : "");
    set(place.firstChild, word.text);
    place.className = i < stable ? "word" : "word unstable";
    place.style.setProperty("--doubt", (1 - word.confidence).toFixed(2));
    place.title = `${Math.round(100 * word.confidence)} % certain`;
  });
  while (element.children.length > words.length) {
    element.lastElementChild.previousSibling.remove();
    element.lastElementChild.remove();
  }
  element.dataset.time = words.length ? clock(words[0].start) : "";
  element.lang = language(element.textContent) || document.documentElement.lang;
}

/** A place for a word, behind one for the space before it. */
function placeIn(element) {
  const place = document.createElement("span");
  place.append("");
  element.append("", place);
  return place;
}

function set(text, data) {
  if (text.data !== data) text.data = data;
}
