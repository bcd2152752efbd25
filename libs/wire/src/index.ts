// The road: in place, no accessor before the verifier.
export { contextOf, describeFault, overrideOf, RequestView, textAt } from './request-view'
export { ListView, verifyList, verifyRequest } from './verify'
export { copyContext, matchContext, standIn, type ContextIntake, type StandIn } from './context-intake'
export { copyInputs, heapBytesOf, intakeOf, matchInputs, Matched, type Intake } from './intake'
export { Flag } from './generated/flag'
export { httpStatus, codeTable } from './http-status'
export { goingAway } from './going-away'
export { laneHeader } from './lane-header'

// Messages as plain values: clients, tools, tests, and replies that have no template.
export { decodeReply, decodeReplyList, replyId, replyOutputs, replyPlaces, type ReplyPlaces } from './decode'
export { decodeRequest, withRequestId } from './request-message'
export { encodeReply, encodeReplyList, encodeRequest, encodeRequestList } from './encode'
export {
  decodeRecording,
  encodeRecording,
  recordHeadBytes,
  recordingHead,
  writeRecordHead,
  type Recorded,
  type Recording,
} from './recording'
export { parseJson, replyToJson, requestFromJson, type JsonRequest } from './json'
export {
  denseColumn,
  dtypeName,
  raggedColumn,
  rowsOf,
  type OverrideMessage,
  type ReplyMessage,
  type ResolvedMessage,
  type RequestMessage,
  type RouteMessage,
  type TimingsMessage,
  type WireColumn,
} from './message'
