// The server's token: asked for when the server asks, kept for this tab.

const KEY = "ds2edge-token";

export class Token {
  #form = document.getElementById("token");
  #field = document.getElementById("secret");
  #label = this.#form.querySelector("label");
  #waiting = []; // what to do when it is there

  constructor() {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, this.#field.value);
      this.#form.hidden = true;
      this.#field.value = "";
      this.#waiting.splice(0).forEach((go) => go());
    });
  }

  /** "" while there is none. */
  get value() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  /** Show the field, and `go` on when it was filled in. The one that was refused is forgotten. */
  ask(go) {
    if (this.value) this.#label.textContent = "That is not the server's token; try again";
    else if (!this.#waiting.length) this.#label.textContent = "The server asks for its token";
    sessionStorage.removeItem(KEY);
    this.#waiting.push(go);
    this.#form.hidden = false;
    this.#field.focus();
  }
}
