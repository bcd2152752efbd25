import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Strings } from '@millrace/base'
import { writeOnnx, type OnnxGraph } from '@millrace/engine'
import ts from 'typescript'

/* What `millrace new workflow` writes passes `millrace check` and compiles. */

const root = join(__dirname, '../../..')
const bin = join(__dirname, '../bin/millrace.js')
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_')))

let folder: string
let repository: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'new-'))
  repository = join(folder, 'models')
})
afterEach(() => rmSync(folder, { recursive: true }))

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', env })
}

function onnx(graph: OnnxGraph): string {
  const path = join(folder, 'some.onnx')
  writeFileSync(path, writeOnnx(graph))
  return path
}

/** Everything that the compiler says of the workflows, as strictly as it can. */
function typeErrors(names: readonly string[]): string[] {
  const files = names.map((name) => join(repository, 'workflows', name, '1/workflow.ts'))
  const program = ts.createProgram(files, {
    strict: true,
    noUncheckedIndexedAccess: true,
    noUnusedLocals: true,
    noUnusedParameters: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.Node16,
    moduleResolution: ts.ModuleResolutionKind.Node16,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    paths: { '@millrace/workflow': [join(root, 'libs/workflow/dist/index.d.ts')] },
  })
  return ts
    .getPreEmitDiagnostics(program)
    .map(({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
}

const identity = (dtype: OnnxGraph['inputs'][0]['dtype'], shape: OnnxGraph['inputs'][0]['shape']): OnnxGraph => ({
  inputs: [{ name: 'x', dtype, shape }],
  outputs: [{ name: 'y', dtype, shape }],
  weights: {},
  nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
})

/** By name: a model, and what of the written file shows that it was understood. */
const models: Readonly<Record<string, readonly [OnnxGraph, string]>> = {
  vector: [identity('f32', ['N', 3]), "x: column('f32', { shape: [3] })"],
  'one-by-one': [identity('f64', ['N', 1]), 'into.x([rows, 1], inputs.x)'],
  text: [identity('string', ['N']), 'outputs.y.set(row, from.y.data.bytes(row))'],
  long: [identity('i64', ['N', 2, 300]), 'shape: [2, 300]'],
  image: [identity('f32', ['N', 3, 'height', 'width']), 'shape: [3, 1, 1]'],
  alone: [identity('u8', [1, 4]), 'batch: { rowsMax: 1 }'],
  names: [
    {
      inputs: [
        { name: 'in:0', dtype: 'f32', shape: ['N', 2] },
        { name: "it's", dtype: 'f32', shape: [] },
      ],
      outputs: [
        { name: 'out/sum', dtype: 'f32', shape: ['N', 2] },
        { name: 'label', dtype: 'string', shape: [2] },
      ],
      weights: { labels: { dtype: 'string', shape: [2], data: Strings.of(['a', 'b']) } },
      nodes: [
        { op: 'Add', inputs: ['in:0', "it's"], outputs: ['out/sum'] },
        { op: 'Identity', inputs: ['labels'], outputs: ['label'] },
      ],
    },
    "into['it\\'s']([])",
  ],
}

describe('new workflow', () => {
  it('makes one of a model, or without one, that is good as it is', () => {
    for (const [name, [graph, part]] of Object.entries(models)) {
      const { status, stdout } = run('new', 'workflow', name, '--model', onnx(graph), '--repository', repository)
      expect([name, status]).toEqual([name, 0])
      expect(stdout).toContain(`millrace check ${repository}`)
      expect(readFileSync(join(repository, 'workflows', name, '1/workflow.ts'), 'utf8')).toContain(part)
    }
    const films = join(root, 'apps/demo/repository/workflows/title-ranking/1/model')
    expect(run('new', 'workflow', 'films', '-m', films, '-r', repository).status).toBe(0)
    expect(readdirSync(join(repository, 'workflows/films/1/model')).sort()).toEqual(readdirSync(films).sort())
    writeFileSync(join(repository, 'rules.json'), '{"objectives": {"tax": {"default": "tax@1"}}}')
    const { stdout } = run('new', 'workflow', 'tax', '-r', repository)
    expect(stdout).toContain(`bind tax@1 in ${join(repository, 'rules.json')}`)

    const names = [...Object.keys(models), 'films', 'tax']
    const checked = run('check', repository)
    for (const name of names)
      expect(checked.stdout).toMatch(new RegExp(`ready {2}${name}@1 .*; 1 golden requests passed`))
    expect(checked.status).toBe(0)
    expect(typeErrors(names)).toEqual([])
  }, 120_000)

  it('overwrites nothing', () => {
    expect(run('new', 'workflow', 'tax', '-r', repository).status).toBe(0)
    const file = join(repository, 'workflows/tax/1/workflow.ts')
    writeFileSync(file, 'mine')
    const { status, stderr } = run('new', 'workflow', 'tax', '-r', repository)
    expect(status).toBe(1)
    expect(stderr).toContain('is there: nothing was written')
    expect(readFileSync(file, 'utf8')).toBe('mine')
  })

  it.each([
    ['no model', () => writeFileSync(join(folder, 'some.onnx'), 'no model'), /some\.onnx|model\.onnx/],
    ['rows that are fixed', () => onnx(identity('f32', [4, 2])), /its first dimension, the rows, must be free or 1/],
    ['several strings a row', () => onnx(identity('string', ['N', 2])), /a column has one string a row/],
  ])('leaves nothing behind for %s', (_, make, message) => {
    make()
    const { status, stderr } = run('new', 'workflow', 'bad', '-m', join(folder, 'some.onnx'), '-r', repository)
    expect(status).toBe(1)
    expect(stderr).toMatch(message)
    expect(existsSync(join(repository, 'workflows/bad'))).toBe(false)
    expect(readdirSync(join(repository, 'workflows'))).toEqual([])
  })

  it.each([
    [['bad/name', '-r', 'nowhere'], "bad/name: a workflow's name is letters"],
    [['good'], 'say which repository'],
    [['good', '-r', 'nowhere', '-m', 'none.onnx'], 'none.onnx'],
  ])('%j is wrong usage', (args, message) => {
    const { status, stderr } = run('new', 'workflow', ...args)
    expect(status).toBe(2)
    expect(stderr).toContain(message)
  })
})
