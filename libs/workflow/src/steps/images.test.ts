import { Strings, type Code } from '@millrace/base'
import sharp from 'sharp'
import { decodeImages, type ImageOptions, type ImageSizes } from './index'

type Pixel = readonly number[]
const [red, green, blue, white] = [
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
  [255, 255, 255],
] as const

/** A PNG of these rows of pixels. */
function png(rows: readonly (readonly Pixel[])[]): Promise<Buffer> {
  const channels = rows[0]![0]!.length as 3
  return sharp(Buffer.from(rows.flat(2)), { raw: { width: rows[0]!.length, height: rows.length, channels } })
    .png()
    .toBuffer()
}

interface Outcome {
  readonly values: number[]
  readonly sizes: ImageSizes
  readonly refused: Record<number, string>
}

async function decode(
  images: readonly Uint8Array[],
  options: ImageOptions,
  { requestOf = images.map((_, i) => i), into = Float32Array as typeof Float32Array | typeof Uint8Array } = {},
): Promise<Outcome> {
  const refused: Record<number, string> = {}
  const batch = {
    requestOf: Uint32Array.from(requestOf),
    inputs: { image: Strings.of(images) },
    refuse: (request: number, _: Code, message: string) => void (refused[request] ??= message),
    isRefused: (request: number) => request in refused,
  }
  const array = new into(images.length * options.width * options.height * (options.channels ?? 3)).fill(77)
  const sizes = await decodeImages(batch, 'image', array, options)
  return { values: [...array], sizes, refused }
}

describe('decodeImages', () => {
  const two = { width: 2, height: 1 }

  it('gives channels last or first, of many formats', async () => {
    const image = await png([[red, blue]])
    expect((await decode([image], { ...two, scale: 1 })).values).toEqual([255, 0, 0, 0, 0, 255])
    expect((await decode([image], { ...two, layout: 'channels-first' })).values).toEqual([1, 0, 0, 0, 0, 1])
    const lossless = [
      await sharp(image).webp({ lossless: true }).toBuffer(),
      await sharp(image).tiff({ compression: 'lzw' }).toBuffer(),
      await sharp(image).gif().toBuffer(),
    ]
    for (const other of lossless)
      expect((await decode([other], two, { into: Uint8Array })).values).toEqual([255, 0, 0, 0, 0, 255])
    const grey = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#808080' } })
      .jpeg()
      .toBuffer()
    expect((await decode([grey], { ...two, channels: 1, scale: 1 })).values).toEqual([128, 128])
  })

  it('normalises by channel', async () => {
    const mean = [0.5, 0, 0.25]
    const deviation = [0.5, 1, 0.25]
    const { values } = await decode([await png([[red, white]])], { ...two, mean, deviation })
    values.forEach((value, i) => expect(value).toBeCloseTo([1, 0, -1, 1, 1, 3][i]!, 5))
  })

  it('takes grey, transparent and 16-bit pictures as 8-bit colours', async () => {
    const one = { width: 1, height: 1, scale: 1 }
    const images = [
      await sharp(Buffer.of(100), { raw: { width: 1, height: 1, channels: 1 } })
        .png()
        .toBuffer(),
      await png([[[10, 20, 30, 128]]]),
      await sharp(Buffer.from(Uint16Array.of(65535, 0, 257 * 99).buffer), { raw: { width: 1, height: 1, channels: 3 } })
        .toColourspace('rgb16')
        .png()
        .toBuffer(),
    ]
    const { values, refused } = await decode(images, one)
    expect(refused).toEqual({})
    expect(values.slice(0, 6)).toEqual([100, 100, 100, 10, 20, 30])
    expect(values.slice(6).every((value) => value >= 0 && value <= 255)).toBe(true)
  })

  it('resizes, and says the size that was; a picture that lies on its side is turned', async () => {
    const image = await png([
      [red, red, green, green],
      [red, red, green, green],
    ])
    const near = { width: 2, height: 2, kernel: 'nearest', scale: 1 } as const
    const { values, sizes } = await decode([image], near)
    expect(values).toEqual([red, green, red, green].flat())
    expect([sizes.widths[0], sizes.heights[0]]).toEqual([4, 2])
    const turned = await sharp(image).withMetadata({ orientation: 6 }).png().toBuffer()
    const upright = await decode([turned], near)
    expect(upright.values).toEqual([red, red, green, green].flat())
    expect([upright.sizes.widths[0], upright.sizes.heights[0]]).toEqual([2, 4])
    const contained = (await decode([image], { ...near, fit: 'contain' })).values
    expect(contained.filter((value) => value === 0)).toHaveLength(2 * 3 + 2 * 2)
    expect((await decode([image], { ...near, fit: 'cover' })).values).toEqual([red, green, red, green].flat())
  })

  it('refuses only the request of a bad image, with column and row', async () => {
    const good = await png([[red, blue]])
    const jpeg = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#123456' } })
      .jpeg()
      .toBuffer()
    const images = [good, Buffer.from('no image'), good, Buffer.alloc(0), jpeg.subarray(0, jpeg.length / 2)]
    const { values, refused } = await decode(images, two, { requestOf: [0, 0, 1, 2, 3], into: Uint8Array })
    expect(refused).toEqual({
      0: expect.stringMatching(/^inputs.image\[1\]: no image that can be decoded/),
      2: 'inputs.image[0]: no bytes, so no image',
      3: expect.stringMatching(/^inputs.image\[0\]: no image that can be decoded/),
    })
    expect(values.slice(12, 18)).toEqual([255, 0, 0, 0, 0, 255])
    expect(values.slice(6, 12)).toEqual([0, 0, 0, 0, 0, 0])
    // One a request: no row to name.
    const perRequest = await decode([Buffer.from('?'), good], two, { requestOf: [0, 0, 1] })
    expect(perRequest.refused[0]).toMatch(/^inputs.image: no image/)
  })

  it('refuses a small file of very many pixels before it is decoded', async () => {
    const bomb = await sharp({
      create: { width: 8_000, height: 8_000, channels: 3, background: '#000' },
      limitInputPixels: false,
    })
      .png({ compressionLevel: 9 })
      .toBuffer()
    expect(bomb.length).toBeLessThan(2_000_000)
    const before = process.memoryUsage.rss()
    const { refused } = await decode([bomb, await png([[red, red]])], two)
    expect(refused).toEqual({
      0: 'inputs.image[0]: an image of 8000 x 8000 is 64000000 pixels; at most 16777216 are decoded',
    })
    // Decoded, it would be 192 MB.
    expect(process.memoryUsage.rss() - before).toBeLessThan(120 * 2 ** 20)
    expect((await decode([await png([[red, red]])], { ...two, pixelsMax: 1 })).refused[0]).toContain('at most 1 are')
  })

  it('does not read what is no picture of pixels', async () => {
    const svg = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    )
    expect((await decode([svg], two)).refused[0]).toContain('an image of format svg; jpeg, png,')
  })

  it('says what does not fit together', async () => {
    const batch = {
      requestOf: new Uint32Array(1),
      inputs: { image: Strings.of(['']) },
      refuse: jest.fn(),
      isRefused: () => false,
    }
    await expect(decodeImages(batch, 'image', new Float32Array(5), two)).rejects.toThrow(
      "'image' has 1 images of 2 x 1 x 3, 6 elements; the array has 5",
    )
    await expect(decodeImages(batch, 'image', new Float32Array(6), { ...two, mean: [1] })).rejects.toThrow(
      'mean has 1 values for 3 channels',
    )
    await expect(decodeImages(batch, 'image', new Uint8Array(6), { ...two, scale: 2 })).rejects.toThrow(
      'bytes are not normalised',
    )
  })
})
