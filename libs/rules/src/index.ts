export { allocate, objectiveHash } from './allocate'
export { murmur3Words } from './murmur3-words'
export { defineRules, parseRules, RulesError, type Rules } from './rules'
export { compileRules, explain, lookUp, type Explained, type Route, type Table } from './table'
