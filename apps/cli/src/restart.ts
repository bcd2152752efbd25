import { askAdmin, type AdminOptions } from './ask-admin'
import { Exit, print, printJson, table } from './output'

/** Lanes start one after the other, each for as long as its versions take. */
const silenceMsMax = 60 * 60_000

interface Restarted {
  readonly lanes: readonly {
    readonly lane: number
    readonly pid: number
    readonly startMs: number
    readonly drainMs: number
  }[]
}

/** Replaces the lanes of a server, one after the other, while it serves; throws where one cannot be. */
export async function restart(options: AdminOptions): Promise<number> {
  const { lanes } = (await askAdmin(options, 'POST', '/v1/restart', undefined, silenceMsMax)) as Restarted
  if (options.json === true) printJson({ lanes })
  else
    print(
      table([
        ['lane', 'process', 'started in', 'drained in'],
        ...lanes.map(({ lane, pid, startMs, drainMs }) => [`${lane}`, `${pid}`, `${startMs} ms`, `${drainMs} ms`]),
      ]),
    )
  return Exit.good
}
