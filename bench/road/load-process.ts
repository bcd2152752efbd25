import { runLoad, type LoadOptions } from './load'

/* A process that loads; forked, so that the load's CPU is not the server's. */
process.on('message', (options: LoadOptions) => {
  const tell = (what: unknown): void => void process.send!(what)
  runLoad(
    options,
    () => tell('begin'),
    () => tell('end'),
  ).then(
    (result) => tell({ result }),
    (error: unknown) => tell({ error: error instanceof Error ? error.message : String(error) }),
  )
})
