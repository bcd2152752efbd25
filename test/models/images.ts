import sharp from 'sharp'

type Colour = readonly [red: number, green: number, blue: number]

interface Blob {
  /** Centre and radii as parts of width and height. */
  readonly x: number
  readonly y: number
  readonly rx: number
  readonly ry: number
  readonly colour: Colour
}

/** A picture of soft-edged ellipses over a gradient, as a PNG. The pixels are ours, so that they are the same everywhere. */
export function picture(
  width: number,
  height: number,
  top: Colour,
  bottom: Colour,
  blobs: readonly Blob[],
): Promise<Buffer> {
  const canvas = new Float64Array(width * height * 3)
  for (let at = 0; at < canvas.length; at++) {
    const down = Math.floor(at / (3 * width)) / height
    canvas[at] = top[at % 3]! + (bottom[at % 3]! - top[at % 3]!) * down
  }
  for (const blob of blobs) paint(canvas, width, height, blob)
  const pixels = Buffer.from(canvas.map(Math.round))
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer()
}

/** With an edge three pixels wide, and lit from above. */
function paint(canvas: Float64Array, width: number, height: number, { x, y, rx, ry, colour }: Blob): void {
  const edge = Math.min(rx * width, ry * height) / 3
  const [left, right] = [Math.max(0, Math.floor((x - rx) * width)), Math.min(width, Math.ceil((x + rx) * width))]
  const [above, below] = [Math.max(0, Math.floor((y - ry) * height)), Math.min(height, Math.ceil((y + ry) * height))]
  for (let row = above; row < below; row++)
    for (let col = left; col < right; col++) {
      const distance = Math.hypot((col / width - x) / rx, (row / height - y) / ry)
      const cover = Math.min(1, Math.max(0, (1 - distance) * edge))
      const light = 1 - 0.25 * distance * distance
      for (let i = 0; i < 3; i++) {
        const at = (row * width + col) * 3 + i
        canvas[at] = canvas[at]! * (1 - cover) + colour[i]! * light * cover
      }
    }
}

/** A face as a child would paint it, its centre at `x`, `y` and `size` wide, all parts of the picture's width. */
export function face(width: number, x: number, y: number, size: number): Promise<Buffer> {
  const part = (dx: number, dy: number, rx: number, ry: number, colour: Colour): Blob => ({
    x: x + dx * size,
    y: y + dy * size,
    rx: rx * size,
    ry: ry * size,
    colour,
  })
  const skin: Colour = [224, 172, 140]
  const dark: Colour = [50, 35, 30]
  const both = (dx: number, dy: number, rx: number, ry: number, colour: Colour): Blob[] =>
    [-dx, dx].map((one) => part(one, dy, rx, ry, colour))
  return picture(
    width,
    width,
    [150, 170, 190],
    [90, 100, 110],
    [
      part(0, -0.12, 0.55, 0.7, [60, 40, 30]),
      part(0, 0.75, 0.3, 0.4, [200, 150, 120]),
      part(0, 0, 0.5, 0.66, skin),
      ...both(0.2, -0.24, 0.12, 0.03, dark),
      ...both(0.2, -0.13, 0.1, 0.05, [240, 240, 240]),
      ...both(0.2, -0.13, 0.045, 0.045, dark),
      part(0, 0.05, 0.07, 0.16, [232, 182, 150]),
      ...both(0.04, 0.17, 0.025, 0.015, [150, 100, 80]),
      part(0, 0.33, 0.17, 0.05, [180, 80, 80]),
    ],
  )
}

/** Ellipses anywhere. */
export function scene(random: () => number): Promise<Buffer> {
  const colour = (): Colour => [256 * random(), 256 * random(), 256 * random()]
  const width = 160 + Math.floor(200 * random())
  const blobs = Array.from({ length: 6 }, () => ({
    x: random(),
    y: random(),
    rx: 0.05 + 0.3 * random(),
    ry: 0.05 + 0.3 * random(),
    colour: colour(),
  }))
  return picture(width, 160 + Math.floor(200 * random()), colour(), colour(), blobs)
}
