import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measure, scenarios, startProcess } from './measure'

/** Bytes that the front thread allocates on its heap for each WebSocket request, by the sampling heap profiler. */
export async function benchHeap(measureMs: number): Promise<{ bytesPerRequest: number; requests: number }> {
  const file = join(mkdtempSync(join(tmpdir(), 'millrace-heap-')), 'bytes')
  const hook = `--require ${join(__dirname, 'heap-hook.js')}`
  const server = await startProcess('server-process.js', { NODE_OPTIONS: hook, MEASURED_HEAP_FILE: file })
  try {
    const { lanePid } = await server.batches()
    // Warm first: what is compiled then is not allocated for a request.
    await measure(server, scenarios[0]!, { warmMs: 0, measureMs: 1000 }, false)
    const before = await server.batches()
    process.kill(lanePid, 'SIGUSR2')
    await measure(server, scenarios[0]!, { warmMs: 0, measureMs }, false)
    process.kill(lanePid, 'SIGUSR2')
    const after = await server.batches()
    const requests = after.rows - before.rows
    return { bytesPerRequest: Number(await fileWritten(file)) / requests, requests }
  } finally {
    await server.stop()
  }
}

async function fileWritten(file: string): Promise<string> {
  for (let i = 0; i < 100; i++) {
    if (existsSync(file) && readFileSync(file, 'utf8') !== '') return readFileSync(file, 'utf8')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('the lane wrote no heap figure')
}
