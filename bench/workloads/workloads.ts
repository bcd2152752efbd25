import { demoMix, ranking } from './demo'
import { image } from './image'
import { many } from './many'
import { mlp } from './mlp'
import { mlpTfjs } from './mlp-tfjs'
import { mixedTenants } from './tenants'
import type { Workload } from './workload'

/** What the benches serve, in the order in which it is shown. */
export const workloads: readonly Workload[] = [mlp, mlpTfjs, ranking, demoMix, many(300), image, mixedTenants]

/** Throws a RangeError that names those there are. */
export function workloadOf(name: string): Workload {
  const found = workloads.find((one) => one.name === name)
  if (found !== undefined) return found
  throw new RangeError(`there is no workload '${name}'; there are ${workloads.map((one) => one.name).join(', ')}`)
}
