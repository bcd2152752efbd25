import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Code, Refusal } from '@millrace/base'
import type { ModelFile } from './engine'

/**
 * The model file of a plain folder: `model.onnx` or else the only `*.onnx`; `model.json` or `model/model.json`
 * (TFJS); the folder itself or its `saved_model` or `model` folder where `saved_model.pb` is in it (SavedModel).
 *
 * @param folder absolute path
 * @returns null when there is none
 * @throws Refusal FAILED_PRECONDITION naming the candidates when there are several
 */
export function findModelFile(folder: string): ModelFile | null {
  const names = filesOf(folder)
  const onnx = names.filter((name) => name.endsWith('.onnx'))
  const candidates: ModelFile[] = [
    ...(onnx.includes('model.onnx') ? ['model.onnx'] : onnx).map(
      (name): ModelFile => ({ format: 'onnx', path: join(folder, name) }),
    ),
    ...['', 'model']
      .filter((sub) => filesOf(join(folder, sub)).includes('model.json'))
      .map((sub): ModelFile => ({ format: 'tfjs', path: join(folder, sub, 'model.json') })),
    ...['', 'saved_model', 'model']
      .filter((sub) => filesOf(join(folder, sub)).includes('saved_model.pb'))
      .map((sub): ModelFile => ({ format: 'savedmodel', path: join(folder, sub) })),
  ]
  if (candidates.length <= 1) return candidates[0] ?? null
  throw new Refusal(
    Code.FAILED_PRECONDITION,
    `${folder} has ${candidates.length} models: ${candidates.map((file) => relativeName(folder, file)).join(', ')}; ` +
      `leave one, or say in a workflow file which one is scored with`,
  )
}

function relativeName(folder: string, file: ModelFile): string {
  const name = file.path.slice(folder.length).replace(/^[/\\]/, '')
  return file.format === 'savedmodel' ? join(name, 'saved_model.pb') : name
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => entry.name)
      .sort()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw error
  }
}
