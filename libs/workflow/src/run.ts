import { Code, nowUs } from '@millrace/base'
import type { BatchColumns } from '@millrace/batch'
import { isDeviceLost, isOutOfMemory, type Tensors } from '@millrace/engine'
import { BatchContext, type BatchSink, type Phase } from './context'
import { isAway, readFacts } from './facts'
import { isPromise } from './is-promise'
import type { LoadedVersion } from './loaded'
import { mapInputs, mapOutputs } from './map-columns'
import { runParts, runSmaller } from './run-parts'

/**
 * The worker's half of the road, the same in the server, in tests and offline: facts, preprocess, score, postprocess;
 * where a workflow has several models, facts and its own `score`.
 *
 * What user code, the store or the engine throws goes to `sink.failed`, and every request of the batch that was not
 * refused before is refused with INTERNAL. A batch that runs out of memory runs again in parts (run-parts.ts). Rejects
 * only when the device is lost: then nothing of this thread runs any more. Only steps that are asynchronous are awaited.
 */
export async function runBatch(version: LoadedVersion, columns: BatchColumns, sink: BatchSink): Promise<void> {
  const { workflow, model, store, modelInputs } = version
  if (columns.rows > version.fitting.limit) return runParts(runBatch, version, columns, sink)
  const heapUsed = columns.cursor.used
  const batch = new BatchContext(columns, version.lists, sink)
  let phase: Phase = 'facts'
  try {
    if (store !== null && workflow.facts.length > 0) {
      const begun = nowUs()
      const reading = readFacts(workflow.facts, store, batch, sink)
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
      carried = workflow.preprocess(batch as never, modelInputs.into as never)
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
      const writing = workflow.postprocess(batch as never, from, carried)
      if (isPromise(writing)) await writing
    } else if (model !== null) mapOutputs(version, from, batch)
  } catch (error) {
    if (isOutOfMemory(error)) {
      columns.cursor.used = heapUsed
      return runSmaller(runBatch, version, columns, sink, error)
    }
    if (isDeviceLost(error)) throw error
    sink.failed(phase, error)
    // A store that cannot be asked now is no bug of the workflow: what it says is for the caller.
    if (phase === 'facts' && isAway(error)) return refuseAll(batch, error.code, error.message)
    const message = `${version.label} failed in ${phase}; the server's log has the error`
    refuseAll(batch, Code.INTERNAL, message)
  }
}

function refuseAll(batch: BatchContext, code: Code, message: string): void {
  for (let request = 0; request < batch.requests; request++) batch.refuse(request, code, message)
}

const noTensors: Tensors = {}
