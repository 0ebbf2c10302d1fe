// A file to the server, its transcript back.

import { Problem } from "./problems.js";

/** Transcribe a file.
 *
 *  @param onSent gets the part that was sent so far, 0..1
 *  @returns `done`, a promise of the transcript as the server tells it, which a Problem breaks;
 *      and `cancel`, after which null comes
 */
export function transcribe(file, token, onSent) {
  const request = new XMLHttpRequest(); // fetch() tells nothing of how much was sent
  request.open("POST", new URL("v1/transcribe?format=json", document.baseURI));
  request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
  if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
  request.upload.onprogress = ({ loaded, total }) => onSent(total ? loaded / total : 1);
  const done = new Promise((resolve, reject) => {
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.response));
      else reject(refused(request));
    };
    request.onabort = () => resolve(null);
    request.onerror = () => reject(Problem.ofResponse(0, ""));
  });
  request.send(file);
  return { done, cancel: () => request.abort() };
}

function refused({ status, response, statusText }) {
  let message = statusText;
  try {
    message = JSON.parse(response).error.message;
  } catch {
    // something between here and the server has answered
  }
  return Problem.ofResponse(status, message);
}
