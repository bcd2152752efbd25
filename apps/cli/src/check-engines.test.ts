import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeWith } from '../../../test/support/extras'

/* Models on several engines, and a SavedModel of text, through the command. */

const root = join(__dirname, '../../..')
const bin = join(__dirname, '../bin/millrace.js')
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^MILLRACE_(?!ENGINES_)/.test(name)))
const films = join(root, 'apps/demo/repository/workflows/title-ranking/1/model')
const carOrigin = join(root, 'test/models/repository/workflows/car-origin/1/saved_model')

interface Checked {
  readonly status: number | null
  readonly engines: readonly { name: string; engine: string; state: string; golden: unknown; difference: number }[]
  readonly problems: readonly string[]
}

describeWith('tensorflow')('check, with native TensorFlow', () => {
  let repository: string
  beforeEach(() => {
    repository = mkdtempSync(join(tmpdir(), 'engines-'))
  })
  afterEach(() => rmSync(repository, { recursive: true }))

  function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', env })
  }

  function check(...args: string[]): Checked {
    const { status, stdout } = run('check', repository, '--json', ...args)
    return { ...(JSON.parse(stdout) as Checked), status }
  }

  it('runs golden requests on both engines of a TFJS model, and says how far they are apart', () => {
    expect(run('new', 'workflow', 'films', '-m', films, '-r', repository).status).toBe(0)
    const { status, engines } = check()
    expect(engines.map(({ engine, state, golden }) => [engine, state, golden])).toEqual([
      ['tensorflow', 'ready', { passed: 1, failed: 0 }],
      ['tfjs', 'ready', { passed: 1, failed: 0 }],
    ])
    expect(engines[0]!.difference).toBeNull()
    expect(engines[1]!.difference).toBeLessThan(1e-5)
    expect(status).toBe(0)
    expect(run('check', repository).stdout).toMatch(/on {3}tfjs: 1 golden requests passed, at most \S+ apart/)
    expect(check('--engine', 'tensorflow').engines).toHaveLength(1)

    const golden = join(repository, 'workflows/films/1/golden.json')
    writeFileSync(golden, readFileSync(golden, 'utf8').replace('"outputs"', '"code":"NOT_FOUND","outputs"'))
    const failed = check()
    expect(failed.problems).toEqual([expect.stringMatching(/^films@1: 1 of 1 golden requests failed/)])
    expect(failed.status).toBe(1)
  }, 60_000)

  it('takes a SavedModel of text, as a folder alone and by the name of its signature', () => {
    const plain = join(repository, 'workflows/plain/1')
    cpSync(carOrigin, plain, { recursive: true })
    writeFileSync(
      join(plain, 'golden.json'),
      '[{"inputs": {"name": ["toyota corona", "ford pinto"]}, "outputs": {"origin": ["Japan", "USA"]}}]',
    )
    const [named, wrong] = ['serving_default', 'training'].map((signature) => {
      const folder = join(repository, 'workflows', signature, '1')
      mkdirSync(folder, { recursive: true })
      const workflow = `import { column, defineWorkflow, savedModel } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { name: column('string', { per: 'request' }), n: column('u8') },
  outputs: { origin: column('string') },
  model: savedModel('${carOrigin}', { signature: '${signature}' }),
})`
      writeFileSync(join(folder, 'workflow.ts'), workflow)
      return folder
    })
    const golden = '[{"inputs": {"name": "toyota corona", "n": [1, 2]}, "outputs": {"origin": ["Japan", "Japan"]}}]'
    for (const folder of [named!, wrong!]) writeFileSync(join(folder, 'golden.json'), golden)
    const { engines, problems, status } = check()
    expect(engines.map(({ name, engine, golden }) => [name, engine, golden])).toEqual([
      ['plain', 'tensorflow', { passed: 1, failed: 0 }],
      ['serving_default', 'tensorflow', { passed: 1, failed: 0 }],
      ['training', null, null],
    ])
    expect(problems).toEqual([
      expect.stringMatching(/^training@1: .* has no signature `training`; it has serving_default/),
    ])
    expect(status).toBe(1)
  }, 60_000)
})
