import { Worker } from 'node:worker_threads'

/* A message that is never done with holds its thread for good: another one watches. */

const secondsMax = 60
const wordBytes = 512
const memory = new SharedArrayBuffer(8 + wordBytes)
const beat = new Int32Array(memory, 0, 2)
const text = new Uint8Array(memory, 8)
let worker: Worker | null = null

/** What is begun now; null: nothing more. What takes longer than a minute or two is told, and the process ends. */
export function watch(doing: string | null): void {
  if (doing === null) {
    void worker?.terminate()
    worker = null
    return
  }
  beat[1] = new TextEncoder().encodeInto(doing, text).written
  Atomics.add(beat, 0, 1)
  worker ??= new Worker(watcher, { eval: true, workerData: { memory, secondsMax } })
  worker.unref()
}

const watcher = `
const { workerData: { memory, secondsMax } } = require('node:worker_threads')
const beat = new Int32Array(memory, 0, 2)
for (;;) {
  const seen = beat[0]
  Atomics.wait(beat, 0, seen, secondsMax * 1000)
  if (beat[0] !== seen) continue
  const text = Buffer.from(new Uint8Array(memory, 8, beat[1])).toString()
  require('node:fs').writeSync(2, 'not done after ' + secondsMax + ' s: npm run fuzz -- ' + text + '\\n')
  process.kill(process.pid, 'SIGABRT')
}`
