import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { ClientTls } from '@millrace/client'
import { readConfig } from '@millrace/server'
import { Authority, exchangeFiles, type CertificateFiles } from '../support/certificates'
import { describeWith } from '../support/extras'
import { check, echoCase, plainOutputs } from '../support/load-cases'
import { Random } from '../support/random'
import { fixtures, http, serve, stopServed, until, type Served } from '../support/served'

/* Locked doors: TLS on both ports, and clients that show who they are. */

const random = new Random()
const folder = mkdtempSync(join(tmpdir(), 'tls-'))

afterAll(async () => {
  await stopServed()
  rmSync(folder, { recursive: true })
})

describeWith('openssl')('TLS', () => {
  let authority: Authority
  beforeAll(() => (authority = Authority.make(folder)))

  const trust = (): ClientTls => ({ ca: authority.text })
  const shown = ({ cert, key }: CertificateFiles): ClientTls => ({ cert: readFileSync(cert), key: readFileSync(key) })

  const scores = async (served: Served, tls: ClientTls, transport: 'websocket' | 'http'): Promise<void> => {
    const one = echoCase(random, 3)
    const client = served.client({ url: `https://127.0.0.1:${served.server.port}`, transport, tls })
    const { outputs } = await client.score({ objective: 'echo', inputs: one.inputs })
    check(one, { code: 'OK', outputs: plainOutputs(outputs) })
  }

  describe.each(['uws', 'node'])('on %s', (transport) => {
    let served: Served
    let files: CertificateFiles
    beforeAll(async () => {
      files = authority.issue('first')
      served = await serve({
        MILLRACE_TRANSPORT: transport,
        MILLRACE_TLS_CERT: files.cert,
        MILLRACE_TLS_KEY: files.key,
        MILLRACE_ADMIN_TLS_CERT: files.cert,
        MILLRACE_ADMIN_TLS_KEY: files.key,
      })
    })

    test.each(['websocket', 'http'] as const)('it scores over %s', async (kind) => {
      await scores(served, trust(), kind)
      await expect(scores(served, {}, kind)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    })

    test('nothing is answered in plain text, nor below TLS 1.2', async () => {
      const { port, adminPort } = served.server
      for (const one of [port, adminPort]) {
        await expect(http(one, 'GET', '/v2/health/live')).rejects.toThrow()
        const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
        await expect(handshake(one, { ca: authority.text, ...old })).rejects.toThrow()
        for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
          const socket = await handshake(one, { ca: authority.text, minVersion: version, maxVersion: version })
          expect(socket.getProtocol()).toBe(version)
          socket.destroy()
        }
      }
    })

    test('connections that never say who they are count among those that may be open', async () => {
      const tls = { MILLRACE_TLS_CERT: files.cert, MILLRACE_TLS_KEY: files.key }
      const few = await serve({ MILLRACE_TRANSPORT: transport, MILLRACE_CONNECTIONS_MAX: '2', ...tls })
      const isOpen = (): Promise<boolean> =>
        handshake(few.server.port, { ca: authority.text }).then(
          (socket) => {
            socket.destroy()
            return true
          },
          () => false,
        )
      for (let round = 0; round < 2; round++) {
        await until('there is room', async () => (await isOpen()) || 'not yet')
        const silent = [1, 2].map(() => connectPlain(few.server.port, '127.0.0.1'))
        for (const socket of silent) socket.on('error', () => undefined)
        await until('there is none', async () => !(await isOpen()) || 'there is')
        for (const socket of silent) socket.destroy()
      }
      await until('there is room', async () => (await isOpen()) || 'not yet')
    })

    test('the admin port answers', async () => {
      const answer = await get(served.server.adminPort, '/v2/health/ready', { ca: authority.text })
      expect(answer).toEqual({ status: 200, body: '{"ready":true}\n' })
    })

    test('a certificate that is renewed is shown to new connections; those that are open go on', async () => {
      const { port, adminPort } = served.server
      const names = async (): Promise<string[]> => {
        const sockets = await Promise.all([
          handshake(port, trust()),
          handshake(port, { ...trust(), servername: 'localhost' }),
          handshake(adminPort, trust()),
        ])
        return sockets.map(nameShown)
      }
      const clients = (['websocket', 'http'] as const).map((kind) =>
        served.client({ url: `https://127.0.0.1:${port}`, transport: kind, tls: trust(), sockets: 1 }),
      )
      const ask = async (): Promise<void> => {
        for (const client of clients) {
          const one = echoCase(random, 2)
          const { outputs } = await client.score({ objective: 'echo', inputs: one.inputs })
          check(one, { code: 'OK', outputs: plainOutputs(outputs) })
        }
      }
      await ask()
      const { websocket } = (await served.lane()).sockets
      const renewed = new AbortController()
      const asking = (async () => {
        while (!renewed.signal.aborted) await ask()
      })()
      for (const name of ['second', 'third']) {
        exchangeFiles(files, authority.issue(name))
        await until(`${name} is shown`, async () => {
          // uWebSockets.js opens its port anew: what connects in that moment may be reset.
          const shown = await names().catch((error: Error) => [error.message])
          return shown.every((one) => one === name) || shown.join()
        })
      }
      renewed.abort()
      await asking
      expect((await served.lane()).sockets.websocket).toBe(websocket)
    })

    test('a renewal that is not whole changes nothing', async () => {
      const { logged } = served
      const before = readFileSync(files.cert, 'utf8')
      const shown = async (): Promise<string> => {
        return nameShown(await handshake(served.server.adminPort, trust()))
      }
      const name = await shown()
      writeFileSync(files.cert, readFileSync(authority.issue('of another key').cert))
      await until('the log says why', () =>
        Promise.resolve(logged.some((line) => /is not the key of the certificate.*before stays/.test(line)) || 'no'),
      )
      expect(await shown()).toBe(name)
      await scores(served, trust(), 'http')
      writeFileSync(files.cert, before)
    })
  })

  test('clients that must show a certificate', async () => {
    const files = authority.issue('server')
    const served = await serve({
      MILLRACE_TLS_CERT: files.cert,
      MILLRACE_TLS_KEY: files.key,
      MILLRACE_TLS_CLIENT_CA: authority.files.cert,
      MILLRACE_ADMIN_TLS_CERT: files.cert,
      MILLRACE_ADMIN_TLS_KEY: files.key,
      MILLRACE_ADMIN_TLS_CLIENT_CA: authority.files.cert,
    })
    expect(served.logged.join()).toContain('MILLRACE_TLS_CLIENT_CA: uWebSockets.js lets clients in')
    const good = { ...trust(), ...shown(authority.issue('billing')) }
    const foreign = { ...trust(), ...shown(Authority.make(folder).issue('billing')) }
    const expired = { ...trust(), ...shown(authority.issue('billing', -1)) }
    for (const kind of ['websocket', 'http'] as const) {
      await scores(served, good, kind)
      for (const tls of [trust(), foreign, expired])
        await expect(scores(served, tls, kind)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    }
    const { adminPort } = served.server
    expect((await get(adminPort, '/v2/health/live', good)).status).toBe(200)
    for (const tls of [trust(), foreign, expired])
      await expect(get(adminPort, '/v2/health/live', tls)).rejects.toThrow()
  })

  test('millrace score and millrace rules speak TLS', async () => {
    const files = authority.issue('server')
    const served = await serve({
      MILLRACE_TLS_CERT: files.cert,
      MILLRACE_TLS_KEY: files.key,
      MILLRACE_TLS_CLIENT_CA: authority.files.cert,
      MILLRACE_ADMIN_TLS_CERT: files.cert,
      MILLRACE_ADMIN_TLS_KEY: files.key,
    })
    const { port, adminPort } = served.server
    const file = join(folder, 'request.json')
    writeFileSync(file, JSON.stringify({ objective: 'echo', inputs: { id: 1, tag: 't', key: [2], text: ['x'] } }))
    const own = authority.issue('cli')
    const ca = ['--ca', authority.files.cert]
    const me = ['--cert', own.cert, '--key', own.key]
    const good = await millrace('score', file, '--url', `https://127.0.0.1:${port}`, ...ca, ...me)
    expect(good).toMatchObject({ code: 0, stderr: '' })
    expect(good.stdout).toContain('t/x')
    expect(await millrace('score', file, '--url', `https://127.0.0.1:${port}`, ...ca)).toMatchObject({ code: 1 })
    const unknown = await millrace('score', file, '--url', `https://127.0.0.1:${port}`, ...me)
    expect(unknown.stderr).toMatch(/self-signed certificate in certificate chain/)
    const rules = await millrace('rules', 'show', '--url', `https://127.0.0.1:${adminPort}`, ...ca)
    expect(rules).toMatchObject({ code: 0, stderr: '' })
    const missing = await millrace('score', file, '--ca', '/nowhere')
    expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining('--ca /nowhere: ENOENT')])
  })

  test('what is wrong with the files is said before anything starts', () => {
    const good = authority.issue('server')
    const other = authority.issue('server')
    const noise = join(folder, 'noise.pem')
    writeFileSync(noise, 'noise')
    const problems = (env: Record<string, string>): string => {
      try {
        readConfig({ MILLRACE_ARENA_BYTES: '32MiB', ...env }, { repository: fixtures })
        return ''
      } catch (error) {
        return (error as Error).message
      }
    }
    for (const prefix of ['MILLRACE_TLS', 'MILLRACE_ADMIN_TLS']) {
      const of = (cert: string, key: string, clientCa = ''): string =>
        problems({ [`${prefix}_CERT`]: cert, [`${prefix}_KEY`]: key, [`${prefix}_CLIENT_CA`]: clientCa })
      expect(of(good.cert, good.key, authority.files.cert)).toBe('')
      expect(of('', good.key)).toContain(`${prefix}_CERT: is missing; a certificate and its key come together`)
      expect(of(good.cert, '')).toContain(`${prefix}_KEY: is missing`)
      expect(of('', '', authority.files.cert)).toContain(`${prefix}_CLIENT_CA: is of no use without ${prefix}_CERT`)
      expect(of('/nowhere.pem', good.key)).toContain(`${prefix}_CERT=/nowhere.pem: cannot be read: ENOENT`)
      expect(of(good.cert, '/nowhere.pem')).toContain(`${prefix}_KEY=/nowhere.pem: cannot be read: ENOENT`)
      expect(of(noise, good.key)).toContain(`${prefix}_CERT=${noise}: holds no certificate in PEM`)
      expect(of(good.cert, noise)).toContain(`${prefix}_KEY=${noise}: holds no private key in PEM`)
      expect(of(good.cert, good.key, noise)).toContain(`${prefix}_CLIENT_CA=${noise}: holds no certificate in PEM`)
      expect(of(good.cert, other.key)).toContain(`${prefix}_KEY=${other.key}: is not the key of the certificate in`)
    }
    const warnings = (files: CertificateFiles): string =>
      readConfig(
        { MILLRACE_ARENA_BYTES: '32MiB', MILLRACE_TLS_CERT: files.cert, MILLRACE_TLS_KEY: files.key },
        { repository: fixtures },
      ).warnings.join()
    expect(warnings(good)).toBe('')
    expect(warnings(authority.issue('server', -1))).toMatch(
      /the certificate expired at .*: clients refuse it; renew it/,
    )
    expect(warnings(authority.issue('server', 3))).toMatch(/the certificate expires at .*: renew it/)
    const clientCa = { MILLRACE_TLS_CERT: good.cert, MILLRACE_TLS_KEY: good.key }
    expect(
      problems({ ...clientCa, MILLRACE_TLS_CLIENT_CA: authority.files.cert, MILLRACE_TRANSPORT: 'uws' }),
    ).toContain('MILLRACE_TLS_CLIENT_CA: uWebSockets.js lets clients in that show no certificate')
  })
})

function handshake(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ...options }, () => resolve(socket))
    socket.on('error', reject)
  })
}

/** The common name of the server's certificate; closes the connection. */
function nameShown(socket: TLSSocket): string {
  const { subject } = socket.getPeerCertificate()
  socket.destroy()
  return String(subject.CN)
}

function get(port: number, path: string, tls: ClientTls): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, path, agent: false, ...tls }, (res) => {
      let body = ''
      res.on('data', (piece: Buffer) => (body += piece.toString()))
      res.on('end', () => resolve({ status: res.statusCode!, body }))
    })
    req.on('error', reject)
    req.end()
  })
}

function millrace(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [join(__dirname, '../../apps/cli/bin/millrace.js'), ...args])
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (piece: Buffer) => (stdout += piece.toString()))
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })))
}
