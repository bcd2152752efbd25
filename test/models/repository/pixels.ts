import sharp from 'sharp'

/** Images, whatever their format and size, as RGB of `size` by `size`: one after the other, 3 bytes a pixel. */
export async function decodeImages(images: readonly Buffer[], size: number): Promise<Uint8Array> {
  const out = new Uint8Array(images.length * size * size * 3)
  const decoded = await Promise.all(
    images.map(
      (
        image, // A copy: what a batch lies in is shared memory, which sharp does not take.
      ) =>
        sharp(Buffer.from(image))
          .removeAlpha()
          .resize(size, size, { fit: 'fill' })
          .toColourspace('srgb')
          .raw()
          .toBuffer(),
    ),
  )
  decoded.forEach((pixels, row) => out.set(pixels, row * size * size * 3))
  return out
}
