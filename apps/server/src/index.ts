export {
  ConfigError,
  describeConfig,
  readConfig,
  type Config,
  type ConfigDefaults,
  type ConfigRow,
  type PoolConfig,
} from './config'
export { laneEnvironment, type LaneEnvironment } from './lane-environment'
export type { LaneSeats, Seated } from './lane-seats'
export { poolVariable, variables, type Variable } from './variables'
export { openLog, type Log } from './log'
export { startServer, type Server, type ServerOptions } from './server'
export { enrichmentProblems } from './enrichment-kinds'
export { explainRequest, type ExplainedRequest } from './explain'
export type { ExplainedRecent, VersionStanding } from './explain-live'
export { repositoryRules } from './repository-rules'
export { memoryPlan, bytesOf, type Holder } from './memory-plan'
export { columnValues } from './json-twin'
export { hashOfKey, isKey, newKey, readTenants, type TenantsFile, type TenantsJson } from './tenants-file'
export type { Example } from './shadow/examples'
export type { ShadowReport } from './shadow/report'
export type { HistogramSnapshot } from './histogram'
export type { LaneSnapshot } from './snapshot'
