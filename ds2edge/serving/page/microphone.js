// The browser's microphone as a source of blocks.

import { Problem } from "./problems.js";

// What browsers do to make calls pleasant takes away from speech what the model listens for.
const CONSTRAINTS = {
  audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
};

/** Open the microphone.
 *
 *  @throws Problem
 */
export async function openMicrophone() {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw Problem.insecure();
  if (!window.AudioWorkletNode) throw Problem.old();
  let stream, context;
  try {
    stream = await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
    context = new AudioContext();
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
    const node = new AudioWorkletNode(context, "recorder");
    context.createMediaStreamSource(stream).connect(node);
    node.connect(context.destination); // silence; not every browser runs it otherwise
    await context.resume();
    return new Microphone(stream, context, node.port);
  } catch (error) {
    stream?.getTracks().forEach((track) => track.stop());
    context?.close();
    throw Problem.ofMicrophone(error);
  }
}

class Microphone {
  #stream;
  #context;
  #port;
  #drained;
  #sleep = keepAwake();

  constructor(stream, context, port) {
    [this.#stream, this.#context, this.#port] = [stream, context, port];
  }

  /** Hz of the samples. */
  get rate() {
    return this.#context.sampleRate;
  }

  /** Seconds that a sample needs to reach the browser, where the browser tells. */
  get delay() {
    return this.#track.getSettings().latency ?? 0;
  }

  /** Begin to hand on blocks, those that came before among them.
   *
   *  @param hear called with each block: 16-bit samples, and their peak, 0..1
   *  @param gone called when the device has ended by itself
   */
  listen(hear, gone) {
    this.#track.addEventListener("ended", gone);
    this.#drained = new Promise((done) => {
      this.#port.onmessage = ({ data }) => (data ? hear(data.samples, data.peak) : done());
    });
  }

  /** The last block is heard before this is done. */
  async close() {
    this.#port.postMessage("stop");
    // A context that the system has suspended answers no more.
    await Promise.race([this.#drained, new Promise((done) => setTimeout(done, 500))]);
    this.#stream.getTracks().forEach((track) => track.stop());
    this.#sleep();
    await this.#context.close();
  }

  get #track() {
    return this.#stream.getAudioTracks()[0];
  }
}

/** Keep the screen of a phone on: when it goes dark, recording ends. Returns how to let it sleep. */
function keepAwake() {
  let lock;
  const ask = async () => {
    // Refused where there is little power, or where the page is not in sight.
    lock = await navigator.wakeLock?.request("screen").catch(() => undefined);
  };
  const again = () => document.visibilityState === "visible" && ask();
  ask();
  document.addEventListener("visibilitychange", again);
  return () => {
    document.removeEventListener("visibilitychange", again);
    lock?.release();
  };
}
