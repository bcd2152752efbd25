import type { ModelFile, TensorSpec } from './engine'
import { engineFor } from './engines'

/** What a model file declares, as the engine that would run it sees it. */
export interface Inspection {
  readonly engine: string
  readonly inputs: readonly TensorSpec[]
  readonly outputs: readonly TensorSpec[]
}

/** Loads the model, reads its signature and lets it go again. Rejects with the engine's reason when it does not load. */
export async function inspect(file: ModelFile, preferred: readonly string[] = []): Promise<Inspection> {
  const kind = engineFor(file.format, preferred)
  const engine = await kind.create({ threads: 1, device: 'cpu' })
  try {
    const model = await engine.load(file)
    const { inputs, outputs } = model
    model.dispose()
    return { engine: kind.name, inputs, outputs }
  } finally {
    engine.dispose()
  }
}
