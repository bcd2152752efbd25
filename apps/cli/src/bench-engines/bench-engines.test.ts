import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { columnsFromJson } from '@millrace/workflow'
import type { ColumnSpec } from '@millrace/base'
import { describeWith } from '../../../../test/support/extras'
import type { Findings } from './bench-engines'
import { madeUpRequests } from './made-up'
import type { Measured, MeasureAsk } from './protocol'
import { recommend } from './recommend'
import { measureAll, slowness, type Figure } from './tournament'

const bin = join(__dirname, '../../bin/millrace.js')
const fixtures = join(__dirname, '../../../../test/fixtures/repository')
const demo = join(__dirname, '../../../demo/repository')
const plainEnv = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^MILLRACE_(?!ENG)/.test(name)))

function bench(args: readonly string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, 'bench', 'engines', ...args], {
    encoding: 'utf8',
    env: { ...plainEnv, MILLRACE_ARENA_BYTES: '32MiB', ...env },
  })
  return { status, stdout, stderr }
}

/** Takes `startUs` a batch and `rowUs` a row. */
function engine(name: string, startUs: number, rowUs: number, log: string[] = []) {
  return {
    engine: name,
    measure: ({ rows }: MeasureAsk): Promise<Measured> => {
      log.push(`${name} ${rows}`)
      return Promise.resolve({ batchUs: startUs + rows * rowUs, modelUs: rows * rowUs, batches: 3 })
    },
  }
}

const plan = { rounds: 3, ms: 10, batchMsMax: 1 }

describe('measuring', () => {
  it('takes turns, and turns the order round', async () => {
    const log: string[] = []
    const rounds: number[] = []
    const two = [engine('a', 10, 1, log), engine('b', 20, 2, log)]
    const figures = await measureAll(two, [1, 8], { ...plan, rounds: 1 }, (round) => rounds.push(round))
    expect(rounds).toEqual([0, 1])
    expect(log).toEqual(['a 1', 'b 1', 'a 8', 'b 8', 'b 1', 'a 1', 'b 8', 'a 8'])
    expect(figures.get('b')).toEqual([
      { rows: 1, median: 22, least: 22, most: 22, inModels: 2, batches: 3 },
      { rows: 8, median: 4.5, least: 4.5, most: 4.5, inModels: 2, batches: 3 },
    ])
  })

  it('leaves out batches that would take too long, and compares where all were measured', async () => {
    const figures = await measureAll([engine('a', 10, 1), engine('slow', 0, 100)], [1, 8, 32, 128], plan, () => {})
    const rowsOf = (name: string) => figures.get(name)!.map(({ rows }) => rows)
    expect([rowsOf('a'), rowsOf('slow')]).toEqual([
      [1, 8, 32, 128],
      [1, 8],
    ])
    const slow = slowness(figures)
    expect(slow.get('a')).toBeCloseTo(1)
    expect(slow.get('slow')).toBeCloseTo(Math.sqrt((100 / 11) * (800 / 18)))
  })

  it('is the geometric mean of what the fastest of each size is ahead', () => {
    const figure = (rows: number, median: number): Figure => ({
      ...{ rows, median, least: median, most: median, inModels: median, batches: 1 },
    })
    const slow = slowness(
      new Map([
        ['early', [figure(1, 10), figure(8, 8)]],
        ['late', [figure(1, 40), figure(8, 2)]],
      ]),
    )
    expect([slow.get('early'), slow.get('late')]).toEqual([expect.closeTo(2), expect.closeTo(2)])
  })
})

describe('what is recommended', () => {
  const setting = { variable: 'V', inForce: [], all: ['onnxruntime', 'tensorflow', 'tfjs'] }
  const contender = (name: string, slow: number, agrees = true) => ({ engine: name, slowness: slow, agrees })

  it('is nothing where the fastest is taken already', () => {
    expect(recommend([contender('tensorflow', 1), contender('tfjs', 3)], setting)).toEqual({
      order: ['tensorflow', 'tfjs'],
      set: null,
      reason: 'tensorflow is the fastest, 3.0 times as fast as tfjs, and is taken already',
    })
  })

  it('puts the fastest first and keeps the engines of other models', () => {
    expect(recommend([contender('tensorflow', 1.5), contender('tfjs', 1)], setting)).toMatchObject({
      set: 'V=tfjs,tensorflow,onnxruntime',
      reason: 'tfjs is the fastest, 1.5 times as fast as tensorflow',
    })
    const tfjsFirst = { ...setting, inForce: ['tfjs', 'tensorflow'] }
    expect(recommend([contender('tensorflow', 1), contender('tfjs', 2)], tfjsFirst).set).toBe('V=tensorflow,tfjs')
  })

  it('changes nothing for a few per cent', () => {
    expect(recommend([contender('tensorflow', 1.04), contender('tfjs', 1)], setting)).toMatchObject({
      set: null,
      reason: 'tfjs is no faster than tensorflow, which is taken already, by 5 %',
    })
  })

  it('leaves out who answers otherwise', () => {
    const { order, set, reason } = recommend([contender('tensorflow', 2), contender('tfjs', 1, false)], setting)
    expect({ order, set, reason }).toEqual({
      order: ['tensorflow'],
      set: null,
      reason: 'tensorflow alone runs it here',
    })
  })
})

test('made-up requests are ones that the workflow takes, the same for the same seed', () => {
  const column = (name: string, dtype: ColumnSpec['dtype'], rest: Partial<ColumnSpec> = {}): ColumnSpec => ({
    ...{ name, dtype, per: 'row', shape: [], ragged: dtype === 'string' || dtype === 'bytes', ...rest },
  })
  const inputs = [
    column('score', 'f32'),
    column('picture', 'f32', { shape: [2, 3] }),
    column('id', 'i64'),
    column('flag', 'bool', { per: 'request' }),
    column('text', 'string'),
    column('raw', 'bytes'),
    column('list', 'i32', { ragged: true }),
    column('account', 'string', { per: 'request' }),
  ]
  const requests = madeUpRequests(inputs, 3, 7)
  for (const request of requests) expect(columnsFromJson(inputs, request).rows).toBe(1)
  expect(requests).toEqual(madeUpRequests(inputs, 3, 7))
  expect(requests).not.toEqual(madeUpRequests(inputs, 3, 8))
})

describe('bench engines', () => {
  it('measures a workflow on the engine that runs it, at the sizes that it takes', () => {
    const { status, stdout, stderr } = bench(['-w', 'mlp', '-r', fixtures, '--quick', '--json'])
    expect(stderr).toContain('round 3 of 3')
    expect(status).toBe(0)
    const findings = JSON.parse(stdout) as Findings
    expect(findings).toMatchObject({ workflow: 'mlp@1', device: 'cpu', engineThreads: 1, rounds: 3 })
    const [only] = findings.engines
    expect(findings.engines.map(({ engine }) => engine)).toEqual(['onnxruntime'])
    expect(only!.figures.map(({ rows }) => rows)).toEqual([1, 8, 32, 128, 256])
    for (const { least, median, most, inModels } of only!.figures) {
      expect(least).toBeGreaterThan(0)
      expect(median).toBeGreaterThanOrEqual(least)
      expect(most).toBeGreaterThanOrEqual(median)
      expect(inModels).toBeGreaterThan(0)
    }
    expect(findings.recommendation).toMatchObject({ order: ['onnxruntime'], set: null })
  })

  it.each([
    [['-w', 'frob', '-r', fixtures], /--workflow frob: .* has no such workflow; it has .*mlp@1/],
    [['-w', 'mlp', '-p', 'gpu', '-r', fixtures], /--pool gpu: there is no such pool; pools are cpu/],
    [[], /required option '-w, --workflow <name>'/],
  ])('%j is wrong usage', (args, message) => {
    const { status, stderr } = bench(args)
    expect(stderr).toMatch(message)
    expect(status).toBe(2)
  })

  it('says why when no engine runs it', () => {
    const repository = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
    try {
      mkdirSync(join(repository, 'workflows/broken/1'), { recursive: true })
      writeFileSync(join(repository, 'workflows/broken/1/model.onnx'), 'no model')
      const { status, stderr } = bench(['-w', 'broken', '-r', repository])
      expect(stderr).toMatch(/no engine here runs broken@1:\n {2}onnxruntime: .*model\.onnx/)
      expect(status).toBe(1)
    } finally {
      rmSync(repository, { recursive: true })
    }
  })

  it('says that there is no model to run', () => {
    const { status, stderr } = bench(['-w', 'echo', '-r', fixtures])
    expect(stderr).toContain('echo@1 has no model')
    expect(status).toBe(1)
  })
})

describeWith('tensorflow')('two engines', () => {
  it('agree within the tolerance, and the variable names the faster', () => {
    const env = { MILLRACE_POOL_CPU_ENGINES: 'tfjs,onnxruntime,tensorflow' }
    const { status, stdout } = bench(['-w', 'sentence-embedding@1', '-r', demo, '--quick', '--json'], env)
    const { engines, recommendation, requests } = JSON.parse(stdout) as Findings
    expect(status).toBe(0)
    expect(requests.golden).toBe(true)
    expect(engines.map(({ engine, agrees }) => [engine, agrees])).toEqual([
      ['tensorflow', true],
      ['tfjs', true],
    ])
    // Which is faster is the machine's business; where it is worth a line, the line is that order.
    const { order, set } = recommendation
    expect([...order].sort()).toEqual(['tensorflow', 'tfjs'])
    expect([null, `MILLRACE_POOL_CPU_ENGINES=${order.join(',')},onnxruntime`]).toContain(set)
  })
})
