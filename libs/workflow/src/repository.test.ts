import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { readRepository } from './repository'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'repository-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function put(...paths: string[]): void {
  for (const path of paths) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), '')
  }
}

describe('readRepository', () => {
  it('lists versions by name, then number, whatever the file system says', () => {
    put(
      'workflows/b/10/model.onnx',
      'workflows/b/2/workflow.js',
      'workflows/B/1/model.onnx',
      'workflows/a.x/1/workflow.ts',
    )
    put('rules.json', 'facts/data.mdb', 'README.md')
    const repository = readRepository(folder)
    expect(repository.problems).toEqual([])
    expect(repository.versions.map(({ name, version }) => `${name}@${version}`)).toEqual([
      'B@1',
      'a.x@1',
      'b@2',
      'b@10',
    ])
    expect(repository.versions.map(({ workflowFile }) => workflowFile)).toEqual([
      null,
      join(folder, 'workflows/a.x/1/workflow.ts'),
      join(folder, 'workflows/b/2/workflow.js'),
      null,
    ])
    expect(repository.rules).toBe(join(folder, 'rules.json'))
    expect(repository.facts).toBe(join(folder, 'facts'))
  })

  it('leaves half-written folders alone', () => {
    put('workflows/a/1/workflow.ts', 'workflows/a/.2.tmp/workflow.ts', 'workflows/_draft/1/workflow.ts')
    const repository = readRepository(folder)
    expect(repository.problems).toEqual([])
    expect(repository.versions.map(({ name, version }) => [name, version])).toEqual([['a', 1]])
    expect([repository.rules, repository.facts]).toEqual([null, null])
  })

  it('says what is wrong and where, and serves the rest', () => {
    put(
      'workflows/a/v2/workflow.ts',
      'workflows/a/1/model.onnx',
      'workflows/b c/1/model.onnx',
      'workflows/d/workflow.ts',
    )
    put('workflows/a/0/model.onnx', 'rules.json', 'rules.ts')
    const { problems, versions } = readRepository(folder)
    expect(versions.map(({ name, version }) => [name, version])).toEqual([['a', 1]])
    expect(problems).toHaveLength(5)
    for (const [place, what] of [
      ['a/v2', 'a positive integer'],
      ['a/0', 'a positive integer'],
      ['b c', "a workflow's name is"],
      [join('workflows', 'd'), 'has no version'],
      ['rules.ts', 'is used, remove the other'],
    ] as const)
      expect(problems.some((problem) => problem.includes(place) && problem.includes(what))).toBe(true)
  })

  it('says when it is no repository', () => {
    expect(readRepository(join(folder, 'nowhere')).problems[0]).toContain('workflows/<name>/<version>/')
  })
})
