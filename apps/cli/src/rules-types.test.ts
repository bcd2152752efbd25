import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/* A rules.ts with a name that the repository does not have does not compile: with the tools that its owner has. */

const root = join(__dirname, '../../..')
const folder = mkdtempSync(join(tmpdir(), 'rules-types-'))
afterAll(() => rmSync(folder, { recursive: true }))

function millrace(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [join(__dirname, '../bin/millrace.js'), ...args], { encoding: 'utf8' })
}

/** The example of the reference page, and the same with something else in it. */
const example = /```ts\n([^]*?)```/.exec(readFileSync(join(root, 'libs/rules/README.md'), 'utf8'))![1]!
function instead(of: string, other: string): string {
  expect(example).toContain(of)
  return example.replace(of, other)
}

test('a wrong version or objective is a compile error, at its place', () => {
  for (const version of ['price/1', 'price/2', 'offers/1'])
    mkdirSync(join(folder, 'workflows', version), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  writeFileSync(join(folder, 'package.json'), '{}')
  const written = millrace('rules', 'types', '-r', folder, '--out', join(folder, 'versions.ts'))
  expect(written).toMatchObject({ status: 0, stderr: '' })
  expect(millrace('rules', 'types', '-r', folder).stdout).toBe(readFileSync(join(folder, 'versions.ts'), 'utf8'))

  const price2 = "workflow: 'price@2', percent: 5"
  const files: Record<string, [source: string, said: RegExp | null]> = {
    'right.ts': [example, null],
    'version.ts': [instead(price2, "workflow: 'price@3', percent: 5"), /'"price@3"' is not assignable/],
    'objective.ts': [instead("objectives: ['price']", "objectives: ['prices']"), /'"prices"' is not assignable/],
    'default.ts': [instead("default: 'offers@1'", "default: 'offers@2'"), /'"offers@2"' is not assignable/],
    'field.ts': [instead('percent: 5', 'percents: 5'), /'percents' does not exist/],
  }
  for (const [name, [source]] of Object.entries(files)) writeFileSync(join(folder, name), source)
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--pretty', 'false']
  const { stdout } = spawnSync(process.execPath, [tsc, ...options, ...Object.keys(files)], {
    cwd: folder,
    encoding: 'utf8',
  })
  const errors = stdout.split('\n').filter((line) => /^\S/.test(line))
  for (const [name, [, said]] of Object.entries(files)) {
    const own = errors.filter((line) => line.startsWith(`${name}(`))
    expect([name, own]).toEqual([name, said === null ? [] : [expect.stringMatching(said)]])
  }
  expect(errors).toHaveLength(4)
}, 120_000)

test('a repository without a version has no types', () => {
  const empty = join(folder, 'empty')
  mkdirSync(join(empty, 'workflows'), { recursive: true })
  expect(millrace('rules', 'types', '-r', empty)).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('has no version yet') as string,
  })
})
