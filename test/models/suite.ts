import type { Client } from '@millrace/client'
import type { VersionDescription } from '@millrace/workflow'
import { Random } from '../support/random'
import { serve, stopServed, type Served } from '../support/served'
import { networks, type Network } from './networks'
import { prepare, repository } from './prepare'
import { purposes } from './purposes'
import { compare, readReference } from './reference'
import { clientAnswers, clientInputs, type Answer, type Row } from './rows'

/*
 * Real networks, all of them on one server, answer over the wire what the frameworks that they come from answer:
 * whatever shares a batch, a thread or a socket, each row's answer is its own.
 */

/** A network with what its rows must answer, as this server serves it. */
interface Tried {
  readonly network: Network
  readonly rows: readonly Row[]
  readonly expected: readonly Answer[]
  readonly version: VersionDescription
}

export function serverVariables(engines: string): Record<string, string> {
  return {
    MILLRACE_POOL_CPU_ENGINES: engines,
    // Two, so that batches of one network run beside each other.
    MILLRACE_POOL_CPU_THREADS: '2',
    MILLRACE_ARENA_BYTES: '512MiB',
    // A picture, in as many rows as the workflow that takes most.
    MILLRACE_SLAB_STRING_BYTES: '64KiB',
    MILLRACE_SLAB_BYTES_MAX: '64MiB',
  }
}

/** Defines the tests of a server that has only `engines` (names by commas), over all networks or those that are `tried`. */
export function suite(engines: string, tried: readonly Network[]): void {
  let served: Served
  let versions: readonly VersionDescription[]
  const byName = new Map<string, Tried>()
  beforeAll(async () => {
    prepare()
    served = await serve(serverVariables(engines), repository)
    const { body } = await served.admin('GET', '/v1/workflows')
    versions = (JSON.parse(body.toString('utf8')) as { workflows: VersionDescription[] }).workflows
    for (const network of tried)
      byName.set(network.name, {
        network,
        rows: await network.rows(),
        expected: readReference(network),
        version: versions.find(({ name }) => name === network.name)!,
      })
  }, 180_000)
  afterAll(stopServed)

  describe.each(tried.map(({ name }) => name))('%s', (name) => {
    test('is ready', () => {
      const { state, reason, models } = byName.get(name)!.version
      expect({ state, reason }).toEqual({ state: 'ready', reason: null })
      for (const { engine } of models) expect(engines.split(',')).toContain(engine)
    })

    test.each([1, 7, 'max'] as const)('batches of %s', async (size) => {
      const one = byName.get(name)!
      const rowsMax = size === 'max' ? one.version.batchRowsMax : size
      const client = served.client()
      // All rows, or one batch where that is more.
      for (let begin = 0; begin < Math.max(rowsMax, one.rows.length); begin += rowsMax)
        await ask(
          client,
          one,
          Array.from({ length: rowsMax }, (_, i) => (begin + i) % one.rows.length),
        )
      await client.close()
    })
  })

  test('what needs another engine says so, and keeps nobody waiting', () => {
    const others = networks.filter((network) => !tried.includes(network)).map(({ name, format }) => ({ name, format }))
    expect(others.length).toBeGreaterThan(0)
    for (const { name, format } of others) {
      const { state, reason } = versions.find((version) => version.name === name)!
      expect({ name, state, reason }).toEqual({
        name,
        state: 'failed',
        reason: expect.stringContaining(`${format} models`),
      })
    }
  })

  const networksTried = new Set(tried.map(({ name }) => name))
  test.each(purposes.filter(({ network }) => networksTried.has(network)))('$network $does', ({ network, check }) =>
    check(async (rows) => {
      const inputs = clientInputs(byName.get(network)!.version.signature, rows)
      const { outputs } = await served.client().score({ objective: network, inputs, deadlineMs: 60_000 })
      return clientAnswers(outputs, rows.length)
    }),
  )

  test('all of them at once, from several clients', async () => {
    const random = new Random()
    const clients = [
      served.client({ sockets: 2 }),
      served.client(),
      served.client({ transport: 'http' }),
      served.client({ transport: 'http', sockets: 2 }),
    ]
    let left = 120
    const drive = async (client: Client): Promise<void> => {
      while (left-- > 0) {
        const one = byName.get(random.pick(tried).name)!
        const rows = random.pick([1, 1, 2, random.whole(1, Math.min(one.version.batchRowsMax + 1, 12))])
        await ask(
          client,
          one,
          Array.from({ length: rows }, () => random.whole(0, one.rows.length - 1)),
        )
      }
    }
    await Promise.all(clients.flatMap((client) => [drive(client), drive(client), drive(client)]))
    await served.idle()
  }, 120_000)
}

/** Sends one request of those rows and checks each row's answer. */
async function ask(
  client: Client,
  { network, rows, expected, version }: Tried,
  which: readonly number[],
): Promise<void> {
  const inputs = clientInputs(
    version.signature,
    which.map((row) => rows[row]!),
  )
  const { outputs } = await client.score({ objective: network.name, inputs, deadlineMs: 60_000 })
  clientAnswers(outputs, which.length).forEach((answer, i) =>
    compare(network, `${network.name}, row ${which[i]} at place ${i} of ${which.length}`, answer, expected[which[i]!]!),
  )
}
