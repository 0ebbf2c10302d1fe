// Files that are opened or dropped, one after the other, each to a take on the page.

import { Problem } from "./problems.js";
import { transcribe } from "./upload.js";

export class Files {
  #turn = Promise.resolve();

  /** @param makeTake gets a file */
  constructor(makeTake, token, say) {
    Object.assign(this, { makeTake, token, say });
  }

  /** Those that the user chose. */
  add(files) {
    for (const file of files) this.#queue(file, this.makeTake(file));
  }

  #queue(file, take) {
    take.report(null);
    take.progress("Waiting", null, () => take.element.remove());
    this.#turn = this.#turn.then(() => take.element.isConnected && this.#work(file, take));
  }

  /** Done when it is transcribed, cancelled, or has failed. */
  async #work(file, take) {
    const show = (part) => take.progress(part < 1 ? "Sending" : "Listening", part < 1 ? part : null, cancel);
    const { done, cancel: abort } = transcribe(file, this.token.value, show);
    const cancel = () => {
      abort();
      take.element.remove();
    };
    show(0);
    try {
      this.#show(take, await done);
    } catch (problem) {
      this.#fail(file, take, problem);
    }
    take.progress("");
  }

  #show(take, transcript) {
    if (!transcript) return; // cancelled
    transcript.segments.forEach((segment) => take.transcript.add({ ...segment, type: "final" }));
    take.show();
    const isEmpty = take.transcript.isEmpty;
    if (isEmpty) take.report(new Problem("Nothing was said in this recording, as far as can be heard."));
    this.say(isEmpty ? "" : `${take.title} is transcribed`);
  }

  #fail(file, take, problem) {
    const again = () => this.#queue(file, take);
    take.report(problem, again);
    if (problem.needsToken) this.token.ask(again);
  }
}
