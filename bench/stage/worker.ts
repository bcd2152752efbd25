import { strict as assert } from 'node:assert'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { Arena, nowUs } from '@millrace/base'
import { Header, layoutSlab } from '@millrace/batch'
import type { Model } from '@millrace/engine'
import { makeSeats } from '@millrace/pool'
import type { RunTask } from '@millrace/worker'
import { createHandler, Thread } from '@millrace/worker/in-process'
import { figure, median, table } from '../report'
import { signature } from './fixtures'

export interface WorkerResult {
  readonly rows: number
  /** Medians over batches, microseconds a row. */
  readonly engineUs: number
  readonly overheadUs: number
}

/**
 * What a worker adds to a batch: its handler, called as Piscina calls it, on batches of 64 floats in shared memory;
 * the calls of the engine's `run` are timed apart.
 */
export async function benchWorker(batches: number): Promise<WorkerResult[]> {
  const arena = new Arena(1 << 20, 4096)
  const thread = Thread.start({
    memory: arena.memory,
    repository: '',
    device: 'cpu',
    seats: makeSeats([[]]),
    engines: [],
    engineThreads: 1,
    facts: '',
    factsTimeoutMs: 100,
    memoryBytes: null,
  })
  const handler = createHandler(thread)
  const entered = new Float64Array(new SharedArrayBuffer(24))
  const path = join(__dirname, '../../repository/workflows/mlp-64/1')
  await handler({ kind: 'load', version: 0, folder: { name: 'mlp-64', version: 1, path, workflowFile: null }, entered })
  const version = thread.version(0)!.loaded
  const engine = timed(version.model!)
  const results: WorkerResult[] = []
  for (const rows of [1, 128]) {
    const layout = layoutSlab(signature, 512)
    const bytes = arena.blockBytes(layout.heap)
    const offset = arena.take(bytes)
    const header = new Uint32Array(arena.memory, offset, 16)
    header[Header.rows] = header[Header.requests] = rows
    new Uint32Array(arena.memory, offset + layout.requestOf, rows).forEach((_, i, of) => (of[i] = i))
    // Somebody waits for all of them.
    new Uint32Array(arena.memory, offset + layout.deadlines, rows).fill(2 ** 32 - 1)
    const openedUs = new Float64Array(arena.memory, offset + 4 * Header.openedUs, 1)
    new Float32Array(arena.memory, offset + layout.inputs[0]!, rows * 64).forEach((_, i, x) => (x[i] = (i % 64) / 64))
    const task: RunTask = { kind: 'run', version: 0, rowsMax: 512, offset, blockBytes: bytes }
    const scores = new Float32Array(arena.memory, offset + layout.outputs[0]!, rows)
    const engineUs: number[] = []
    const overheadUs: number[] = []
    for (let i = 0; i < batches; i++) {
      scores.fill(NaN)
      engine.us = 0
      openedUs[0] = nowUs()
      const begun = performance.now()
      await handler(task)
      const us = (performance.now() - begun) * 1000
      assert(header[Header.refused] === 0 && scores.every((score) => score === scores[0] && score > 0))
      if (i < batches / 5) continue
      engineUs.push(engine.us / rows)
      overheadUs.push((us - engine.us) / rows)
    }
    arena.release(offset)
    results.push({ rows, engineUs: median(engineUs), overheadUs: median(overheadUs) })
  }
  version.dispose()
  return results
}

export function workerTable(results: readonly WorkerResult[]): string {
  return table([
    ['rows a batch', 'engine, us a row', 'all else, us a row', 'all else, us a batch'],
    ...results.map(({ rows, engineUs, overheadUs }) => [
      String(rows),
      figure(engineUs),
      figure(overheadUs),
      figure(overheadUs * rows),
    ]),
  ])
}

/** Times every `run` of the model, from its call until its promise is settled. */
function timed(model: Model): { us: number } {
  const engine = { us: 0 }
  const run = model.run.bind(model)
  model.run = async (inputs) => {
    const begun = performance.now()
    const outputs = await run(inputs)
    engine.us += (performance.now() - begun) * 1000
    return outputs
  }
  return engine
}
