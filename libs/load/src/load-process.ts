import { windowMs } from './warm'
import { pinProcess } from '@millrace/pool'
import { RunningLoad, type Load, type LoadPart, type Loaded } from './load'

/*
 * A process of a load, forked, so that the load's CPU is not the server's. It lives as long as the channel.
 */

export type ToLoad =
  /** On these CPUs; wherever the kernel puts it where there are none. */
  | { readonly start: { readonly load: Load; readonly part: LoadPart; readonly cpus: readonly number[] } }
  | 'begin'
  | 'end'

export type FromLoad =
  | 'started'
  /** Replies so far, each `windowMs`, until the begin. */
  | { readonly replies: number }
  | { readonly loaded: Loaded }
  | { readonly error: string }

const tell = (what: FromLoad): void => void process.send?.(what)
const fail = (error: unknown): void => tell({ error: error instanceof Error ? error.message : String(error) })
let running: RunningLoad | null = null
let windows: NodeJS.Timeout | undefined

process.on('message', (message: ToLoad) => {
  if (message === 'begin') {
    clearInterval(windows)
    running!.begin()
  } else if (message === 'end') {
    const loaded = running!.end()
    running!.close()
    tell({ loaded })
  } else {
    const { load, part, cpus } = message.start
    const { error } = pinProcess(cpus)
    if (error !== null) return fail(error)
    RunningLoad.start(load, part, fail).then((started) => {
      running = started
      tell('started')
      windows = setInterval(() => tell({ replies: started.replies }), windowMs)
    }, fail)
  }
})
process.on('disconnect', () => process.exit())
