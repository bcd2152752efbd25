import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

/* `millrace facts` as people run it: a process, its exit code, what it prints. */

const bin = join(__dirname, '../../bin/millrace.js')
let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'millrace-load-'))))
afterEach(() => rmSync(folder, { recursive: true }))

interface Run {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

function facts(...args: string[]): Run {
  const env = { ...process.env, NO_COLOR: '1', MILLRACE_REPOSITORY: join(folder, 'models') }
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, 'facts', ...args], { env, encoding: 'utf8' })
  return { code: status, out: stdout, err: stderr }
}

function rowsOf(table: string): unknown[] {
  const { out } = facts('show', table, '-n', '0')
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown)
}

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

beforeEach(() => mkdirSync(join(folder, 'models')))

const csv = 'id,name,age,budget,tags\na-1,"One, two",30,1.5,"[1,2]"\na-2,Zwei,31,,"[3,4]"\n'

test('a CSV file becomes a table whose types are inferred and shown, and its rows can be asked for', () => {
  const loaded = facts('load', 'accounts', file('a.csv', csv))
  expect(loaded.err).toContain('keys string from column id; name string, age i32, budget f32, tags f32[2]')
  expect(loaded).toMatchObject({ code: 0, out: expect.stringContaining('accounts: 2 rows loaded') })
  expect(facts('list').out).toMatch(/accounts +string +2 +name string/)
  expect(rowsOf('accounts')).toEqual([
    { key: 'a-1', name: 'One, two', age: 30, budget: 1.5, tags: [1, 2] },
    { key: 'a-2', name: 'Zwei', age: 31, budget: null, tags: [3, 4] },
  ])
  expect(facts('get', 'accounts', 'a-2', '--json')).toMatchObject({ code: 0, out: expect.stringContaining('"Zwei"') })
  expect(facts('get', 'accounts', 'a-3')).toMatchObject({ code: 1, out: expect.stringContaining('no row') })
  expect(facts('get', 'films', 'a-3').err).toContain('there is no table films; there are accounts')
})

test('a file with wrong rows is not loaded, and each is named; some may be left out', () => {
  facts('load', 'accounts', file('a.csv', csv))
  const wrong = file(
    'b.csv',
    'id,name,age,budget,tags\na-1,New,1,1,"[1,2]"\na-3,x,old,1,"[1,2]"\n,x,1,1,"[1,2]"\na-4,x,1\na-5,x,3000000000,1,"[1]"\n',
  )
  const refused = facts('load', 'accounts', wrong)
  expect(refused.code).toBe(1)
  expect(refused.out).toContain('row 3, column age: is i32, this is no whole number ("old")')
  expect(refused.out).toContain('row 4, column id: the key is missing ("")')
  expect(refused.out).toContain('row 5: has 3 of 5 columns')
  expect(refused.out).toContain('row 6, column tags: is a list of 2, this has 1')
  expect(refused.out).toContain('nothing was loaded: 4 of 5 rows')
  expect(rowsOf('accounts')).toHaveLength(2)
  expect(rowsOf('accounts')[0]).toMatchObject({ name: 'One, two' })
  const report = join(folder, 'bad.ndjson')
  expect(facts('load', 'accounts', wrong, '--max-bad', '4', '--bad-rows', report)).toMatchObject({
    code: 0,
    out: expect.stringContaining('1 rows loaded'),
  })
  expect(rowsOf('accounts')[0]).toMatchObject({ name: 'New' })
  const bad = readFileSync(report, 'utf8').trim().split('\n')
  expect(bad.map((line) => (JSON.parse(line) as { row: number }).row)).toEqual([3, 4, 5, 6])
})

test('rows are added to a table, or become it', () => {
  facts('load', 'accounts', file('a.csv', csv))
  const more = file('more.ndjson.gz', gzipSync('{"id":"a-3","name":"Drei","age":3,"budget":3,"tags":[5,6]}\n'))
  expect(facts('load', 'accounts', more).code).toBe(0)
  expect(rowsOf('accounts')).toHaveLength(3)
  const dry = facts('load', 'accounts', more, '--replace', '--dry-run')
  expect(dry).toMatchObject({ code: 0, out: expect.stringContaining('nothing was written') })
  expect(rowsOf('accounts')).toHaveLength(3)
  expect(facts('load', 'accounts', more, '--replace').code).toBe(0)
  expect(rowsOf('accounts')).toEqual([{ key: 'a-3', name: 'Drei', age: 3, budget: 3, tags: [5, 6] }])
})

test('a file that is cut, or says nothing, changes nothing', () => {
  facts('load', 'accounts', file('a.csv', csv))
  const many = Array.from(
    { length: 50_000 },
    (_, i) => `{"id":"b-${i}","name":"x","age":1,"budget":${Math.sqrt(i)},"tags":[1,2]}`,
  )
  const whole = gzipSync(many.join('\n'))
  const cut = facts('load', 'accounts', file('cut.ndjson.gz', whole.subarray(0, whole.length / 2)), '--replace')
  expect(cut.code).not.toBe(0)
  expect(cut.err).toMatch(/unexpected end of file/)
  expect(facts('load', 'accounts', file('empty.csv', ''))).toMatchObject({
    code: 2,
    err: expect.stringContaining('no rows'),
  })
  expect(facts('load', 'accounts', join(folder, 'none.csv')).err).toContain('there is no file')
  expect(rowsOf('accounts')).toHaveLength(2)
})

test('types come from a file, or from the workflow that reads the table', () => {
  const types = file('types.json', '{"key":"u64","fields":{"age":"u8","tags":"f64[2]"}}')
  const numbers = file('n.csv', 'account,age,tags,more\n18446744073709551615,200,"[1,2]",x\n')
  const loaded = facts('load', 'people', numbers, '--key', 'account', '--types', types)
  expect(loaded.err).toContain('not loaded: column more')
  expect(rowsOf('people')).toEqual([{ key: '18446744073709551615', age: 200, tags: [1, 2] }])
  expect(facts('load', 'people', file('bad.json', '{}'), '--types', types).code).toBe(2)
  expect(
    facts(
      'load',
      'people',
      numbers,
      '--key',
      'account',
      '--types',
      file('t.json', '{"key":"u64","fields":{"a":"f31"}}'),
    ).err,
  ).toContain('field a is "f31"')

  const version = join(folder, 'models/workflows/price/1')
  mkdirSync(version, { recursive: true })
  writeFileSync(
    join(version, 'workflow.js'),
    `const { column, defineWorkflow, fact, field } = require('@millrace/workflow')
     module.exports = defineWorkflow({
       inputs: { account: column('string', { per: 'request' }), x: column('f32') },
       outputs: { y: column('f32') },
       facts: { profile: fact('profiles', { by: 'account', fields: { budget: field('f64') }, missing: 'refuse' }) },
       postprocess() {},
     })`,
  )
  const profiles = facts('load', 'profiles', file('p.csv', 'id,budget\n7,40\n'))
  expect(profiles.err).toContain('keys string from column id; budget f64')
  expect(profiles.err).toContain('known from price@1')
  expect(facts('load', 'profiles', file('q.csv', 'id,price\n7,40\n'), '--replace').err).toContain(
    'has no column budget',
  )
})

test('a Parquet file is loaded', () => {
  const path = join(folder, 'a.parquet')
  const write = `import { parquetWriteFile } from 'hyparquet-writer'
    parquetWriteFile({ filename: process.argv[1], rowGroupSize: 100, columnData: [
      { name: 'id', data: Array.from({ length: 250 }, (_, i) => 'k' + i), type: 'STRING' },
      { name: 'n', data: BigInt64Array.from({ length: 250 }, (_, i) => BigInt(i) << 40n), type: 'INT64' },
      { name: 'x', data: Float64Array.from({ length: 250 }, (_, i) => i / 2), type: 'DOUBLE' },
    ] })`
  const made = spawnSync(process.execPath, ['--input-type=module', '-e', write, path], {
    cwd: __dirname,
    encoding: 'utf8',
  })
  expect(made.stderr).toBe('')
  expect(existsSync(path)).toBe(true)
  const loaded = facts('load', 'items', path)
  expect(loaded.err).toContain('n i64, x f32')
  expect(loaded.out).toContain('250 rows loaded')
  const rows = rowsOf('items') as { key: string }[]
  expect(rows.find(({ key }) => key === 'k201')).toEqual({ key: 'k201', n: String(201n << 40n), x: 100.5 })
})
