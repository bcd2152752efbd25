import { rssBytes } from '../cpu'
import { figure } from '../report'
import { measure, scenarios, startProcess } from './measure'

/** The same load for as long as it takes to answer `requests`, and what the server's memory was at both marks. */
export async function benchMemory(
  requests: number,
  onProgress: (line: string) => void,
): Promise<{ early: number; late: number; requests: number }> {
  const server = await startProcess('server-process.js')
  try {
    const scenario = scenarios[0]!
    let done = 0
    let early = 0
    while (done < requests) {
      const { replies } = await measure(server, scenario, { warmMs: 0, measureMs: 1000 }, false)
      done += replies
      if (early === 0 && done >= requests / 10) early = rssBytes(server.pid)
      onProgress(`${figure(done)} requests, ${figure(rssBytes(server.pid) / 2 ** 20)} MiB`)
    }
    return { early, late: rssBytes(server.pid), requests: done }
  } finally {
    await server.stop()
  }
}
