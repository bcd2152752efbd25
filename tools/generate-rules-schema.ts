/**
 * Writes libs/rules/rules.schema.json, the JSON Schema of a rules file, from the schema that the server reads it by.
 * That it is current is tested in libs/rules.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { rulesSchema } from '../libs/rules/src/rules'

const schema = { title: 'Millrace rules', ...z.toJSONSchema(rulesSchema, { io: 'input' }) }
writeFileSync(join(__dirname, '../libs/rules/rules.schema.json'), `${JSON.stringify(schema, null, 2)}\n`)
