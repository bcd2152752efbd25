import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { GpuFigures } from './gpu-memory'
import type { Retired } from './retired'
import type { TenantNames } from './tenant-counts'
import type { HistogramSnapshot } from './histogram'
import type { ShadowSnapshot } from './shadow/snapshot'
import type { LaneSnapshot } from './snapshot'

/*
 * The one file that knows prom-client. Lanes count in plain numbers; the page is made of them when it is scraped, so
 * that a request never pays for a metric and a scrape never holds a lane up.
 */

export const metricsContentType = Registry.PROMETHEUS_CONTENT_TYPE

/**
 * The metrics page. Requests and latencies are sums over lanes, those that are gone included.
 *
 * @param answered snapshots of the lanes that answer now
 * @param rulesVersion in force; lanes that have another lag
 * @param counted everything that only ever grows, of every lane that there was
 */
export async function metricsPage(
  answered: readonly LaneSnapshot[],
  counted: Retired,
  lanes: number,
  restarts: readonly number[],
  gpus: readonly GpuFigures[],
  tenantNames: TenantNames,
  rulesVersion: number,
): Promise<string> {
  const registry = new Registry()

  const requests = new Counter({
    name: 'millrace_requests_total',
    help: 'Requests answered, by the rule that decided, the traffic class and the code; objective is empty for those refused before they were routed.',
    labelNames: ['objective', 'workflow', 'version', 'rule', 'traffic', 'code'],
    registers: [registry],
  })
  for (const { count, ...labels } of counted.requests.values()) requests.inc(labels, count)
  const tenants = new Counter({
    name: 'millrace_tenant_requests_total',
    help: 'Requests answered, by what they say their tenant is (MILLRACE_METRICS_TENANTS_MAX of them by name) and by code.',
    labelNames: ['tenant', 'code'],
    registers: [registry],
  })
  for (const { tenant, code, count } of counted.tenants.values())
    tenants.inc({ tenant: tenantNames.of(tenant), code }, count)

  const allocations = new Counter({
    name: 'millrace_allocations_total',
    help: "Requests that an allocator's experiment was asked about: its cell was kept, asked for, or the default one, because of a timeout, an error, the breaker, too many that wait (full), or no allocator (none).",
    labelNames: ['result'],
    registers: [registry],
  })
  for (const { result, count } of counted.allocations.values()) allocations.inc({ result }, count)

  registerShadows(registry, [...counted.shadows.values()])
  registerWhole(
    registry,
    'millrace_request_seconds',
    'Time of answered requests: total, in the queue, reading facts, scoring (facts and score are those of its batch).',
    1e-6,
    [...counted.latencies.values()].map(({ workflow, version, stage, histogram }) => ({
      labels: { workflow, version, stage },
      histogram,
    })),
  )
  registerWhole(
    registry,
    'millrace_batch_rows',
    'Rows of the batches that ran.',
    1,
    [...counted.batchRows.values()].map(({ workflow, version, histogram }) => ({
      labels: { workflow, version },
      histogram,
    })),
  )

  const gauge = <L extends string>(name: string, help: string, labelNames: L[]): Gauge<L> =>
    new Gauge({ name, help, labelNames, registers: [registry] })
  gauge('millrace_lanes', 'Lanes that are configured.', []).set(lanes)
  const up = gauge('millrace_lane_up', '1 when the lane answers.', ['lane'])
  const laneRestarts = new Counter({
    name: 'millrace_lane_restarts_total',
    help: 'Lanes started again.',
    labelNames: ['lane'],
    registers: [registry],
  })
  restarts.forEach((count, lane) => {
    up.set({ lane }, 0)
    laneRestarts.inc({ lane }, count)
  })
  const ready = gauge('millrace_lane_ready', '1 when every mapped version is ready on the lane.', ['lane'])
  const queueRows = gauge('millrace_queue_rows', 'Rows that wait for a worker.', ['lane', 'workflow', 'version'])
  const inFlight = gauge('millrace_requests_in_flight', 'Requests accepted and not answered.', ['lane'])
  const allocatorWaiting = gauge('millrace_allocator_waiting', 'Requests that wait for an allocator.', ['lane'])
  const slabBytes = gauge('millrace_arena_used_bytes', 'Bytes of the arena in slabs.', ['lane'])
  const arenaBytes = gauge('millrace_arena_bytes', 'Bytes of the arena.', ['lane'])
  const slabs = gauge('millrace_slabs', 'Slabs in use.', ['lane'])
  const sockets = gauge('millrace_websockets', 'WebSockets that are open.', ['lane'])
  const unread = gauge('millrace_unread_bytes', 'Answers that clients have not taken yet.', ['lane'])
  const threads = gauge('millrace_pool_threads', 'Threads of a pool.', ['lane', 'pool', 'device', 'state'])
  const batches = gauge('millrace_pool_batches', 'Batches that a pool runs or holds.', ['lane', 'pool'])
  const replaced = new Counter({
    name: 'millrace_pool_thread_restarts_total',
    help: 'Threads replaced.',
    labelNames: ['lane', 'pool'],
    registers: [registry],
  })
  for (const { lane, pool, count } of counted.threadRestarts.values()) replaced.inc({ lane, pool }, count)
  const tooLarge = new Counter({
    name: 'millrace_batch_out_of_memory_total',
    help: 'Runs that did not fit the memory of their device, and were made again in halves.',
    labelNames: ['pool', 'workflow', 'version'],
    registers: [registry],
  })
  for (const { pool, workflow, version, count } of counted.tooLarge.values())
    tooLarge.inc({ pool, workflow, version }, count)
  const ofVersion = (name: string, help: string): Gauge<'lane' | 'pool' | 'workflow' | 'version'> =>
    gauge(name, help, ['lane', 'pool', 'workflow', 'version'])
  if (gpus.length > 0) {
    const memoryUsed = gauge('millrace_gpu_memory_used_bytes', 'Memory of the GPU in use, by whomever.', [
      'gpu',
      'name',
    ])
    const memory = gauge('millrace_gpu_memory_bytes', 'Memory of the GPU.', ['gpu', 'name'])
    const busy = gauge('millrace_gpu_busy_ratio', 'Part of the time in which something ran on the GPU.', [
      'gpu',
      'name',
    ])
    for (const { index: gpu, name, usedBytes, totalBytes, busy: part } of gpus) {
      memoryUsed.set({ gpu, name }, usedBytes)
      memory.set({ gpu, name }, totalBytes)
      if (part !== null) busy.set({ gpu, name }, part)
    }
  }
  const rowsLimit = ofVersion('millrace_batch_rows_limit', 'Rows that a pool takes at once.')
  const batchWait = ofVersion('millrace_batch_wait_seconds', 'How long rows wait for company while a thread is free.')
  const delay = gauge(
    'millrace_event_loop_delay_seconds',
    "Delay of the front thread's event loop since the last scrape.",
    ['lane', 'quantile'],
  )
  const rss = gauge('millrace_lane_rss_bytes', 'Resident memory of the lane.', ['lane'])
  const state = gauge('millrace_workflow_version_ready', '1 when the version is ready on the lane.', [
    'lane',
    'workflow',
    'version',
  ])
  const since = gauge(
    'millrace_workflow_version_state_since_seconds',
    'When the version entered the state that it is in on the pool, seconds since 1970.',
    ['lane', 'pool', 'workflow', 'version', 'state'],
  )
  const paused = gauge('millrace_shadow_paused', '1 while a version gets no copies, since it ended a thread.', [
    'lane',
    'copy',
  ])
  const rules = gauge('millrace_rules_version', 'Version of the rules that decide.', ['lane'])
  gauge('millrace_rules_version_in_force', 'Version of the rules that lanes should have.', []).set(rulesVersion)
  for (const snapshot of answered) {
    const { lane } = snapshot
    up.set({ lane }, 1)
    ready.set({ lane }, snapshot.ready ? 1 : 0)
    for (const { workflow, version, rows } of snapshot.queueRows) queueRows.set({ lane, workflow, version }, rows)
    inFlight.set({ lane }, snapshot.requestsInFlight)
    allocatorWaiting.set({ lane }, snapshot.allocatorWaiting)
    slabBytes.set({ lane }, snapshot.arena.usedBytes)
    arenaBytes.set({ lane }, snapshot.arena.totalBytes)
    slabs.set({ lane }, snapshot.arena.usedSlabs)
    sockets.set({ lane }, snapshot.sockets.websocket)
    unread.set({ lane }, snapshot.sockets.unreadBytes)
    for (const pool of snapshot.pools) {
      const { device } = pool
      threads.set({ lane, pool: pool.name, device, state: 'ready' }, pool.readyThreads - pool.stuckThreads)
      threads.set({ lane, pool: pool.name, device, state: 'stuck' }, pool.stuckThreads)
      threads.set({ lane, pool: pool.name, device, state: 'starting' }, pool.threads - pool.readyThreads)
      batches.set({ lane, pool: pool.name }, pool.batchesInFlight)
    }
    for (const { pool, workflow, version, rows, waitUs } of snapshot.batchLimits) {
      rowsLimit.set({ lane, pool, workflow, version }, rows)
      batchWait.set({ lane, pool, workflow, version }, waitUs / 1e6)
    }
    const { mean, p99, max } = snapshot.eventLoopDelayUs
    delay.set({ lane, quantile: 'mean' }, mean / 1e6)
    delay.set({ lane, quantile: '0.99' }, p99 / 1e6)
    delay.set({ lane, quantile: '1' }, max / 1e6)
    rss.set({ lane }, snapshot.rssBytes)
    rules.set({ lane }, snapshot.rulesVersion)
    for (const { version: copy } of snapshot.shadowPauses) paused.set({ lane, copy }, 1)
    for (const { name: workflow, version, state: is, pools } of snapshot.workflows) {
      state.set({ lane, workflow, version }, is === 'ready' ? 1 : 0)
      for (const on of pools)
        since.set({ lane, pool: on.pool, workflow, version, state: on.state }, Date.parse(on.since) / 1000)
    }
  }
  return registry.metrics()
}

/** What copies of requests showed; labels are words of the rules and of versions. */
function registerShadows(registry: Registry, shadows: readonly ShadowSnapshot[]): void {
  const labelled = shadows.map(({ shadow, objective, workflow, version, primary, rule, ...counts }) => ({
    labels: { shadow, objective, copy: `${workflow}@${version}`, primary, rule },
    ...counts,
  }))
  const outputs = labelled.flatMap(({ labels, outputs: own }) =>
    Object.entries(own).map(([output, counts]) => ({ labels: { ...labels, output }, ...counts })),
  )
  const labelNames = ['shadow', 'objective', 'copy', 'primary', 'rule']
  const counter = (name: string, help: string, ...more: string[]): Counter =>
    new Counter({ name, help, labelNames: [...labelNames, ...more], registers: [registry] })
  const copies = counter('millrace_shadow_copies_total', 'Copies of requests, by what became of them.', 'outcome')
  const codes = counter('millrace_shadow_codes_total', 'Copies answered, by both codes.', 'primary_code', 'copy_code')
  for (const { labels, outcomes, codes: own } of labelled) {
    for (const [outcome, count] of Object.entries(outcomes)) copies.inc({ ...labels, outcome }, count)
    for (const { primary, copy, count } of own) codes.inc({ ...labels, primary_code: primary, copy_code: copy }, count)
  }
  const values = counter('millrace_shadow_values_total', 'Values that were compared.', 'output')
  const beyond = counter('millrace_shadow_values_beyond_total', 'Values that differ beyond the tolerance.', 'output')
  const infinite = counter('millrace_shadow_values_infinite_total', 'Values that are a number on one side.', 'output')
  const sum = counter('millrace_shadow_value_difference_total', 'Sum of the absolute differences of values.', 'output')
  const max = new Gauge({
    name: 'millrace_shadow_difference_max',
    help: 'Largest absolute difference of a value.',
    labelNames: [...labelNames, 'output'],
    registers: [registry],
  })
  for (const one of outputs) {
    values.inc(one.labels, one.values)
    beyond.inc(one.labels, one.beyond)
    infinite.inc(one.labels, one.infinite)
    sum.inc(one.labels, one.sum)
    max.set(one.labels, one.max)
  }
  const whole = (name: string, help: string, scale: number, series: readonly Labelled[]): void =>
    registerWhole(registry, name, help, scale, series)
  whole(
    'millrace_shadow_difference',
    'Largest absolute difference of a request.',
    1,
    outputs.map(({ labels, differences: histogram }) => ({ labels, histogram })),
  )
  const ranked = (of: 'tau' | 'overlap'): Labelled[] =>
    outputs.flatMap(({ labels, [of]: histogram }) => (histogram === null ? [] : [{ labels, histogram }]))
  whole(
    'millrace_shadow_kendall_tau',
    'How far a request was ranked alike: 1 the same, -1 the reverse.',
    1,
    ranked('tau'),
  )
  whole(
    'millrace_shadow_top_overlap',
    'Share of the highest rows of a request that are the same.',
    1,
    ranked('overlap'),
  )
  whole(
    'millrace_shadow_batch_seconds',
    'Time on their threads of the batches that answered what was compared.',
    1e-6,
    labelled.flatMap(({ labels, batches }) =>
      (['primary', 'copy'] as const).map((side) => ({ labels: { ...labels, side }, histogram: batches[side].us })),
    ),
  )
}

interface Labelled {
  readonly labels: Readonly<Record<string, string | number>>
  readonly histogram: HistogramSnapshot
}

/** A histogram whose buckets were counted elsewhere; prom-client only takes single observations. */
function registerWhole(
  registry: Registry,
  name: string,
  help: string,
  scale: number,
  series: readonly Labelled[],
): void {
  const histogram = new Histogram({ name, help, registers: [registry] })
  const values = series.flatMap(({ labels, histogram: { bounds, counts, sum, count } }) => {
    let below = 0
    const buckets = counts.map((n, i) => {
      below += n
      // 25 ms in seconds is 0.025, and not what floats make of it.
      const le = i < bounds.length ? Number((bounds[i]! * scale).toPrecision(9)) : '+Inf'
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: below }
    })
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: sum * scale },
      { metricName: `${name}_count`, labels, value: count },
    ]
  })
  const whole = { name, help, type: 'histogram', aggregator: 'sum', values }
  // What the page is written from, and what `get` answers to everybody else.
  Object.assign(histogram, { get: () => Promise.resolve(whole), getForPromString: () => Promise.resolve(whole) })
}
