// Correcting drafts with the keyboard: what is in hand, what keys do, what becomes of a task.
"use strict";

import {
  History, UNKNOWN, decodeRuns, encodeRuns, fromBase64, inOrderOfDoubt, neighbourOf, pieceAt,
  piecesOf, spansOf,
} from "./correct_mask.js";
import { Failure, Link, hex32, uuid } from "./correct_link.js";
import { View } from "./correct_view.js";

const CLASS_KEYS = "1234567890cdefijklmoqvwxyz"; // the other letters are commands
const LEAST_AREA = 16; // pixels; smaller regions without a score are not worth a Tab
const KEEP_SECONDS = 30;
const LOOK_SECONDS = 15;
const LOADING_SECONDS = 2;
const DRAG_PIXELS = 6;

const $ = (id) => document.getElementById(id);
const root = $("correct");
const link = new Link(root.dataset.root, root.dataset.csrf);
const view = new View();
const hasModel = root.dataset.model === "yes";

// Kept for the next picture, and for a page that is loaded again.
const kept = {
  get: (name) => {
    try {
      return sessionStorage.getItem(`correct.${name}`) || "";
    } catch {
      return "";
    }
  },
  set: (name, value) => {
    try {
      sessionStorage.setItem(`correct.${name}`, value);
    } catch {
      // a browser that keeps nothing: it lasts as long as the page
    }
  },
};

if (!/^[0-9a-f]{32}$/.test(kept.get("page"))) kept.set("page", hex32());
const page = /^[0-9a-f]{32}$/.test(kept.get("page")) ? kept.get("page") : hex32();

let task = null; // as /correct/next told of it
let data = null; // Uint8Array, the mask as it is now
let draft = null; // as it was
let history = null;
let submission = "";
let pieces = null; // of the draft, most doubtful first; found when first asked for
let selected = null; // the region in hand: {spans, index, score}
let hand = null; // the object in hand: {points, box, words, paint}
let wished = null; // the same with what has not been answered yet
let corner = null; // first corner of a box
let asking = null; // AbortController of the prompt under way
let delivering = null; // AbortController of what is being handed in
let isNegative = false;
let isHidden = false;
let classId = 0;
let className = kept.get("class");
let words = kept.get("words");
let cross = { x: 0, y: 0 };
let heldFor = 0;
let spent = 0; // seconds that the task was looked at
let since = null;

// -- saying what happened -----------------------------------------------------------------------

const say = (text) => ($("said").textContent = text);
const complain = (text) => {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
};
const nameOf = (value) =>
  value === UNKNOWN ? "nobody knows" : (task.classes.find((one) => one.id === value)?.name ?? "?");
const count = (spans) => {
  let area = 0;
  for (let i = 1; i < spans.length; i += 2) area += spans[i];
  return area.toLocaleString("en");
};

function showProgress(told) {
  const bar = $("bar");
  bar.hidden = !told.total;
  if (told.round === null) {
    $("progress").textContent = "No round waits for people.";
    return;
  }
  bar.max = Math.max(1, told.total);
  bar.value = told.done;
  $("progress").textContent = `Round ${told.round}: ${told.done} of ${told.total} done`;
}

function showState() {
  const act = (name) => document.querySelector(`[data-do="${name}"]`);
  act("undo").disabled = !history?.done.length;
  act("redo").disabled = !history?.undone.length;
  act("hide").setAttribute("aria-pressed", String(isHidden));
  if (hasModel) {
    act("negative").setAttribute("aria-pressed", String(isNegative));
    $("sign").textContent = isNegative ? "negative" : "positive";
  }
  for (const button of $("classes").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.id) === classId));
  }
  const shown = wished || hand;
  view.points(shown?.points ?? [], corner ? [corner.x, corner.y, cross.x, cross.y] : shown?.box);
  view.select(selected?.spans ?? null);
}

// -- classes --------------------------------------------------------------------------------------

function listClasses() {
  $("classes").replaceChildren(
    ...task.classes.map((one, place) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.id = one.id;
      button.title = one.name;
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `rgb(${one.colour.join()})`;
      const name = document.createElement("span");
      name.className = "name";
      name.textContent = one.name;
      button.append(swatch, name);
      if (place < CLASS_KEYS.length) {
        const key = document.createElement("kbd");
        key.textContent = CLASS_KEYS[place];
        button.append(key);
      }
      button.addEventListener("click", () => chooseClass(one.id));
      item.append(button);
      return item;
    }),
  );
  $("class-names").replaceChildren(
    ...task.classes.map((one) => Object.assign(document.createElement("option"), { value: one.name })),
  );
}

// The class of what is in hand, and of what comes next.
function chooseClass(value) {
  classId = value;
  className = nameOf(value);
  kept.set("class", className);
  if (selected) renameSelected(value);
  else if (hand?.paint) renameObject(value);
  else say(`${className} is chosen.`);
  showState();
  view.stage.focus({ preventScroll: true });
}

function renameObject(value) {
  const paint = history.paint(hand.paint.spans, value);
  const after = { ...hand, paint: { spans: hand.paint.spans, before: hand.paint.before } };
  history.push({ paints: [paint], before: hand, after, words: `object renamed to ${nameOf(value)}` });
  hand = wished = after;
  view.drawSpans(data, paint.spans);
  say(`The object is ${nameOf(value)} now.`);
}

function renameSelected(value) {
  const was = nameOf(data[selected.spans[0]]);
  edit(selected.spans, value, `region: ${was} to ${nameOf(value)}`);
  say(`The region is ${nameOf(value)} now; it was ${was}.`);
}

function edit(spans, value, told) {
  const paint = history.paint(spans, value);
  history.push({ paints: [paint], before: null, after: null, words: told });
  view.drawSpans(data, spans);
  showState();
}

// -- regions ----------------------------------------------------------------------------------------

function cycle(step) {
  letGo();
  pieces ??= inOrderOfDoubt(piecesOf(draft, task.width), task.regions, LEAST_AREA);
  if (!pieces.length) return say("The draft has no regions.");
  const from = selected?.index ?? (step > 0 ? -1 : 0);
  const index = (from + step + pieces.length) % pieces.length;
  take({ ...pieces[index], index });
}

function take(piece) {
  selected = piece;
  const middle = piece.spans.length >> 2 << 1; // a span in the middle: inside of the region
  const at = piece.spans[middle] + (piece.spans[middle + 1] >> 1);
  moveTo(at % task.width, Math.floor(at / task.width));
  const which = piece.index === undefined ? "Region" : `Region ${piece.index + 1} of ${pieces.length}`;
  const sure = piece.score == null ? "" : `, the draft is sure to ${piece.score.toFixed(2)}`;
  const told = `${which}: ${nameOf(data[piece.spans[0]])}, ${count(piece.spans)} pixels${sure}.`;
  say(told);
  showState();
}

function grab() {
  letGo();
  take(pieceAt(data, task.width, Math.floor(cross.y) * task.width + Math.floor(cross.x)));
}

function discard(toNeighbour) {
  if (!selected && !hand?.paint) return say("Take a region in hand first: Tab, or g.");
  const spans = selected?.spans ?? hand.paint.spans;
  if (!selected) letGo();
  if (!toNeighbour) {
    edit(spans, UNKNOWN, "region: nobody knows");
    return say("Nobody knows what the region is: it teaches nothing.");
  }
  const value = neighbourOf(data, task.width, { spans, value: data[spans[0]] });
  if (value === null) return say("The region touches no other class.");
  edit(spans, value, `region given to ${nameOf(value)}`);
  say(`The region belongs to ${nameOf(value)} now, which it touches most.`);
}

// Ends the object in hand; what was painted stays.
function letGo() {
  asking?.abort();
  asking = hand = wished = corner = null;
}

// -- prompts ----------------------------------------------------------------------------------------

function click(x, y, positive) {
  moveTo(x, y);
  if (!hasModel) return grab();
  selected = null;
  const base = wished && !wished.words ? wished : { points: [], box: null, words: "", paint: null };
  if (!positive && !base.box && !base.points.some((one) => one.positive)) {
    showState();
    return say("Point at the object first; negative clicks say what does not belong to it.");
  }
  // The middle of a pixel, where a crosshair is meant.
  const point = { x: Math.floor(cross.x) + 0.5, y: Math.floor(cross.y) + 0.5, positive };
  return ask({ ...base, points: [...base.points, point] });
}

function drawBox(x0, y0, x1, y1) {
  selected = null;
  corner = null;
  if (!hasModel) return say("No model is served here: boxes find nothing.");
  return ask({ points: [], box: [x0, y0, x1, y1], words: "", paint: null });
}

function look(text) {
  if (!text) return say("No words yet: press t.");
  words = text;
  kept.set("words", text);
  selected = null;
  return ask({ points: [], box: null, words: text, paint: null });
}

async function ask(wish) {
  asking?.abort();
  const mine = (asking = new AbortController());
  const about = task;
  wished = wish;
  complain("");
  showState();
  say("Asking the model …");
  const body = { label: nameOf(classId), points: wish.points, words: wish.words };
  if (wish.box) body.box = wish.box;
  while (asking === mine) {
    try {
      const told = await link.ask(`/correct/${task.key}/prompt`, body, { signal: mine.signal });
      if (asking === mine && task === about) answered(wish, told);
      break;
    } catch (error) {
      if (asking !== mine) return;
      if (error.kind !== "ModelNotReadyError") {
        refused(error);
        break;
      }
      say(`${error.message}; asking again …`);
      await new Promise((resolve) => setTimeout(resolve, 1000 * LOADING_SECONDS));
    }
  }
  if (asking === mine) asking = null;
  showState();
}

function refused(error) {
  wished = hand;
  complain(`The model gave no answer: ${error.message}`);
  say("The model gave no answer.");
}

function answered(wish, told) {
  const spans = spansOf(decodeRuns(fromBase64(told.mask), data.length), task.width);
  if (!spans.length) {
    wished = hand;
    return say(wish.words ? `Nothing was found for "${wish.words}".` : "The model found nothing there.");
  }
  const paints = [];
  const isRefined = hand?.paint && wish.paint === hand.paint;
  if (isRefined) paints.push(history.paint(hand.paint.spans, hand.paint.before));
  const paint = history.paint(spans, classId);
  paints.push(paint);
  const after = { ...wish, paint: { spans, before: paint.before } };
  history.push({ paints, before: hand, after, words: `${nameOf(classId)} painted` });
  hand = wished = after;
  for (const one of paints) view.drawSpans(data, one.spans);
  const found = wish.words ? `${told.objects} found, ` : "";
  return say(`${nameOf(classId)}: ${found}${count(spans)} pixels, sure to ${told.score.toFixed(2)}.`);
}

// -- undo -------------------------------------------------------------------------------------------

function step(which) {
  asking?.abort();
  asking = corner = null;
  const done = which === "undo" ? history.undo() : history.redo();
  if (!done) {
    wished = hand;
    showState();
    return say(which === "undo" ? "Nothing to undo." : "Nothing to redo.");
  }
  hand = wished = which === "undo" ? done.before : done.after;
  for (const paint of done.paints) view.drawSpans(data, paint.spans);
  showState();
  return say(`${which === "undo" ? "Undone" : "Done again"}: ${done.words}.`);
}

// -- crosshair, opacity, size -----------------------------------------------------------------------

function moveTo(x, y) {
  cross = {
    x: Math.min(task.width - 1, Math.max(0, Math.floor(x))),
    y: Math.min(task.height - 1, Math.max(0, Math.floor(y))),
  };
  view.crosshair(cross.x, cross.y);
  if (corner) view.box([corner.x, corner.y, cross.x, cross.y]);
}

function move(event) {
  heldFor = event.repeat ? heldFor + 1 : 0;
  const size = view.unit * (event.shiftKey ? 25 : Math.min(40, 1 + Math.floor(heldFor / 2)));
  const [dx, dy] = {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  }[event.key];
  moveTo(cross.x + size * dx, cross.y + size * dy);
}

function setOpacity(percent) {
  const value = Math.min(100, Math.max(0, percent));
  $("opacity").value = value;
  kept.set("opacity", String(value));
  view.opacity(value);
}

// -- tasks ------------------------------------------------------------------------------------------

const watchTime = () => (document.hidden ? rest() : (since ??= performance.now()));
function rest() {
  if (since !== null) spent += (performance.now() - since) / 1000;
  since = null;
}
function seconds() {
  rest();
  watchTime();
  return Math.min(86400, Math.round(1000 * spent) / 1000);
}

function waiting(error, pause) {
  if (!error) return complain("");
  complain(`${error.message}. Your work is kept here; trying again in ${pause} s. Esc goes back to it.`);
  return say("Not delivered yet; trying again.");
}

async function next(later = null) {
  $("work").setAttribute("aria-busy", "true");
  try {
    const told = await link.deliver("/correct/next", later ? { page, later } : { page }, waiting);
    showProgress(told.progress);
    if (told.task) await open(told.task, told.model);
    else idle(told.progress);
  } catch (error) {
    complain(error.message);
    setTimeout(() => task === null && next(), 1000 * LOOK_SECONDS);
  }
  $("work").removeAttribute("aria-busy");
}

function idle(progress) {
  task = data = history = null;
  $("work").hidden = true;
  const rest = progress.total - progress.done;
  say(
    rest > 0
      ? `Nothing for you now: ${rest} of ${progress.total} are with others.`
      : "Nothing waits for correction. When a round has drafts, they appear here.",
  );
  setTimeout(() => task === null && next(), 1000 * LOOK_SECONDS);
}

async function open(told, model) {
  letGo();
  task = told;
  data = decodeRuns(fromBase64(told.draft), told.width * told.height);
  draft = data.slice();
  history = new History(data);
  submission = uuid();
  selected = pieces = null;
  spent = 0;
  since = null;
  classId = told.classes.find((one) => one.name === className)?.id ?? told.classes[0].id;
  className = nameOf(classId);
  if (!words && told.words) words = told.words;
  $("work").hidden = false;
  view.begin(told);
  view.drawMask(data);
  listClasses();
  describe();
  moveTo(told.width / 2, told.height / 2);
  setOpacity(Number(kept.get("opacity") || 55));
  showState();
  const loading = model?.state === "loading" ? ` The model is still loading: ${model.words}.` : "";
  say(`A picture with its draft. ${className} is chosen.${loading}`);
  watchTime();
  view.stage.focus({ preventScroll: true });
  root.dataset.task = told.key; // the page is ready for keys
  await showPicture(told);
}

async function showPicture(told) {
  const image = new Image();
  image.src = `${root.dataset.root}/correct/${told.key}/picture`;
  try {
    await image.decode();
    if (task !== told) return;
    view.drawPicture(image);
    root.dataset.picture = told.key; // for whoever waits for it
  } catch {
    if (task === told) complain("The picture cannot be shown. Skip it, or load the page again.");
  }
}

function describe() {
  $("note").textContent = task.note;
  $("note").hidden = !task.note;
  const about = Object.entries(task.attributes).map(([name, value]) => `${name}: ${value}`);
  if (task.erased.length) about.push(`seen, but nowhere in the draft: ${task.erased.join(", ")}`);
  const line = $("about");
  line.textContent = about.join(" · ");
  if (task.link) {
    const there = document.createElement("a");
    there.href = task.link;
    there.target = "_blank";
    there.rel = "noopener noreferrer";
    there.textContent = "Open in Label Studio";
    line.append(about.length ? " · " : "", there);
  }
}

const OUTCOMES = {
  finished: "Somebody else had finished it; yours was not written",
  gone: "The task was deleted",
};

// Accepted or skipped: it is sent until it has arrived, and then the next one comes.
async function handIn(path, body, done) {
  if (delivering) return;
  letGo();
  showState();
  delivering = new AbortController();
  say("Handing in …");
  try {
    const told = await link.deliver(path, body, waiting, delivering.signal);
    history = new History(data); // nothing is lost any more
    rest();
    root.dataset.outcome = told.outcome;
    const outcome = told.outcome === "taken" ? done : OUTCOMES[told.outcome];
    task = null; // what is on the page is done with
    await next();
    say(`${outcome}. ${$("said").textContent}`);
  } catch (error) {
    if (error.name !== "AbortError") complain(`Not handed in: ${error.message}. Your work is still here.`);
    say("Not handed in.");
  } finally {
    delivering = null;
  }
}

function accept() {
  const query = new URLSearchParams({ page, submission, seconds: String(seconds()) });
  return handIn(`/correct/${task.key}/accept?${query}`, encodeRuns(data), "Accepted");
}

function skip(reason) {
  const body = { page, submission, seconds: seconds(), reason };
  return handIn(`/correct/${task.key}/skip`, body, "Skipped");
}

function later() {
  if (history.done.length && !confirm("Put this picture aside? What you changed is lost.")) return;
  next(task.key);
}

// -- dialogs ----------------------------------------------------------------------------------------

function dialog(name, then) {
  const opened = $(`${name}-dialog`);
  opened.returnValue = "";
  opened.addEventListener(
    "close",
    () => {
      // The event comes a moment after the dialog has gone: another one may be open by then.
      if (!document.querySelector("dialog[open]")) view.stage.focus({ preventScroll: true });
      if (opened.returnValue) then?.();
    },
    { once: true },
  );
  opened.showModal();
}

const dialogs = {
  help: () => dialog("help"),
  text: () => {
    if (!hasModel) return say("No model is served here: words find nothing.");
    $("text-class").textContent = className;
    $("text-words").value = words;
    dialog("text", () => look($("text-words").value.trim()));
    return $("text-words").select();
  },
  skip: () => {
    $("skip-reason").value = "";
    dialog("skip", () => {
      const reason = $("skip-reason").value.trim();
      if (reason) skip(reason);
    });
    $("skip-reason").focus();
  },
  find: () => {
    $("class-name").value = "";
    dialog("class", () => {
      const wanted = $("class-name").value.trim().toLowerCase();
      const found = wanted && task.classes.find((one) => one.name.toLowerCase().startsWith(wanted));
      if (found) chooseClass(found.id);
      else say(`No class begins with "${wanted}".`);
    });
    $("class-name").focus();
  },
};

// -- what keys and buttons do -----------------------------------------------------------------------

const actions = {
  accept,
  skip: dialogs.skip,
  later,
  undo: () => step("undo"),
  redo: () => step("redo"),
  negative: () => {
    isNegative = !isNegative;
    showState();
    say(isNegative ? "Clicks are negative now." : "Clicks are positive now.");
  },
  text: dialogs.text,
  again: () => (hasModel ? look(words) : say("No model is served here: words find nothing.")),
  find: dialogs.find,
  unknown: () => discard(false),
  neighbour: () => discard(true),
  hide: () => {
    isHidden = !isHidden;
    view.hide(isHidden);
    showState();
    say(isHidden ? "The draft is hidden." : "The draft is shown.");
  },
  help: dialogs.help,
  grab,
  picture: () => view.stage.focus(),
  box: () => {
    if (!hasModel) return say("No model is served here: boxes find nothing.");
    if (corner) return drawBox(corner.x, corner.y, cross.x + 1, cross.y + 1);
    letGo();
    selected = null;
    corner = { ...cross };
    showState();
    return say("One corner is set; move, and press b again.");
  },
  less: () => setOpacity(Number($("opacity").value) - 10),
  more: () => setOpacity(Number($("opacity").value) + 10),
  larger: () => (view.zoom(view.zoomed * 1.5), moveTo(cross.x, cross.y)),
  smaller: () => (view.zoom(view.zoomed / 1.5), moveTo(cross.x, cross.y)),
};

const KEYS = {
  Enter: "accept", a: "accept", s: "skip", ";": "later", u: "undo", r: "redo", n: "negative",
  b: "box", t: "text", T: "again", "/": "find", Delete: "unknown", Backspace: "neighbour",
  h: "hide", "?": "help", g: "grab", p: "picture", "[": "less", ",": "less", "]": "more",
  ".": "more", "+": "larger", "=": "larger", "-": "smaller",
};
const MODEL_KEYS = new Set(["negative", "text", "again", "box"]);

function escape() {
  if (delivering) return delivering.abort();
  if (selected || wished || hand || corner) {
    letGo();
    selected = null;
    showState();
    return say("Let go.");
  }
  document.querySelector('[data-do="accept"]').focus();
  return say("The picture is left; Tab moves between buttons. p goes back.");
}

// What belongs to the picture while it has the focus: elsewhere these keys do what they always do.
function onPicture(event) {
  if (event.key.startsWith("Arrow")) move(event);
  else if (event.key === " ") click(cross.x, cross.y, !isNegative);
  else if (event.key === "Tab") cycle(event.shiftKey ? -1 : 1);
  else return false;
  return true;
}

function classOf(event) {
  const digit = /^Digit(\d)$/.exec(event.code)?.[1] ?? /^Numpad(\d)$/.exec(event.code)?.[1];
  // By the key's place too: French keyboards have digits behind Shift.
  const key = !event.shiftKey && digit && !(event.key in KEYS) ? digit : event.key;
  const place = key.length === 1 ? CLASS_KEYS.indexOf(key) : -1;
  return place >= 0 && place < task.classes.length ? task.classes[place].id : null;
}

function onKey(event) {
  const typing = event.target.closest?.("input[type=text], textarea, select, dialog");
  if (typing || event.altKey || event.isComposing) return;
  if (event.key === "?" || (task === null && event.key === "Escape")) {
    if (event.key === "?") dialogs.help();
    return;
  }
  if (task === null) return;
  if (delivering) {
    if (event.key === "Escape") delivering.abort();
    if (document.activeElement === view.stage && !event.ctrlKey && !event.metaKey) event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey) {
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    step(key === "y" || event.shiftKey ? "redo" : "undo");
    return;
  }
  if (document.activeElement === view.stage && onPicture(event)) return event.preventDefault();
  const pressesButton = event.target.closest?.("button, a, summary") && event.key === "Enter";
  if (pressesButton || event.key === " " || event.key === "Tab") return;
  if (event.key === "Escape") return escape();
  const named = event.key === "Delete" && event.shiftKey ? "neighbour" : KEYS[event.key];
  const value = named ? null : classOf(event);
  if (!named && value === null) return;
  event.preventDefault();
  if (value !== null) chooseClass(value);
  else if (event.repeat && ["accept", "skip", "later"].includes(named)) return;
  else if (!hasModel && MODEL_KEYS.has(named)) say("No model is served here: regions can be renamed.");
  else actions[named]();
}

// -- mouse and finger -------------------------------------------------------------------------------

let pressed = null;
view.stage.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || !task || delivering) return;
  pressed = { ...view.at(event), left: event.clientX, top: event.clientY, isBox: false };
  view.stage.setPointerCapture(event.pointerId);
});
view.stage.addEventListener("pointermove", (event) => {
  if (!pressed) return;
  const far = Math.hypot(event.clientX - pressed.left, event.clientY - pressed.top);
  if (hasModel && far > DRAG_PIXELS) pressed.isBox = true;
  if (!pressed.isBox) return;
  const to = view.at(event);
  view.box([pressed.x, pressed.y, to.x, to.y]);
});
view.stage.addEventListener("pointerup", (event) => {
  const from = pressed;
  pressed = null;
  if (!from || !task || delivering) return;
  const to = view.at(event);
  if (from.isBox) drawBox(from.x, from.y, to.x, to.y);
  else if (event.shiftKey) (moveTo(to.x, to.y), grab());
  else click(to.x, to.y, !(isNegative || event.altKey || event.button === 2));
});
view.stage.addEventListener("pointercancel", () => ((pressed = null), task && showState()));
view.stage.addEventListener("contextmenu", (event) => event.preventDefault());

// -- the page ---------------------------------------------------------------------------------------

document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", watchTime);
for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => {
    if ((task && !delivering) || button.dataset.do === "help") actions[button.dataset.do]();
  });
}
$("opacity").addEventListener("input", (event) => setOpacity(Number(event.target.value)));
addEventListener("beforeunload", (event) => {
  if (history?.done.length || delivering) event.preventDefault();
});
addEventListener("pagehide", () => {
  link.ask("/correct/leave", { page }, { keepalive: true }).catch(() => {});
});
// Back from the cache of the browser: the lease was given back, so it is asked for again.
addEventListener("pageshow", (event) => event.persisted && task && hold());

async function hold() {
  if (!task || document.hidden) return;
  try {
    const told = await link.ask("/correct/keep", { page, task: task.key });
    if (!told.kept) complain("Somebody else has this picture now; whoever accepts first has done it.");
  } catch (error) {
    if (!(error instanceof Failure)) throw error; // else the next one may come through
  }
}
setInterval(hold, 1000 * KEEP_SECONDS);

next();
