// From the microphone to a take on the page.

import { CaptureClock, Latency } from "./clock.js";
import { openMicrophone } from "./microphone.js";
import { Problem, RECONNECT } from "./problems.js";
import { Stream } from "./stream.js";

const MOST_KEPT = 300; // seconds that are kept while the connection is lost
const SILENCE = 0.001; // peak, 0..1; a microphone that is on is louder
const SILENT = 4; // seconds of that are strange

export class Dictation {
  level = 0; // peak of the last block, 0..1
  #microphone;
  #stream;
  #clock;
  #latency;
  #quiet = 0; // seconds since there was sound
  #onStop;

  /** Open the microphone and begin.
   *
   *  @param makeTake called once it is open
   *  @param onStop called when recording has ended, also when it did so by itself
   *  @throws Problem
   */
  static async begin(makeTake, token, onStop) {
    const dictation = new Dictation();
    dictation.#onStop = onStop;
    dictation.#microphone = await openMicrophone();
    dictation.#start(makeTake(), token);
    return dictation;
  }

  /** Seconds recorded. */
  get seconds() {
    return this.#stream.seconds;
  }

  /** Milliseconds from sound to words; NaN before the first. */
  get latency() {
    return this.#latency.median;
  }

  /** Nothing was heard for some seconds, as if there were no microphone. */
  get isSilent() {
    return this.#quiet > SILENT;
  }

  /** Record no more; the last words come later. */
  async stop() {
    const microphone = this.#microphone;
    if (!microphone) return;
    this.#microphone = null;
    this.#onStop();
    await microphone.close();
    this.#stream.finish();
  }

  #start(take, token) {
    this.take = take;
    this.token = token;
    this.#clock = new CaptureClock(this.#microphone.delay);
    this.#latency = new Latency(this.#clock);
    this.#stream = new Stream(this.#microphone.rate, () => token.value, {
      onReady: () => take.report(null),
      onEvent: (event) => this.#show(event),
      onLost: (problem) => this.#lost(problem),
      onEnd: () => this.#settle(),
    });
    this.#stream.connect();
    this.#microphone.listen(
      (samples, peak) => this.#hear(samples, peak),
      () => this.#unplugged(),
    );
  }

  #hear(samples, peak) {
    this.#stream.push(samples);
    this.#clock.note(this.#stream.seconds, performance.now());
    this.level = peak;
    this.#quiet = peak > SILENCE ? 0 : this.#quiet + samples.length / this.#stream.rate;
    if (this.#microphone && this.#stream.kept > MOST_KEPT) this.#full();
  }

  #show(event) {
    this.take.transcript.add(event);
    this.take.show();
    if (event.type === "partial") this.#latency.note(event.words, performance.now());
  }

  #lost(problem) {
    this.take.transcript.interrupt();
    this.take.show();
    this.take.report(problem, () => this.#reconnect());
    if (problem.needsToken) this.token.ask(() => this.#reconnect());
  }

  #reconnect() {
    this.take.report(null);
    this.take.transcript.interrupt();
    this.#stream.connect();
  }

  #settle() {
    this.take.report(null);
    this.take.transcript.settle();
    this.take.show();
  }

  async #unplugged() {
    await this.stop();
    this.take.report(new Problem("The microphone is gone. Plug it in, and press Start to begin anew."));
  }

  async #full() {
    await this.stop();
    const message =
      `Recording has stopped, because ${MOST_KEPT / 60} minutes of it wait for the server. ` +
      "They are kept: reconnect to see their text.";
    this.take.report(new Problem(message, { remedy: RECONNECT }), () => this.#reconnect());
  }
}
