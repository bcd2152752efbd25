import { Code, type Strings } from '@millrace/base'
import type Sharp from 'sharp'

export interface ImageOptions {
  /** Pixels of the result. */
  readonly width: number
  readonly height: number
  /** 3, the default, is red, green, blue; 1 is grey. Transparency is left out. */
  readonly channels?: 1 | 3
  /** `channels-last`, the default: `[rows, height, width, channels]`. `channels-first`: `[rows, channels, height, width]`. */
  readonly layout?: 'channels-first' | 'channels-last'
  /** `fill`, the default, stretches; `cover` cuts what stands out; `contain` leaves black beside it. */
  readonly fit?: 'fill' | 'cover' | 'contain'
  readonly kernel?: 'nearest' | 'linear' | 'cubic' | 'mitchell' | 'lanczos2' | 'lanczos3'
  /** A value is `(byte * scale - mean) / deviation`; default 1 / 255. */
  readonly scale?: number
  /** By channel; default 0 and 1. */
  readonly mean?: readonly number[]
  readonly deviation?: readonly number[]
  /** Largest image that is decoded: an image says its size before it is decoded. Default 16,777,216, 4096 x 4096. */
  readonly pixelsMax?: number
}

/** Width and height of each image before it was resized, upright; 0 where it was refused. */
export interface ImageSizes {
  readonly widths: Uint32Array
  readonly heights: Uint32Array
}

/** What the step needs of a batch whose column `K` is of bytes. */
interface ImageBatch<K extends string> {
  readonly requestOf: Uint32Array
  readonly inputs: { readonly [P in K]: Strings }
  refuse(request: number, code: Code, message: string): void
  isRefused(request: number): boolean
}

const formats = ['jpeg', 'png', 'webp', 'gif', 'tiff', 'heif']
const pixelsMaxDefault = 4096 * 4096
/** Images decoded at once; more would only hold more memory. */
const atOnce = 4

/**
 * JPEG, PNG, WebP, GIF (its first picture), TIFF and AVIF images of the bytes column `column`, one a row (or one a request),
 * decoded, turned upright, resized and normalised into `into`, as f32 or, without normalising, as the u8 that they are:
 *
 *     await steps.decodeImages(batch, 'image', into.x([batch.rows, 224, 224, 3]), { width: 224, height: 224 })
 *
 * Asynchronous for the whole batch. What is no image, is broken or has more than `pixelsMax` pixels refuses its own request
 * (INVALID_ARGUMENT, with column and row) and leaves zeros.
 *
 * Rejects with an Error when `into` is not of `images x height x width x channels` elements, or the library is not there.
 */
export async function decodeImages<K extends string>(
  batch: ImageBatch<K>,
  column: K,
  into: Float32Array | Uint8Array,
  options: ImageOptions,
): Promise<ImageSizes> {
  const images = batch.inputs[column]
  const { width, height, channels = 3, pixelsMax = pixelsMaxDefault } = options
  const size = width * height * channels
  if (into.length !== images.length * size)
    throw new RangeError(
      `decodeImages: '${column}' has ${images.length} images of ${width} x ${height} x ${channels}, ` +
        `${images.length * size} elements; the array has ${into.length}`,
    )
  const write = writerOf(into, options)
  const sharp = loadSharp()
  const sizes = { widths: new Uint32Array(images.length), heights: new Uint32Array(images.length) }
  const perRequest = images.length !== batch.requestOf.length
  let next = 0
  const decodeSome = async (): Promise<void> => {
    for (let i = next++; i < images.length; i = next++) {
      const request = perRequest ? i : batch.requestOf[i]!
      into.fill(0, i * size, (i + 1) * size)
      if (batch.isRefused(request)) continue
      const found = await decode(sharp, images.bytes(i), options, pixelsMax)
      if (typeof found === 'string') {
        const row = perRequest ? '' : `[${i - batch.requestOf.indexOf(request)}]`
        batch.refuse(request, Code.INVALID_ARGUMENT, `inputs.${column}${row}: ${found}`)
        continue
      }
      sizes.widths[i] = found.width
      sizes.heights[i] = found.height
      write(found.pixels, i * size)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, images.length) }, decodeSome))
  return sizes
}

interface Decoded {
  readonly width: number
  readonly height: number
  /** Row-major, channels last. */
  readonly pixels: Uint8Array
}

/** The image, or why there is none. */
async function decode(
  sharp: typeof Sharp,
  bytes: Buffer,
  { width, height, channels = 3, fit = 'fill', kernel = 'lanczos3' }: ImageOptions,
  pixelsMax: number,
): Promise<Decoded | string> {
  if (bytes.length === 0) return 'no bytes, so no image'
  // A copy: what a batch lies in is shared memory, which the library does not take.
  // The library's own limit says no sizes; ours is held below.
  const image = sharp(Buffer.from(bytes), { limitInputPixels: false, failOn: 'error' })
  try {
    const head = await image.metadata()
    if (!formats.includes(head.format)) return `an image of format ${head.format}; ${formats.join(', ')} are taken`
    const pixels = head.width * head.height
    if (pixels > pixelsMax)
      return `an image of ${head.width} x ${head.height} is ${pixels} pixels; at most ${pixelsMax} are decoded`
    const upright = head.autoOrient
    const decoded = await image
      .autoOrient()
      .removeAlpha()
      .toColourspace(channels === 3 ? 'srgb' : 'b-w')
      .resize(width, height, { fit, kernel, background: '#000' })
      .raw({ depth: 'uchar' })
      .toBuffer()
    return { width: upright.width, height: upright.height, pixels: decoded }
  } catch (error) {
    return `no image that can be decoded (${(error as Error).message.split('\n')[0]!})`
  }
}

function writerOf(into: Float32Array | Uint8Array, options: ImageOptions): (pixels: Uint8Array, at: number) => void {
  const { width, height, channels = 3, layout = 'channels-last', scale, mean, deviation } = options
  for (const [name, values] of Object.entries({ mean, deviation }))
    if (values !== undefined && values.length !== channels)
      throw new RangeError(`decodeImages: ${name} has ${values.length} values for ${channels} channels`)
  const bytes = into.BYTES_PER_ELEMENT === 1
  if (bytes && (scale ?? mean ?? deviation) !== undefined)
    throw new RangeError(
      'decodeImages: bytes are not normalised; leave scale, mean and deviation out, or give a Float32Array',
    )
  const area = width * height
  const [pixelStep, channelStep] = layout === 'channels-last' ? [channels, 1] : [1, area]
  return (pixels, at) => {
    if (pixels.length !== area * channels) throw new Error(`sharp gave ${pixels.length} bytes for ${area * channels}`)
    for (let c = 0; c < channels; c++) {
      // value = byte * factor + shift
      const factor = bytes ? 1 : (scale ?? 1 / 255) / (deviation?.[c] ?? 1)
      const shift = bytes ? 0 : -(mean?.[c] ?? 0) / (deviation?.[c] ?? 1)
      let to = at + c * channelStep
      for (let from = c; from < pixels.length; from += channels, to += pixelStep)
        into[to] = pixels[from]! * factor + shift
    }
  }
}

let loaded: typeof Sharp | undefined

/** Only where a workflow decodes images; one thread an image, and no cache of results. */
function loadSharp(): typeof Sharp {
  if (loaded !== undefined) return loaded
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  loaded = require('sharp') as typeof Sharp
  loaded.concurrency(1)
  loaded.cache(false)
  return loaded
}
