// What can go wrong, and what to do about it.

export const RECONNECT = "Reconnect";
export const RETRY = "Try again";

/** Said to the user; `remedy` names the button that may help, "" where none does. */
export class Problem extends Error {
  constructor(message, { remedy = "", needsToken = false } = {}) {
    super(message);
    Object.assign(this, { remedy, needsToken });
  }

  static insecure() {
    const local = `http://localhost${location.port ? `:${location.port}` : ""}`;
    return new Problem(
      "Browsers give the microphone only to pages with a secure address. Open this page with " +
        `https://, or on the server's own computer as ${local}. Files can be opened all the same.`,
    );
  }

  static old() {
    return new Problem("This browser cannot record for a page. Take a newer one, or open files.");
  }

  /** Of opening the microphone. */
  static ofMicrophone(error) {
    const said = {
      NotAllowedError:
        "The microphone is not allowed. Allow it for this page, by the sign beside the address " +
        "or in the browser's settings, and press Start again.",
      NotFoundError: "There is no microphone. Plug one in, and press Start again.",
      NotReadableError:
        "The microphone cannot be opened; another program may use it. Close that, and press Start again.",
    }[error.name];
    return new Problem(said ?? `The microphone cannot be opened (${error.message}). Press Start again.`);
  }

  /** Of a stream whose connection has ended with this code. */
  static ofClose(code, message) {
    if (code === 4401) return new Problem("The server needs its token.", { needsToken: true });
    const remedy = code === 4403 || code === 4406 ? "" : RECONNECT;
    return new Problem(CLOSED[code] ?? unknown(code, message), { remedy });
  }

  /** Of an answer with this HTTP status; 0: there was none. */
  static ofResponse(status, message) {
    if (status === 401) return new Problem("The server needs its token.", { needsToken: true });
    const remedy = [400, 403, 413, 415].includes(status) ? "" : RETRY;
    return new Problem(ANSWERED[status] ?? `The server says: ${message} (${status})`, { remedy });
  }
}

const KEPT = "The text so far is kept, and so is what you say now:";

const CLOSED = {
  1001: `The server is being stopped. ${KEPT} reconnect when it is back.`,
  4403:
    "The server does not take this page's address. Open the page at the server's own address, or " +
    `start the server with --allow-origin ${location.origin}`,
  4406: "The server was changed after this page was loaded. Copy the text, and reload the page.",
  4408: `The server heard nothing for a while and hung up. ${KEPT} reconnect to go on.`,
  4409: `The connection was too slow. ${KEPT} reconnect to go on.`,
  4429: `The server has no room for more. ${KEPT} reconnect in a moment.`,
  4503: `The server is being stopped. ${KEPT} reconnect when it is back.`,
};

const ANSWERED = {
  0: "The connection was lost, or the file is larger than the server takes. Look whether the server runs, and try again.",
  403: CLOSED[4403],
  408: "The connection was too slow: the server gave up waiting. Try again.",
  429: "The server has no room for more. Try again in a moment.",
  503: "The server is being stopped. Try again when it is back.",
};

function unknown(code, message) {
  const why = message ? `The server has ended the stream: ${message}.` : "The connection is lost.";
  return `${why} ${KEPT} reconnect to go on.`;
}
