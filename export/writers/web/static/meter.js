// How unusual an image is: its score among those of images that are known.

const BINS = 40;
const HEIGHT = 72; // CSS pixels, of which the bars take the upper part.
const FOOT = 14;

export class Meter {
  /** @param facts {scores: quantiles in ascending order, threshold}. */
  constructor(canvas, facts) {
    Object.assign(this, { canvas, facts, score: null });
    const { scores, threshold } = facts;
    [this.low, this.high] = [scores[0], Math.max(scores.at(-1), threshold)];
    this.bins = new Array(BINS).fill(0);
    const width = this.high - this.low || 1;
    for (const score of scores) {
      this.bins[Math.min(BINS - 1, Math.floor((BINS * (score - this.low)) / width))] += 1;
    }
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  /** Shows the score of an image, or none. */
  show(score) {
    this.score = score;
    this.draw();
  }

  draw() {
    const { canvas, bins } = this;
    const scale = devicePixelRatio;
    const width = Math.max(1, Math.round(canvas.clientWidth * scale));
    const height = HEIGHT * scale;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext('2d');
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name);
    const margin = 8 * scale;
    const base = height - FOOT * scale;
    // A tenth of the width is for scores beyond all that are known.
    const place = (score) => {
      const share = (score - this.low) / (this.high - this.low || 1);
      const inner = (width - 2 * margin) * 0.9;
      return margin + (share <= 1 ? inner * Math.max(0, share) : inner + (inner / 9) * (1 - 1 / share));
    };
    context.clearRect(0, 0, width, height);
    const most = Math.max(...bins);
    bins.forEach((count, i) => {
      const at = this.low + ((this.high - this.low) * i) / BINS;
      const next = this.low + ((this.high - this.low) * (i + 1)) / BINS;
      context.fillStyle = at >= this.facts.threshold ? colour('--warn') : colour('--soft');
      const tall = (base - 4 * scale) * (count / most);
      context.fillRect(place(at), base - tall, Math.max(1, place(next) - place(at) - scale), tall);
    });
    context.fillStyle = colour('--line');
    context.fillRect(margin, base, width - 2 * margin, scale);
    if (this.score === null) return;
    const x = place(this.score);
    context.strokeStyle = context.fillStyle = colour('--ink');
    context.lineWidth = 2 * scale;
    context.beginPath();
    context.moveTo(x, 2 * scale);
    context.lineTo(x, base);
    context.stroke();
    context.beginPath();
    context.moveTo(x, base);
    context.lineTo(x - 6 * scale, height - scale);
    context.lineTo(x + 6 * scale, height - scale);
    context.fill();
  }
}
