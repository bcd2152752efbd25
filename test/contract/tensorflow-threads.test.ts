import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { seededRandom, shareThreadMemory } from '@millrace/base'
import { writeSavedModel, type DenseLayer } from '@millrace/engine'
import { affinityOf } from '@millrace/pool'
import { describeWith } from '../support/extras'
import { mlpNodes } from './support/saved-models'

/* Each worker's graph is computed by that worker's own thread, and so on that worker's own CPU. */

describeWith('tensorflow')('graphs of pinned workers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-threads-'))
  const width = 256
  afterAll(() => rmSync(folder, { recursive: true }))

  function start(cpus: readonly (number | undefined)[]): Worker[] {
    return cpus.map(
      (cpu) =>
        new Worker(join(__dirname, 'support/pinned-engine-worker.js'), {
          env: { ...process.env },
          workerData: {
            engine: 'tensorflow',
            file: { format: 'savedmodel', path: folder },
            cpus: cpu === undefined ? [] : [cpu],
            inputs: {
              features: { dtype: 'f32', shape: [rows, width], data: new Float32Array(rows * width).fill(0.5) },
            },
          },
        }),
    )
  }
  const rows = 64

  interface Answer {
    readonly tid: number
    /** The last score. */
    readonly scores: Float32Array
  }
  function answers(workers: readonly Worker[]): Promise<Answer[]> {
    return Promise.all(workers.map(async (worker) => ((await once(worker, 'message')) as [Answer])[0]))
  }

  function writeModel(): void {
    const random = seededRandom(1)
    const layer = (): DenseLayer => ({
      weights: Float32Array.from({ length: width * width }, () => (2 * random() - 1) / 16),
      bias: new Float32Array(width),
      activation: 'relu',
    })
    const mlp = mlpNodes({ width, layers: [layer(), layer(), layer(), layer()] })
    writeFileSync(join(folder, 'saved_model.pb'), writeSavedModel(mlp))
  }

  /** Nanoseconds on a CPU of every thread of this process, as its scheduler accounts them. */
  function cpuTimes(): Map<number, number> {
    return new Map(
      readdirSync('/proc/self/task').map((tid) => {
        try {
          return [Number(tid), Number(readFileSync(`/proc/self/task/${tid}/schedstat`, 'utf8').split(' ')[0])]
        } catch {
          return [Number(tid), 0]
        }
      }),
    )
  }

  function nameOf(tid: number): string {
    try {
      return readFileSync(`/proc/self/task/${tid}/comm`, 'utf8')
    } catch {
      return ''
    }
  }

  test('stay on their threads, which stay on their CPUs', async () => {
    writeModel()
    const cpus = affinityOf(process.pid, process.pid)!
    const workers = start([0, 1].map((i) => cpus[i % cpus.length]!))
    try {
      const tids = (await answers(workers)).map(({ tid }) => tid)
      const before = cpuTimes()
      const done = answers(workers)
      for (const worker of workers) worker.postMessage(400)
      await done
      const spent = new Map([...cpuTimes()].map(([tid, ns]) => [tid, ns - (before.get(tid) ?? 0)]))
      // Not all others: those of the process may do anything meanwhile, collect garbage above all.
      const ofTensorflow = [...spent].filter(([tid]) => nameOf(tid).startsWith('tf_'))
      const elsewhere = ofTensorflow.reduce((sum, [, ns]) => sum + ns, 0)
      // A graph that ran elsewhere would have cost its own thread next to nothing.
      for (const tid of tids) expect(spent.get(tid)).toBeGreaterThan(5 * elsewhere)
      expect(ofTensorflow.length).toBeGreaterThan(0)
      tids.forEach((tid, i) => expect(affinityOf(process.pid, tid)).toEqual([cpus[i % cpus.length]]))
    } finally {
      await Promise.all(workers.map((worker) => worker.terminate()))
    }
  })

  test('are one, where the threads have memory in common; it outlives the thread that loaded it', async () => {
    writeModel()
    shareThreadMemory()
    const first = start([undefined])[0]!
    const [expected] = await answers([first])
    const others = start([undefined, undefined, undefined])
    try {
      for (const { scores } of await answers(others)) expect(scores).toEqual(expected!.scores)
      first.postMessage('dispose')
      await once(first, 'exit')
      const done = answers(others)
      for (const worker of others) worker.postMessage(50)
      for (const { scores } of await done) expect(scores).toEqual(expected!.scores)
    } finally {
      await Promise.all(others.map((worker) => worker.terminate()))
    }
  })
})
