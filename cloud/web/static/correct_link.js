// Asks the server for the page; what cannot be delivered is kept and sent again.
"use strict";

const PAUSES = [1, 2, 4, 8, 15]; // seconds

const sleep = (seconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    const now = () => (clearTimeout(timer), resolve());
    addEventListener("online", now, { once: true });
    signal?.addEventListener("abort", now, { once: true });
  });

// A failure in words for people.
export class Failure extends Error {
  constructor(words, { status = 0, kind = "", retry = false } = {}) {
    super(words);
    this.status = status;
    this.kind = kind;
    this.retry = retry;
  }
}

export class Link {
  constructor(root, csrf) {
    this.root = root;
    this.csrf = csrf;
  }

  // JSON, or bytes, there; JSON back.
  async ask(path, body, { signal, keepalive = false } = {}) {
    const bytes = body instanceof Uint8Array;
    let answer;
    try {
      answer = await fetch(`${this.root}${path}`, {
        method: "POST",
        credentials: "same-origin",
        headers: {
          "Content-Type": bytes ? "application/octet-stream" : "application/json",
          "X-CSRF-Token": this.csrf,
        },
        body: bytes ? body : JSON.stringify(body),
        signal,
        keepalive,
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("no connection to the server", { retry: true });
    }
    if (answer.status === 204) return null;
    let told = {};
    try {
      told = await answer.json();
    } catch {
      // a page of a proxy, or nothing: the status says enough
    }
    if (answer.ok) return told;
    const detail = typeof told.detail === "string" ? told.detail : "";
    const words = told.error || detail || `the server answered ${answer.status}`;
    const expired = answer.status === 401 || answer.status === 403;
    const further = expired ? " (enter again in another window; your work stays here)" : "";
    throw new Failure(words + further + (told.id ? ` [${told.id}]` : ""), {
      status: answer.status,
      kind: told.kind || "",
      retry: told.retry ?? answer.status >= 500,
    });
  }

  // The same until it is delivered; `waiting` is told why not, and in how many seconds again.
  async deliver(path, body, waiting, signal) {
    for (let tries = 0; ; tries += 1) {
      try {
        const told = await this.ask(path, body, { signal });
        waiting(null, 0);
        return told;
      } catch (error) {
        if (!(error instanceof Failure) || !error.retry || signal?.aborted) throw error;
        const pause = PAUSES[Math.min(tries, PAUSES.length - 1)];
        waiting(error, pause);
        await sleep(pause, signal);
        if (signal?.aborted) throw error;
      }
    }
  }
}

// A UUID; crypto.randomUUID is there over TLS only.
export function uuid() {
  const hex = hex32();
  const variant = ((parseInt(hex[16], 16) & 3) | 8).toString(16);
  return [
    hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`,
    variant + hex.slice(17, 20), hex.slice(20),
  ].join("-");
}

export function hex32() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
}
