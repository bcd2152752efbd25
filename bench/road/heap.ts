import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { measure } from '@millrace/load'
import { figure } from '../report'
import { startMillrace } from '../servers'
import { inFolder, type Suite } from '../suite'
import { mlp } from '../workloads/mlp'
import { loadOf, scenarios } from './scenarios'

export const heap: Suite = {
  name: 'heap',
  about: 'bytes that the front thread allocates for a WebSocket request',
  usual: true,
  run: async ({ smoke }) => {
    const results = await benchHeap(smoke ? 300 : 3000)
    return { results, text: `heap of the front thread: ${figure(results.bytesPerRequest)} bytes a WebSocket request` }
  },
}

/** Bytes that the front thread allocates on its heap for each WebSocket request, by the sampling heap profiler. */
function benchHeap(measureMs: number): Promise<{ bytesPerRequest: number; requests: number }> {
  return inFolder(async (folder) => {
    const file = join(folder, 'bytes')
    const hook = `--require ${join(__dirname, 'heap-hook.js')}`
    const { env, traffic } = await mlp.prepare(folder)
    const server = await startMillrace({ ...env, NODE_OPTIONS: hook, MEASURED_HEAP_FILE: file })
    const load = loadOf(scenarios[0]!, traffic)
    try {
      const { lanePid } = await server.batches()
      // Warm first: what is compiled then is not allocated for a request.
      await measure(server, load, { warmMsMax: 0, measureMs: 1000 })
      const before = await server.batches()
      process.kill(lanePid, 'SIGUSR2')
      await measure(server, load, { warmMsMax: 0, measureMs })
      process.kill(lanePid, 'SIGUSR2')
      const after = await server.batches()
      const requests = after.rows - before.rows
      return { bytesPerRequest: Number(await fileWritten(file)) / requests, requests }
    } finally {
      await server.stop()
    }
  })
}

async function fileWritten(file: string): Promise<string> {
  for (let i = 0; i < 100; i++) {
    if (existsSync(file) && readFileSync(file, 'utf8') !== '') return readFileSync(file, 'utf8')
    await sleep(50)
  }
  throw new Error('the lane wrote no heap figure')
}
