export { affinityOf, pinThread, type Pinned } from './pin'
export { cpusOfLane, formatCpus, parseCpus } from './cpus'
export { Pool, type PoolOptions } from './pool'
