import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { preProcessFile } from 'typescript'

/*
 * The shape of the house. The list of `workspaces` in package.json is reading order, build order and the layering
 * rule at once; each failure names the file and what to do.
 */

interface Manifest {
  readonly name: string
  readonly description?: string
  readonly exports?: Record<string, unknown>
  readonly workspaces?: string[]
  readonly [field: string]: unknown
}

interface Source {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly test: boolean
  readonly lines: number
  readonly imports: readonly string[]
}

interface Room {
  readonly path: string
  readonly manifest: Manifest
  readonly sources: readonly Source[]
}

const root = resolve(__dirname, '..')
const dependencyFields = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'] as const
const skipped = new Set(['node_modules', 'dist', 'generated', 'coverage'])
const linesMax = 450

const house = readManifest('.')
const rooms: readonly Room[] = house.workspaces!.map((path) => ({
  path,
  manifest: readManifest(path),
  sources: sourcesOf(path),
}))
const placeOf = new Map(rooms.map((room, place) => [room.manifest.name, place]))

describe('layers', () => {
  test('a room imports only rooms listed before it', () => {
    const problems = rooms.flatMap((room, place) =>
      importsOfRooms(room).flatMap(({ source, name }) => {
        const other = placeOf.get(name)
        if (other === undefined) return [`${source.path}: ${name} is no workspace; correct the name`]
        // What lies beside `src`, the demo's repository for instance, is an outsider and may take the door.
        if (other === place && within(source.path, `${room.path}/src`))
          return [`${source.path}: imports its own room; import the file that has what it needs`]
        if (other > place)
          return [`${source.path}: ${name} is listed after ${room.manifest.name}; move the code to an earlier room`]
        return []
      }),
    )
    expect(problems).toEqual([])
  })

  test('dependencies name exactly the rooms that are imported', () => {
    const problems = rooms.flatMap((room) => {
      const { path, manifest } = room
      const imported = new Set(importsOfRooms(room).map(({ name }) => name))
      imported.delete(manifest.name)
      const declared = new Set(Object.keys(dependenciesOf(manifest)).filter((name) => placeOf.has(name)))
      return [
        ...[...imported].filter((name) => !declared.has(name)).map((name) => `add ${name} to "dependencies"`),
        ...[...declared].filter((name) => !imported.has(name)).map((name) => `remove ${name}, which no source imports`),
      ].map((remedy) => `${path}/package.json: ${remedy}`)
    })
    expect(problems).toEqual([])
  })

  test('tsconfig references are the dependencies', () => {
    const problems = rooms.flatMap(({ path, manifest }) => {
      const references = referencesOf(path).map((reference) => relative(root, resolve(root, path, reference)))
      const declared = rooms
        .filter((room) => room.manifest.name in dependenciesOf(manifest))
        .map((room) => room.path.split('/').join(sep))
      return [
        ...declared.filter((other) => !references.includes(other)).map((other) => `add a reference to ${other}`),
        ...references.filter((other) => !declared.includes(other)).map((other) => `remove the reference to ${other}`),
      ].map((remedy) => `${path}/tsconfig.json: ${remedy}`)
    })
    expect(problems).toEqual([])
    // `tsc -b` at the root builds every room, in the order of the list.
    expect(referencesOf('.')).toEqual(house.workspaces)
  })

  test('relative imports stay in their room', () => {
    const problems = rooms.flatMap((room) =>
      room.sources.flatMap((source) =>
        source.imports
          .filter((name) => name.startsWith('.'))
          .map((name) => slashes(relative(root, resolve(root, dirname(source.path), name))))
          .filter((target) => !within(target, room.path) && !(source.test && within(target, 'test')))
          .map((target) => `${source.path}: ${target} is in another room; import that room by its name`),
      ),
    )
    expect(problems).toEqual([])
  })

  test("a room's index is for outsiders", () => {
    const problems = rooms
      .filter((room) => room.path.startsWith('libs/'))
      .flatMap((room) =>
        room.sources
          .filter((source) => !source.test && importsRoomIndex(room, source))
          .map((source) => `${source.path}: imports the index of its own room; import the file that has what it needs`),
      )
    expect(problems).toEqual([])
  })
})

describe('foreign things', () => {
  test.each([
    ['uWebSockets.js', 'apps/server'],
    ['prom-client', 'apps/server'],
    ['piscina', 'libs/pool'],
    ['koffi', 'libs/pool', 'libs/engine'],
    ['lmdb', 'libs/facts'],
    ['ioredis', 'libs/facts'],
    ['onnxruntime-node', 'libs/engine'],
    ['protobufjs', 'libs/engine'],
    ['jiti', 'libs/workflow'],
    ['sharp', 'libs/workflow'],
  ])('%s is known to one file of %s', (name, ...paths) => {
    // The bench measures rivals and bare libraries: it may know anything.
    const knowing = rooms
      .filter((room) => room.path !== 'bench')
      .flatMap((room) => room.sources)
      .filter((source) => !source.test && source.imports.some((imported) => packageOf(imported) === name))
      .map((source) => source.path)
    const remedy = `exactly one file of ${paths.join(' and of ')} imports ${name}; the others go through that file`
    const places = knowing.map((file) => paths.find((path) => within(file, path)) ?? file)
    expect({ remedy, knowing, places: places.sort() }).toEqual({ remedy, knowing, places: paths.sort() })
  })

  test('a room declares every package that it imports', () => {
    const builtin = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]))
    const problems = rooms.flatMap((room) => {
      const declared = dependenciesOf(room.manifest)
      const imported = room.sources
        .filter((source) => !source.test)
        .flatMap((source) => source.imports.map((name) => ({ source, name: packageOf(name) })))
      return imported
        .filter(({ name }) => !name.startsWith('.') && !builtin.has(name) && !placeOf.has(name))
        .filter(({ name }) => !(name in declared) && !(name in dependenciesOf(house)))
        .map(({ source, name }) => `${source.path}: add ${name} to "dependencies" of ${room.path}/package.json`)
    })
    expect([...new Set(problems)]).toEqual([])
  })

  test('the worker opens no socket', () => {
    const sockets = new Set(['net', 'http', 'https', 'http2', 'tls', 'dgram', 'ws', 'uWebSockets.js'])
    const problems = rooms
      .find((room) => room.path === 'apps/worker')!
      .sources.filter((source) => !source.test)
      .filter((source) => source.imports.some((name) => sockets.has(packageOf(name).replace('node:', ''))))
      .map((source) => `${source.path}: sockets belong to apps/server`)
    expect(problems).toEqual([])
  })
})

describe('packages', () => {
  const manifests = [{ path: '.', manifest: house }, ...rooms]

  test('versions are exact and come from the registry', () => {
    const problems = manifests.flatMap(({ path, manifest }) =>
      [...dependencyFields, 'overrides'].flatMap((field) =>
        leaves((manifest[field] ?? {}) as Record<string, unknown>)
          .filter(([, version]) => !/^(npm:(@[\w.-]+\/)?[\w.-]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/.test(String(version)))
          .map(([name, version]) => `${path}/package.json: ${field}.${name} is ${String(version)}; write one version`),
      ),
    )
    expect(problems).toEqual([])
  })

  test('the lock names no address', () => {
    const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, { resolved?: string }> }
    const problems = Object.entries(lock.packages)
      .filter(([, one]) => one.resolved !== undefined && !house.workspaces!.includes(one.resolved))
      .map(([name, one]) => `package-lock.json: remove "resolved": "${one.resolved}" of ${name}`)
    expect(problems).toEqual([])
  })

  test('the lock has a digest of each package, and none runs its install script', () => {
    interface Locked {
      readonly integrity?: string
      readonly link?: boolean
      readonly hasInstallScript?: boolean
    }
    const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> }
    const allowed = house['allowScripts'] as Record<string, boolean>
    const nameOf = (path: string): string => path.split('node_modules/').at(-1)!
    const problems = Object.entries(lock.packages)
      .filter(([path, { link }]) => path.includes('node_modules/') && link !== true)
      .flatMap(([path, { integrity, hasInstallScript }]) => [
        ...(integrity?.startsWith('sha512-') === true ? [] : [`package-lock.json: ${path} has no sha512`]),
        ...(hasInstallScript !== true || allowed[nameOf(path)] === false
          ? []
          : [`package.json: add "${nameOf(path)}": false to "allowScripts"`]),
      ])
    expect(problems).toEqual([])
    expect(Object.values(allowed).filter((may) => may)).toEqual([])
    // For versions of npm that do not know `allowScripts`.
    expect(read('.npmrc').split('\n')).toContain('ignore-scripts=true')
  })

  test('every room says what it is for', () => {
    const problems = rooms
      .filter(({ manifest }) => !(typeof manifest.description === 'string' && manifest.description.length > 0))
      .map(({ path }) => `${path}/package.json: add a "description" of one line`)
    expect(problems).toEqual([])
  })

  test('a library has one door', () => {
    const door = { '.': { types: './dist/index.d.ts', default: './dist/index.js' } }
    for (const { path, manifest } of rooms)
      if (path.startsWith('libs/')) expect({ path, exports: manifest.exports }).toEqual({ path, exports: door })
  })

  test('Nx learns its projects from package.json', () => {
    const problems = ['.', ...rooms.map((room) => room.path)]
      .map((path) => join(path, 'project.json'))
      .filter((path) => existsSync(join(root, path)))
      .map((path) => `${path}: remove it; scripts in package.json are the targets`)
    expect(problems).toEqual([])
  })
})

test(`no file is longer than ${linesMax} lines`, () => {
  const problems = [...rooms.flatMap((room) => room.sources), ...sourcesOf('tools')]
    .filter((source) => !source.test && source.lines > linesMax)
    .map((source) => `${source.path}: ${source.lines} lines; divide it by what its parts are about`)
  expect(problems).toEqual([])
})

/** An override may be of one package's dependencies alone. */
function leaves(versions: Record<string, unknown>): [name: string, version: unknown][] {
  return Object.entries(versions).flatMap(([name, version]): [string, unknown][] =>
    typeof version === 'object' && version !== null
      ? leaves(version as Record<string, unknown>).map(([inner, one]) => [`${name} > ${inner}`, one])
      : [[name, version]],
  )
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

function readManifest(path: string): Manifest {
  return JSON.parse(read(`${path}/package.json`)) as Manifest
}

function referencesOf(path: string): string[] {
  const config = JSON.parse(read(`${path}/tsconfig.json`)) as { references?: { path: string }[] }
  return (config.references ?? []).map((reference) => reference.path)
}

function dependenciesOf(manifest: Manifest): Record<string, string> {
  const fields = dependencyFields.map((field) => manifest[field] as Record<string, string> | undefined)
  return Object.assign({}, ...fields) as Record<string, string>
}

function sourcesOf(folder: string): Source[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : sourcesOf(path)
    return /\.[cm]?[jt]s$/.test(entry.name) ? [readSource(path)] : []
  })
}

function readSource(path: string): Source {
  const text = read(path)
  const resolved = [...text.matchAll(/require\.resolve\(\s*'([^']+)'/g)].map((match) => match[1]!)
  return {
    path,
    test: /\.test\.ts$|\/test-support\//.test(path),
    lines: text.split('\n').length - 1,
    imports: [...preProcessFile(text, true, true).importedFiles.map((file) => file.fileName), ...resolved],
  }
}

function importsOfRooms(room: Room): { source: Source; name: string }[] {
  return room.sources
    .filter((source) => !source.test)
    .flatMap((source) => source.imports.map((name) => ({ source, name: packageOf(name) })))
    .filter(({ name }) => name.startsWith('@millrace/'))
}

function importsRoomIndex(room: Room, source: Source): boolean {
  const index = resolve(root, room.path, 'src/index')
  return source.imports
    .filter((name) => name.startsWith('.'))
    .map((name) => resolve(root, dirname(source.path), name))
    .some((target) => target === index || target === dirname(index))
}

/** `@scope/name/file` to `@scope/name`, `name/file` to `name`; relative paths begin with a dot as they are. */
function packageOf(imported: string): string {
  if (imported.startsWith('.') || imported.startsWith('node:')) return imported
  return imported
    .split('/')
    .slice(0, imported.startsWith('@') ? 2 : 1)
    .join('/')
}

function within(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`)
}

function slashes(path: string): string {
  return path.split(sep).join('/')
}
