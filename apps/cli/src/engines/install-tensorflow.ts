import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import {
  findTensorflow,
  readReceipt,
  tensorflowFolder,
  tensorflowLayout,
  tensorflowManifest,
  tensorflowPins,
  enginesFolder,
  type TensorflowInstall,
  type TensorflowReceipt,
} from '@millrace/engine'
import { readRecipe, type Recipe } from './recipe'
import { trialScript } from './list-engines'
import { checkMachine, checkPlatform } from './requirements'
import { alone, Staging } from './staging'
import type { Steps } from './steps'
import { no, runTool, ToolError, type Surroundings } from './tools'
import { download, downloaded, sha256Of, unpack } from './wheels'

export interface InstallOptions {
  readonly env: NodeJS.ProcessEnv
  readonly gpu: boolean
  readonly signal: AbortSignal
  readonly steps: Steps
  /** What to install; `tensorflowManifest` unless a test says otherwise. */
  readonly manifest?: string
}

/**
 * Makes native TensorFlow available to `options.env`: the npm package tfjs-node for its binding's source and kernels,
 * TensorFlow's library from its Python wheel, the binding compiled against it, tried in a process of its own. Goes on
 * where an earlier call was cut off. An install that is whole is left as it is.
 *
 * @returns the install, and whether it was there already
 * @throws Refusal FAILED_PRECONDITION that says what is missing or went wrong, and what to do
 */
export async function installTensorflow(
  options: InstallOptions,
): Promise<{ readonly install: TensorflowInstall; readonly already: boolean }> {
  const { env, gpu } = options
  checkPlatform()
  return await alone(openFolder(enginesFolder(env)), async () => {
    const there = await wholeInstall(env)
    if (there !== null && there.gpu === gpu) return { install: there, already: true }
    await build(options)
    const install = findTensorflow(env)
    if ('reason' in install) throw no(`${install.reason}, though it was just installed`)
    return { install, already: false }
  })
}

function openFolder(folder: string): string {
  try {
    mkdirSync(folder, { recursive: true })
    return folder
  } catch (error) {
    throw no(`${(error as Error).message}: name a folder that can be written with MILLRACE_ENGINES_FOLDER`)
  }
}

/** The install, when every native file of it is the one that was installed. */
async function wholeInstall(env: NodeJS.ProcessEnv): Promise<TensorflowInstall | null> {
  const install = findTensorflow(env)
  if ('reason' in install) return null
  for (const { path, sha256 } of readReceipt(install.folder)!.files)
    if ((await sha256Of(join(install.folder, path))) !== sha256) return null
  return install
}

async function build({ env, gpu, signal, steps, manifest = tensorflowManifest }: InstallOptions): Promise<void> {
  const surroundings: Surroundings = { env, signal }
  const recipe = readRecipe(manifest, gpu)
  const staging = Staging.open(enginesFolder(env), recipe.digest)
  const { folder } = staging
  const shown = async <T>(title: string, bytes: number, work: () => Promise<T>): Promise<T> => {
    steps.begin(title, bytes)
    try {
      const answer = await work()
      steps.end()
      return answer
    } catch (error) {
      steps.leave()
      throw error
    }
  }
  const step = (name: string, title: string, work: () => Promise<void>): Promise<void> =>
    staging.do(name, () => shown(title, 0, work))

  await checkMachine(recipe, staging, surroundings)
  await step('packages', 'npm packages', () => installPackages(recipe, folder, surroundings))
  for (const wheel of recipe.wheels)
    await staging.do(wheel.name, async () => {
      const downloads = join(staging.engines, 'download')
      const title = `${wheel.name} ${wheel.version}`
      const path =
        (await downloaded(wheel, downloads)) ??
        (await shown(`download ${title}`, wheel.bytes, () => download(wheel, downloads, surroundings, steps)))
      await shown(`unpack ${title}`, wheel.unpackedBytes, () => unpack(path, folder, signal, steps))
      rmSync(downloads, { recursive: true, force: true })
    })
  await step('binding', 'compile the binding', () => compile(folder, surroundings))
  await step('receipt', 'checksums', () => writeReceipt(folder, gpu))
  await step('tried', 'load it, run it', () => selfTest(recipe, staging, surroundings))
  staging.commit(tensorflowFolder(env))
}

async function installPackages(recipe: Recipe, folder: string, surroundings: Surroundings): Promise<void> {
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(recipe.folder, name), join(folder, name))
  try {
    // Its own installer would fetch another TensorFlow from elsewhere.
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--omit=dev']
    await runTool('npm', args, { ...surroundings, cwd: folder })
  } catch (error) {
    if (error instanceof ToolError)
      throw no(`npm did not install tfjs-node: ${error.message}\nthe same command goes on from here`)
    throw error
  }
}

/** One call of the compiler over the package's own source, against the library and Node-API's headers. */
async function compile(folder: string, surroundings: Surroundings): Promise<void> {
  const tfjsNode = join(folder, dirname(tensorflowLayout.tfjsNode))
  const binding = join(folder, tensorflowLayout.binding)
  const libraries = join(folder, tensorflowLayout.libraries)
  mkdirSync(dirname(binding), { recursive: true })
  // Relative, so that the folder can be moved.
  const runPath = `$ORIGIN/${relative(dirname(binding), libraries)}`
  const args = [
    ...['-std=c++17', '-O2', '-fPIC', '-shared', '-w', '-DNAPI_VERSION=8'],
    ...[`-I${join(folder, 'include')}`, `-I${join(folder, 'node_modules/node-api-headers/include')}`],
    ...['binding/tfjs_backend.cc', 'binding/tfjs_binding.cc'],
    ...['-o', `${binding}.new`, `-L${libraries}`, `-Wl,-rpath,${runPath}`],
    ...['-l:libtensorflow_cc.so.2', '-l:libtensorflow_framework.so.2'],
  ]
  try {
    await runTool('g++', args, { ...surroundings, cwd: tfjsNode })
  } catch (error) {
    if (error instanceof ToolError) throw no(`the binding was not compiled: ${error.message}`)
    throw error
  }
  renameSync(`${binding}.new`, binding)
}

async function writeReceipt(folder: string, gpu: boolean): Promise<void> {
  const native = ['lib', 'nvidia'].flatMap((part) => filesIn(folder, part))
  const files: TensorflowReceipt['files'][number][] = []
  for (const path of [...native, tensorflowLayout.binding]) {
    const file = join(folder, path)
    files.push({ path, bytes: statSync(file).size, sha256: await sha256Of(file) })
  }
  const { platform, arch } = process
  const receipt: TensorflowReceipt = { ...tensorflowPins, gpu, platform, arch, files }
  writeFileSync(join(folder, tensorflowLayout.receipt), `${JSON.stringify(receipt, null, 2)}\n`)
}

/** A process of its own: a library that does not fit this machine ends the process that loads it. */
async function selfTest(recipe: Recipe, staging: Staging, { env, signal }: Surroundings): Promise<void> {
  try {
    await runTool(process.execPath, [join(recipe.folder, 'self-test.js'), staging.folder, trialScript], {
      env: { ...env, MILLRACE_ENGINES_FOLDER: staging.engines, TF_CPP_MIN_LOG_LEVEL: '2' },
      ...(signal === undefined ? {} : { signal }),
    })
  } catch (error) {
    if (error instanceof ToolError)
      throw no(`native TensorFlow was installed, but does not work here, so it is not taken into use: ${error.message}`)
    throw error
  }
}

function filesIn(folder: string, part: string): string[] {
  try {
    return readdirSync(join(folder, part), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
      .sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
