// An AudioWorklet: hands on what it hears as blocks of 16-bit samples, at the context's own rate.

const BLOCK = Math.round(0.04 * sampleRate); // samples; the browser gives 128 at a time

class Recorder extends AudioWorkletProcessor {
  #samples = new Int16Array(BLOCK);
  #count = 0;
  #peak = 0; // 0..1, of the block
  #stopped = false;

  constructor() {
    super();
    this.port.onmessage = () => this.#stop();
  }

  process([channels]) {
    for (let i = 0; i < (channels[0]?.length ?? 0); i += 1) this.#add(mean(channels, i));
    return !this.#stopped;
  }

  #add(value) {
    this.#peak = Math.max(this.#peak, Math.abs(value));
    this.#samples[this.#count] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
    this.#count += 1;
    if (this.#count === BLOCK) this.#send();
  }

  #send() {
    const samples = this.#samples.slice(0, this.#count);
    this.port.postMessage({ samples, peak: this.#peak }, [samples.buffer]);
    this.#count = this.#peak = 0;
  }

  /** The last block is shorter, and then comes null. */
  #stop() {
    if (this.#count) this.#send();
    this.port.postMessage(null);
    this.#stopped = true;
  }
}

function mean(channels, i) {
  let sum = 0;
  for (const channel of channels) sum += channel[i];
  return sum / channels.length;
}

registerProcessor("recorder", Recorder);
