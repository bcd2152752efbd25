import type { OperatingPoint, Plan, Scenario } from '@millrace/plan'
import { paint, print, table } from '../output'

const saturating = {
  front: 'the front threads are what saturates first: more lanes, fewer pool threads each, or a cheaper transport',
  pool: 'the pool threads are what saturates first: more cores, or a faster engine',
  cores: 'the cores are what saturates first: front and pool threads share them',
}

/** A plan for people. */
export function showPlan({ question, requestsPerS, chosen, fleets, whatIfs }: Plan): void {
  const { latency, mix, headroom, growth_percent } = question
  const wanted = [
    ...(latency.p50_ms === undefined ? [] : [`p50 ${latency.p50_ms} ms`]),
    ...(latency.p99_ms === undefined ? [] : [`p99 ${latency.p99_ms} ms`]),
  ].join(', ')
  print(
    `${paint('bold', `${figure(requestsPerS)} requests/s`)}, growth of ${growth_percent} % included, within ${wanted}`,
  )
  print(
    mix
      .map(
        ({ objective, rows, share }) => `  ${objective}${rows === undefined ? '' : `, ${rows} rows`}, share ${share}`,
      )
      .join('\n'),
  )
  const { zones, lose_zones, lose_one_machine_in } = headroom
  const losses = [
    ...(lose_zones > 0 ? [`${lose_zones} of ${zones} zones lost`] : []),
    ...(lose_one_machine_in === undefined ? [] : [`one machine in ${lose_one_machine_in} lost`]),
  ]
  print(`  head-room: ${losses.length > 0 ? losses.join(' and ') : 'none'}\n`)
  print(
    table([
      ['machine', 'machines', 'lanes x threads', 'requests/s each', 'of at most', 'price/h', 'per million', ''],
      ...fleets.map((fleet) => [
        fleet === chosen ? paint('green', fleet.machine) : fleet.machine,
        fleet.machines === null ? '-' : figure(fleet.machines),
        `${fleet.layout.lanes} x ${fleet.layout.threads}`,
        figure(fleet.sustainedPerS),
        figure(fleet.capacityPerS),
        fleet.pricePerHour === null ? '-' : figure(fleet.pricePerHour),
        fleet.pricePerMillion === null ? '-' : figure(fleet.pricePerMillion),
        fleet.reason,
      ]),
    ]),
  )
  if (chosen === null) return print(`\n${paint('red', 'no machine of these can')}: the reasons are beside them`)
  const environment = Object.entries(chosen.environment).map((pair) => pair.join('='))
  print(`\n${paint('bold', chosen.machine)}: ${saturating[chosen.saturates]}`)
  print(`  ${environment.join(' ')}\n`)
  print(
    table([
      ['each machine', 'requests/s', 'p50 ms', 'p99 ms', 'front', 'pool', 'rows a batch'],
      ['with all of them', ...pointCells(chosen.usual)],
      ['with the losses', ...pointCells(chosen.worst)],
    ]),
  )
  print('')
  print(
    table([
      ['what if', 'machines', 'price/h', 'with the machines above: p50 ms', 'p99 ms', ''],
      ...whatIfs.map(({ what, fleet, planned }) => [
        what,
        fleet.machines === null ? '-' : figure(fleet.machines),
        fleet.pricePerHour === null ? '-' : figure(fleet.pricePerHour),
        planned === null ? 'too much' : figure(planned.p50Ms),
        planned === null ? '-' : figure(planned.p99Ms),
        fleet.reason,
      ]),
    ]),
  )
}

/** What was simulated of the fleet, for people. */
export function showFleet(scenarios: readonly Scenario[]): void {
  print('')
  print(
    table([
      [
        'the fleet, simulated',
        'requests',
        'p50 ms',
        'p99 ms',
        'longest',
        'refused',
        'sent again',
        'busiest lane',
        'pool',
      ],
      ...scenarios.map((one) => [
        one.what,
        figure(one.requests),
        figure(one.p50Ms),
        figure(one.p99Ms),
        figure(one.maxMs),
        figure(one.refused),
        figure(one.retried),
        `${figure(one.busiest)} x`,
        `${Math.round(100 * one.pool)} %`,
      ]),
    ]),
  )
}

function pointCells(point: OperatingPoint | null): string[] {
  if (point === null) return ['-', '-', '-', '-', '-', '-']
  return [
    figure(point.requestsPerS),
    figure(point.p50Ms),
    figure(point.p99Ms),
    `${Math.round(100 * point.front)} %`,
    `${Math.round(100 * point.pool)} %`,
    figure(point.batchRows),
  ]
}

/** Three significant digits below a thousand, whole numbers above. */
function figure(n: number): string {
  return Math.abs(n) >= 1000 ? Math.round(n).toLocaleString('en') : String(Number(n.toPrecision(3)))
}
