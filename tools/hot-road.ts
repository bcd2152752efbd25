/**
 * What V8 makes of the road, as the server's lanes run it: places of ours that stayed megamorphic (an inline cache that saw
 * more than four shapes and gave up), and functions that were optimised and thrown away after the road was warm. Both
 * should be few, and known.
 *
 *   npm run build && npx jiti tools/hot-road.ts [requests]
 *
 * Reads the log that `node --log-ic --log-deopt --log-code` writes. Exits 1 where something was thrown away.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { laneFlags } from '@millrace/server/in-process'

const root = join(__dirname, '..')
const ours = new RegExp(`${root}/(libs|apps|bench)/.*`)
const requests = process.argv[2] ?? '400000'

interface Code {
  readonly begin: number
  readonly end: number
  readonly name: string
}

const folder = mkdtempSync(join(tmpdir(), 'millrace-hot-road-'))
try {
  const log = join(folder, 'v8.log')
  const flags = ['--log-ic', '--log-deopt', '--log-code', `--logfile=${log}`, '--no-logfile-per-isolate', ...laneFlags]
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...flags, join(root, 'bench/dist/stage/road-loop.js'), requests],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(`the loop ended with ${status}: ${stderr}`)
  // Deoptimisations are printed there too.
  const warmUs = Number(stdout.split('\n').find((line) => /^\d+$/.test(line)))
  const { megamorphic, thrownAway } = read(readFileSync(log, 'utf8'), warmUs)
  show(`places that saw more than four shapes`, megamorphic)
  show('code that was thrown away after half of the requests', thrownAway)
  process.exitCode = thrownAway.size > 0 ? 1 : 0
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** Places with how often each was seen. */
function read(log: string, warmUs: number): { megamorphic: Map<string, number>; thrownAway: Map<string, number> } {
  const megamorphic = new Map<string, number>()
  const thrownAway = new Map<string, number>()
  const codes = new Map<number, Code>()
  const count = (places: Map<string, number>, where: string, place: string): void =>
    void (ours.test(where) && places.set(place, (places.get(place) ?? 0) + 1))
  for (const line of log.split('\n')) {
    const fields = line.split(',')
    const kind = fields[0]!
    if (kind === 'code-creation') {
      // Type, kind, time, address, size, name.
      const begin = Number(fields[4])
      codes.set(begin, { begin, end: begin + Number(fields[5]), name: fields[6]! })
    } else if (kind === 'code-move') {
      const code = codes.get(Number(fields[1]))
      const begin = Number(fields[2])
      if (code === undefined) continue
      codes.delete(code.begin)
      codes.set(begin, { begin, end: begin + code.end - code.begin, name: code.name })
    } else if (kind.endsWith('IC') && fields[6] === 'N') {
      // Address, time, line, column, state before and after, map, key.
      const at = Number(fields[1])
      let name = ''
      for (const code of codes.values()) if (code.begin <= at && at < code.end) name = code.name
      count(megamorphic, name, `${kind} of ${fields[8]} in ${name.replace(/:\d+:\d+$/, '')}:${fields[3]}:${fields[4]}`)
    } else if (kind === 'code-deopt' && Number(fields[1]) > warmUs)
      // Time, size, code, inlining, offset, kind, place, reason.
      count(thrownAway, fields[7]!, `${fields[7]!.slice(1, -1)}: ${fields.slice(8).join(',')}`)
  }
  return { megamorphic, thrownAway }
}

function show(what: string, places: Map<string, number>): void {
  console.log(`${what}: ${places.size === 0 ? 'none' : ''}`)
  for (const [place, times] of [...places].sort((a, b) => b[1] - a[1]))
    console.log(`  ${String(times).padStart(4)}  ${place.replaceAll(`${root}/`, '')}`)
}
