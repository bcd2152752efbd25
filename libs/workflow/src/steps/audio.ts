export interface FrameOptions {
  /** Samples of a frame. */
  readonly size: number
  /** Samples from one frame's begin to the next one's. */
  readonly hop: number
  /** Each frame times a Hann window (periodic), as spectra want it; default `none`. */
  readonly window?: 'none' | 'hann'
}

/**
 * Samples cut into frames that may overlap: `[frames, size]`, row-major. The last frame is padded with zeros where samples
 * end within it; no samples are no frames.
 *
 * Throws a RangeError when `size` or `hop` is not a positive integer.
 */
export function frames(samples: Float32Array, { size, hop, window = 'none' }: FrameOptions): Float32Array {
  if (!(Number.isInteger(size) && size > 0 && Number.isInteger(hop) && hop > 0))
    throw new RangeError(`frames: size ${size} and hop ${hop} are positive integers`)
  const count = samples.length === 0 ? 0 : 1 + Math.max(0, Math.ceil((samples.length - size) / hop))
  const out = new Float32Array(count * size)
  for (let frame = 0; frame < count; frame++) out.set(samples.subarray(frame * hop, frame * hop + size), frame * size)
  if (window === 'hann')
    for (let i = 0; i < out.length; i++) out[i]! *= 0.5 - 0.5 * Math.cos((2 * Math.PI * (i % size)) / size)
  return out
}

/** Zero crossings of the filter on either side. */
const lobes = 16

/**
 * Samples of `from` Hz at `to` Hz, `ceil(samples * to / from)` of them: a sinc under a Hann window, cut off at the lower
 * of both rates' halves so that nothing folds back. The same rate is a copy.
 *
 * Throws a RangeError when a rate is not positive.
 */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  if (!(from > 0 && to > 0)) throw new RangeError(`resample: rates ${from} and ${to} are positive`)
  if (from === to) return samples.slice()
  const out = new Float32Array(Math.ceil((samples.length * to) / from))
  const cutoff = Math.min(1, to / from)
  const reach = lobes / cutoff
  for (let i = 0; i < out.length; i++) {
    const centre = (i * from) / to
    const first = Math.max(0, Math.ceil(centre - reach))
    const last = Math.min(samples.length - 1, Math.floor(centre + reach))
    let sum = 0
    for (let j = first; j <= last; j++) {
      const x = (j - centre) * cutoff
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)
      sum += samples[j]! * sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / lobes))
    }
    out[i] = sum * cutoff
  }
  return out
}
