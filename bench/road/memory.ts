import { measure, rssBytes } from '@millrace/load'
import { figure } from '../report'
import { startMillrace } from '../servers'
import { inFolder, type Suite } from '../suite'
import { mlp } from '../workloads/mlp'
import { loadOf, scenarios } from './scenarios'

export const memory: Suite = {
  name: 'memory',
  about: 'resident memory after 0.5 and after 5 million requests',
  usual: false,
  run: async ({ smoke, say }) => {
    const results = await benchMemory(smoke ? 20_000 : 5_000_000, say)
    const { early, late, requests } = results
    const mib = (bytes: number): string => `${figure(bytes / 2 ** 20)} MiB`
    const grown = figure((late / early - 1) * 100)
    return { results, text: `after a tenth ${mib(early)}, after ${figure(requests)} requests ${mib(late)}: ${grown} %` }
  },
}

/** The same load for as long as it takes to answer `requests`, and what the server's memory was at both marks. */
function benchMemory(
  requests: number,
  say: (line: string) => void,
): Promise<{ early: number; late: number; requests: number }> {
  return inFolder(async (folder) => {
    const { env, traffic } = await mlp.prepare(folder)
    const server = await startMillrace(env)
    try {
      let done = 0
      let early = 0
      while (done < requests) {
        const { good } = await measure(server, loadOf(scenarios[0]!, traffic), { warmMsMax: 0, measureMs: 1000 })
        done += good
        if (early === 0 && done >= requests / 10) early = rssBytes(server.pid)
        say(`${figure(done)} requests, ${figure(rssBytes(server.pid) / 2 ** 20)} MiB`)
      }
      return { early, late: rssBytes(server.pid), requests: done }
    } finally {
      await server.stop()
    }
  })
}
