// How long after their sound words appear.

const REMEMBERED = 250; // blocks: ten seconds
const LATEST = 15; // words

/** When the samples of a recording were captured, in milliseconds of `performance.now()`. */
export class CaptureClock {
  #starts = []; // when the recording began, as each of the latest blocks would have it

  /** @param delay seconds that the device says it needs before a sample reaches the browser */
  constructor(delay = 0) {
    this.delay = 1000 * delay;
  }

  /** The block that ends `seconds` after the start of the recording arrived. */
  note(seconds, now) {
    this.#starts.push(now - 1000 * seconds);
    if (this.#starts.length > REMEMBERED) this.#starts.shift();
  }

  /** Milliseconds since the sample at `seconds` was captured. The block that was handed on with
   *  the least delay is nearest to the truth. */
  age(seconds, now) {
    return now - 1000 * seconds - Math.min(...this.#starts) + this.delay;
  }
}

/** The latest ages at which words appeared, and their median. */
export class Latency {
  #ages = [];
  #last = "";

  constructor(clock) {
    this.clock = clock;
  }

  /** Words are shown; only what is new among them counts, the last one. */
  note(words, now) {
    const text = words.map((word) => word.text).join(" ");
    if (words.length && text !== this.#last) {
      this.#ages.push(this.clock.age(words.at(-1).end, now));
      if (this.#ages.length > LATEST) this.#ages.shift();
    }
    this.#last = text;
  }

  /** Milliseconds; NaN before the first word. */
  get median() {
    const sorted = [...this.#ages].sort((one, other) => one - other);
    return sorted.length ? sorted[sorted.length >> 1] : NaN;
  }
}
