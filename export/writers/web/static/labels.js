// Labels that do not lie on each other.

const ROUNDS = 500;

/**
 * Moves boxes {x, y, width, height} by their centres until none lies on another, each as little as
 * it takes, within a square of `size`.
 */
export function apart(boxes, size) {
  const moved = boxes.map((box) => ({ ...box }));
  for (let round = 0; round < ROUNDS; round++) {
    let still = true;
    for (let i = 0; i < moved.length; i++) {
      for (let j = i + 1; j < moved.length; j++) {
        const [a, b] = [moved[i], moved[j]];
        const [dx, dy] = [b.x - a.x, b.y - a.y];
        const across = (a.width + b.width) / 2 - Math.abs(dx);
        const down = (a.height + b.height) / 2 - Math.abs(dy);
        if (across <= 0 || down <= 0) continue;
        still = false;
        // Along the axis on which they overlap less, and a little more than half the way each.
        const axis = across < down ? 'x' : 'y';
        const step = 0.51 * Math.min(across, down) + 0.01;
        const sign = Math.sign(axis === 'x' ? dx : dy) || 1;
        a[axis] -= sign * step;
        b[axis] += sign * step;
      }
    }
    for (const box of moved) {
      box.x = Math.min(size - box.width / 2, Math.max(box.width / 2, box.x));
      box.y = Math.min(size - box.height / 2, Math.max(box.height / 2, box.y));
    }
    if (still) break;
  }
  return moved;
}
