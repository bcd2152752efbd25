import { createHash } from 'node:crypto'
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ZipFile } from 'yazl'
import { findTensorflow, tensorflowFolder, tensorflowManifest, tensorflowPins } from '@millrace/engine'
import { describeWith } from '../../../../test/support/extras'
import { installTensorflow } from './install-tensorflow'
import type { Wheel } from './recipe'
import { checkPlatform } from './requirements'
import { uninstallTensorflow } from './uninstall-tensorflow'

/*
 * The installer against programs that only look like npm, pip and g++; each writes a line to `calls` when it is called.
 * The real thing is in the last part, and is installed by `tools/extras.sh tensorflow`.
 */
let folder: string
let env: NodeJS.ProcessEnv

const npm = `
[ "$1" = --version ] && exit 0
[ -f package-lock.json ] || exit 7
/bin/mkdir -p node_modules/@tensorflow/tfjs-node && echo '{}' > node_modules/@tensorflow/tfjs-node/package.json`
const python3 = `
[ "$1" = --version ] && exit 0
[ "$3" = --version ] && exit 0
while [ $# -gt 1 ]; do [ "$1" = --dest ] && to=$2; [ "$1" = --requirement ] && of=$2; shift; done
read -r requirement rest < "$of"
/bin/cp "$WHEELS/\${requirement%%=*}.whl" "$to"`
const gpp = `
[ "$1" = --version ] && exit 0
while [ $# -gt 1 ]; do [ "$1" = -o ] && to=$2; shift; done
echo compiled > "$to"`

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-install-'))
  for (const name of ['bin', 'wheels', 'manifest']) mkdirSync(join(folder, name))
  env = { PATH: join(folder, 'bin'), MILLRACE_ENGINES_FOLDER: join(folder, 'engines'), WHEELS: join(folder, 'wheels') }
  fake('npm', npm)
  fake('python3', python3)
  fake('g++', gpp)
  const cpu = [
    await wheel('tensorflow-cpu', {
      'tensorflow/libtensorflow_cc.so.2': 'library',
      'tensorflow/libtensorflow_framework.so.2': 'framework',
      'tensorflow/include/tensorflow/c/c_api.h': '// header',
      'tensorflow/python/ops.py': 'not needed',
    }),
  ]
  const gpu = [...cpu, await wheel('nvidia-cublas-cu12', { 'nvidia/cublas/lib/libcublas.so.12': 'cuda' })]
  writeFileSync(join(folder, 'manifest/wheels.json'), JSON.stringify({ cpu, gpu }))
  writeFileSync(join(folder, 'manifest/package.json'), '{}')
  writeFileSync(join(folder, 'manifest/package-lock.json'), '{}')
  writeFileSync(join(folder, 'manifest/self-test.js'), '')
})
afterEach(() => rmSync(folder, { recursive: true }))

/** A program on the PATH of the install. */
function fake(name: string, script: string): void {
  const call = `echo "${name} $*" >> "${join(folder, 'calls')}"`
  writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${call}\n${script}\n`, { mode: 0o755 })
}

async function wheel(name: string, files: Record<string, string>): Promise<Wheel> {
  const zip = new ZipFile()
  for (const [path, text] of Object.entries(files)) zip.addBuffer(Buffer.from(text), path)
  zip.end()
  const path = join(folder, 'wheels', `${name}.whl`)
  await pipeline(zip.outputStream as NodeJS.ReadableStream, createWriteStream(path))
  const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex')
  return { name, version: '1.0.0', platform: 'any', sha256, bytes: statSync(path).size, unpackedBytes: 100 }
}

function editWheels(edit: (wheels: { cpu: Record<string, unknown>[] }) => void): void {
  const path = join(folder, 'manifest/wheels.json')
  const wheels = JSON.parse(readFileSync(path, 'utf8')) as { cpu: Record<string, unknown>[] }
  edit(wheels)
  writeFileSync(path, JSON.stringify(wheels))
}

/** What was called that does work, by first words, since the last look. */
function calls(): string[] {
  const path = join(folder, 'calls')
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  writeFileSync(path, '')
  return lines.filter((line) => !line.endsWith('--version') && line !== '').map((line) => line.split(' ')[0]!)
}

const titles: string[] = []
async function install({ gpu = false, signal = new AbortController().signal } = {}) {
  titles.length = 0
  const steps = {
    begin: (title: string) => void titles.push(title),
    reached: () => undefined,
    end: () => undefined,
    leave: () => undefined,
  }
  return installTensorflow({ env, gpu, signal, steps, manifest: join(folder, 'manifest') })
}

function installed(path: string): string {
  return readFileSync(join(tensorflowFolder(env), path), 'utf8')
}

test('every step, once', async () => {
  const { already, install: made } = await install()
  expect(already).toBe(false)
  expect(made).toMatchObject({ version: tensorflowPins.tensorflow, gpu: false, folder: tensorflowFolder(env) })
  expect(findTensorflow(env)).toEqual(made)
  expect(installed('lib/libtensorflow_cc.so.2')).toBe('library')
  expect(installed('include/tensorflow/c/c_api.h')).toBe('// header')
  expect(() => installed('python/ops.py')).toThrow('ENOENT')
  expect(readFileSync(made.binding, 'utf8')).toBe('compiled\n')
  expect(calls()).toEqual(['npm', 'python3', 'g++'])
  expect(titles).toEqual([
    'npm packages',
    'download tensorflow-cpu 1.0.0',
    'unpack tensorflow-cpu 1.0.0',
    'compile the binding',
    'checksums',
    'load it, run it',
  ])
})

test('an install that is whole is left alone; one that was changed is made again', async () => {
  const { install: made } = await install()
  calls()
  expect((await install()).already).toBe(true)
  expect(calls()).toEqual([])
  // Of the same size: only its digest tells.
  writeFileSync(join(made.folder, 'lib/libtensorflow_cc.so.2'), 'LIBRARY')
  expect((await install()).already).toBe(false)
  expect(installed('lib/libtensorflow_cc.so.2')).toBe('library')
})

test('--gpu takes the place of the build for the CPU', async () => {
  await install()
  const { install: made, already } = await install({ gpu: true })
  expect({ already, gpu: made.gpu }).toEqual({ already: false, gpu: true })
  expect(installed('nvidia/cublas/lib/libcublas.so.12')).toBe('cuda')
})

test.each<[string, RegExp, string, string, string[]]>([
  [
    'npm',
    /npm did not install tfjs-node: npm ended with 3:\n {2}no network/,
    npm,
    'echo no network >&2; exit 3',
    ['npm'],
  ],
  [
    'python3',
    /pip did not download tensorflow-cpu 1\.0\.0: .*\n {2}no network\npip asks the index/,
    python3,
    'echo no network >&2; exit 3',
    ['python3', 'g++'],
  ],
  ['g++', /the binding was not compiled: .*\n {2}no such header/, gpp, 'echo no such header >&2; exit 3', ['g++']],
])('when %s fails, it says so, and the next call goes on from there', async (tool, message, whole, failing, again) => {
  fake(tool, `case "$*" in *--version) exit 0;; esac\n${failing}`)
  await expect(install()).rejects.toThrow(message)
  expect(findTensorflow(env)).toMatchObject({ reason: expect.stringContaining('is not installed') })
  fake(tool, whole)
  calls()
  await install()
  expect(calls()).toEqual(tool === 'npm' ? ['npm', 'python3', 'g++'] : again)
  expect(findTensorflow(env)).not.toHaveProperty('reason')
})

test('when the self-test fails, it is not taken into use', async () => {
  writeFileSync(join(folder, 'manifest/self-test.js'), "throw new Error('an instruction this CPU does not have')")
  await expect(install()).rejects.toThrow(/does not work here, so it is not taken into use: [^]*this CPU does not have/)
  expect(findTensorflow(env)).toHaveProperty('reason')
})

test('a wheel of other bytes is refused, whether pip sees it or not', async () => {
  writeFileSync(join(folder, 'wheels/tensorflow-cpu.whl'), 'something else')
  await expect(install()).rejects.toThrow(/is not the one this release was made with \(sha256 [0-9a-f]{64}\)/)
  fake('python3', `[ "$3" = download ] || exit 0\necho 'THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1`)
  await expect(install()).rejects.toThrow(/is not the one this release was made with/)
  expect(findTensorflow(env)).toHaveProperty('reason')
})

test('cut off during the download, it stops what runs and says how to go on', async () => {
  const stop = new AbortController()
  fake('python3', `[ "$3" = download ] || exit 0\necho $$ > "${join(folder, 'pid')}"\nexec /bin/sleep 600`)
  const cut = install({ signal: stop.signal })
  const ended = expect(cut).rejects.toThrow('cut off')
  const pid = await written(join(folder, 'pid'))
  stop.abort(new Error('cut off'))
  await ended
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  fake('python3', python3)
  calls()
  await install()
  expect(calls()).toEqual(['python3', 'g++'])
})

test('what another recipe began is not gone on with', async () => {
  fake('g++', `[ "$1" = --version ] || exit 1`)
  await expect(install()).rejects.toThrow('was not compiled')
  editWheels(({ cpu }) => (cpu[0]!['unpackedBytes'] = 101))
  fake('g++', gpp)
  calls()
  await install()
  expect(calls()).toEqual(['npm', 'python3', 'g++'])
})

test('everything that is missing is named at once, before anything is done', async () => {
  rmSync(join(folder, 'bin/g++'))
  fake('python3', `[ "$1" = --version ]`)
  editWheels(({ cpu }) => (cpu[0]!['unpackedBytes'] = 1e15))
  const error = await install().then(
    () => null,
    (thrown: Error) => thrown,
  )
  expect(error!.message).toMatch(/pip is not in order: .*apt-get install python3-pip/)
  expect(error!.message).toMatch(/g\+\+ is missing: .*apt-get install g\+\+/)
  expect(error!.message).toMatch(/1000000350 MB of disk are needed in .*, \d+ MB are free: .*MILLRACE_ENGINES_FOLDER/)
  expect(titles).toEqual([])
})

test('a folder that cannot be made is named', async () => {
  writeFileSync(join(folder, 'engines'), 'a file')
  await expect(install()).rejects.toThrow(/EEXIST.*engines.*: name a folder that can be written with MILLRACE_ENGINES/)
})

test('two at once: the second is refused; one that died is no hindrance', async () => {
  const engines = join(folder, 'engines')
  mkdirSync(engines)
  writeFileSync(join(engines, '.lock'), String(process.pid))
  await expect(install()).rejects.toThrow(`process ${process.pid} is installing or removing engines in ${engines}`)
  // Larger than any process number there is.
  writeFileSync(join(engines, '.lock'), String(2 ** 30))
  await install()
})

test('other machines are told what they can use', () => {
  const report = (glibcVersionRuntime?: string): NodeJS.ProcessReport =>
    ({ getReport: () => ({ header: { glibcVersionRuntime } }) }) as unknown as NodeJS.ProcessReport
  expect(() => checkPlatform(report('2.27'))).not.toThrow()
  expect(() => checkPlatform(report('2.17'))).toThrow(/needs glibc 2\.27, this machine has 2\.17; .*tfjs/)
  expect(() => checkPlatform(report())).toThrow(/needs glibc 2\.27, this machine has another C library/)
})

test('uninstall removes an install and what was left half done', async () => {
  await install()
  fake('g++', `[ "$1" = --version ]`)
  await expect(install({ gpu: true })).rejects.toThrow('was not compiled')
  expect(await uninstallTensorflow(env)).toBe(true)
  expect(findTensorflow(env)).toHaveProperty('reason')
  expect(await uninstallTensorflow(env)).toBe(false)
})

test('the versions of the manifest are those that the engine looks for', () => {
  const read = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'))
  const own = read(join(tensorflowManifest, 'package.json')) as { dependencies: Record<string, string> }
  const wheels = read(join(tensorflowManifest, 'wheels.json')) as { cpu: Wheel[]; gpu: Wheel[] }
  const room = read(join(tensorflowManifest, '../../package.json')) as { peerDependencies: Record<string, string> }
  expect(own.dependencies['@tensorflow/tfjs-node']).toBe(tensorflowPins.tfjsNode)
  expect(room.peerDependencies['@tensorflow/tfjs-node']).toBe(tensorflowPins.tfjsNode)
  expect([wheels.cpu[0]!.version, wheels.gpu[0]!.version]).toEqual([
    tensorflowPins.tensorflow,
    tensorflowPins.tensorflow,
  ])
})

describeWith('tensorflow')('the real install', () => {
  test('every file is as it was installed', async () => {
    const real = findTensorflow(process.env)
    if ('reason' in real) throw new Error(real.reason)
    const again = await installTensorflow({
      env: process.env,
      gpu: real.gpu,
      signal: new AbortController().signal,
      steps: { begin: (title) => void titles.push(title), reached() {}, end() {}, leave() {} },
    })
    expect(again).toEqual({ install: real, already: true })
  })
})

async function written(path: string): Promise<number> {
  for (;;) {
    try {
      const text = readFileSync(path, 'utf8')
      if (text.endsWith('\n')) return Number(text)
    } catch {
      // Not yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
