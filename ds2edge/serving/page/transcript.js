// What was said in one recording. A word is as the server tells it: text, start, end, confidence.

import { join } from "./text.js";

export class Transcript {
  segments = []; // that ended, with words; nothing about them changes any more: {start, end, words}
  open = { words: [], stable: 0 }; // the segment that is being spoken
  #interrupted = false;

  /** Take in a partial or final, its times from the start of the recording. */
  add(event) {
    if (event.type === "final") this.#close(event);
    else if (!this.#interrupted || end(event.words) >= end(this.open.words)) {
      this.#interrupted = false;
      this.open = { words: event.words, stable: event.stable_words };
    }
  }

  /** The open segment will be heard again from its start: keep its words until that has caught up. */
  interrupt() {
    this.#interrupted = true;
    this.open.stable = 0;
  }

  /** Nothing more will be heard: words that were never confirmed are kept as they are. */
  settle() {
    const { words } = this.open;
    if (words.length) this.segments.push({ start: words[0].start, end: end(words), words });
    this.open = { words: [], stable: 0 };
  }

  get isEmpty() {
    return !this.segments.length && !this.open.words.length;
  }

  /** A line for each segment. */
  get text() {
    const all = [...this.segments, this.open].filter(({ words }) => words.length);
    return all.map(({ words }) => join(words.map(({ text }) => text))).join("\n");
  }

  #close({ words, start, end }) {
    if (words.length) this.segments.push({ start, end, words });
    const left = this.#interrupted ? this.open.words.filter((word) => word.start >= end) : [];
    this.open = { words: left, stable: 0 };
  }
}

function end(words) {
  return words.length ? words.at(-1).end : 0;
}
