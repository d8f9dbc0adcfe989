// An exported text-to-audio student in a browser: tokenizer, noise, graphs and Griffin-Lim. Every part is that of
// audiocm.runtime in Python, so that a seed makes the same sound.

/** BERT's tokenizer (clean, lower-case, WordPiece), from the tokenizer.json of an export. */
export class Tokenizer {
  constructor(json) {
    if (json.model.type !== "WordPiece" || json.normalizer?.type !== "BertNormalizer" || !json.normalizer.lowercase) {
      throw new Error("the tokenizer is no lower-case WordPiece of BERT's kind");
    }
    this.vocabulary = new Map(Object.entries(json.model.vocab));
    this.prefix = json.model.continuing_subword_prefix;
    this.longest = json.model.max_input_chars_per_word;
    this.unknown = this.vocabulary.get(json.model.unk_token);
    this.added = new Map(json.added_tokens.map((one) => [one.content, one.id]));
    const escaped = [...this.added.keys()].map((one) => one.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.splitter = new RegExp(`(${escaped.join("|")})`, "u");
  }

  /** Returns the ids of a text, [CLS] first and [SEP] last, at most `most` of them. */
  encode(text, most) {
    const ids = text.split(this.splitter).flatMap((part) => (this.added.has(part) ? [this.added.get(part)] : this.#words(part)));
    return [this.added.get("[CLS]"), ...ids.slice(0, most - 2), this.added.get("[SEP]")];
  }

  #words(text) {
    const clean = [...text]
      .filter((c) => c !== "\0" && c !== "\uFFFD" && (/[\t\n\r]/.test(c) || !/[\p{Cc}\p{Cf}\p{Cn}\p{Co}]/u.test(c)))
      .map((c) => (/\p{White_Space}/u.test(c) ? " " : isChinese(c.codePointAt(0)) ? ` ${c} ` : c))
      .join("");
    const plain = [...clean.normalize("NFD").replace(/\p{Mn}/gu, "")].map((c) => c.toLowerCase()).join("");
    const punctuation = /([!-/:-@[-`{-~\p{P}])/u;
    return plain.split(/\p{White_Space}+/u).flatMap((word) => word.split(punctuation)).filter(Boolean).flatMap((word) => this.#pieces(word));
  }

  #pieces(word) {
    const letters = [...word], ids = [];
    if (letters.length > this.longest) return [this.unknown];
    for (let start = 0; start < letters.length; ) {
      let end = letters.length, id;
      for (; end > start; end--) {
        id = this.vocabulary.get((start ? this.prefix : "") + letters.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return [this.unknown];
      ids.push(id);
      start = end;
    }
    return ids;
  }
}

function isChinese(c) {
  const ranges = [[0x4e00, 0x9fff], [0x3400, 0x4dbf], [0x20000, 0x2a6df], [0x2a700, 0x2b73f], [0x2b740, 0x2b81f], [0x2b920, 0x2ceaf], [0xf900, 0xfaff], [0x2f800, 0x2fa1f]];
  return ranges.some(([low, high]) => c >= low && c <= high);
}

/** The 32-bit words of the Mersenne Twister mt19937, as of torch's and numpy's generators. */
export function* words(seed) {
  const state = new Uint32Array(624);
  state[0] = seed >>> 0;
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  for (;;) {
    for (let i = 0; i < 624; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    for (let y of state) {
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      yield (y ^ (y >>> 18)) >>> 0;
    }
  }
}

/** `count` normal numbers, a multiple of 16, that torch's pipelines draw for a sound's seed. */
export function drawNoise(seed, count) {
  const first = words(seed);
  first.next(); // the upper half of the drawn seed, which the generator does not keep
  const drawn = words(first.next().value), noise = new Float32Array(count);
  for (let i = 0; i < count; i++) noise[i] = (drawn.next().value & 0xffffff) * 2 ** -24;
  for (let i = 0; i < count; i += 16) {
    for (let j = i; j < i + 8; j++) {
      const radius = Math.sqrt(-2 * Math.log1p(-noise[j])), angle = 2 * Math.PI * noise[j + 8];
      [noise[j], noise[j + 8]] = [radius * Math.cos(angle), radius * Math.sin(angle)];
    }
  }
  return noise;
}

/** Fourier transforms of n values, a power of two, in place: forward for sign -1, inverse without its 1 / n for 1. */
export class Fourier {
  constructor(n) {
    this.n = n;
    this.cos = Float64Array.from({ length: n / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / n));
    this.sin = Float64Array.from({ length: n / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / n));
    this.order = new Uint32Array(n);
    for (let i = 1; i < n; i++) this.order[i] = (this.order[i >> 1] >> 1) | (i & 1 ? n >> 1 : 0);
  }

  transform(re, im, sign) {
    const { n, cos, sin, order } = this;
    for (let i = 0; i < n; i++) {
      const j = order[i];
      if (j > i) [re[i], re[j], im[i], im[j]] = [re[j], re[i], im[j], im[i]];
    }
    for (let half = 1; half < n; half *= 2) {
      const step = n / (2 * half);
      for (let start = 0; start < n; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const a = start + k, b = a + half, c = cos[k * step], s = sign * sin[k * step];
          const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
          re[b] = re[a] - x;
          im[b] = im[a] - y;
          re[a] += x;
          im[a] += y;
        }
      }
    }
  }
}

/** Returns the wav of a spectrum [bin, frame] after fast Griffin-Lim iterations (Perraudin et al. 2013). */
export function griffinLim(real, imag, frames, n, hop, iterations) {
  const bins = n / 2 + 1, pad = (n - hop) / 2, fourier = new Fourier(n), re = new Float64Array(n), im = new Float64Array(n);
  const window = Float64Array.from({ length: n }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / n));
  const total = (frames - 1) * hop + n, weight = new Float64Array(total);
  for (let f = 0; f < frames; f++) for (let i = 0; i < n; i++) weight[f * hop + i] += window[i] ** 2;
  let x = new Float64Array(frames * bins), y = new Float64Array(frames * bins), before = null;
  for (let f = 0; f < frames; f++) for (let k = 0; k < bins; k++) [x[f * bins + k], y[f * bins + k]] = [real[k * frames + f], imag[k * frames + f]];
  const magnitude = x.map((value, i) => Math.hypot(value, y[i]));
  const invert = () => {
    const wav = new Float64Array(total);
    for (let f = 0; f < frames; f++) {
      for (let k = 0; k < bins; k++) [re[k], im[k]] = [x[f * bins + k], k % (n / 2) ? y[f * bins + k] : 0];
      for (let k = 1; k < n / 2; k++) [re[n - k], im[n - k]] = [re[k], -im[k]];
      fourier.transform(re, im, 1);
      for (let i = 0; i < n; i++) wav[f * hop + i] += (re[i] / n) * window[i];
    }
    return wav.map((value, i) => value / Math.max(weight[i], 1e-8)).slice(pad, total - pad);
  };
  for (let iteration = 0; iteration < iterations; iteration++) {
    const wav = invert(), now = [new Float64Array(frames * bins), new Float64Array(frames * bins)], last = wav.length - 1;
    const at = (i) => wav[i < 0 ? -i : i > last ? 2 * last - i : i]; // reflected at both ends
    for (let f = 0; f < frames; f++) {
      for (let i = 0; i < n; i++) [re[i], im[i]] = [at(f * hop + i - pad) * window[i], 0];
      fourier.transform(re, im, -1);
      for (let k = 0; k < bins; k++) [now[0][f * bins + k], now[1][f * bins + k]] = [re[k], im[k]];
    }
    for (let i = 0; i < x.length; i++) {
      const a = now[0][i] - (before ? (0.99 / 1.99) * before[0][i] : 0), b = now[1][i] - (before ? (0.99 / 1.99) * before[1][i] : 0);
      const gain = magnitude[i] / Math.max(Math.hypot(a, b), 1e-8);
      [x[i], y[i]] = [a * gain, b * gain];
    }
    before = now;
  }
  return Float32Array.from(invert());
}

/** Fetches a file, from the browser's cache if it is there, checks its digest and tells the bytes that have come. */
async function load(url, entry, tell) {
  const cache = globalThis.caches ? await caches.open("audiocm") : null;
  const key = `${url}?${entry.sha256}`;
  let response = await cache?.match(key);
  const isStored = Boolean(response);
  response ??= await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const reader = response.body.getReader(), bytes = new Uint8Array(entry.bytes);
  let filled = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (filled + part.value.length > entry.bytes) throw new Error(`${url} is longer than audiocm.json says`);
    bytes.set(part.value, filled);
    filled += part.value.length;
    tell(part.value.length);
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  if ([...digest].map((one) => one.toString(16).padStart(2, "0")).join("") !== entry.sha256) throw new Error(`${url} is damaged`);
  if (!isStored) await cache?.put(key, new Response(bytes));
  return bytes;
}

/** A text-to-audio student of a folder that `audiocm export` wrote. */
export class TextToAudio {
  /** Loads a folder with the module onnxruntime-web; tell(share) is called with the share of bytes that have come. */
  static async load(ort, folder, tell = () => {}) {
    const model = new TextToAudio();
    model.ort = ort;
    const stored = globalThis.caches ? await caches.open("audiocm") : null, index = `${folder}/audiocm.json`;
    const response = await fetch(index).catch(() => stored?.match(index));
    if (!response?.ok) throw new Error(`${index} cannot be loaded`);
    await stored?.put(index, response.clone());
    const settings = (model.settings = await response.json());
    if (settings.format !== "audiocm-graphs-1" || settings.kind !== "text-to-audio") throw new Error(`${folder} is no text-to-audio export`);
    const names = ["tokenizer.json", ...["text_encoder", "transformer", "decoder", "vocoder"].map((name) => `${name}.onnx`)];
    const total = names.reduce((sum, name) => sum + settings.files[name].bytes, 0);
    let came = 0;
    const providers = settings.precision !== "int8" && globalThis.navigator?.gpu ? ["webgpu", "wasm"] : ["wasm"]; // int8 products are the CPU's
    const options = { executionProviders: providers, extra: { session: { qdq_matmulnbits_accuracy_level: "0" } } };
    for (const name of names) {
      const bytes = await load(`${folder}/${name}`, settings.files[name], (count) => tell((came += count) / total));
      if (name === "tokenizer.json") model.tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(bytes)));
      else model[name.split(".")[0]] = await ort.InferenceSession.create(bytes, options);
    }
    return model;
  }

  /** Returns the wav, Float32Array, of a prompt; the words of the last prompt are encoded once. */
  async make(prompt, { seconds = 4, guidance = this.settings.guidance_scale, temperature = this.settings.temperature, seed = 0 } = {}) {
    const { sample_rate, hop, n_fft, compression, channels, max_frames, iterations, max_tokens } = this.settings;
    const tensor = (data, ...shape) => new this.ort.Tensor(data instanceof BigInt64Array ? "int64" : "float32", data, shape);
    if (prompt !== this.prompt) {
      const ids = this.tokenizer.encode(prompt, max_tokens);
      const mask = tensor(BigInt64Array.from(ids, () => 1n), 1, ids.length);
      const text = await this.text_encoder.run({ ids: tensor(BigInt64Array.from(ids, BigInt), 1, ids.length), token_mask: mask });
      this.text = { tokens: text.tokens, pooled: text.pooled, token_mask: mask };
      this.prompt = prompt;
    }
    const frames = Math.max(1, Math.ceil((seconds * sample_rate) / hop / compression - 1e-9));
    const drawn = drawNoise(seed, max_frames * channels), noise = new Float32Array(frames * channels);
    for (let f = 0; f < frames; f++) for (let c = 0; c < channels; c++) noise[c * frames + f] = drawn[f * channels + c];
    const numbers = { temperature, guidance, duration: frames };
    const given = { ...this.text, noise: tensor(noise, 1, channels, frames) };
    for (const [name, value] of Object.entries(numbers)) given[name] = tensor(Float32Array.of(value), 1);
    const inputs = Object.fromEntries(this.transformer.inputNames.map((name) => [name, given[name]]));
    const { latent } = await this.transformer.run(inputs);
    const { log_mel } = await this.decoder.run({ latent });
    const { real, imag } = await this.vocoder.run({ log_mel });
    const wav = griffinLim(real.data, imag.data, real.dims[2], n_fft, hop, iterations).slice(0, Math.round(seconds * sample_rate));
    const peak = wav.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return peak > 1 ? wav.map((value) => (value * 0.99) / peak) : wav;
  }
}
