// The page: one latent z, which every control moves and the decoder follows.

import { Conditions } from './conditions.js';
import { Drawing } from './drawing.js';
import { Gaps } from './gaps.js';
import { between, nearest, placed, Plane } from './latents.js';
import { Meter } from './meter.js';
import { Network, start } from './network.js';
import { noise } from './noise.js';
import { empty, show, showHeat, showKnown } from './pictures.js';
import { PlaneView } from './plane.js';

const STRIP = 9;
const TILES = 12;
const SLIDERS = 16; // Shown before one asks for all.
const SPOKEN_AFTER = 500; // Milliseconds without a change, for screen readers.

const byId = (id) => document.getElementById(id);

/** A number as people write it: no -0.00, and a minus that is one. */
const fixed = (value, digits = 2) => value.toFixed(digits).replace(/^-(0\.?0*)$/, '$1').replace('-', '−');

class Page {
  constructor(facts, decoder, encoder) {
    Object.assign(this, { facts, decoder, encoder, label: 0, frames: 0 });
    this.shape = facts.event_shape;
    document.documentElement.style.setProperty('--aspect', this.shape[1] / this.shape[0]);
    this.plane = new Plane(facts.plane, facts.space);
    this.view = new PlaneView(byId('plane'), this.plane, facts.points, facts.class_names, (u, v) => {
      this.moveTo(this.plane.moved(this.z, u, v));
    });
    this.prepareClasses();
    this.prepareConditions();
    this.prepareSamples();
    this.prepareSliders();
    this.prepareWalk();
    this.prepareDrawing();
    byId('title').textContent = document.title = facts.title;
    byId('summary').textContent = facts.summary;
    byId('summary').hidden = false;
    byId('plane-kind').textContent = this.describePlane();
    this.moveTo(placed([...facts.plane.centre], facts.space));
  }

  describePlane() {
    const { points, plane, latent_dim: size } = this.facts;
    const share = Math.round(100 * plane.explained);
    const kind = size <= 2 ? 'The plane is z itself.'
      : `It shows two principal directions of ${size}, with ${share} % of the variance.`;
    return points ? `${kind} Dots are the codes of ${points.z.length} images (${points.name}).` : kind;
  }

  // ---- z, and what follows it ----

  moveTo(z) {
    this.z = z;
    const marks = {};
    if (this.a) marks.A = this.plane.project(this.a);
    if (this.b) marks.B = this.plane.project(this.b);
    const at = this.plane.project(z);
    this.view.show(at, marks);
    byId('place').textContent = `At ${fixed(at[0])} across, ${fixed(at[1])} up`;
    this.sliders.forEach(({ input, output }, i) => {
      input.value = z[i];
      output.textContent = fixed(z[i]);
    });
    this.wanted = true;
    if (!this.drawing) this.follow();
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => this.speak(at), SPOKEN_AFTER);
  }

  /** Decodes the newest z once for each frame of the display, until the image shows it. */
  async follow() {
    this.drawing = true;
    while (this.wanted) {
      await new Promise(requestAnimationFrame);
      this.wanted = false;
      const began = performance.now();
      show(byId('image'), await this.decode(this.z), this.shape);
      this.frames += 1;
      this.report(performance.now() - began);
    }
    this.drawing = false;
  }

  async decode(z) {
    const { latents, image } = this.facts.names;
    return (await this.decoder.run({ [latents]: Float32Array.from(z), ...this.given() }))[image];
  }

  given() {
    const { num_classes: count, names } = this.facts;
    if (this.conditions) return { [names.label]: this.conditions.encoded() };
    if (!count) return {};
    return { [names.label]: Float32Array.from({ length: count }, (_, i) => +(i === this.label)) };
  }

  report(milliseconds) {
    this.cost = this.cost === undefined ? milliseconds : 0.9 * this.cost + 0.1 * milliseconds;
    const where = this.decoder.accelerator === 'webgpu' ? 'WebGPU' : 'WebAssembly';
    byId('speed').textContent = `Decoded in ${this.cost.toFixed(1)} ms with ${where}.`;
  }

  speak(at) {
    const { points } = this.facts;
    const near = points?.labels ? this.className(points.labels[nearest(points.z, this.z)]) : null;
    const like = near === null ? '' : `, nearest to images of class ${near}`;
    const told = this.conditions?.shown();
    const given = told ? `, told ${told}` : '';
    byId('spoken').textContent = `${at.map((value) => fixed(value, 1)).join(', ')}${given}${like}`;
    byId('image').setAttribute('aria-label', `Decoded image${given}${like}`);
  }

  className(label) {
    return this.facts.class_names?.[label] ?? String(label);
  }

  // ---- Controls ----

  prepareClasses() {
    const { num_classes: count } = this.facts;
    if (!count) return;
    byId('class').append(...Array.from({ length: count }, (_, i) => new Option(this.className(i), i)));
    byId('class').addEventListener('change', (event) => {
      this.label = Number(event.target.value);
      this.told();
    });
    byId('class-row').hidden = false;
  }

  prepareConditions() {
    const { conditions } = this.facts;
    byId('conditions').hidden = !conditions;
    if (!conditions) return;
    this.conditions = new Conditions(byId('told'), conditions, (stays) => {
      if (stays) this.told();
      else this.moveTo(this.z); // The other images follow when the slider is let go.
    });
  }

  /** Shows what the same z is under another class, or under other conditions. */
  told() {
    this.moveTo(this.z);
    this.drawStrip();
    this.drawTiles();
    if (this.image && !this.encoding) this.judge(this.image, this.gaps.mask);
  }

  draws() {
    const { seeds, num_classes: count } = this.facts;
    return seeds && count ? seeds[this.label] : seeds;
  }

  prepareSamples() {
    byId('samples').hidden = !this.facts.seeds;
    if (!this.facts.seeds) return;
    const seed = byId('seed');
    const count = this.draws().length;
    seed.max = count - 1;
    this.tiles = Array.from({ length: Math.min(TILES, count) }, () => {
      const button = Object.assign(document.createElement('button'), { type: 'button' });
      const canvas = document.createElement('canvas');
      const name = document.createElement('span');
      canvas.classList.add('picture');
      canvas.setAttribute('aria-hidden', true);
      button.append(canvas, name);
      return { button, canvas, name };
    });
    this.tiles.forEach((tile) => tile.button.addEventListener('click', () => {
      this.moveTo(this.draws()[tile.seed]);
    }));
    byId('tiles').append(...this.tiles.map((tile) => tile.button));
    const from = (first) => {
      seed.value = first;
      this.drawTiles();
    };
    seed.addEventListener('change', () => {
      from(Math.max(0, Math.min(count - 1, Math.round(Number(seed.value)) || 0)));
    });
    byId('next').addEventListener('click', () => from((Number(seed.value) + TILES) % count));
    this.drawTiles();
  }

  async drawTiles() {
    if (!this.tiles) return;
    const draws = this.draws();
    const first = Number(byId('seed').value);
    for (const [i, tile] of this.tiles.entries()) {
      tile.seed = (first + i) % draws.length;
      tile.name.textContent = tile.seed;
      tile.button.setAttribute('aria-label', `Sample of seed ${tile.seed}`);
    }
    // Each shows what it is when its turn comes, so that the last call wins.
    for (const tile of this.tiles) show(tile.canvas, await this.decode(this.draws()[tile.seed]), this.shape);
  }

  prepareSliders() {
    const { latent_dim: size, spread, plane } = this.facts;
    const order = Array.from({ length: size }, (_, i) => i).sort((i, j) => spread[j] - spread[i]);
    const rows = order.map((i, rank) => {
      const reach = Math.max(3, Math.abs(plane.centre[i]) + 4 * spread[i]).toFixed(2);
      const label = document.createElement('label');
      const input = Object.assign(document.createElement('input'), {
        type: 'range', min: -reach, max: reach, step: 0.01,
      });
      const output = document.createElement('output');
      label.append(`z[${i}]`, input, output);
      label.hidden = rank >= SLIDERS;
      input.addEventListener('input', () => {
        const z = [...this.z];
        z[i] = Number(input.value);
        this.moveTo(placed(z, this.facts.space));
      });
      return { i, label, input, output };
    });
    byId('sliders').append(...rows.map((row) => row.label));
    this.sliders = rows.sort((one, other) => one.i - other.i);
    const all = byId('all-sliders');
    all.hidden = size <= SLIDERS;
    all.textContent = `Show all ${size}`;
    all.addEventListener('click', () => {
      rows.forEach((row) => { row.label.hidden = false; });
      all.hidden = true;
    });
    byId('sliders-help').textContent = size > 2
      ? 'Those in which the images differ most come first.' : 'The same z, one number at a time.';
  }

  prepareWalk() {
    const { points, plane } = this.facts;
    const known = points?.z ?? this.draws();
    [this.a, this.b] = known.length > 1 ? known : [plane.centre, plane.centre];
    const canvases = Array.from({ length: STRIP }, () => document.createElement('canvas'));
    canvases.forEach((canvas) => canvas.classList.add('picture'));
    byId('strip').append(...canvases);
    const keep = (name) => {
      this[name] = this.z;
      this.moveTo(this.z);
      this.drawStrip();
    };
    byId('keep-a').addEventListener('click', () => keep('a'));
    byId('keep-b').addEventListener('click', () => keep('b'));
    const walk = byId('walk');
    const go = () => this.moveTo(between(this.a, this.b, Number(walk.value), this.facts.space));
    walk.addEventListener('input', go);
    const play = byId('play');
    const step = (time) => {
      if (play.getAttribute('aria-pressed') !== 'true') return;
      walk.value = 0.5 - 0.5 * Math.cos(time / 800);
      go();
      requestAnimationFrame(step);
    };
    play.addEventListener('click', () => {
      const on = play.getAttribute('aria-pressed') !== 'true';
      play.setAttribute('aria-pressed', on);
      if (on) requestAnimationFrame(step);
    });
    this.drawStrip();
  }

  async drawStrip() {
    for (const [i, canvas] of [...byId('strip').children].entries()) {
      const z = between(this.a, this.b, i / (STRIP - 1), this.facts.space);
      show(canvas, await this.decode(z), this.shape);
    }
  }

  prepareDrawing() {
    byId('own').hidden = !this.encoder;
    if (!this.encoder) return;
    const { impute, meter, fill } = this.facts;
    const clear = () => {
      for (const id of ['input', 'output', 'filled', 'map']) empty(byId(id), this.shape);
      for (const id of ['error', 'gaps-note', 'verdict']) byId(id).textContent = '';
      this.meter?.show(null);
      this.image = null;
    };
    this.gaps = new Gaps(byId('input'), byId('hide'), this.shape, () => {
      this.drawn = this.image;
      if (this.drawn && !this.encoding) this.encode();
    });
    for (const id of ['gaps', 'gaps-help', 'hide-row']) byId(id).hidden = !impute;
    if (!impute) byId('input').style.pointerEvents = 'none';
    byId('where').hidden = !meter?.map;
    byId('unusual').hidden = !meter;
    if (meter) this.meter = new Meter(byId('meter'), meter);
    clear();
    const drawing = new Drawing(byId('paper'), this.shape, fill, (image) => {
      this.image = this.drawn = image;
      if (!this.encoding) this.encode();
    }, (name) => { byId('error').textContent = `(${name} is no picture)`; });
    byId('clear').addEventListener('click', () => {
      drawing.clear();
      clear();
      this.gaps.choose('');
    });
    byId('file').addEventListener('change', (event) => {
      const [file] = event.target.files;
      if (file) drawing.open(file);
    });
  }

  /** Encodes the newest drawing, and shows what the decoder makes of it. */
  async encode() {
    this.encoding = true;
    try {
      while (this.drawn) {
        const image = this.drawn;
        const mask = Float32Array.from(this.gaps.mask);
        this.drawn = null;
        showKnown(byId('input'), image, mask, this.shape);
        const filled = await this.fill(image, mask);
        if (!this.image) break; // Cleared meanwhile.
        const { names, impute } = this.facts;
        // An encoder that was trained on whole images is given one.
        const given = { [names.image]: impute?.guess ? filled : image, mask, ...this.given() };
        const z = [...(await this.encoder.run(given))[names.mean]];
        const again = await this.decode(z);
        show(byId('output'), again, this.shape);
        const squares = again.reduce((sum, v, i) => sum + (v - image[i]) ** 2, 0);
        const error = Math.sqrt(squares / image.length);
        byId('error').textContent = `(differs by ${error.toFixed(2)})`;
        this.moveTo(z);
        await this.judge(image, mask);
      }
    } finally {
      this.encoding = false;
    }
  }

  // ---- What is missing, and what is unusual ----

  /** Takes the network that answers such questions, which is loaded when the page is there. */
  ask(answers) {
    this.answers = answers;
    this.drawn = this.image;
    if (this.drawn && !this.encoding) this.encode();
  }

  /** Returns the image with what is missing filled in, and shows it. */
  async fill(image, mask) {
    const { impute, names } = this.facts;
    if (!impute || !this.answers) return image;
    const note = byId('gaps-note');
    if (!mask.includes(0)) {
      empty(byId('filled'), this.shape);
      note.textContent = '(nothing is missing)';
      return image;
    }
    let found = { [names.image]: new Float32Array(image.length) };
    for (let round = 1; round <= impute.rounds && (round === 1 || !this.drawn); round++) {
      const drawn = noise(impute.noise, impute.num_samples, round);
      const given = { [names.image]: image, mask, guess: found[names.image], ...drawn };
      found = await this.answers.run({ ...given, ...this.given() }, 'impute');
      if (!this.image) return image; // Cleared meanwhile.
      show(byId('filled'), found[names.image], this.shape);
    }
    note.textContent = found.effective_sample_size[0] < 2 ? '(a guess: one draw decides)' : '';
    return found[names.image];
  }

  /** Shows how unusual an image is, and where: the whole of it, whatever is marked. */
  async judge(image, mask) {
    const { meter, names } = this.facts;
    if (!meter || !this.answers) return;
    const all = new Float32Array(mask.length).fill(1);
    const given = { [names.image]: image, mask: all, ...this.given() };
    const found = await this.answers.run(given, 'detect');
    if (!this.image) return;
    if (meter.map) showHeat(byId('map'), found.map, this.shape);
    this.meter.show(found.score[0]);
    byId('verdict').textContent = this.describe(found, mask.includes(0));
    byId('verdict').classList.toggle('flagged', found.is_anomaly[0] > 0.5);
  }

  describe({ score, p_value: [p], is_anomaly: [flagged] }, missing) {
    const { meter } = this.facts;
    const share = Math.floor(100 * (1 - p)); // At most: the drawing itself counts, too.
    const whole = missing ? ' The whole drawing is meant.' : '';
    const than = `More unusual than ${share} % of the ${meter.number} ${meter.of}`;
    if (!meter.calibrated) return `${than}: ${fixed(score[0], 1)} nats.${whole}`;
    const rate = Number((100 * meter.rate).toPrecision(3));
    const verdict = flagged > 0.5 ? 'Flagged' : 'Not flagged';
    const value = p < 0.001 ? p.toExponential(0) : p.toPrecision(2);
    return `${verdict}: p = ${value}. ${than}; of normal images at most ${rate} % are flagged.${whole}`;
  }
}

try {
  const response = await fetch('model.json');
  if (!response.ok) throw new Error(`model.json: ${response.status} ${response.statusText}`);
  const facts = await response.json();
  const accelerators = await start(new URLSearchParams(location.search).get('device'));
  const decoder = await Network.load('decoder.tflite', accelerators);
  const encoder = facts.encoder ? await Network.load('encoder.tflite', accelerators) : null;
  byId('main').hidden = false;
  byId('notice').hidden = true;
  const page = window.page = new Page(facts, decoder, encoder); // For the browser's console, and tests.
  // Graphics processors need not know NaN, which stands for what is missing.
  if (facts.impute || facts.meter) page.ask(await Network.load('answers.tflite', ['wasm']));
} catch (error) {
  byId('notice').setAttribute('role', 'alert');
  byId('notice').textContent = `The model cannot be loaded: ${error.message ?? error}`;
  throw error;
}
