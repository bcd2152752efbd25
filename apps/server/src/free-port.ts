import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'

const tries = 32
/** Below are the ports that well-known servers have. */
const lowest = 10_240

/**
 * The port itself when nobody listens there, or a free one for 0: one that the kernel gives to no outgoing connection,
 * so that a lane that is started again finds it as it left it. Rejects with an Error that names the variable and what
 * to do.
 */
export async function freePort(variable: string, host: string, port: number): Promise<number> {
  for (const candidate of port === 0 ? candidates() : [])
    if ((await probe(host, candidate)) === candidate) return candidate
  const found = await probe(host, port)
  if (typeof found === 'number') return found
  const why =
    found.code === 'EADDRINUSE'
      ? 'is in use: stop the other server, or choose another'
      : `cannot be opened (${found.code ?? found.message}): choose another`
  throw new Error(`port ${port} of ${host} ${why} (${variable}; 0 takes a free one)`)
}

/** The port that could be opened, or why it could not. */
function probe(host: string, port: number): Promise<number | NodeJS.ErrnoException> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', resolve)
    server.listen(port, host, () => {
      const free = (server.address() as AddressInfo).port
      server.close(() => resolve(free))
    })
  })
}

/** Ports that the kernel gives to no outgoing connection, at random; none where it does not tell. */
function candidates(): number[] {
  let range: string
  try {
    range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
  } catch {
    return []
  }
  const outgoing = Number.parseInt(range, 10)
  if (!(outgoing > lowest)) return []
  return Array.from({ length: tries }, () => lowest + Math.floor(Math.random() * (outgoing - lowest)))
}
