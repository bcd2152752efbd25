import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/*
 * Where native TensorFlow lives on this machine. `millrace engines install tensorflow` puts it there and writes the
 * receipt last, so what has a receipt is whole; this file alone knows how the folder is laid out.
 */

/** What this release runs on; an install of anything else is as good as none. */
export const tensorflowPins = { tensorflow: '2.21.0', tfjsNode: '4.22.0', layout: 1 } as const

export const installTensorflow = 'millrace engines install tensorflow'

/** What an install is made from: the npm packages and their lock, the wheels and their hashes, a self-test. */
export const tensorflowManifest = join(__dirname, '../native/tensorflow')

/** Written last into the folder of an install. */
export interface TensorflowReceipt {
  readonly layout: number
  /** Version of libtensorflow. */
  readonly tensorflow: string
  /** Version of the npm package `@tensorflow/tfjs-node`. */
  readonly tfjsNode: string
  readonly gpu: boolean
  readonly platform: string
  readonly arch: string
  /** Of every native file: its path in the folder, its size and its digest. */
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[]
}

export interface TensorflowInstall {
  /** Absolute. */
  readonly folder: string
  /** Version of libtensorflow. */
  readonly version: string
  /** Built with CUDA; it computes on the CPU where there is no GPU. */
  readonly gpu: boolean
  /** Absolute path of `tfjs_binding.node`, where `@tensorflow/tfjs-node` looks for it too. */
  readonly binding: string
  /** Absolute path of the folder whose `node_modules` has `@tensorflow/tfjs-node`. */
  readonly packages: string
}

export interface TensorflowMissing {
  readonly reason: string
  /** The command that makes it available. */
  readonly install: string
}

/** Where the files of an install are, from its folder. */
export const tensorflowLayout = {
  receipt: 'receipt.json',
  binding: 'node_modules/@tensorflow/tfjs-node/lib/napi-v8/tfjs_binding.node',
  tfjsNode: 'node_modules/@tensorflow/tfjs-node/package.json',
  libraries: 'lib',
} as const

/** The folder of engines that are installed apart from `npm ci`. */
export function enginesFolder(env: NodeJS.ProcessEnv): string {
  const own = env['MILLRACE_ENGINES_FOLDER']
  if (own !== undefined && own !== '') return own
  const data = env['XDG_DATA_HOME']
  return join(data !== undefined && data !== '' ? data : join(homedir(), '.local/share'), 'millrace/engines')
}

/** The folder that native TensorFlow is installed in, whether it is there or not. */
export function tensorflowFolder(env: NodeJS.ProcessEnv): string {
  return join(enginesFolder(env), 'tensorflow')
}

/** The install that `env` leads to, or why there is none that this release can use. Loads nothing. */
export function findTensorflow(env: NodeJS.ProcessEnv): TensorflowInstall | TensorflowMissing {
  const folder = tensorflowFolder(env)
  const missing = (reason: string): TensorflowMissing => ({ reason, install: installTensorflow })
  const receipt = readReceipt(folder)
  if (receipt === null) return missing(`native TensorFlow is not installed in ${folder}`)
  const { layout, tensorflow, tfjsNode } = tensorflowPins
  if (receipt.layout !== layout || receipt.tensorflow !== tensorflow || receipt.tfjsNode !== tfjsNode)
    return missing(
      `${folder} has TensorFlow ${receipt.tensorflow} for tfjs-node ${receipt.tfjsNode}, ` +
        `this release runs ${tensorflow} for ${tfjsNode}`,
    )
  if (receipt.platform !== process.platform || receipt.arch !== process.arch)
    return missing(
      `${folder} was installed for ${receipt.platform}/${receipt.arch}, this is ${process.platform}/${process.arch}`,
    )
  const broken = receipt.files.find(({ path, bytes }) => sizeOf(join(folder, path)) !== bytes)
  if (broken !== undefined) return missing(`${join(folder, broken.path)} is not as it was installed`)
  if (sizeOf(join(folder, tensorflowLayout.tfjsNode)) === null)
    return missing(`${join(folder, tensorflowLayout.tfjsNode)} is gone`)
  return {
    folder,
    version: tensorflow,
    gpu: receipt.gpu,
    binding: join(folder, tensorflowLayout.binding),
    packages: folder,
  }
}

/** The receipt in `folder`; null where there is none that can be read. */
export function readReceipt(folder: string): TensorflowReceipt | null {
  try {
    const receipt = JSON.parse(readFileSync(join(folder, tensorflowLayout.receipt), 'utf8')) as TensorflowReceipt
    return Array.isArray(receipt.files) ? receipt : null
  } catch {
    return null
  }
}

function sizeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.size ?? null
}
