import { runOpenLoad, type OpenLoadOptions } from './open-load'

/* A process that loads; forked, so that the load's CPU is not the server's. */
process.on('message', (options: OpenLoadOptions) => {
  const tell = (what: unknown): void => void process.send!(what)
  runOpenLoad(options, (phase) => tell({ phase })).then(
    (results) => tell({ results }),
    (error: unknown) => tell({ error: error instanceof Error ? error.message : String(error) }),
  )
})
