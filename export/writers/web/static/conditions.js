// What a conditional model is told: a control for each condition, and what the networks see.

const UNKNOWN = ''; // The value of a choice.

/**
 * What networks see of a condition, as `kvae.conditions` encodes it.
 *
 * @param facts of the condition, in model.json.
 * @param value a class, a number, or for several labels an array of 0 and 1; null is unknown.
 */
export function encode(facts, value) {
  const { kind, width, unknown, mean, scale, period } = facts;
  if (kind === 'MultiLabel') return unknown.map((start, i) => value?.[i] ?? start);
  if (value === null) return unknown;
  if (kind === 'Categorical') return Array.from({ length: width }, (_, i) => +(i === value));
  if (kind === 'Real') return [(value - mean) / scale, 0];
  const angles = Array.from({ length: width / 2 }, (_, k) => (2 * Math.PI * (k + 1) * value) / period);
  return [...angles.map(Math.cos), ...angles.map(Math.sin)];
}

/** Names of classes or labels, of a list of them or of their number. */
const named = (known) => (Array.isArray(known) ? known : Array.from({ length: known }, (_, i) => String(i)));

const digits = (step) => Math.max(0, -Math.floor(Math.log10(step)));

export class Conditions {
  /**
   * @param place the element that the controls are put into.
   * @param facts of all conditions by name, in model.json.
   * @param changed called when another value is chosen; with true when it will stay.
   */
  constructor(place, facts, changed) {
    this.facts = facts;
    this.values = {};
    for (const [name, own] of Object.entries(facts)) {
      this.values[name] = own.start;
      if (own.kind === 'MultiLabel') place.append(this.labels(name, own, changed));
      else if (own.kind === 'Categorical') place.append(this.classes(name, own, changed));
      else place.append(this.number(name, own, changed));
    }
  }

  /** What the networks see of all conditions. */
  encoded() {
    return Float32Array.from(
      Object.entries(this.facts).flatMap(([name, facts]) => encode(facts, this.values[name])),
    );
  }

  /** What is known, as text. */
  shown() {
    const isKnown = (value) => (Array.isArray(value) ? value.some(isKnown) : value !== null);
    return Object.entries(this.values).filter(([, value]) => isKnown(value))
      .map(([name, value]) => `${name} ${this.text(name, value)}`).join(', ');
  }

  text(name, value) {
    const { kind, classes, labels } = this.facts[name];
    if (kind === 'Categorical') return named(classes)[value];
    if (kind === 'MultiLabel') {
      const each = (label, i) => (value[i] === null ? [] : [value[i] === 1 ? label : `no ${label}`]);
      return named(labels).flatMap(each).join(' + ');
    }
    return String(Number(value.toPrecision(4)));
  }

  choice(text, options, start, chosen) {
    const label = document.createElement('label');
    const select = document.createElement('select');
    select.append(...options.map(([name, value]) => new Option(name, value)));
    select.value = start ?? UNKNOWN;
    select.addEventListener('change', () => chosen(select.value === UNKNOWN ? null : Number(select.value)));
    label.append(text, select);
    return label;
  }

  classes(name, { classes, start }, changed) {
    const options = [['unknown', UNKNOWN], ...named(classes).map((text, i) => [text, i])];
    return this.choice(name, options, start, (value) => {
      this.values[name] = value;
      changed(true);
    });
  }

  labels(name, { labels, start }, changed) {
    const group = document.createElement('fieldset');
    const legend = document.createElement('legend');
    legend.textContent = name;
    this.values[name] = [...start];
    const options = [['unknown', UNKNOWN], ['yes', 1], ['no', 0]];
    group.append(legend, ...named(labels).map((text, i) => this.choice(text, options, start[i], (value) => {
      this.values[name][i] = value;
      changed(true);
    })));
    return group;
  }

  number(name, { least, most, start, mean }, changed) {
    const row = document.createElement('div');
    const label = document.createElement('label');
    const step = 10 ** Math.floor(Math.log10((most - least) / 200));
    const input = Object.assign(document.createElement('input'), {
      type: 'range', min: least, max: most, step: 'any', value: start ?? mean ?? least,
    });
    const output = document.createElement('output');
    const known = Object.assign(document.createElement('input'), { type: 'checkbox', checked: start !== null });
    const whether = document.createElement('label');
    row.classList.add('number');
    label.append(name, input, output);
    whether.append(known, 'known');
    known.setAttribute('aria-label', `${name} is known`);
    const tell = () => {
      output.textContent = known.checked ? Number(input.value).toFixed(digits(step)) : 'unknown';
    };
    const choose = (stays) => {
      this.values[name] = known.checked ? Number(input.value) : null;
      tell();
      changed(stays);
    };
    input.addEventListener('input', () => {
      known.checked = true; // Who moves a slider says a value.
      choose(false);
    });
    input.addEventListener('change', () => choose(true));
    known.addEventListener('change', () => choose(true));
    tell();
    row.append(label, whether);
    return row;
  }
}
