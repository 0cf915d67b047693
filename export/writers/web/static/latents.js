// The geometry of latents: plain arrays of numbers, no page.

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** Puts z where the model's latents lie. */
export function placed(z, space) {
  const length = Math.sqrt(dot(z, z));
  return space === 'sphere' && length > 0 ? z.map((value) => value / length) : z;
}

/** A plane in latent space, in coordinates (u, v) around its centre. */
export class Plane {
  constructor({ centre, axes, extent }, space) {
    Object.assign(this, { centre, axes, extent, space });
  }

  /** Where z is on the plane. */
  project(z) {
    const offset = this.centre.map((value, i) => z[i] - value);
    return this.axes.map((axis) => dot(axis, offset));
  }

  /** z moved along the plane to (u, v); what of it is off the plane stays. */
  moved(z, u, v) {
    const [oldU, oldV] = this.project(z);
    const [a, b] = this.axes;
    const target = z.map((value, i) => value + (u - oldU) * a[i] + (v - oldV) * b[i]);
    return placed(target, this.space);
  }
}

/** The point at share t of the way from a to b: straight, or along the sphere. */
export function between(a, b, t, space) {
  if (space === 'sphere') {
    const angle = Math.acos(Math.min(1, Math.max(-1, dot(a, b))));
    if (angle > 1e-4 && angle < Math.PI - 1e-4) {
      const left = Math.sin((1 - t) * angle) / Math.sin(angle);
      const right = Math.sin(t * angle) / Math.sin(angle);
      return a.map((value, i) => left * value + right * b[i]);
    }
  }
  return placed(a.map((value, i) => (1 - t) * value + t * b[i]), space);
}

/** The index of the nearest of the points. */
export function nearest(points, z) {
  let best = -1;
  let least = Infinity;
  points.forEach((point, index) => {
    let distance = 0;
    for (let i = 0; i < z.length && distance < least; i++) distance += (point[i] - z[i]) ** 2;
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}
