import { createServer, type AddressInfo } from 'node:net'

/**
 * The port itself when nobody listens there, or a free one for 0. Rejects with an Error that names the variable and
 * what to do.
 */
export function freePort(variable: string, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE'
          ? 'is in use: stop the other server, or choose another'
          : `cannot be opened (${error.code ?? error.message}): choose another`
      reject(new Error(`port ${port} of ${host} ${why} (${variable}; 0 takes a free one)`))
    })
    probe.listen(port, host, () => {
      const free = (probe.address() as AddressInfo).port
      probe.close(() => resolve(free))
    })
  })
}
