import { join } from 'node:path'
import sharp from 'sharp'

const fonts = join(require.resolve('dejavu-fonts-ttf/package.json'), '../ttf')

export interface Line {
  readonly text: string
  /** In pixels: left, top, and the height of the font. */
  readonly left: number
  readonly top: number
  readonly height: number
  readonly upsideDown?: boolean
}

/** Lines of text in DejaVu Sans, dark on a light page, as a PNG. */
export async function page(width: number, height: number, lines: readonly Line[]): Promise<Buffer> {
  const written = await Promise.all(
    lines.map(async ({ text, left, top, height: size, upsideDown }) => {
      const line = await sharp({
        text: {
          text: `<span foreground="#202428">${text}</span>`,
          font: `DejaVu Sans ${size}`,
          fontfile: join(fonts, 'DejaVuSans.ttf'),
          dpi: 72,
          rgba: true,
        },
      })
        .png()
        .toBuffer()
      return { input: upsideDown === true ? await sharp(line).rotate(180).png().toBuffer() : line, left, top }
    }),
  )
  return sharp({ create: { width, height, channels: 3, background: '#f4f1e8' } })
    .composite(written)
    .png()
    .toBuffer()
}

const words = [
  'mill',
  'race',
  'water',
  'Wheel',
  'gate',
  'Stone',
  'flour',
  'sluice',
  'River',
  'bridge',
  'wood',
  'Spring',
]

/** A page of a few lines, one of them upside down on every other page, and what is written on it. */
export async function somePage(random: () => number): Promise<{ readonly picture: Buffer; readonly text: string }> {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(values.length * random())]!
  const count = 1 + Math.floor(4 * random())
  const turned = random() < 0.5 ? Math.floor(count * random()) : -1
  const lines = Array.from(
    { length: count },
    (_, i): Line => ({
      text: `${pick(words)} ${pick(words)} ${100 + Math.floor(900 * random())}`,
      left: 16 + Math.floor(60 * random()),
      top: 16 + 48 * i,
      height: 18 + Math.floor(9 * random()),
      upsideDown: i === turned,
    }),
  )
  const picture = await page(384, 24 + 48 * count, lines)
  return { picture, text: lines.map(({ text }) => text).join('\n') }
}
