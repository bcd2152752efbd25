import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { dtypeBytes, DType } from '@millrace/base'
import type { ModelFile, Tensor } from '@millrace/engine'
import {
  columnsToJson,
  Engines,
  loadVersion,
  messageOf,
  namePattern,
  readRepository,
  runOffline,
} from '@millrace/workflow'
import { Exit, paint, print, progress, UsageError } from './output'
import { probeModel, type Probe } from './probe-model'
import { modelWorkflow, plainInputs, plainWorkflow } from './scaffold'

export interface NewWorkflowOptions {
  readonly model?: string
  readonly repository?: string
}

/** A golden request of more than this is no example: none is written. */
const goldenBytesMax = 1 << 20
/** Rows with more numbers than this are written as base64. */
const numbersMax = 256

/**
 * Writes `workflows/<name>/1` of a repository: a typed workflow file, made from the model's own signature where there is
 * one, and a golden request with what it answers today. Writes the whole folder or nothing; exit 1 where it is there.
 */
export async function newWorkflow(name: string, { model, repository }: NewWorkflowOptions): Promise<number> {
  if (!namePattern.test(name))
    throw new UsageError(`${name}: a workflow's name is letters, digits, '.', '_' and '-', at most 100`)
  const given = repository ?? process.env['MILLRACE_REPOSITORY']
  if (given === undefined) throw new UsageError('say which repository: --repository FOLDER, or MILLRACE_REPOSITORY')
  const root = resolve(given)
  const target = join(root, 'workflows', name)
  if (existsSync(target)) {
    progress(`${target} is there: nothing was written; take another name, or add the folder of a new version`)
    return Exit.no
  }
  const source = model === undefined ? null : modelAt(resolve(model))
  // Names that begin with a dot are left alone by servers.
  const draft = join(root, 'workflows', `.${name}`)
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(join(draft, '1'), { recursive: true })
  try {
    const golden = await write(join(draft, '1'), name, source)
    renameSync(draft, target)
    report(root, target, name, golden)
    return Exit.good
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** Resolves with whether there is a golden request. */
async function write(folder: string, name: string, source: Source | null): Promise<boolean> {
  const engines = new Engines({ threads: 1, device: 'cpu' })
  const file = join(folder, 'workflow.ts')
  try {
    if (source === null) {
      writeFileSync(file, plainWorkflow)
      return await writeGolden(folder, name, engines, plainInputs)
    }
    const { from } = source
    const path = copyModel(source, folder)
    const loaded = await engines.load({ format: from.format, path: join(folder, path) })
    let probe: Probe
    try {
      probe = await probeModel(loaded.model)
    } catch (error) {
      throw new Error(`${from.path} loads, but no workflow could be made of it: ${messageOf(error)}`, { cause: error })
    } finally {
      loaded.model.dispose()
    }
    writeFileSync(file, modelWorkflow(from.format, path, probe))
    return await writeGolden(folder, name, engines, exampleInputs(probe))
  } finally {
    await engines.dispose()
  }
}

interface Source {
  readonly from: ModelFile
  /** Files beside a TFJS model. */
  readonly shards: readonly string[]
}

function modelAt(path: string): Source {
  if (!existsSync(path)) throw new UsageError(`there is no ${path}`)
  const folder = statSync(path).isDirectory()
  if (folder && existsSync(join(path, 'saved_model.pb'))) return { from: { format: 'savedmodel', path }, shards: [] }
  const json = folder ? join(path, 'model.json') : path
  if (json.endsWith('.json') && existsSync(json)) {
    const { weightsManifest = [] } = JSON.parse(readFileSync(json, 'utf8')) as {
      weightsManifest?: { paths: string[] }[]
    }
    return { from: { format: 'tfjs', path: json }, shards: weightsManifest.flatMap(({ paths }) => paths) }
  }
  if (path.endsWith('.onnx')) return { from: { format: 'onnx', path }, shards: [] }
  throw new UsageError(
    `${path}: a model is an .onnx file, the model.json of a TFJS model, or the folder of a SavedModel`,
  )
}

/** Copies it into the version's folder, and returns its path there. */
function copyModel({ from: { format, path }, shards }: Source, folder: string): string {
  const into = { onnx: 'model.onnx', tfjs: 'model/model.json', savedmodel: 'saved_model' }[format]
  cpSync(path, join(folder, into), { recursive: true })
  for (const shard of shards) cpSync(join(dirname(path), shard), join(folder, dirname(into), shard))
  return into
}

function exampleInputs({ inputs, given }: Probe): Record<string, unknown> {
  return Object.fromEntries(
    inputs.flatMap(({ spec, column }) => {
      if (column === null) return []
      const { data } = given[spec.name] as Tensor
      const base64 = !('spans' in data) && data.length > numbersMax
      const json = base64
        ? {
            base64: Buffer.from(data.buffer, data.byteOffset, data.length * dtypeBytes[DType[spec.dtype]]!).toString(
              'base64',
            ),
          }
        : columnsToJson([column], { [column.name]: data })[column.name]
      return [[column.name, json]]
    }),
  )
}

/** What the new workflow answers is what is expected from now on. */
async function writeGolden(folder: string, name: string, engines: Engines, inputs: object): Promise<boolean> {
  const version = { name, version: 1, path: folder, workflowFile: join(folder, 'workflow.ts') }
  const { version: loaded, description } = await loadVersion(version, { engines, store: null, warmMsMax: 0 })
  if (loaded === null) throw new Error(`the workflow that was written does not load: ${description.reason}`)
  const [answer] = await runOffline(loaded, [inputs])
  loaded.dispose()
  if (answer!.code !== 'OK') throw new Error(`the workflow that was written refuses its example: ${answer!.message}`)
  const text = JSON.stringify([{ inputs, outputs: answer!.outputs }], (_, one: unknown) =>
    typeof one === 'bigint' ? String(one) : one,
  )
  if (text.length > goldenBytesMax) return false
  writeFileSync(join(folder, 'golden.json'), `[\n  ${text.slice(1, -1)}\n]\n`)
  return true
}

function report(root: string, target: string, name: string, golden: boolean): void {
  print(`${paint('green', 'new')}  ${join(target, '1/workflow.ts')}`)
  if (golden) print(`${paint('green', 'new')}  ${join(target, '1/golden.json')}: what it answers today, to be held to`)
  else
    print(
      `${paint('yellow', 'note')} no golden request: the model's rows are too large for an example; write golden.json yourself`,
    )
  const { rules } = readRepository(root)
  if (rules !== null) print(`${paint('yellow', 'note')} no objective leads to it: bind ${name}@1 in ${rules}`)
  print(`\nnext:\n  millrace check ${root}\n  millrace serve --dev -r ${root}`)
}
