import sharp from 'sharp'
import type { Box } from './boxes'

/** A decoded picture: 3 bytes a pixel. */
export interface Picture {
  readonly pixels: Buffer
  readonly width: number
  readonly height: number
}

/** Null for what is no picture. */
export async function decode(bytes: Buffer): Promise<Picture | null> {
  try {
    // A copy: what a batch lies in is shared memory, which sharp does not take.
    const { data, info } = await sharp(Buffer.from(bytes))
      .flatten({ background: 'white' })
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true })
    return { pixels: data, width: info.width, height: info.height }
  } catch {
    return null
  }
}

/** `box` of the picture, upside down if need be, as `width` by `height` pixels. */
export async function cut(
  { pixels, ...size }: Picture,
  box: Box,
  width: number,
  height: number,
  turned = false,
): Promise<Picture> {
  const part = sharp(pixels, { raw: { ...size, channels: 3 } }).extract({
    left: box.left,
    top: box.top,
    width: box.right - box.left,
    height: box.bottom - box.top,
  })
  const upright = turned ? sharp(await part.rotate(180).png().toBuffer()) : part
  return { pixels: await upright.resize(width, height, { fit: 'fill' }).raw().toBuffer(), width, height }
}

/**
 * Writes a picture into a tensor of `[3, height, width]` floats, blue first, normalised as `(x / 255 - mean) / deviation`;
 * `width` may be more than the picture's, and what is right of it stays as it is.
 */
export function toPlanes(
  { pixels, width: pictureWidth, height }: Picture,
  width: number,
  { mean, deviation }: Normalisation,
  into: Float32Array,
): void {
  for (let channel = 0; channel < 3; channel++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < pictureWidth; x++)
        into[(channel * height + y) * width + x] =
          (pixels[(y * pictureWidth + x) * 3 + 2 - channel]! / 255 - mean[channel]!) / deviation[channel]!
}

export interface Normalisation {
  readonly mean: readonly number[]
  readonly deviation: readonly number[]
}
