import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A Python wheel that an install takes files from; nothing of it is run by Python. */
export interface Wheel {
  readonly name: string
  readonly version: string
  readonly platform: string
  readonly sha256: string
  /** Of the wheel. */
  readonly bytes: number
  /** Of what is taken from it. */
  readonly unpackedBytes: number
}

/** What an install is made of; the folder of `tensorflowManifest`, read. */
export interface Recipe {
  readonly folder: string
  readonly gpu: boolean
  readonly wheels: readonly Wheel[]
  /** Of everything above: what was begun by another recipe is not continued. */
  readonly digest: string
}

/** Bytes of the npm packages, of what is compiled, and some air. */
export const packagesBytes = 350e6

export function readRecipe(folder: string, gpu: boolean): Recipe {
  const hash = createHash('sha256').update(JSON.stringify({ gpu }))
  for (const name of readdirSync(folder).sort()) hash.update(name).update(readFileSync(join(folder, name)))
  const wheels = JSON.parse(readFileSync(join(folder, 'wheels.json'), 'utf8')) as Record<string, Wheel[]>
  return { folder, gpu, wheels: wheels[gpu ? 'gpu' : 'cpu']!, digest: hash.digest('hex') }
}

/** Where a file of a wheel goes, from the folder of the install; null: it is not needed. */
export function placeOf(path: string): string | null {
  const library = /^tensorflow\/(libtensorflow_(?:cc|framework)\.so\.2)$/.exec(path)
  if (library !== null) return `lib/${library[1]}`
  const header = /^tensorflow\/(include\/.*(?:\/c\/|platform\/ctstring).*\.h)$/.exec(path)
  if (header !== null) return header[1]!
  // TensorFlow looks for CUDA and cuDNN in `../nvidia` from where it lies.
  return /^nvidia\/[^/]+\/(?:lib|bin|nvvm)\/.*[^/]$/.test(path) && !/\.(?:py|a)$/.test(path) ? path : null
}
