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
