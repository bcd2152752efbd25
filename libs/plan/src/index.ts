export {
  profileSchema,
  transports,
  type EngineCurve,
  type FrontCost,
  type Profile,
  type ProfiledObjective,
  type ServicePoint,
  type TransportName,
} from './profile'
export {
  checkProfile,
  checkQuestion,
  PlanError,
  planSchema,
  profilePath,
  readData,
  type MachineType,
  type PlanInput,
  type PlanQuestion,
} from './plan-file'
export { plan, type Fleet, type Plan, type WhatIf } from './plan'
export { type MachineCurve, type OperatingPoint } from './machine-curve'
export { laneOf, type Layout } from './lanes'
export {
  capacityBound,
  connectionsOf,
  type LaneModel,
  type Neighbours,
  type QueueModel,
  type RequestClass,
} from './lane-model'
export { exponentialService, fixedService, measuredService, type Service } from './service'
export { simulate, type Incident, type SimulationOptions, type SimulationResult } from './simulate'
export { type Routing } from './router'
export { simulateFleet, type Scenario } from './fleet'
