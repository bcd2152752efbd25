import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'

const root = join(__dirname, '../../..')
/** What a server needs of a commit, and how it is built. */
const parts = ['package.json', 'tsconfig.base.json', 'libs', 'apps']
const built = ['apps/worker', 'apps/server']

/**
 * The server of a commit, built in a folder of its own that is kept for the next time, beside this checkout's packages.
 * Returns the file of `startProcess`.
 */
export function buildBaseline(commit: string, say: (line: string) => void): string {
  const sha = git(['rev-parse', '--verify', `${commit}^{commit}`]).trim()
  const folder = join(tmpdir(), 'millrace-baselines', sha)
  // The bench's own, so that both sides are started and asked alike; it finds the rooms of the folder that it is in.
  const server = join(folder, 'bench/dist/road/server-process.js')
  if (!existsSync(folder)) {
    say(`building ${sha.slice(0, 12)} in ${folder}`)
    const growing = `${folder}.part`
    rmSync(growing, { recursive: true, force: true })
    mkdirSync(growing, { recursive: true })
    const archive = join(growing, 'sources.tar')
    git(['archive', '--format=tar', '-o', archive, sha, ...parts])
    execFileSync('tar', ['-xf', archive, '-C', growing])
    linkPackages(growing)
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    execFileSync(process.execPath, [tsc, '-b', ...built], { cwd: growing, stdio: ['ignore', 'inherit', 'inherit'] })
    renameSync(growing, folder)
  }
  mkdirSync(dirname(server), { recursive: true })
  cpSync(join(__dirname, '../road/server-process.js'), server)
  return server
}

/** Packages of the registry are this checkout's, rooms the commit's own. */
function linkPackages(folder: string): void {
  const { workspaces } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { workspaces: string[] }
  const own = join(folder, 'node_modules')
  mkdirSync(join(own, '@millrace'), { recursive: true })
  for (const name of readdirSync(join(root, 'node_modules')))
    if (name !== '@millrace') symlinkSync(join(root, 'node_modules', name), join(own, name))
  for (const path of workspaces) {
    const manifest = join(folder, path, 'package.json')
    if (!existsSync(manifest)) continue
    const { name } = JSON.parse(readFileSync(manifest, 'utf8')) as { name: string }
    // Relative: the folder is renamed when it is done.
    symlinkSync(relative(dirname(join(own, name)), join(folder, path)), join(own, name))
    const packages = join(root, path, 'node_modules')
    if (existsSync(packages)) symlinkSync(packages, join(folder, path, 'node_modules'))
  }
}

function git(args: readonly string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' })
}
