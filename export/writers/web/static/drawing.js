// Images of one's own: drawn, dropped or chosen, and made into what the encoder was trained on.

import { blank, onWhite, read } from './pictures.js';

const PEN = 0.075; // Of the paper's width.
const INK = 0.1; // What is darker is background.

export class Drawing {
  /**
   * @param paper the canvas to draw on: white ink on black.
   * @param shape [height, width, channels] of the model's images.
   * @param fill which part of the frame a drawing fills in the model's images, or null.
   * @param given called with an image for the encoder when there is a new one.
   * @param refused called with the name of a file that is no picture.
   */
  constructor(paper, shape, fill, given, refused) {
    Object.assign(this, { paper, shape, fill, given, refused });
    paper.height = Math.round((paper.width * shape[0]) / shape[1]);
    this.context = paper.getContext('2d', { willReadFrequently: true });
    this.clear();
    paper.addEventListener('pointerdown', (event) => {
      paper.setPointerCapture(event.pointerId);
      if (this.source !== paper) this.clear();
      this.last = this.place(event);
      this.line(this.last);
    });
    paper.addEventListener('pointermove', (event) => {
      if (event.buttons & 1 && this.last) this.line(this.place(event));
    });
    for (const end of ['pointerup', 'pointercancel']) {
      paper.addEventListener(end, () => { this.last = null; });
    }
    paper.addEventListener('dragover', (event) => {
      event.preventDefault();
      paper.classList.add('over');
    });
    paper.addEventListener('dragleave', () => paper.classList.remove('over'));
    paper.addEventListener('drop', (event) => {
      event.preventDefault();
      paper.classList.remove('over');
      const [file] = event.dataTransfer.files;
      if (file) this.open(file);
    });
  }

  clear() {
    this.source = this.paper; // A picture of one's own is kept in its own resolution.
    this.context.fillStyle = '#000';
    this.context.fillRect(0, 0, this.paper.width, this.paper.height);
  }

  place(event) {
    const { left, top, width, height } = this.paper.getBoundingClientRect();
    return [
      ((event.clientX - left) / width) * this.paper.width,
      ((event.clientY - top) / height) * this.paper.height,
    ];
  }

  line(to) {
    const { context } = this;
    Object.assign(context, {
      strokeStyle: '#fff', lineCap: 'round', lineJoin: 'round', lineWidth: PEN * this.paper.width,
    });
    context.beginPath();
    context.moveTo(...this.last);
    context.lineTo(...to);
    context.stroke();
    this.last = to;
    this.given(this.image());
  }

  /** Puts a picture on the paper: whole, and as light on dark where the model has one channel. */
  async open(file) {
    let picture;
    try {
      picture = onWhite(await createImageBitmap(file));
    } catch {
      this.refused(file.name);
      return;
    }
    const { paper, shape: [height, width, channels] } = this;
    this.clear();
    // One of the model's own size is taken pixel for pixel.
    const own = picture.width === width && picture.height === height;
    this.source = own ? blank(width, height) : blank(paper.width, paper.height);
    const scale = Math.min(this.source.width / picture.width, this.source.height / picture.height);
    const size = [picture.width * scale, picture.height * scale];
    const corner = [(this.source.width - size[0]) / 2, (this.source.height - size[1]) / 2];
    const context = this.source.getContext('2d');
    context.drawImage(picture, ...corner, ...size);
    if (channels === 1 && !own && lightEdge(picture)) {
      context.globalCompositeOperation = 'difference'; // Inverts.
      context.fillStyle = '#fff';
      context.fillRect(...corner, ...size);
    }
    this.context.drawImage(this.source, 0, 0, paper.width, paper.height);
    this.given(this.image());
  }

  /** What was given as an image of the model. */
  image() {
    const [height, width, channels] = this.shape;
    const { source } = this;
    if (source.width === width && source.height === height) return read(source, channels);
    const small = blank(width, height);
    const context = small.getContext('2d');
    const box = channels === 1 && this.fill < 1 ? this.box() : null;
    if (box) {
      // As MNIST was made: the drawing fills a box, with its centre of mass in the middle.
      const scale = (this.fill * Math.min(width, height)) / Math.max(box.width, box.height);
      const x = width / 2 - (box.massX - box.x) * scale;
      const y = height / 2 - (box.massY - box.y) * scale;
      const frame = [box.x, box.y, box.width, box.height];
      context.drawImage(source, ...frame, x, y, box.width * scale, box.height * scale);
    } else {
      context.drawImage(source, 0, 0, width, height);
    }
    return read(small, channels);
  }

  /** What is drawn: its frame and its centre of mass. */
  box() {
    const { width, height } = this.source;
    const image = read(this.source, 1);
    let [left, right, top, bottom, mass, massX, massY] = [width, -1, height, -1, 0, 0, 0];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const value = image[y * width + x];
        if (value < INK) continue;
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
        mass += value;
        massX += value * (x + 0.5);
        massY += value * (y + 0.5);
      }
    }
    if (!mass) return null;
    const size = { width: right - left + 1, height: bottom - top + 1 };
    return { x: left, y: top, ...size, massX: massX / mass, massY: massY / mass };
  }
}

/** Whether a picture's edge is light, as paper is. */
function lightEdge(picture) {
  const side = 16;
  const small = blank(side, side);
  small.getContext('2d').drawImage(picture, 0, 0, side, side);
  const edge = read(small, 1).filter((_, i) => {
    const [x, y] = [i % side, Math.floor(i / side)];
    return x === 0 || y === 0 || x === side - 1 || y === side - 1;
  });
  return edge.reduce((sum, value) => sum + value, 0) / edge.length > 0.5;
}
