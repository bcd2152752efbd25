export { affinityOf, pinThread, type Pinned } from './pin'
export { cpusOfLane, formatCpus, parseCpus } from './cpus'
export { Pool, type PoolOptions } from './pool'
export { deviceOfLane, formatDevice, parseDevice, type Device, type DeviceKind } from './devices'
