import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** Hands bytes on to a port, each piece after a while; what comes first arrives first. */
export class SlowProxy {
  delayMs = 0
  private readonly sockets = new Set<Socket>()

  private constructor(private readonly server: Server) {}

  static async start(to: number): Promise<SlowProxy> {
    const server = createServer()
    const proxy = new SlowProxy(server)
    server.on('connection', (near) => {
      const far = connect(to, '127.0.0.1')
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        proxy.sockets.add(one)
        let last = Promise.resolve()
        one.on('data', (piece) => {
          const late = new Promise<void>((resolve) => setTimeout(resolve, proxy.delayMs))
          last = last.then(() => late).then(() => void other.write(piece))
        })
        one.on('error', () => undefined)
        one.on('close', () => {
          proxy.sockets.delete(one)
          other.destroy()
        })
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    return new Promise((resolve) => this.server.close(() => resolve()))
  }
}
