import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Decider } from '@millrace/client'
import { hashOfKey, readConfig, type TenantsJson } from '@millrace/server'
import { decodeReply } from '@millrace/wire'
import { Authority } from '../support/certificates'
import { message } from '../support/messages'
import { RawSocket } from '../support/raw-socket'
import { http, serve, stopServed, until, type HttpAnswer, type Served } from '../support/served'

/* Who asks, by keys and certificates, on both transports and in every form that a request has. */

const folder = mkdtempSync(join(tmpdir(), 'tenants-'))
const file = join(folder, 'tenants.json')
const key = (name: string): string => `mlr_${name.padEnd(40, '.')}`

const workflow = `
import { attribute, column, defineWorkflow } from '@millrace/workflow'

export default defineWorkflow({
  inputs: { value: column('f32') },
  outputs: { tenant: column('string', { per: 'request' }), value: column('f32') },
  context: { tenant: attribute('text', { missing: '' }) },
  postprocess({ requests, inputs, context, outputs }) {
    for (let request = 0; request < requests; request++) outputs.tenant.set(request, context.tenant.at(request))
    outputs.value.set(inputs.value)
  },
})
`

const written: TenantsJson = {
  tenants: {
    shop: { keys: [hashOfKey(key('shop')), hashOfKey(key('shop-2'))], certificates: ['billing'] },
    quality: { keys: [hashOfKey(key('quality'))], may: ['override', 'resolve', 'rules'] },
  },
}

/** As an editor does: whole, or not at all. */
function write(tenants: unknown): void {
  writeFileSync(`${file}.part`, typeof tenants === 'string' ? tenants : JSON.stringify(tenants))
  renameSync(`${file}.part`, file)
}

beforeAll(() => {
  for (const version of ['1', '2']) {
    mkdirSync(join(folder, 'repository/workflows/who', version), { recursive: true })
    writeFileSync(join(folder, 'repository/workflows/who', version, 'workflow.ts'), workflow)
  }
  writeFileSync(
    join(folder, 'repository/rules.json'),
    JSON.stringify({
      objectives: { who: { default: 'who@1' } },
      conditions: [{ id: 'of-shop', objectives: ['who'], when: { tenant: 'shop' }, workflow: 'who@2' }],
      overrides: [
        { id: 'all', objectives: ['who'], when: { not: { tenant: 'nobody' } }, workflows: ['who@1', 'who@2'] },
      ],
    }),
  )
})
afterAll(async () => {
  await stopServed()
  rmSync(folder, { recursive: true })
})

const inputs = { value: Float32Array.of(7) }
const bearer = (name: string): Record<string, string> => ({ authorization: `Bearer ${key(name)}` })
/** Of a reply in JSON, or of a FlatBuffers one. */
interface Said {
  readonly status: number
  readonly code: string
  readonly message?: string
  readonly version?: number | undefined
  readonly tenant?: unknown
}

describe.each(['uws', 'node'])('%s', (transport) => {
  let served: Served
  beforeAll(async () => {
    write(written)
    served = await serve(
      { MILLRACE_TRANSPORT: transport, MILLRACE_TENANTS: file, MILLRACE_LOG_LEVEL: 'silent' },
      join(folder, 'repository'),
    )
  })

  const json = async (headers: Record<string, string>, fields: object = {}, path = '/v1/score'): Promise<Said> => {
    const body = JSON.stringify({ objective: 'who', inputs: { value: [7] }, ...fields })
    const answer = await http(served.server.port, 'POST', path, body, {
      'content-type': 'application/json',
      ...headers,
    })
    const said = JSON.parse(answer.body.toString('utf8')) as Said & { outputs?: { tenant: unknown } }
    return { ...said, status: answer.status, tenant: said.outputs?.tenant }
  }
  const binary = async (headers: Record<string, string>, fields = {}): Promise<Said & { answer: HttpAnswer }> => {
    const contentType = { 'content-type': 'application/x-flatbuffers' }
    const body = message('who', inputs, fields)
    const answer = await http(served.server.port, 'POST', '/v1/score', body, { ...contentType, ...headers })
    expect(answer.contentType).toBe('application/x-flatbuffers')
    const { code, message: text, route } = decodeReply(answer.body)
    return { status: answer.status, code, message: text, version: route?.version, answer }
  }

  test('who shows no key, a wrong one or two is not let in, in the form that was asked', async () => {
    const wrong: [Record<string, string>, RegExp][] = [
      [{}, /^show a key: Authorization: Bearer <key>, or x-api-key: <key>$/],
      [bearer('nobody'), /^the key is nobody's/],
      [{ authorization: `Basic ${key('shop')}` }, /^authorization: is not Bearer and a key$/],
      [{ authorization: 'Bearer' }, /^authorization: is not Bearer/],
      [{ ...bearer('shop'), 'x-api-key': key('shop') }, /show one of them/],
    ]
    for (const [headers, why] of wrong) {
      const refused = { status: 401, code: 'UNAUTHENTICATED', message: expect.stringMatching(why) as string }
      expect(await json(headers)).toMatchObject(refused)
      const { answer, ...said } = await binary(headers)
      expect(said).toMatchObject(refused)
      expect(answer.headers['www-authenticate']).toBe('Bearer')
      await expect(RawSocket.open(served.server.port, headers)).rejects.toThrow('401')
      for (const transport of ['websocket', 'http'] as const) {
        const client = served.client({ transport, headers })
        const asked = client.score({ objective: 'who', inputs })
        await expect(asked).rejects.toMatchObject({ code: 'UNAUTHENTICATED', retryable: false })
      }
    }
    const counted = (await served.lane()).requests.filter(({ code }) => code === 'UNAUTHENTICATED')
    expect(counted).toMatchObject([{ objective: '', count: wrong.length * 5 }])
  })

  test('what a key proves is what rules and workflows see', async () => {
    expect(await json(bearer('shop'))).toMatchObject({ status: 200, version: 2, tenant: 'shop' })
    expect(await json({ 'x-api-key': key('shop-2') })).toMatchObject({ version: 2, tenant: 'shop' })
    expect(await json(bearer('quality'))).toMatchObject({ version: 1, tenant: 'quality' })
    expect(await json(bearer('shop'), { context: { tenant: 'shop' } })).toMatchObject({ version: 2, tenant: 'shop' })
    expect(await binary(bearer('shop'), { context: { country: 'DE', origin: 'test' } })).toMatchObject({ version: 2 })
    expect(await binary(bearer('shop'), { subject: 'account-1' })).toMatchObject({ version: 2 })
    const many = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`a${i}`, i]))
    expect(await binary(bearer('shop'), { context: many })).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' })
    // Larger than what a small message is copied to.
    const values = new Float32Array(5000).fill(3)
    for (const transport of ['websocket', 'http'] as const) {
      const client = served.client({ transport, token: key('shop') })
      const { outputs, route } = await client.score({ objective: 'who', inputs: { value: values } })
      expect([route.version, String(outputs.tenant), outputs.value]).toEqual([2, 'shop', values])
    }
  })

  test('another tenant than the proven one is refused', async () => {
    for (const tenant of ['quality', 'sho', 'shopp', 'shoq', '\u00e4', 'x'.repeat(300)]) {
      const refused = await json(bearer('shop'), { context: { tenant } })
      expect(refused).toMatchObject({ status: 403, code: 'PERMISSION_DENIED' })
      expect(refused.message).toBe(
        `context.tenant: says '${tenant.slice(0, 100)}', and the caller is shop; leave it out`,
      )
      expect(await binary(bearer('shop'), { context: { tenant } })).toMatchObject({ code: 'PERMISSION_DENIED' })
    }
  })

  test('rights beside scoring are per tenant', async () => {
    const override = { workflow: 'who', version: 2 }
    const denied = { status: 403, code: 'PERMISSION_DENIED' }
    expect(await json(bearer('shop'), { override })).toMatchObject({
      ...denied,
      message: 'shop may not override ("may" in MILLRACE_TENANTS)',
    })
    expect(await json(bearer('shop'), { dry_run: true })).toMatchObject(denied)
    expect(await json(bearer('shop'), {}, '/v1/resolve')).toMatchObject({
      ...denied,
      message: 'shop may not ask what would answer ("may" in MILLRACE_TENANTS)',
    })
    expect(await json(bearer('quality'), { override })).toMatchObject({ status: 200, version: 2, tenant: 'quality' })
    expect(await json(bearer('quality'), {}, '/v1/resolve')).toMatchObject({ status: 200, version: 1 })
    const url = `http://127.0.0.1:${served.server.port}`
    const decider = await Decider.open({ url, token: key('quality') })
    expect(decider.decide({ objective: 'who' })).toMatchObject({ version: 1 })
    await decider.close()
    const socket = await RawSocket.open(served.server.port, bearer('shop'))
    socket.send('{"subscribe":"rules"}')
    expect(JSON.parse((await socket.received(1))[0] as string)).toEqual({
      code: 'PERMISSION_DENIED',
      message: 'shop may not follow the rules ("may" in MILLRACE_TENANTS)',
    })
    await socket.close()
  })

  test('a file that changes is in force, and connections stay open', async () => {
    const sockets = await Promise.all(
      ['shop', 'shop-2', 'quality'].map((name) => RawSocket.open(served.server.port, bearer(name))),
    )
    const [shop, second, quality] = sockets as [RawSocket, RawSocket, RawSocket]
    let asked = 0
    const ask = async (socket: RawSocket, fields = {}): Promise<string> => {
      const before = socket.messages.length
      socket.send(message('who', inputs, { id: BigInt(++asked), ...fields }))
      const reply = decodeReply((await socket.received(before + 1))[before] as Buffer)
      expect(reply.id).toBe(BigInt(asked))
      return reply.code
    }
    const dryRun = { dryRun: true }
    expect([await ask(shop), await ask(second), await ask(quality, dryRun)]).toEqual(['OK', 'OK', 'OK'])
    expect(await ask(shop, dryRun)).toBe('PERMISSION_DENIED')
    write({
      tenants: {
        shop: { ...written.tenants['shop'], keys: [hashOfKey(key('shop'))], may: ['resolve'] },
        quality: { keys: [hashOfKey(key('quality'))] },
        new: { keys: [hashOfKey(key('new'))] },
      },
    })
    await until('the second key of shop opens nothing any more', async () => {
      const code = await ask(second)
      return code === 'UNAUTHENTICATED' || code
    })
    expect(await ask(shop, dryRun)).toBe('OK')
    expect(await ask(quality, dryRun)).toBe('PERMISSION_DENIED')
    expect(await ask(quality)).toBe('OK')
    expect(await json(bearer('new'))).toMatchObject({ status: 200, tenant: 'new' })
    expect(await json(bearer('shop-2'))).toMatchObject({ status: 401 })

    const good = readFileSync(file, 'utf8')
    for (const broken of ['{', '{"tenants":{"shop":{"keys":["secret"]}}}']) {
      write(broken)
      await new Promise((resolve) => setTimeout(resolve, 1_500))
      expect([await ask(shop), await ask(quality)]).toEqual(['OK', 'OK'])
    }
    write(good)
    for (const socket of sockets) await socket.close()
    await served.idle()
  })
})

test('who shows nothing is let in where that is allowed, and is nobody of the file', async () => {
  write(written)
  const served = await serve({ MILLRACE_TENANTS: file, MILLRACE_ALLOW_ANONYMOUS: 'yes' }, join(folder, 'repository'))
  const ask = async (fields: object, headers = {}): Promise<unknown> => {
    const body = JSON.stringify({ objective: 'who', inputs: { value: [7] }, ...fields })
    const type = { 'content-type': 'application/json' }
    const answer = await http(served.server.port, 'POST', '/v1/score', body, { ...type, ...headers })
    return JSON.parse(answer.body.toString('utf8'))
  }
  expect(await ask({})).toMatchObject({ code: 'OK', version: 1, outputs: { tenant: '' } })
  expect(await ask({ context: { tenant: 'other' } })).toMatchObject({ code: 'OK', outputs: { tenant: 'other' } })
  expect(await ask({ context: { tenant: 'shop' } })).toEqual({
    code: 'UNAUTHENTICATED',
    message: "context.tenant: 'shop' shows a key or a certificate",
  })
  expect(await ask({ dry_run: true })).toMatchObject({ code: 'PERMISSION_DENIED' })
  expect(await ask({}, bearer('shop'))).toMatchObject({ code: 'OK', version: 2, outputs: { tenant: 'shop' } })
  expect(await ask({}, bearer('nobody'))).toMatchObject({ code: 'UNAUTHENTICATED' })
})

test('a certificate says who somebody is; a key counts before it', async () => {
  const authority = Authority.make(folder)
  const own = authority.issue('server')
  write({
    tenants: {
      shop: { certificates: ['billing'] },
      mesh: { certificates: ['URI:spiffe://example.org/mesh'], keys: [hashOfKey(key('mesh'))] },
    },
  })
  const served = await serve(
    {
      MILLRACE_TENANTS: file,
      MILLRACE_TLS_CERT: own.cert,
      MILLRACE_TLS_KEY: own.key,
      MILLRACE_TLS_CLIENT_CA: authority.files.cert,
      MILLRACE_TRANSPORT: 'node',
    },
    join(folder, 'repository'),
  )
  const ask = async (commonName: string, otherNames: string, token?: string): Promise<unknown[]> => {
    const { cert, key } = authority.issue(commonName, 30, otherNames)
    const shown = { ca: authority.text, cert: readFileSync(cert), key: readFileSync(key) }
    return Promise.all(
      (['websocket', 'http'] as const).map(async (transport) => {
        const client = served.client({
          url: `https://127.0.0.1:${served.server.port}`,
          transport,
          tls: shown,
          ...(token === undefined ? {} : { token }),
        })
        const asked = client.score({ objective: 'who', inputs })
        return asked.then(
          ({ outputs }) => String(outputs.tenant),
          (error: Error) => error.message,
        )
      }),
    )
  }
  expect(await ask('billing', 'DNS:billing.example.org')).toEqual(['shop', 'shop'])
  expect(await ask('x', 'URI:spiffe://example.org/mesh')).toEqual(['mesh', 'mesh'])
  expect(await ask('billing', 'DNS:billing.example.org', key('mesh'))).toEqual(['mesh', 'mesh'])
  const no = "UNAUTHENTICATED: the certificate of y is no tenant's (MILLRACE_TENANTS)"
  expect(await ask('y', 'DNS:y')).toEqual([no, no])
})

test('what is wrong with the file is said before anything starts', () => {
  const problems = (env: Record<string, string> = {}): string => {
    try {
      return readConfig(
        { MILLRACE_ARENA_BYTES: '32MiB', MILLRACE_TENANTS: file, ...env },
        { repository: folder },
      ).warnings.join()
    } catch (error) {
      return (error as Error).message
    }
  }
  const hash = hashOfKey(key('shop'))
  const wrong: [unknown, string][] = [
    ['{', 'is not JSON'],
    [
      { tenants: { shop: { keys: ['mlr_x'] } } },
      'tenants.shop.keys.0: is not the hash of a key: millrace tenants hash',
    ],
    [{ tenants: { shop: { may: ['all'] } } }, 'tenants.shop.may.0: '],
    [{ tenants: { a: { keys: [hash] }, b: { keys: [hash] } } }, `tenants.b: ${hash} is a's already`],
    [
      { tenants: { shop: { certificates: ['billing'] } } },
      'certificates of shop are not asked for (MILLRACE_TLS_CLIENT_CA)',
    ],
    [{ tenants: {} }, 'has no tenant: nobody is let in'],
    [{ tenant: {} }, 'Unrecognized key'],
  ]
  for (const [tenants, why] of wrong) {
    write(tenants)
    expect(problems()).toContain(`MILLRACE_TENANTS=${file}: `)
    expect(problems()).toContain(why)
  }
  write({ tenants: { shop: { keys: [hash] } } })
  expect(problems()).toBe('')
  // A key keeps others out: no more has to be said.
  expect(problems({ MILLRACE_HOST: '0.0.0.0' })).toMatch(/^MILLRACE_TENANTS: keys cross the network as they are/)
  rmSync(file)
  expect(problems()).toContain(`MILLRACE_TENANTS=${file}: cannot be read: ENOENT`)
})
