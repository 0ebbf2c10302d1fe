// A live stream to the server. What is not yet part of a final is kept, and sent again after a
// connection was lost, so that nothing that was said is lost with it.

import { Problem } from "./problems.js";

// Codes with which a connection ends.
const FINISHED = 1000;
const LOST = 1006;
const TOO_LONG = 4414; // as long as the server allows
const STALLED = 20_000; // ms without any progress; then the connection counts as lost

export class Stream {
  #socket = null;
  #ready = false; // the server waits for samples
  #blocks = []; // from the last final on: {start, samples}, `start` counted in samples
  #sent = 0; // of these blocks, on this connection
  #length = 0; // samples of the recording so far
  #done = 0; // samples that are part of finals
  #origin = 0; // sample with which this connection began
  #finishing = false;
  #said = ""; // the server's own words for an error
  #watch;
  #bytes = 0; // given to the socket
  #progress = { at: 0, through: 0 }; // when it was last seen, and bytes that had left by then

  /** @param rate Hz
   *  @param token a function that gives it, or ""
   *  @param listener `onEvent` gets partials and finals, their times from the start of the
   *      recording; `onReady` what the server is; `onLost` a Problem; `onEnd` comes after the last
   *      final of a finished recording */
  constructor(rate, token, listener) {
    Object.assign(this, { rate, token, listener });
  }

  /** Samples that are kept until they are part of a final, in seconds. */
  get kept() {
    return (this.#length - this.#done) / this.rate;
  }

  /** Seconds of the recording so far. */
  get seconds() {
    return this.#length / this.rate;
  }

  /** Begin, or go on after the connection was lost. */
  connect() {
    this.#drop();
    this.#blocks = this.#blocks.map((block) => from(block, this.#done));
    [this.#origin, this.#sent, this.#said] = [this.#done, 0, ""];
    const socket = new WebSocket(address());
    socket.onopen = () => this.#send({ type: "start", version: 1, sample_rate: this.rate, ...this.#secret() });
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, this.#said || reason);
    this.#socket = socket;
    this.#note();
    this.#watch = setInterval(() => this.#look(), 1000);
  }

  /** @param samples Int16Array */
  push(samples) {
    this.#blocks.push({ start: this.#length, samples });
    this.#length += samples.length;
    this.#pump();
  }

  /** The recording is complete. */
  finish() {
    this.#finishing = true;
    if (this.#ready) this.#send({ type: "finish" });
    if (this.#socket) this.#note();
  }

  #secret() {
    const token = this.token();
    return token ? { token } : {};
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #pump() {
    while (this.#ready && this.#sent < this.#blocks.length) {
      const { samples } = this.#blocks[this.#sent];
      this.#socket.send(samples);
      this.#bytes += samples.byteLength;
      this.#sent += 1;
    }
  }

  #take(message) {
    this.#note();
    if (message.type === "ready") this.#begin(message);
    else if (message.type === "error") this.#said = message.message;
    else if (message.type === "partial" || message.type === "final") this.#hear(message);
  }

  #begin(ready) {
    this.#ready = true;
    this.#pump();
    if (this.#finishing) this.#send({ type: "finish" });
    this.listener.onReady(ready);
  }

  #hear(event) {
    const offset = this.#origin / this.rate;
    const shift = (times) => ({ ...times, start: times.start + offset, end: times.end + offset });
    const shifted = { ...event, words: event.words.map(shift) };
    if (event.type === "final") {
      this.#forget(this.#origin + Math.round(event.end * this.rate));
      this.listener.onEvent(shift(shifted));
    } else this.listener.onEvent(shifted);
  }

  /** What is before that sample has become text. */
  #forget(done) {
    this.#done = Math.min(done, this.#length);
    const past = this.#blocks.findIndex(({ start, samples }) => start + samples.length > this.#done);
    const gone = past < 0 ? this.#blocks.length : past;
    this.#blocks.splice(0, gone);
    this.#sent = Math.max(0, this.#sent - gone);
  }

  #closed(code, said) {
    this.#drop();
    if (code === FINISHED) this.listener.onEnd();
    else if (code === TOO_LONG) this.connect(); // for the server it is another recording
    else this.listener.onLost(Problem.ofClose(code, said));
  }

  #drop() {
    clearInterval(this.#watch);
    this.#ready = false;
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  #note() {
    this.#progress = { at: performance.now(), through: this.#through };
  }

  get #through() {
    return this.#bytes - this.#socket.bufferedAmount;
  }

  /** A network that went away without a word shows only by what does not get through. */
  #look() {
    const isOwed = this.#socket.bufferedAmount || this.#finishing || !this.#ready;
    if (!isOwed || this.#through > this.#progress.through) this.#note();
    else if (performance.now() - this.#progress.at > STALLED) this.#closed(LOST, "");
  }
}

/** A block without the samples before that one. */
function from({ start, samples }, sample) {
  const skip = Math.max(0, sample - start);
  return { start: start + skip, samples: samples.subarray(skip) };
}

function address() {
  const url = new URL("v1/stream", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}
