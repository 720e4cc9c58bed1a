// A mask of class ids (Uint8Array, row by row): its wire format, its regions, edits and undo.
// Knows nothing of the page. 255 means "nobody knows".
"use strict";

export const UNKNOWN = 255;

// -- runs: 4 bytes count, a class each, then lengths as LEB128; see annotation/class_runs.py ------

export function encodeRuns(data) {
  const classes = [];
  const lengths = [];
  for (let at = 0; at < data.length; ) {
    const value = data[at];
    const from = at;
    while (at < data.length && data[at] === value) at += 1;
    classes.push(value);
    let left = at - from;
    while (left >= 128) {
      lengths.push((left & 127) | 128);
      left >>>= 7;
    }
    lengths.push(left);
  }
  const made = new Uint8Array(4 + classes.length + lengths.length);
  new DataView(made.buffer).setUint32(0, classes.length, true);
  made.set(classes, 4);
  made.set(lengths, 4 + classes.length);
  return made;
}

export function decodeRuns(bytes, pixels) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = view.getUint32(0, true);
  const data = new Uint8Array(pixels);
  let at = 0;
  let place = 4 + count;
  for (let run = 0; run < count; run += 1) {
    let length = 0;
    let shift = 0;
    let byte;
    do {
      byte = bytes[place++];
      length += (byte & 127) * 2 ** shift;
      shift += 7;
    } while (byte & 128);
    data.fill(bytes[4 + run], at, at + length);
    at += length;
  }
  if (at !== pixels) throw new Error(`a mask of ${at} pixels, expected ${pixels}`);
  return data;
}

export function fromBase64(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// -- spans: pairs (first pixel, length) in one Int32Array ------------------------------------------

export function spansOf(flags, width) {
  // Of everything that is not zero; a span never goes on into the next row.
  const spans = [];
  for (let row = 0; row < flags.length; row += width) {
    const end = row + width;
    for (let at = row; at < end; ) {
      if (!flags[at]) {
        at += 1;
        continue;
      }
      const from = at;
      while (at < end && flags[at]) at += 1;
      spans.push(from, at - from);
    }
  }
  return Int32Array.from(spans);
}

export function boxOf(spans, width) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -1, -1];
  for (let i = 0; i < spans.length; i += 2) {
    const y = Math.floor(spans[i] / width);
    const x = spans[i] - y * width;
    x0 = Math.min(x0, x);
    x1 = Math.max(x1, x + spans[i + 1] - 1);
    y0 = Math.min(y0, y);
    y1 = Math.max(y1, y);
  }
  return [x0, y0, x1, y1];
}

// -- connected pieces of one class (4 neighbours), by runs and union-find --------------------------

export function piecesOf(data, width) {
  const height = data.length / width;
  const starts = [];
  const lengths = [];
  const parents = [];
  const find = (run) => {
    let root = run;
    while (parents[root] !== root) root = parents[root];
    while (parents[run] !== root) [parents[run], run] = [root, parents[run]];
    return root;
  };
  let above = 0; // first run of the row above
  let aboveEnd = 0;
  for (let y = 0; y < height; y += 1) {
    const first = starts.length;
    const end = (y + 1) * width;
    for (let at = y * width; at < end; ) {
      const from = at;
      const value = data[at];
      while (at < end && data[at] === value) at += 1;
      const run = starts.length;
      starts.push(from);
      lengths.push(at - from);
      parents.push(run);
      while (above < aboveEnd && starts[above] + lengths[above] + width <= from) above += 1;
      for (let other = above; other < aboveEnd && starts[other] + width < at; other += 1) {
        if (data[starts[other]] === value) {
          const [a, b] = [find(other), find(run)];
          if (a < b) parents[b] = a;
          else if (b < a) parents[a] = b;
        }
      }
    }
    above = first;
    aboveEnd = starts.length;
  }
  const pieces = new Map();
  for (let run = 0; run < starts.length; run += 1) {
    const root = find(run);
    let piece = pieces.get(root);
    if (piece === undefined) {
      piece = { value: data[starts[run]], area: 0, list: [] };
      pieces.set(root, piece);
    }
    piece.area += lengths[run];
    piece.list.push(starts[run], lengths[run]);
  }
  return [...pieces.values()].map(({ value, area, list }) => {
    const spans = Int32Array.from(list);
    return { value, area, spans, box: boxOf(spans, width) };
  });
}

// The piece under one pixel.
export function pieceAt(data, width, pixel) {
  const value = data[pixel];
  const seen = new Uint8Array(data.length);
  const stack = [pixel];
  const list = [];
  let area = 0;
  while (stack.length) {
    const at = stack.pop();
    if (seen[at]) continue;
    const row = at - (at % width);
    let from = at;
    let to = at + 1;
    while (from > row && data[from - 1] === value) from -= 1;
    while (to < row + width && data[to] === value) to += 1;
    seen.fill(1, from, to);
    list.push(from, to - from);
    area += to - from;
    for (const step of [-width, width]) {
      if (from + step < 0 || from + step >= data.length) continue;
      for (let near = from + step; near < to + step; near += 1) {
        const begins = near === from + step || data[near - 1] !== value;
        if (begins && data[near] === value && !seen[near]) stack.push(near);
      }
    }
  }
  const spans = Int32Array.from(list);
  return { value, area, spans, box: boxOf(spans, width) };
}

// The class that a piece touches along most pixels; null where it touches none but "nobody knows".
export function neighbourOf(data, width, piece) {
  const touched = new Int32Array(256);
  const note = (pixel) => {
    if (pixel >= 0 && pixel < data.length && data[pixel] !== piece.value) touched[data[pixel]] += 1;
  };
  for (let i = 0; i < piece.spans.length; i += 2) {
    const from = piece.spans[i];
    const to = from + piece.spans[i + 1];
    if (from % width) note(from - 1);
    if (to % width) note(to);
    for (let at = from; at < to; at += 1) {
      note(at - width);
      note(at + width);
    }
  }
  touched[UNKNOWN] = 0;
  let best = 0;
  for (let value = 1; value < 256; value += 1) if (touched[value] > touched[best]) best = value;
  return touched[best] ? best : null;
}

// Most doubtful first: those that the draft says a score of, then the others by size.
export function inOrderOfDoubt(pieces, regions, least) {
  const scores = new Map();
  for (const one of regions) scores.set([one.id, one.area, ...one.box].join(), one.score);
  const named = pieces.map((piece) => {
    const score = scores.get([piece.value, piece.area, ...piece.box].join());
    return { ...piece, score: score === undefined ? null : score };
  });
  const worth = named.filter((piece) => piece.score !== null || piece.area >= least);
  return worth.sort((a, b) => {
    if (a.score === null || b.score === null) {
      if (a.score === b.score) return b.area - a.area;
      return a.score === null ? 1 : -1;
    }
    return a.score - b.score || b.area - a.area;
  });
}

// -- edits ------------------------------------------------------------------------------------------

const MOST_STEPS = 500;
const MOST_BYTES = 256 * 2 ** 20;

// Edits that can be taken back. A step is a list of paints, and whatever the page wants to have
// beside it ("before", "after"): it gets that back with undo and redo.
export class History {
  constructor(data) {
    this.data = data;
    this.done = [];
    this.undone = [];
    this.bytes = 0;
  }

  // Paint spans: `value` is a class id, or the pixels one after another. Not a step yet.
  paint(spans, value) {
    let area = 0;
    for (let i = 1; i < spans.length; i += 2) area += spans[i];
    const before = new Uint8Array(area);
    let at = 0;
    for (let i = 0; i < spans.length; i += 2) {
      before.set(this.data.subarray(spans[i], spans[i] + spans[i + 1]), at);
      at += spans[i + 1];
    }
    put(this.data, spans, value);
    return { spans, before, after: value };
  }

  push(step) {
    this.undone = [];
    this.done.push(step);
    this.bytes += weight(step);
    while (this.done.length > MOST_STEPS || (this.bytes > MOST_BYTES && this.done.length > 1)) {
      this.bytes -= weight(this.done.shift());
    }
  }

  undo() {
    const step = this.done.pop();
    if (!step) return null;
    for (const paint of [...step.paints].reverse()) put(this.data, paint.spans, paint.before);
    this.bytes -= weight(step);
    this.undone.push(step);
    return step;
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return null;
    for (const paint of step.paints) put(this.data, paint.spans, paint.after);
    this.bytes += weight(step);
    this.done.push(step);
    return step;
  }
}

function put(data, spans, value) {
  let at = 0;
  for (let i = 0; i < spans.length; i += 2) {
    const [from, length] = [spans[i], spans[i + 1]];
    if (typeof value === "number") data.fill(value, from, from + length);
    else data.set(value.subarray(at, at + length), from);
    at += length;
  }
}

function weight(step) {
  return step.paints.reduce((sum, one) => sum + one.before.length + 4 * one.spans.length, 0);
}
