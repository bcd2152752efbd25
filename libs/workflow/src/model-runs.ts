import { nowUs } from '@millrace/base'
import type { Model, Tensor, Tensors, TensorSpec } from '@millrace/engine'
import type { RunModel } from './declare'
import { messageOf } from './message-of'
import { tensorData } from './tensors'

interface NamedModel {
  readonly name: string
  readonly model: Model
}

/** The models that a workflow's `score` runs. One thread owns them and one batch at a time uses them. */
export class ModelRuns {
  /** What `score` gets. */
  readonly byName: Readonly<Record<string, RunModel>>
  private readonly runs: readonly Run[]

  constructor(models: readonly NamedModel[]) {
    this.runs = models.map(({ name, model }) => new Run(name, model))
    this.byName = Object.fromEntries(this.runs.map((run) => [run.name, run as RunModel]))
  }

  /** Before each batch. */
  begin(): void {
    for (const run of this.runs) run.us = 0
  }

  /** Microseconds that the models ran since `begin`. Throws an Error that names the model that `score` did not wait for. */
  end(): number {
    let us = 0
    for (const run of this.runs) {
      if (run.underWay) throw new Error(`score ended before ${run.label} had: await models.${run.name}.run(...)`)
      us += run.us
    }
    return us
  }
}

class Run implements RunModel {
  readonly inputs: readonly TensorSpec[]
  readonly outputs: readonly TensorSpec[]
  readonly label: string
  us = 0
  underWay = false

  constructor(
    readonly name: string,
    private readonly model: Model,
  ) {
    this.label = `model '${name}'`
    this.inputs = model.inputs
    this.outputs = model.outputs
  }

  run(inputs: Tensors): Promise<Tensors> {
    const answer = this.answer(inputs)
    // A run that nobody waits for must not end the thread; `ModelRuns.end` names it.
    answer.catch(() => undefined)
    return answer
  }

  /** The engine sees to names, dtypes and shapes; not to what holds the numbers. */
  private checked(inputs: Tensors): Tensors {
    let changed: Record<string, Tensor> | null = null
    for (const spec of this.inputs) {
      const tensor = inputs[spec.name]
      if (tensor?.dtype !== spec.dtype) continue
      const data = tensorData(spec, tensor.data)
      if (data !== tensor.data) (changed ??= { ...inputs })[spec.name] = { ...tensor, data } as Tensor
    }
    return changed ?? inputs
  }

  private async answer(inputs: Tensors): Promise<Tensors> {
    if (this.underWay) throw new Error(`${this.label} runs already: await the run before`)
    this.underWay = true
    const begun = nowUs()
    try {
      return await this.model.run(this.checked(inputs))
    } catch (error) {
      throw new Error(`${this.label}: ${messageOf(error)}`, { cause: error })
    } finally {
      this.us += nowUs() - begun
      this.underWay = false
    }
  }
}
