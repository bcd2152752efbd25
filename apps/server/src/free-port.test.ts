import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { freePort } from './free-port'

const host = '127.0.0.1'

test('a port that is in use is refused by name, with a remedy', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const { port } = server.address() as AddressInfo
  await expect(freePort('MILLRACE_PORT', host, port)).rejects.toThrow(
    `port ${port} of ${host} is in use: stop the other server, or choose another (MILLRACE_PORT; 0 takes a free one)`,
  )
  await new Promise((resolve) => server.close(resolve))
  expect(await freePort('MILLRACE_PORT', host, port)).toBe(port)
})

test('an address that is not of this machine is refused', async () => {
  await expect(freePort('MILLRACE_PORT', '192.0.2.1', 0)).rejects.toThrow(
    /^port 0 of 192\.0\.2\.1 cannot be opened \(EADDRNOTAVAIL\): choose another/,
  )
})

const onLinux = process.platform === 'linux' ? test : test.skip
onLinux('a free one is never one that an outgoing connection may take', async () => {
  const first = Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10)
  const ports = await Promise.all(Array.from({ length: 8 }, () => freePort('MILLRACE_PORT', host, 0)))
  for (const port of ports) expect(port).toBeLessThan(first)
})
