// Draws one task: picture, mask, the region in hand, clicks, box and crosshair. Decides nothing.
"use strict";

import { UNKNOWN, boxOf } from "./correct_mask.js";

const $ = (id) => document.getElementById(id);

export class View {
  constructor() {
    this.stage = $("stage");
    this.frame = $("frame");
    this.layers = ["picture", "overlay", "marks"].map($);
    this.zoomed = 1;
  }

  // Sizes everything; the picture comes when it is there.
  begin(task) {
    this.width = task.width;
    this.height = task.height;
    this.scale = Math.max(1, Math.round(task.width / 800)); // of what must be seen when shrunk
    for (const canvas of this.layers) {
      canvas.width = task.width;
      canvas.height = task.height;
    }
    this.image = $("overlay").getContext("2d").createImageData(task.width, task.height);
    this.colours = new Uint32Array(256);
    const bytes = new Uint8Array(this.colours.buffer);
    for (const one of task.classes) bytes.set([...one.colour, 255], 4 * one.id);
    this.zoom(1);
    this.points([], null);
    this.select(null);
  }

  drawPicture(image) {
    $("picture").getContext("2d").drawImage(image, 0, 0, this.width, this.height);
  }

  // What nobody knows is hatched: the picture stays visible, and it is not a colour alone.
  colourAt(value, pixel) {
    if (value !== UNKNOWN) return this.colours[value];
    const y = Math.floor(pixel / this.width);
    const place = (pixel - y * this.width + y) % (8 * this.scale);
    return place < this.scale ? 0xff000000 : 0;
  }

  drawMask(data) {
    const out = new Uint32Array(this.image.data.buffer);
    for (let i = 0; i < data.length; i += 1) out[i] = this.colourAt(data[i], i);
    $("overlay").getContext("2d").putImageData(this.image, 0, 0);
  }

  drawSpans(data, spans) {
    if (!spans.length) return;
    const out = new Uint32Array(this.image.data.buffer);
    for (let i = 0; i < spans.length; i += 2) {
      const end = spans[i] + spans[i + 1];
      for (let at = spans[i]; at < end; at += 1) out[at] = this.colourAt(data[at], at);
    }
    const [x0, y0, x1, y1] = boxOf(spans, this.width);
    const context = $("overlay").getContext("2d");
    context.putImageData(this.image, 0, 0, x0, y0, x1 - x0 + 1, y1 - y0 + 1);
  }

  opacity(percent) {
    $("overlay").style.opacity = percent / 100;
  }

  hide(isHidden) {
    $("overlay").style.visibility = isHidden ? "hidden" : "visible";
  }

  // Stripes over the region in hand.
  select(spans) {
    const context = $("marks").getContext("2d");
    context.clearRect(0, 0, this.width, this.height);
    if (!spans) return;
    context.fillStyle = this.stripes(context);
    for (let i = 0; i < spans.length; i += 2) {
      const y = Math.floor(spans[i] / this.width);
      context.fillRect(spans[i] - y * this.width, y, spans[i + 1], 1);
    }
  }

  stripes(context) {
    const size = 12 * this.scale;
    const tile = document.createElement("canvas");
    tile.width = tile.height = size;
    const pen = tile.getContext("2d");
    pen.lineWidth = size / 5;
    for (const [colour, shift] of [["#fff", 0], ["#000", size / 4]]) {
      pen.strokeStyle = colour;
      pen.beginPath();
      for (const step of [-size, 0, size]) {
        pen.moveTo(step + shift - size, size * 2);
        pen.lineTo(step + shift + size * 2, -size);
      }
      pen.stroke();
    }
    return context.createPattern(tile, "repeat");
  }

  points(points, box) {
    $("points").replaceChildren(
      ...points.map((one) => {
        const mark = document.createElement("span");
        mark.className = one.positive ? "point" : "point negative";
        mark.textContent = one.positive ? "+" : "−";
        mark.style.left = `${(100 * one.x) / this.width}%`;
        mark.style.top = `${(100 * one.y) / this.height}%`;
        return mark;
      }),
    );
    this.box(box);
  }

  box(box) {
    const drawn = $("drawn-box");
    drawn.hidden = !box;
    if (!box) return;
    const [x0, y0] = [Math.min(box[0], box[2]), Math.min(box[1], box[3])];
    drawn.style.left = `${(100 * x0) / this.width}%`;
    drawn.style.top = `${(100 * y0) / this.height}%`;
    drawn.style.width = `${(100 * Math.abs(box[2] - box[0])) / this.width}%`;
    drawn.style.height = `${(100 * Math.abs(box[3] - box[1])) / this.height}%`;
  }

  crosshair(x, y) {
    const cross = $("crosshair");
    cross.hidden = false;
    cross.style.setProperty("--x", `${(100 * (x + 0.5)) / this.width}%`);
    cross.style.setProperty("--y", `${(100 * (y + 0.5)) / this.height}%`);
    if (this.zoomed > 1) cross.firstElementChild.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  zoom(factor) {
    this.zoomed = Math.min(16, Math.max(1, factor));
    // As wide as there is room, and no higher than the window: both ends stay in sight.
    const room = `min(100%, ${(78 * this.width) / this.height}vh)`;
    this.stage.style.width = `calc(${this.zoomed} * ${room})`;
  }

  // Pixels of the picture to one of the screen, whole.
  get unit() {
    return Math.max(1, Math.round(this.width / Math.max(1, this.stage.clientWidth)));
  }

  // Where on the picture a pointer is, in pixels.
  at(event) {
    const box = this.stage.getBoundingClientRect();
    const part = (value, size) => Math.min(size - 0.01, Math.max(0, value * size));
    return {
      x: part((event.clientX - box.left) / box.width, this.width),
      y: part((event.clientY - box.top) / box.height, this.height),
    };
  }
}
