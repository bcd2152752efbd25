import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { Strings, type DenseArray, type DenseDType } from '@millrace/base'
import type { Model, ModelFile, Tensor, Tensors, TensorSpec } from '@millrace/engine'

interface TensorHeader {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  readonly bytes?: number
  readonly text?: readonly string[]
}

/**
 * Loads models where they come from: an engine whose models are computed by home.py. A workflow that is loaded with
 * it answers what its network's home framework says.
 */
export class Home {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>
  private received = Buffer.alloc(0)
  private wake: () => void = () => undefined
  private ended = false

  constructor(python: string) {
    this.child = spawn(python, [join(__dirname, 'home.py')], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.child.stdout.on('data', (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes])
      this.wake()
    })
    this.child.on('exit', () => {
      this.ended = true
      this.wake()
    })
  }

  /** As `Engines.load`. */
  async load(file: ModelFile): Promise<{ model: Model; engine: string }> {
    this.send({ load: file })
    const { model, inputs, outputs } = (await this.line()) as {
      model: number
      inputs: TensorSpec[]
      outputs: TensorSpec[]
    }
    return {
      engine: 'home',
      model: { inputs, outputs, run: (tensors) => this.run(model, tensors), dispose: () => undefined },
    }
  }

  end(): void {
    this.child.stdin.end()
  }

  private async run(model: number, tensors: Tensors): Promise<Tensors> {
    const given = Object.entries(tensors)
    const headers = given.map(([name, { dtype, shape, data }]): TensorHeader => {
      if (data instanceof Strings) return { name, dtype, shape, text: data.toArray() }
      return { name, dtype, shape, bytes: data.byteLength }
    })
    this.send({ run: model, tensors: headers })
    for (const [, { data }] of given) if (!(data instanceof Strings)) this.child.stdin.write(bytesOf(data))
    const answer = (await this.line()) as { tensors: TensorHeader[] }
    const outputs: Record<string, Tensor> = {}
    for (const { name, dtype, shape, bytes, text } of answer.tensors) {
      const data = text === undefined ? arrayOf(dtype as DenseDType, await this.bytes(bytes!)) : Strings.of(text)
      outputs[name] = { dtype, shape, data } as Tensor
    }
    return outputs
  }

  private send(message: object): void {
    this.child.stdin.write(`${JSON.stringify(message)}\n`)
  }

  private async line(): Promise<unknown> {
    for (;;) {
      const end = this.received.indexOf(10)
      if (end >= 0) return JSON.parse((await this.bytes(end + 1)).toString('utf8'))
      await this.more()
    }
  }

  private async bytes(length: number): Promise<Buffer> {
    while (this.received.length < length) await this.more()
    const bytes = this.received.subarray(0, length)
    this.received = this.received.subarray(length)
    return bytes
  }

  private more(): Promise<void> {
    if (this.ended) throw new Error('the home framework ended; what it said is above')
    return new Promise((resolve) => (this.wake = resolve))
  }
}

const arrays = {
  f32: Float32Array,
  f64: Float64Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
  bool: Uint8Array,
} as const

function arrayOf(dtype: DenseDType, bytes: Buffer): DenseArray {
  // Copied: a typed array begins where its elements are aligned.
  return new arrays[dtype as keyof typeof arrays](new Uint8Array(bytes).buffer)
}

function bytesOf(data: DenseArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}
