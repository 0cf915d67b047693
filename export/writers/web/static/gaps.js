// Which pixels of an image are missing: rubbed away on its canvas, or a half that is chosen.

const RUBBER = 0.07; // The radius, of the image's larger side.

export class Gaps {
  /**
   * @param canvas where the image is shown, pixel for pixel.
   * @param choice the select element: nothing, a half, or what was rubbed away ("own").
   * @param shape [height, width, channels] of the image.
   * @param changed called when other pixels are missing.
   */
  constructor(canvas, choice, shape, changed) {
    Object.assign(this, { canvas, choice, shape, changed });
    this.mask = new Float32Array(shape[0] * shape[1] * shape[2]).fill(1);
    canvas.classList.add('rubbed');
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.rub(event);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (event.buttons & 1) this.rub(event);
    });
    choice.addEventListener('change', () => this.choose(choice.value));
  }

  /** Whether anything is missing. */
  get any() {
    return this.mask.includes(0);
  }

  /** Hides a half of the image, or nothing. */
  choose(part) {
    const [height, width] = this.shape;
    const hidden = {
      upper: (x, y) => y < height / 2, lower: (x, y) => y >= height / 2,
      left: (x) => x < width / 2, right: (x) => x >= width / 2,
    }[part] ?? (() => false);
    this.mask.fill(1);
    this.hide(hidden);
    this.choice.value = part;
    this.choice.querySelector('[value="own"]').disabled = true;
    this.changed();
  }

  rub(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const [rows, columns] = this.shape;
    const x = ((event.clientX - left) / width) * columns;
    const y = ((event.clientY - top) / height) * rows;
    const radius = Math.max(0.75, RUBBER * Math.max(rows, columns));
    this.hide((column, row) => Math.hypot(column + 0.5 - x, row + 0.5 - y) < radius);
    const own = this.choice.querySelector('[value="own"]');
    own.disabled = false;
    this.choice.value = 'own';
    this.changed();
  }

  hide(inside) {
    const [, width, channels] = this.shape;
    for (let i = 0; i < this.mask.length; i++) {
      const pixel = Math.floor(i / channels);
      if (inside(pixel % width, Math.floor(pixel / width))) this.mask[i] = 0;
    }
  }
}
