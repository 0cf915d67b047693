// Networks in TFLite files, run by LiteRT.js on WebGPU, or in WebAssembly where there is none.

import { getWebGpuDevice, loadAndCompile, loadLiteRt, Tensor } from './litert/litert.js';

const FAST = 8; // Milliseconds: half a frame. A graphics driver in software takes longer.

let last = Promise.resolve(); // The runtime does one thing at a time.

/** The runtime writes all it has to say as errors; what is none of them is for those who debug. */
function tell(text) {
  const level = /^(INFO|WARNING|[IW]\d{4} )/.test(text) ? 'debug' : 'error';
  console[level](text);
}

/** Loads the runtime; returns the accelerators to try, the best first. */
export async function start(wish) {
  self.Module = { print: tell, printErr: tell }; // Where the runtime's loader looks for it.
  await loadLiteRt('litert/litert_wasm_compat_internal.js');
  const found = getWebGpuDevice() ? ['webgpu', 'wasm'] : ['wasm'];
  return found.includes(wish) ? [wish] : found;
}

export class Network {
  constructor(model, accelerator) {
    this.model = model;
    this.accelerator = accelerator;
  }

  /** Loads a file on the first accelerator that is fast, or on the fastest there is. */
  static async load(address, accelerators) {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`${address}: ${response.status} ${response.statusText}`);
    const content = new Uint8Array(await response.arrayBuffer());
    let best, problem;
    for (const accelerator of accelerators) {
      let network;
      try {
        network = await Network.compile(content, accelerator);
      } catch (error) {
        problem = error;
        continue;
      }
      const slower = !best || network.milliseconds < best.milliseconds ? best : network;
      slower?.model.delete();
      best = slower === network ? best : network;
      if (best.milliseconds < FAST) break;
    }
    if (!best) throw problem;
    return best;
  }

  static async compile(content, accelerator) {
    const gpuOptions = { precision: 'fp32' };
    const model = await loadAndCompile(content, { accelerator, gpuOptions });
    if (accelerator !== 'wasm' && !model.isFullyAccelerated) {
      model.delete();
      throw new Error(`Not all of it runs on ${accelerator}.`);
    }
    const network = new Network(model, accelerator);
    try {
      await network.run(network.zeros()); // The first run prepares the others.
      const began = performance.now();
      await network.run(network.zeros());
      network.milliseconds = performance.now() - began;
    } catch (error) {
      model.delete();
      throw error;
    }
    return network;
  }

  /** The inputs of a signature, or of the first one. */
  details(signature) {
    return (signature ? this.model.signatures[signature] : this.model).getInputDetails();
  }

  zeros() {
    const size = (shape) => shape.reduce((product, n) => product * n, 1);
    const details = this.details();
    return Object.fromEntries(details.map((d) => [d.name, new Float32Array(size(d.shape))]));
  }

  /** Maps arrays of inputs by name to arrays of outputs by name, each a batch of one. */
  run(inputs, signature) {
    const result = last.then(() => this.#run(inputs, signature));
    last = result.catch(() => {});
    return result;
  }

  async #run(inputs, signature) {
    const given = {};
    for (const { name, shape } of this.details(signature)) {
      given[name] = new Tensor(inputs[name], [...shape]);
    }
    try {
      const results = await (signature ? this.model.run(signature, given) : this.model.run(given));
      const outputs = {};
      for (const [name, tensor] of Object.entries(results)) {
        outputs[name] = Float32Array.from(await tensor.data());
        tensor.delete();
      }
      return outputs;
    } finally {
      for (const tensor of Object.values(given)) tensor.delete();
    }
  }
}
