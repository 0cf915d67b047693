// Random numbers that are the same each time, so that the same drawing is filled in alike.

/** A generator of numbers uniform on [0, 1): mulberry32. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Draws what the signature `impute` takes: N(0, 1), or numbers uniform on [0, 1) where the name
 * says so.
 * @param sizes the number of values of one draw, by the name of the noise.
 * @param draws the number of draws.
 */
export function noise(sizes, draws, seed = 1) {
  const uniform = generator(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return Object.fromEntries(Object.entries(sizes).map(([name, size]) => {
    const draw = name.endsWith('uniform') ? uniform : normal;
    return [name, Float32Array.from({ length: draws * size }, draw)];
  }));
}
