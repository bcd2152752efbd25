import { basename, relative, sep } from 'node:path'
import { watch } from 'chokidar'
import type { Log, Server } from '@millrace/server'

/** Editors write a file in several steps, and several files at once. */
const settleMs = 100

/**
 * Reloads the server when a file of its repository changes: what serves goes on until what replaces it is loaded, and
 * when that fails. The log says what changed, how long it took, and what is wrong. Resolves when it watches.
 */
export async function reloadOnChange(
  server: Server,
  repository: string,
  log: Log,
): Promise<{ close(): Promise<void> }> {
  const changed = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let reloading: Promise<void> = Promise.resolve()

  const reload = async (): Promise<void> => {
    if (changed.size === 0) return
    const files = [...changed].sort()
    changed.clear()
    const what = `${files.slice(0, 3).join(', ')}${files.length > 3 ? ` and ${files.length - 3} more` : ''} changed`
    const begun = performance.now()
    try {
      await server.reload()
      log.info({ files }, `${what}: reloaded in ${Math.round(performance.now() - begun)} ms`)
    } catch (error) {
      log.error(
        { files },
        `${what}, what served before goes on: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
  }

  const watcher = watch(repository, { ignoreInitial: true, ignored: (path) => isIgnored(relative(repository, path)) })
  watcher.on('all', (_, path) => {
    changed.add(relative(repository, path))
    clearTimeout(timer)
    timer = setTimeout(() => {
      reloading = reloading.then(reload)
    }, settleMs)
  })
  await new Promise<void>((resolve, reject) => watcher.once('ready', resolve).once('error', reject))
  return {
    close: async () => {
      clearTimeout(timer)
      await watcher.close()
      await reloading
    },
  }
}

/** What no version is made of: facts, which are written while they are read, examples, and half-written files. */
function isIgnored(path: string): boolean {
  const [top] = path.split(sep)
  return top === 'facts' || top === 'requests' || path.includes('node_modules') || /^[._]|~$/.test(basename(path))
}
