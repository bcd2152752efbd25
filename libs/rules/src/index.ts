export { allocate, bucketOf, objectiveHash } from './allocate'
export { PlainAsker } from './ask'
export { NoCell, noCells, type CellSource } from './cells'
export { parseRules, RulesError, type NamedVersion } from './check'
export { compileRules } from './compile'
export { defineRules, rulesOf, versionTypes } from './define'
export { explain, shadowsOf, type Decision, type Explanation, type PlainAsk, type Step } from './interpret'
export { murmur3Words } from './murmur3-words'
export { refuseOverride, type PlainOverride } from './override'
export { advance } from './ramp'
export { routingKey } from './routing-key'
export {
  comparingShadows,
  rulesFor,
  rulesSchema,
  runningCanaries,
  versionsNamed,
  type Canary,
  type Condition,
  type Enrichment,
  type Limit,
  type Rules,
  type RulesFile,
  type Shadow,
} from './rules'
export {
  lookUp,
  lookUpEnrichments,
  lookUpShadows,
  NoRoute,
  objectiveOf,
  type Ask,
  type Route,
  type ShadowRoute,
  type Table,
} from './table'
