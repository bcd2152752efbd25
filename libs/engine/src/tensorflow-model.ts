import { Code, denseArray, Refusal, Strings } from '@millrace/base'
import { checkInputs } from './check-inputs'
import type { Model, Tensor, Tensors, TensorSpec } from './engine'
import type { SignaturePort } from './saved-model'
import type { GraphSession } from './tensorflow-session'

/** A graph with its tensors' names. One C call runs a batch. */
export class TensorflowModel implements Model {
  readonly inputs: readonly TensorSpec[]
  readonly outputs: readonly TensorSpec[]
  private readonly given: Tensor[] = []
  private readonly results: Record<string, Tensor> = {}
  private disposed = false

  /** Owns `session` from now on, also when it throws. */
  constructor(
    path: string,
    private readonly session: GraphSession,
    inputs: readonly SignaturePort[],
    outputs: readonly SignaturePort[],
  ) {
    try {
      session.connect(inputs, outputs)
      this.inputs = inputs.map(({ name, dtype, shape }) => {
        if (shape === null)
          throw new Refusal(
            Code.UNIMPLEMENTED,
            `${path}: input \`${name}\` does not say how many dimensions it has; save the model with an input signature`,
          )
        return { name, dtype, shape }
      })
      const shapes = outputs.some(({ shape }) => shape === null) ? shapesByRunning(path, session, this.inputs) : null
      this.outputs = outputs.map(({ name, dtype, shape }, i) => ({ name, dtype, shape: shape ?? shapes![i]! }))
    } catch (error) {
      session.close()
      throw error
    }
  }

  // `async` only to turn what is thrown into a rejection: nothing here waits.
  // eslint-disable-next-line @typescript-eslint/require-await
  async run(inputs: Tensors): Promise<Tensors> {
    if (this.disposed) throw new Error('the model was disposed')
    checkInputs(this.inputs, inputs)
    for (let i = 0; i < this.inputs.length; i++) this.given[i] = inputs[this.inputs[i]!.name]!
    const answer = this.session.run(this.given)
    for (let i = 0; i < this.outputs.length; i++) this.results[this.outputs[i]!.name] = answer[i]!
    return this.results
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    this.session.close()
  }
}

/** Outputs' shapes where the graph does not say them: what differs between one row of zeros and two is free. */
function shapesByRunning(path: string, session: GraphSession, inputs: readonly TensorSpec[]): TensorSpec['shape'][] {
  try {
    const [one, two] = [1, 2].map((rows) => session.run(inputs.map((spec) => zeros(spec, rows))).map((t) => t.shape))
    return one!.map((shape, i) => shape.map((n, d) => (two![i]![d] === n ? n : null)))
  } catch (error) {
    throw new Refusal(
      Code.UNIMPLEMENTED,
      `${path}: an output does not say how many dimensions it has, and rows of zeros do not run: ` +
        (error as Error).message,
    )
  }
}

/** A tensor of zeros or empty strings; free dimensions are `rows`. */
export function zeros(spec: TensorSpec, rows: number): Tensor {
  const shape = spec.shape.map((n) => n ?? rows)
  const elements = shape.reduce((product, n) => product * n, 1)
  const data =
    spec.dtype === 'string' ? Strings.of(Array.from({ length: elements }, () => '')) : denseArray(spec.dtype, elements)
  return { dtype: spec.dtype, shape, data }
}
