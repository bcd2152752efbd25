import { statfsSync } from 'node:fs'
import { packagesBytes, type Recipe } from './recipe'
import type { Staging } from './staging'
import { megabytes } from './steps'
import { no, runTool, ToolError, type Surroundings } from './tools'

/** The oldest C library that the wheels' libraries run with. */
const glibcMin = [2, 27] as const

const tools: readonly { readonly command: readonly [string, ...string[]]; readonly remedy: string }[] = [
  { command: ['npm', '--version'], remedy: 'it comes with Node; put its folder on PATH' },
  { command: ['python3', '--version'], remedy: 'on Debian and Ubuntu: apt-get install python3 python3-pip' },
  { command: ['python3', '-m', 'pip', '--version'], remedy: 'on Debian and Ubuntu: apt-get install python3-pip' },
  { command: ['g++', '--version'], remedy: 'on Debian and Ubuntu: apt-get install g++' },
]

/** Throws when this machine can never run what would be installed. */
export function checkPlatform(report: NodeJS.ProcessReport = process.report): void {
  const platform = `${process.platform}/${process.arch}`
  if (platform !== 'linux/x64')
    throw no(`native TensorFlow is for linux/x64, this is ${platform}; TFJS models run on the engine tfjs`)
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } }
  const [major = 0, minor = 0] = (header.glibcVersionRuntime ?? '').split('.').map(Number)
  if (major < glibcMin[0] || (major === glibcMin[0] && minor < glibcMin[1]))
    throw no(
      `native TensorFlow needs glibc ${glibcMin.join('.')}, this machine has ` +
        `${header.glibcVersionRuntime ?? 'another C library'}; TFJS models run on the engine tfjs`,
    )
}

/** Throws with everything that is missing: programs, disk. */
export async function checkMachine(recipe: Recipe, staging: Staging, surroundings: Surroundings): Promise<void> {
  const problems: string[] = []
  const absent = new Set<string>()
  for (const { command, remedy } of tools) {
    const [tool, ...args] = command
    if (absent.has(tool)) continue
    try {
      await runTool(tool, args, surroundings)
    } catch (error) {
      if (!(error instanceof ToolError)) throw error
      const name = args[1] ?? tool
      problems.push(`${name} is ${error.status === null ? 'missing' : 'not in order'}: ${remedy}`)
      absent.add(tool)
    }
  }
  const needed = bytesToGo(recipe, staging)
  const { bavail, bsize } = statfsSync(staging.folder)
  if (bavail * bsize < needed)
    problems.push(
      `${megabytes(needed)} of disk are needed in ${staging.folder}, ${megabytes(bavail * bsize)} are free: ` +
        `make room, or name a folder elsewhere with MILLRACE_ENGINES_FOLDER`,
    )
  if (problems.length > 0) throw no(`native TensorFlow cannot be installed here:\n  ${problems.join('\n  ')}`)
}

/** Disk at its fullest: what will stay, and the largest wheel beside it. */
function bytesToGo(recipe: Recipe, staging: Staging): number {
  const wheels = recipe.wheels.filter(({ name }) => !staging.has(name))
  const stays = wheels.reduce((sum, { unpackedBytes }) => sum + unpackedBytes, 0)
  return stays + Math.max(0, ...wheels.map(({ bytes }) => bytes)) + (staging.has('packages') ? 0 : packagesBytes)
}
