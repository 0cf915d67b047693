// Images between arrays of numbers in [0, 1] and canvases.

/** Shows an image [height, width, channels] on a canvas, pixel for pixel. */
export function show(canvas, image, [height, width, channels]) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const picture = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let c = 0; c < 3; c++) {
      // Rounded and clamped to 0…255 by the array.
      picture.data[4 * pixel + c] = 255 * image[pixel * channels + (channels === 3 ? c : 0)];
    }
    picture.data[4 * pixel + 3] = 255;
  }
  canvas.getContext('2d').putImageData(picture, 0, 0);
}

/** Shows an image, with a pattern in the place of its pixels that are missing: 0 in the mask. */
export function showKnown(canvas, image, mask, [height, width, channels]) {
  show(canvas, image, [height, width, channels]);
  const context = canvas.getContext('2d');
  for (let pixel = 0; pixel < width * height; pixel++) {
    if (mask[pixel * channels]) continue;
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    context.fillStyle = (x + y) % 2 ? '#5b7fd6' : '#3557a8';
    context.fillRect(x, y, 1, 1);
  }
}

/** Shows numbers [height, width, channels] as glow: black at 0 and below, white at the largest. */
export function showHeat(canvas, values, shape) {
  const [height, width, channels] = shape;
  const sums = new Float32Array(width * height);
  values.forEach((value, i) => { sums[Math.floor(i / channels)] += value; });
  const most = Math.max(...sums, 1e-9);
  const picture = new Float32Array(3 * sums.length);
  sums.forEach((sum, pixel) => {
    const t = Math.max(0, sum / most);
    picture.set([Math.min(1, 2 * t), Math.max(0, 1.5 * t - 0.5), Math.max(0, 4 * t - 3)], 3 * pixel);
  });
  show(canvas, picture, [height, width, 3]);
}

/** Empties a canvas, and gives it the size of an image that will come. */
export function empty(canvas, [height, width]) {
  Object.assign(canvas, { width, height });
}

/** Reads a canvas as an image [height, width, channels]. */
export function read(canvas, channels) {
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const image = new Float32Array(width * height * channels);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const [r, g, b] = data.subarray(4 * pixel, 4 * pixel + 3);
    if (channels === 3) image.set([r / 255, g / 255, b / 255], 3 * pixel);
    // ITU-R 601 luma in whole numbers, as files are read while a model trains.
    else image[pixel] = ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) / 255;
  }
  return image;
}

/** A canvas that is on no page. */
export function blank(width, height) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  context.fillRect(0, 0, width, height);
  return canvas;
}

/** A picture on a canvas of its size, on white where it is transparent, as models are trained. */
export function onWhite(picture) {
  const canvas = blank(picture.width, picture.height);
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, picture.width, picture.height);
  context.drawImage(picture, 0, 0);
  return canvas;
}
