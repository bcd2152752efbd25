import { availableParallelism } from 'node:os'
import type { Suite } from '../suite'
import { balanceTable, benchBalance } from './balance'
import { curvePlots, curveTable, type Curve } from './curve'
import {
  coresCurve,
  lanesCurve,
  payloadCurve,
  rowsCurve,
  rulesCurve,
  socketsCurve,
  versionsCurve,
  versionsHttpCurve,
} from './curves'
import { benchIdle, idleText } from './idle'

const curves = [
  ['sockets', socketsCurve],
  ['versions', versionsCurve],
  ['versions-http', versionsHttpCurve],
  ['rules', rulesCurve],
  ['rows', rowsCurve],
  ['payload', payloadCurve],
  ['cores', coresCurve],
  ['lanes', (options) => lanesCurve(options, Math.max(2, availableParallelism()))],
] as const satisfies readonly (readonly [string, (options: Parameters<Suite['run']>[0]) => Promise<Curve>])[]

export const scale: Suite = {
  name: 'scale',
  about: 'what grows: sockets, versions, rules, rows, payload, cores, lanes; balance, idle (--only NAME)',
  usual: false,
  run: async (options) => {
    const wanted = (name: string): boolean => name.includes(options.only ?? '')
    const measured: Curve[] = []
    for (const [name, measure] of curves) if (wanted(name)) measured.push(await measure(options))
    const balance = wanted('balance') ? await benchBalance(options) : null
    const idle = wanted('idle') ? await benchIdle(options) : null
    const texts = measured.map(curveTable)
    if (balance !== null) texts.push(balanceTable(balance))
    if (idle !== null) texts.push(idleText(idle))
    return {
      text: texts.join('\n\n'),
      results: { curves: measured, balance, idle },
      plots: measured.flatMap(curvePlots),
    }
  },
}
