import { Code, nowUs, type DenseArray, type DenseDType } from '@millrace/base'
import type { Tensor, Tensors } from '@millrace/engine'
import type { BatchColumns } from '@millrace/batch'
import { BatchContext, type BatchSink, type Phase } from './context'
import { readFacts } from './facts'
import { isPromise } from './is-promise'
import type { LoadedVersion } from './loaded'

/**
 * The worker's half of the road, the same in the server, in tests and offline: facts, preprocess, score, postprocess;
 * where a workflow has several models, facts and its own `score`.
 *
 * Never rejects: what user code, the store or the engine throws goes to `sink.failed`, and every request of the
 * batch that was not refused before is refused with INTERNAL. Only steps that are asynchronous are awaited.
 */
export async function runBatch(version: LoadedVersion, columns: BatchColumns, sink: BatchSink): Promise<void> {
  const { workflow, model, store, modelInputs } = version
  const batch = new BatchContext(columns, version.lists, sink)
  let phase: Phase = 'facts'
  try {
    if (store !== null && workflow.facts.length > 0) {
      const begun = nowUs()
      const reading = readFacts(workflow.facts, store, batch)
      if (reading !== undefined) await reading
      sink.factsUs = nowUs() - begun
      if (batch.refusedRequests === batch.requests) return
    }

    if (workflow.score !== null) {
      phase = 'score'
      version.runs.begin()
      const scoring = workflow.score(batch as never, version.runs.byName)
      if (isPromise(scoring)) await scoring
      sink.scoreUs = version.runs.end()
      return
    }

    phase = 'preprocess'
    modelInputs.begin()
    let carried: unknown
    if (workflow.preprocess === null) mapInputs(version, batch)
    else {
      carried = workflow.preprocess(batch as never, modelInputs.into)
      if (isPromise(carried)) carried = await carried
    }
    if (batch.refusedRequests === batch.requests) return

    let from: Tensors = noTensors
    if (model !== null) {
      modelInputs.check()
      phase = 'score'
      const begun = nowUs()
      from = await model.run(modelInputs.tensors)
      sink.scoreUs = nowUs() - begun
    }

    phase = 'postprocess'
    if (workflow.postprocess !== null) {
      const writing = workflow.postprocess(
        batch as never,
        from as Readonly<Record<string, Tensor<DenseDType>>>,
        carried,
      )
      if (isPromise(writing)) await writing
    } else if (model !== null) mapOutputs(version, from, batch)
  } catch (error) {
    sink.failed(phase, error)
    const message = `${version.label} failed in ${phase}; the server's log has the error`
    for (let request = 0; request < batch.requests; request++) batch.refuse(request, Code.INTERNAL, message)
  }
}

const noTensors: Tensors = {}

/** Input columns as the model inputs of the same names, without a copy; columns per request are spread over the rows. */
function mapInputs(version: LoadedVersion, batch: BatchContext): void {
  for (const { column, width, inner } of version.mappedInputs) {
    const data = batch.inputs[column.name] as DenseArray
    const give = version.modelInputs.into[column.name]!
    const shape = [batch.rows, ...inner]
    if (column.per === 'row') {
      give(shape, data)
      continue
    }
    const rows = give(shape) as Float32Array
    for (let i = 0; i < batch.rows; i++) {
      const begin = batch.requestOf[i]! * width
      for (let j = 0; j < width; j++) rows[i * width + j] = (data as Float32Array)[begin + j]!
    }
  }
}

/** Model outputs into the output columns of the same names. */
function mapOutputs(version: LoadedVersion, from: Tensors, batch: BatchContext): void {
  for (const { column } of version.mappedOutputs) {
    const tensor = from[column.name]
    const into = batch.outputs[column.name] as DenseArray
    if (tensor === undefined) throw new Error(`the model gave no output '${column.name}'`)
    if (tensor.data.length !== into.length)
      throw new Error(
        `model output '${column.name}' has shape [${tensor.shape.join(',')}]; ` +
          `${batch.rows} rows of [${column.shape.join(',')}] were expected`,
      )
    ;(into as Float32Array).set(tensor.data as Float32Array)
  }
}
