import { parse, Type } from 'protobufjs'

/*
 * The part of TensorFlow's messages that a SavedModel of one graph needs; names and numbers are TensorFlow's own
 * (tensorflow/core/framework and tensorflow/core/protobuf). Fields left out are skipped when read.
 */
const schema = `
syntax = "proto3";

message SavedModel { int64 saved_model_schema_version = 1; repeated MetaGraphDef meta_graphs = 2; }
message MetaGraphDef {
  MetaInfoDef meta_info_def = 1;
  GraphDef graph_def = 2;
  map<string, SignatureDef> signature_def = 5;
}
/* The same without the graph, which is read only to be run. */
message SavedModelHead { repeated MetaGraphHead meta_graphs = 2; }
message MetaGraphHead { MetaInfoDef meta_info_def = 1; map<string, SignatureDef> signature_def = 5; }
message MetaInfoDef { repeated string tags = 4; }
message SignatureDef {
  map<string, TensorInfo> inputs = 1;
  map<string, TensorInfo> outputs = 2;
  string method_name = 3;
}
message TensorInfo { string name = 1; int32 dtype = 2; TensorShapeProto tensor_shape = 3; }

message ConfigProto {
  map<string, int32> device_count = 1;
  int32 intra_op_parallelism_threads = 2;
  int32 inter_op_parallelism_threads = 5;
  GPUOptions gpu_options = 6;
}
message GPUOptions {
  message Experimental {
    message VirtualDevices { repeated float memory_limit_mb = 1; }
    repeated VirtualDevices virtual_devices = 1;
  }
  bool allow_growth = 4;
  Experimental experimental = 9;
}

message GraphDef { repeated NodeDef node = 1; FunctionDefLibrary library = 2; VersionDef versions = 4; }
message NodeDef {
  string name = 1;
  string op = 2;
  repeated string input = 3;
  string device = 4;
  map<string, AttrValue> attr = 5;
}
message VersionDef { int32 producer = 1; int32 min_consumer = 2; repeated int32 bad_consumers = 3; }
message AttrValue {
  message ListValue {
    repeated bytes s = 2;
    repeated int64 i = 3;
    repeated float f = 4;
    repeated bool b = 5;
    repeated DataType type = 6;
    repeated TensorShapeProto shape = 7;
    repeated TensorProto tensor = 8;
    repeated NameAttrList func = 9;
  }
  oneof value {
    bytes s = 2;
    int64 i = 3;
    float f = 4;
    bool b = 5;
    DataType type = 6;
    TensorShapeProto shape = 7;
    TensorProto tensor = 8;
    ListValue list = 1;
    NameAttrList func = 10;
    string placeholder = 9;
  }
}
message NameAttrList { string name = 1; map<string, AttrValue> attr = 2; }
message TensorShapeProto {
  message Dim { int64 size = 1; string name = 2; }
  repeated Dim dim = 2;
  bool unknown_rank = 3;
}
message TensorProto {
  DataType dtype = 1;
  TensorShapeProto tensor_shape = 2;
  int32 version_number = 3;
  bytes tensor_content = 4;
  repeated int32 half_val = 13;
  repeated float float_val = 5;
  repeated double double_val = 6;
  repeated int32 int_val = 7;
  repeated bytes string_val = 8;
  repeated int64 int64_val = 10;
  repeated bool bool_val = 11;
}

message FunctionDefLibrary { repeated FunctionDef function = 1; }
message FunctionDef {
  message ArgAttrs { map<string, AttrValue> attr = 1; }
  OpDef signature = 1;
  map<string, AttrValue> attr = 5;
  map<uint32, ArgAttrs> arg_attr = 7;
  repeated NodeDef node_def = 3;
  map<string, string> ret = 4;
  map<string, string> control_ret = 6;
}
message OpDef {
  message ArgDef {
    string name = 1;
    string description = 2;
    DataType type = 3;
    string type_attr = 4;
    string number_attr = 5;
    string type_list_attr = 6;
    bool is_ref = 16;
  }
  message AttrDef {
    string name = 1;
    string type = 2;
    AttrValue default_value = 3;
    string description = 4;
    bool has_minimum = 5;
    int64 minimum = 6;
    AttrValue allowed_values = 7;
  }
  string name = 1;
  repeated ArgDef input_arg = 2;
  repeated ArgDef output_arg = 3;
  repeated string control_output = 20;
  repeated AttrDef attr = 4;
  string summary = 5;
  string description = 6;
  bool is_commutative = 18;
  bool is_aggregate = 16;
  bool is_stateful = 17;
  bool allows_uninitialized_input = 19;
}

enum DataType {
  DT_INVALID = 0;
  DT_FLOAT = 1;
  DT_DOUBLE = 2;
  DT_INT32 = 3;
  DT_UINT8 = 4;
  DT_INT16 = 5;
  DT_INT8 = 6;
  DT_STRING = 7;
  DT_COMPLEX64 = 8;
  DT_INT64 = 9;
  DT_BOOL = 10;
  DT_BFLOAT16 = 14;
  DT_UINT16 = 17;
  DT_HALF = 19;
  DT_RESOURCE = 20;
  DT_VARIANT = 21;
  DT_UINT32 = 22;
  DT_UINT64 = 23;
}
`

const root = parse(schema).root
export const savedModelProto: Type = root.lookupType('SavedModel')
export const savedModelHeadProto: Type = root.lookupType('SavedModelHead')
export const configProto: Type = root.lookupType('ConfigProto')

/** `DT_FLOAT` of either way to write it. */
export function dataTypeName(type: string | number): string {
  return typeof type === 'string' ? type : (root.lookupEnum('DataType').valuesById[type] ?? String(type))
}

/** `value`, protobuf's JSON of a message, with lists where older converters wrote empty objects for them. */
export function protobufLists(message: string, value: object): Record<string, unknown> {
  return lists(root.lookupType(message), value as Record<string, unknown>)
}

function lists(type: Type, value: Record<string, unknown>): Record<string, unknown> {
  const result = { ...value }
  for (const field of type.fieldsArray) {
    const inner = value[field.name]
    if (inner === undefined || inner === null) continue
    const of = field.resolve().resolvedType
    const each = (one: unknown): unknown => (of instanceof Type ? lists(of, one as Record<string, unknown>) : one)
    if (field.map)
      result[field.name] = Object.fromEntries(Object.entries(inner).map(([name, one]) => [name, each(one)]))
    else if (field.repeated) result[field.name] = Array.isArray(inner) ? inner.map(each) : []
    else result[field.name] = each(inner)
  }
  return result
}
