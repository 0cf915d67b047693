// The latent plane: a map of the test set, and a point that pointer and keyboard move.

import { apart } from './labels.js';

const STEP = 1 / 40; // Of the plane's half width, for each key stroke.
const COARSE = 5;

/** The colour of a class, readable on the page's background. */
export function colour(label, count) {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  return `hsl(${Math.round((360 * label) / Math.max(count, 1))} 70% ${dark ? 65 : 40}%)`;
}

export class PlaneView {
  /**
   * @param canvas the element.
   * @param plane a Plane.
   * @param points {z, labels} or null: what the map shows.
   * @param names of the classes, or null for their numbers.
   * @param move called with (u, v) when the user moves the point.
   */
  constructor(canvas, plane, points, names, move) {
    Object.assign(this, { canvas, plane, names, move, at: [0, 0], marks: {} });
    this.labels = points?.labels ?? null;
    this.dots = (points?.z ?? []).map((z) => plane.project(z));
    this.classes = this.labels ? Math.max(...this.labels) + 1 : 0;
    this.map = document.createElement('canvas');
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.resize());
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.drag(event);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (event.buttons & 1) this.drag(event);
    });
    canvas.addEventListener('keydown', (event) => this.key(event));
  }

  /** Shows the point at (u, v), and others by their letters. */
  show(at, marks) {
    Object.assign(this, { at, marks });
    this.draw();
  }

  drag(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const { extent } = this.plane;
    const clamp = (value) => Math.max(-extent, Math.min(extent, value));
    const u = (2 * (event.clientX - left)) / width - 1;
    const v = 1 - (2 * (event.clientY - top)) / height;
    this.move(clamp(u * extent), clamp(v * extent));
  }

  key(event) {
    const directions = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], Home: [0, 0],
    };
    const direction = directions[event.key];
    if (!direction || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const step = this.plane.extent * STEP * (event.shiftKey ? COARSE : 1);
    const [u, v] = event.key === 'Home' ? [0, 0] : this.at;
    this.move(u + step * direction[0], v + step * direction[1]);
  }

  resize() {
    const scale = devicePixelRatio;
    const size = Math.max(1, Math.round(this.canvas.clientWidth * scale));
    for (const canvas of [this.canvas, this.map]) Object.assign(canvas, { width: size, height: size });
    this.drawMap(this.map.getContext('2d'), size, scale);
    this.draw();
  }

  pixel([u, v], size) {
    const { extent } = this.plane;
    return [((u / extent + 1) / 2) * size, ((1 - v / extent) / 2) * size];
  }

  drawMap(context, size, scale) {
    const style = getComputedStyle(document.documentElement);
    context.clearRect(0, 0, size, size);
    context.strokeStyle = style.getPropertyValue('--line');
    context.lineWidth = scale;
    context.beginPath();
    context.moveTo(size / 2, 0);
    context.lineTo(size / 2, size);
    context.moveTo(0, size / 2);
    context.lineTo(size, size / 2);
    context.stroke();
    const soft = style.getPropertyValue('--soft');
    context.globalAlpha = 0.6;
    this.dots.forEach((dot, index) => {
      context.fillStyle = this.labels ? colour(this.labels[index], this.classes) : soft;
      context.beginPath();
      context.arc(...this.pixel(dot, size), 2 * scale, 0, 2 * Math.PI);
      context.fill();
    });
    context.globalAlpha = 1;
    if (this.classes > 1 && this.classes <= 20) this.drawNames(context, size, scale, style);
  }

  /** Names each class where its points are, so that colour is not all that tells them apart. */
  drawNames(context, size, scale, style) {
    context.font = `bold ${16 * scale}px system-ui, sans-serif`;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.lineWidth = 4 * scale;
    context.strokeStyle = style.getPropertyValue('--paper');
    const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
    const boxes = [];
    for (let label = 0; label < this.classes; label++) {
      const own = this.dots.filter((_, index) => this.labels[index] === label);
      if (!own.length) continue;
      const text = this.names?.[label] ?? String(label);
      const [x, y] = this.pixel([median(own.map((d) => d[0])), median(own.map((d) => d[1]))], size);
      const width = context.measureText(text).width + 6 * scale;
      boxes.push({ label, text, x, y, width, height: 20 * scale });
    }
    this.named = apart(boxes, size); // In pixels of the map, for tests too.
    for (const { label, text, x, y } of this.named) {
      context.fillStyle = colour(label, this.classes);
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    }
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio;
    const context = canvas.getContext('2d');
    const style = getComputedStyle(document.documentElement);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (this.map.width) context.drawImage(this.map, 0, 0);
    const ink = style.getPropertyValue('--ink');
    const paper = style.getPropertyValue('--paper');
    const ring = (at, radius, fill) => {
      context.beginPath();
      context.arc(...this.pixel(at, canvas.width), radius * scale, 0, 2 * Math.PI);
      context.fillStyle = fill;
      context.fill();
      context.strokeStyle = paper;
      context.lineWidth = 4 * scale;
      context.stroke();
      context.strokeStyle = ink;
      context.lineWidth = 2 * scale;
      context.stroke();
    };
    context.font = `bold ${12 * scale}px system-ui, sans-serif`;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    for (const [letter, at] of Object.entries(this.marks)) {
      ring(at, 9, paper);
      context.fillStyle = ink;
      context.fillText(letter, ...this.pixel(at, canvas.width));
    }
    ring(this.at, 7, style.getPropertyValue('--accent'));
  }
}
