import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Code, Refusal } from '@millrace/base'
import type { io } from '@tensorflow/tfjs-core'

/** A weight as TFJS would hold it: float32, int32, bool or complex64 as bytes of TensorFlow's order, or texts. */
export interface TfjsWeight {
  readonly dtype: 'float32' | 'int32' | 'bool' | 'string' | 'complex64'
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
  /** Of `string`. */
  readonly texts: readonly Uint8Array[]
}

/** The files that a manifest names, in its order; `path` is the model.json beside them. */
export function readShards(path: string, manifest: io.WeightsManifestConfig): Buffer[] {
  return manifest
    .flatMap((group) => group.paths)
    .map((shard) => {
      try {
        return readFileSync(join(dirname(path), shard))
      } catch {
        throw new Refusal(Code.FAILED_PRECONDITION, `${path} names the weight file ${shard}, which is not beside it`)
      }
    })
}

/** All weights by name, quantised ones as the numbers that they stand for. */
export function decodeWeights(manifest: io.WeightsManifestConfig, shards: readonly Buffer[]): Map<string, TfjsWeight> {
  const bytes = Buffer.concat(shards)
  const weights = new Map<string, TfjsWeight>()
  let at = 0
  for (const { name, shape, dtype, quantization } of manifest.flatMap((group) => group.weights)) {
    const elements = shape.reduce((product, n) => product * n, 1)
    if (dtype === 'string') {
      const texts: Uint8Array[] = []
      for (let i = 0; i < elements; i++) {
        const length = bytes.readUInt32LE(at)
        texts.push(bytes.subarray(at + 4, at + 4 + length))
        at += 4 + length
      }
      weights.set(name, { dtype, shape, bytes: new Uint8Array(0), texts })
      continue
    }
    const stored = quantization?.dtype ?? dtype
    const length = elements * storedBytes[stored]!
    if (at + length > bytes.length) throw new Error(`weight \`${name}\` ends beyond its files`)
    const raw = bytes.subarray(at, at + length)
    at += length
    if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool' && dtype !== 'complex64')
      throw new Error(`weight \`${name}\` is of type ${dtype as string}`)
    weights.set(name, { dtype, shape, texts: [], bytes: quantization ? dequantise(raw, dtype, quantization) : raw })
  }
  return weights
}

const storedBytes: Readonly<Record<string, number>> = {
  float32: 4,
  int32: 4,
  bool: 1,
  complex64: 8,
  float16: 2,
  uint8: 1,
  uint16: 2,
}

function dequantise(raw: Buffer, dtype: string, { dtype: stored, scale, min }: NonNullable<Quantization>): Uint8Array {
  const elements = raw.length / storedBytes[stored]!
  const out = dtype === 'int32' ? new Int32Array(elements) : new Float32Array(elements)
  for (let i = 0; i < elements; i++) {
    if (stored === 'float16') out[i] = float16(raw.readUInt16LE(2 * i))
    else {
      const value = (stored === 'uint8' ? raw[i]! : raw.readUInt16LE(2 * i)) * scale! + min!
      out[i] = dtype === 'int32' ? Math.round(value) : value
    }
  }
  return new Uint8Array(out.buffer)
}
type Quantization = io.WeightsManifestEntry['quantization']

/** IEEE 754 binary16. */
function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
